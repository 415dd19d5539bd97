"""Named datasets and their immutable snapshots: `curated@3` of pairs, `labels:helpful@2` of a project's labels.

`labels:PROJECT` takes a project's labels; of a rating project it gives each label the mean of its scores, and
`labels:PROJECT/ATTRIBUTE` one attribute's score. A snapshot holds revisions and labels in order, with what may change
later as it was then (tags, source, licence, names), and the hash of its file. What holds the same as the newest
snapshot is the newest snapshot. Left out are withdrawn work, work of people whose work was removed, and of labels those
that were corrected, those of gold items and quiet repeats (unless asked for), and what teaches nothing; `left_out`
counts what was asked for and could not be taken.

Leaves out: what a record looks like in the file (`tutelage.store.training_lines`), which rows a dataset takes
(`tutelage.store.dataset_rows`), and the file (`tutelage.store.sources`).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, func, insert, select

from tutelage.errors import ConfigError, NotFoundError, StoreError
from tutelage.store import schema
from tutelage.store.database import Store
from tutelage.store.dataset_names import LABELS, RESERVED, is_name, split_name
from tutelage.store.dataset_rows import Choice, chosen_labels, chosen_pairs, frozen_labels, frozen_pairs, split_labels
from tutelage.store.ids import new_id, now_ms
from tutelage.store.pair_rules import check_no_nul
from tutelage.store.people import Person, require
from tutelage.store.training_lines import Line
from tutelage.store.turns import take_turn

Kind = Literal["pairs", "labels"]
ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A dataset as it was at one time."""

    id: str
    name: str
    """Of the dataset."""
    kind: Kind
    number: int
    content_hash: str
    """SHA-256 of its file of JSON lines."""
    num_records: int
    """Pairs or labels; a label whose rater rewrote the answer may be two lines."""
    why: str
    chosen_by: Mapping[str, Any]
    """States, tags and sources that were asked for, and `left_out`: how many made no record, by reason."""
    created_by: str
    """Empty where training took it."""
    created_ms: int

    @property
    def label(self) -> str:
        """How training names it, e.g. `curated@3`."""
        return f"{self.name}@{self.number}"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset and its newest snapshot."""

    name: str
    kind: Kind
    created_by: str
    created_ms: int
    newest: Snapshot


@dataclass(frozen=True, slots=True)
class Plan:
    """What a snapshot would hold; made by reading alone, so that nobody waits meanwhile."""

    name: str
    kind: Kind
    project_id: str | None
    rows: Sequence[Mapping[str, Any]]
    content_hash: str
    why: str
    chosen_by: Mapping[str, Any] = field(default_factory=dict)


def take_snapshot(store: Store, person: Person | None, name: str, **chosen: Any) -> Snapshot:
    """`make_snapshot` as a job of its own: all is read first, so that the record is locked only for the writing."""
    with store.read() as connection:
        plan = plan_snapshot(connection, person, name, **chosen)
    return store.run(lambda connection: keep(connection, person, plan))


def make_snapshot(connection: Connection, person: Person | None, name: str, **chosen: Any) -> Snapshot:
    """A new snapshot, or the newest one where that holds the same; takes what `plan_snapshot` takes."""
    return keep(connection, person, plan_snapshot(connection, person, name, **chosen))


def plan_snapshot(
    connection: Connection,
    person: Person | None,
    name: str,
    *,
    kind: Kind | None = None,
    states: Sequence[str] = ("accepted",),
    tags: Sequence[str] = (),
    sources: Sequence[str] = (),
    gold: bool = False,
    repeats: bool = False,
    why: str = "",
) -> Plan:
    """What a snapshot of this name would hold now.

    Pairs: those in `states` that have all `tags`, and whose source begins with one of `sources` where any is given.
    Labels: with those of gold items and quiet repeats where asked for. `person` is None where training takes it. Raises
    `NotAllowedError` for a rater, `ConfigError` for a bad name or a choice that its kind has not, and `StoreError` when
    there is nothing to hold.
    """
    if person is not None:
        require(person, "reviewer")
    check_no_nul(why, "why")
    kind = _kind_of(name, kind)
    choice = Choice(tuple(states), tuple(sorted(tags)), tuple(sorted(sources)), gold, repeats)
    choice.check_fits(name, kind)
    left_out: Counter[str] = Counter()
    project_id = None
    if kind == "pairs":
        found = chosen_pairs(connection, choice, left_out)
    else:
        project, attribute = split_labels(connection, name)
        project_id, found = project.id, chosen_labels(connection, project, attribute, choice, left_out)
    digest, rows = hashlib.sha256(), []
    for row, lines in found:
        rows.append(row)
        for line in lines:
            digest.update(as_bytes(line))
    if not rows:
        raise StoreError(_nothing(name, kind, choice, left_out))
    asked = choice.asked(kind) | ({"left_out": dict(sorted(left_out.items()))} if left_out else {})
    return Plan(name, kind, project_id, rows, digest.hexdigest(), why, asked)


def _kind_of(name: str, kind: Kind | None) -> Kind:
    if not is_name(name):
        problem = "letters, digits, '_' and '-', or labels:PROJECT"
        raise ConfigError(
            f"'{name}' is no name for a dataset; use up to 80 {problem}, and none of {', '.join(RESERVED)}"
        )
    named: Kind = "labels" if name.startswith(LABELS) else "pairs"
    if kind is not None and kind != named:
        raise ConfigError(f"'{name}' names {named}, not {kind}; a dataset of labels is called labels:PROJECT")
    return named


def _nothing(name: str, kind: Kind, choice: Choice, left_out: Counter[str]) -> str:
    why = "; ".join(f"{count} left out: {reason}" for reason, count in sorted(left_out.items()))
    if kind == "labels":
        return f"{name} has no labels to learn from{f' ({why})' if why else ''}; `tutelage label` makes some"
    wanted = " or ".join(choice.states) + "".join(f", tagged '{tag}'" for tag in choice.tags)
    return f"no pair is {wanted}{f' ({why})' if why else ''}; `tutelage pairs list` shows those there are"


def as_bytes(line: Line) -> bytes:
    """One line of the file."""
    return json.dumps(line, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"


def keep(connection: Connection, person: Person | None, plan: Plan) -> Snapshot:
    """Write a planned snapshot down, unless the newest one holds the same."""
    take_turn(connection, "snapshot", plan.name)
    dataset_id = _dataset(connection, person, plan)
    newest = _newest(connection, plan.name)
    if newest is not None and newest.content_hash == plan.content_hash:
        return newest
    snapshot_id, number = new_id(), newest.number + 1 if newest else 1
    connection.execute(insert(schema.snapshots).values(
        id=snapshot_id, dataset_id=dataset_id, number=number, content_hash=plan.content_hash,
        num_records=len(plan.rows), why=plan.why, chosen_by=dict(plan.chosen_by),
        created_by=person.id if person else None, created_ms=now_ms(),
    ))  # fmt: skip
    for start in range(0, len(plan.rows), ROWS_AT_ONCE):
        part = enumerate(plan.rows[start : start + ROWS_AT_ONCE], start=start)
        rows = [{"snapshot_id": snapshot_id, "position": position, **row} for position, row in part]
        connection.execute(insert(schema.snapshot_records), rows)
    return snapshot_of(connection, f"{plan.name}@{number}")


def _dataset(connection: Connection, person: Person | None, plan: Plan) -> str:
    """The dataset's id; made where there is none yet."""
    table = schema.datasets
    there = connection.execute(select(table.c.id).where(table.c.name == plan.name)).scalar()
    if there is not None:
        return str(there)
    dataset_id = new_id()
    connection.execute(insert(table).values(
        id=dataset_id, name=plan.name, kind=plan.kind, project_id=plan.project_id,
        created_by=person.id if person else None, created_ms=now_ms(),
    ))  # fmt: skip
    return dataset_id


