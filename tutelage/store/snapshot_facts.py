"""What a snapshot holds in numbers: how much of what, by whom, under which licence or guideline.

Leaves out: the records themselves, and making a snapshot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, distinct, func, or_, select

from tutelage.store import schema

NONE_GIVEN = "none given"


@dataclass(frozen=True)
class Facts:
    """A snapshot in numbers."""

    kind: str
    """pairs or labels."""
    num_records: int
    num_withdrawn: int
    """Of these, how many were withdrawn after it was taken."""
    made_ms: int
    why: str
    by: str
    """Who took it; empty where nobody is named."""
    counts: Mapping[str, Mapping[str, int]]
    """Of pairs: authors, editors, reviewers, licences. Of labels: projects, kinds, raters, guidelines."""


def facts_of(connection: Connection, snapshot_id: str) -> Facts | None:
    """The numbers of a snapshot; None where there is none of that id."""
    snapshots, datasets, people = schema.snapshots, schema.datasets, schema.people
    query = (
        select(snapshots, datasets.c.kind, people.c.name.label("by")).join(
            datasets, datasets.c.id == snapshots.c.dataset_id
        )
        .outerjoin(people, people.c.id == snapshots.c.created_by).where(snapshots.c.id == snapshot_id)
    )  # fmt: skip
    row = connection.execute(query).first()
    if row is None:
        return None
    counts = _pair_counts(connection, snapshot_id) if row.kind == "pairs" else _label_counts(connection, snapshot_id)
    withdrawn = withdrawn_in(connection, snapshot_id)
    return Facts(row.kind, row.num_records, withdrawn, row.created_ms, row.why, row.by or "", counts)


def withdrawn_in(connection: Connection, snapshot_id: str) -> int:
    """How many records of a snapshot were withdrawn after it was taken."""
    records, revisions, pairs, labels = (
        schema.snapshot_records, schema.pair_revisions, schema.pairs, schema.labels
    )  # fmt: skip
    query = (
        select(func.count()).select_from(records)
        .outerjoin(revisions, revisions.c.id == records.c.pair_revision_id)
        .outerjoin(pairs, pairs.c.id == revisions.c.pair_id)
        .outerjoin(labels, labels.c.id == records.c.label_id)
        .where(records.c.snapshot_id == snapshot_id)
        .where(or_(pairs.c.withdrawn_ms.is_not(None), labels.c.withdrawn_ms.is_not(None)))
    )  # fmt: skip
    return int(connection.execute(query).scalar_one())


def _counted(connection: Connection, query: Select[Any]) -> dict[str, int]:
    """Rows of (what, how many) as a mapping, the largest number first; an empty name is none that was given."""
    rows = [(str(what) if what not in (None, "") else NONE_GIVEN, int(number)) for what, number in
            connection.execute(query)]  # fmt: skip
    return dict(sorted(rows, key=lambda row: (-row[1], row[0])))


def _pair_counts(connection: Connection, snapshot_id: str) -> dict[str, dict[str, int]]:
    records, revisions, pairs, events, people = (
        schema.snapshot_records, schema.pair_revisions, schema.pairs, schema.pair_events, schema.people
    )  # fmt: skip
    held = (
        records.join(revisions, revisions.c.id == records.c.pair_revision_id)
        .join(pairs, pairs.c.id == revisions.c.pair_id)
    )  # fmt: skip
    here = records.c.snapshot_id == snapshot_id
    number = func.count(distinct(pairs.c.id))
    by_name = select(people.c.name, number).group_by(people.c.name).where(here)
    accepted = (
        (events.c.pair_id == pairs.c.id) & (events.c.action == "accepted") & (events.c.revision == revisions.c.number)
    )  # fmt: skip
    return {
        "authors": _counted(connection, by_name.select_from(held.join(people, people.c.id == pairs.c.author_id))),
        "editors": _counted(
            connection,
            by_name.select_from(held.join(people, people.c.id == revisions.c.editor_id))
            .where(revisions.c.editor_id != pairs.c.author_id),
        ),
        "reviewers": _counted(
            connection,
            by_name.select_from(held.join(events, accepted).join(people, people.c.id == events.c.person_id)),
        ),
        "licences": _licences(connection, snapshot_id),
    }  # fmt: skip


def _licences(connection: Connection, snapshot_id: str) -> dict[str, int]:
    """As they were when the snapshot was taken."""
    records = schema.snapshot_records
    facts = connection.execute(select(records.c.facts).where(records.c.snapshot_id == snapshot_id)).scalars()
    counts = Counter(str(one.get("licence") or NONE_GIVEN) for one in facts)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _label_counts(connection: Connection, snapshot_id: str) -> dict[str, dict[str, int]]:
    records, labels, people, projects = schema.snapshot_records, schema.labels, schema.people, schema.projects
    held = (
        records.join(labels, labels.c.id == records.c.label_id).join(people, people.c.id == labels.c.person_id)
        .outerjoin(projects, projects.c.id == labels.c.project_id)
    )  # fmt: skip

    def by(*columns: Any) -> Select[Any]:
        query = select(*columns, func.count()).select_from(held).where(records.c.snapshot_id == snapshot_id)
        return query.group_by(*columns)

    guidelines: dict[str, int] = {}
    for project, version, number in connection.execute(by(projects.c.name, labels.c.guideline_version)):
        name = NONE_GIVEN if version is None else f"{project or ''} v{version}".strip()
        guidelines[name] = guidelines.get(name, 0) + number
    return {
        "projects": _counted(connection, by(projects.c.name)),
        "kinds": _counted(connection, by(labels.c.kind)),
        "raters": _counted(connection, by(people.c.name)),
        "guidelines": dict(sorted(guidelines.items())),
    }