# Reading --------------------------------------------------------------------------------------------------------------


def snapshot_of(connection: Connection, text: str) -> Snapshot:
    """The snapshot that `curated@3` names, or the newest of `curated`; `NotFoundError`, saying what there is."""
    name, number = split_name(text)
    found = _newest(connection, name)
    if found is None and not is_name(name):
        raise NotFoundError(f"'{text}' names no snapshot; write NAME@1, NAME for the newest, or labels:PROJECT@1")
    if found is None:
        raise NotFoundError(
            f"no dataset '{name}'; `tutelage snapshot {name}` makes one, `tutelage datasets` lists them"
        )
    if number is None or number == found.number:
        return found
    row = connection.execute(_snapshots().where(schema.datasets.c.name == name, schema.snapshots.c.number == number))
    one = row.first()
    if one is None:
        raise NotFoundError(
            f"no snapshot {text}; the newest is {found.label}, and `tutelage datasets {name}` lists all"
        )
    return _snapshot(one)


def _newest(connection: Connection, name: str) -> Snapshot | None:
    query = _snapshots().where(schema.datasets.c.name == name).order_by(schema.snapshots.c.number.desc()).limit(1)
    row = connection.execute(query).first()
    return _snapshot(row) if row else None


def _snapshots() -> Select[Any]:
    snapshots, datasets, people = schema.snapshots, schema.datasets, schema.people
    return (
        select(snapshots, datasets.c.name, datasets.c.kind, people.c.name.label("creator"))
        .join(datasets, datasets.c.id == snapshots.c.dataset_id)
        .outerjoin(people, people.c.id == snapshots.c.created_by)
    )


def _snapshot(row: Row[Any]) -> Snapshot:
    return Snapshot(
        row.id, row.name, row.kind, row.number, row.content_hash, row.num_records, row.why, row.chosen_by,
        row.creator or "", row.created_ms,
    )  # fmt: skip


def listing(connection: Connection, *, after: str | None = None, limit: int = 100) -> list[Dataset]:
    """Datasets by name, those behind the name `after`, each with its newest snapshot."""
    datasets, snapshots, people = schema.datasets, schema.snapshots, schema.people
    query = select(datasets, people.c.name.label("creator")).outerjoin(people, people.c.id == datasets.c.created_by)
    if after is not None:
        query = query.where(datasets.c.name > after)
    rows = connection.execute(query.order_by(datasets.c.name).limit(limit)).all()
    last = (
        select(snapshots.c.dataset_id, func.max(snapshots.c.number).label("number"))
        .where(snapshots.c.dataset_id.in_([row.id for row in rows]))
        .group_by(snapshots.c.dataset_id)
        .subquery()
    )
    newest = _snapshots().join(
        last, (last.c.dataset_id == snapshots.c.dataset_id) & (last.c.number == snapshots.c.number)
    )
    found = {row.name: _snapshot(row) for row in connection.execute(newest)}
    return [Dataset(row.name, row.kind, row.creator or "", row.created_ms, found[row.name]) for row in rows]


def snapshots_of(
    connection: Connection, name: str, *, before: int | None = None, limit: int = 100
) -> list[Snapshot]:  # fmt: skip
    """The snapshots of a dataset, the newest first, those with numbers below `before`."""
    snapshot_of(connection, name)
    query = _snapshots().where(schema.datasets.c.name == name)
    if before is not None:
        query = query.where(schema.snapshots.c.number < before)
    rows = connection.execute(query.order_by(schema.snapshots.c.number.desc()).limit(limit))
    return [_snapshot(row) for row in rows]


def records(connection: Connection, snapshot: Snapshot) -> Iterator[Line]:
    """The lines of the snapshot's file, in order."""
    table, after = schema.snapshot_records, -1
    read = frozen_pairs if snapshot.kind == "pairs" else frozen_labels
    query = select(table).where(table.c.snapshot_id == snapshot.id).order_by(table.c.position).limit(ROWS_AT_ONCE)
    while rows := connection.execute(query.where(table.c.position > after)).all():
        yield from read(connection, rows)
        after = rows[-1].position
