"""From records forward: the snapshots that hold them, and the models made with those, directly or through others.

Leaves out: what a model was made from (`tutelage.store.ancestry`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, case, func, select

from tutelage.store import schema

MODEL_ROLES = ("base", "reference", "reward", "member", "critic", "teacher", "answers")
"""Inputs that are models; `answers` are models whose answers people judged."""
ROWS_AT_ONCE = 500
_ROLES = (
    "data", "prompts", "base", "reward", "member", "teacher", "reference", "critic", "answers", "ptx", "validation",
)  # fmt: skip
_IMPORTANCE = case({role: number for number, role in enumerate(_ROLES)}, value=schema.model_inputs.c.role, else_=99)
"""Of the roles in which one input served, the one to tell of."""


class Held(NamedTuple):
    """A snapshot that holds some of the records asked for."""

    id: str
    name: str
    """NAME@3."""
    num_held: int


class Step(NamedTuple):
    """One link of a path: what was used, and as what."""

    role: str
    name: str


class Use(NamedTuple):
    """A model, and the shortest way by which it used the records."""

    model: str
    path: tuple[Step, ...]
    """From a snapshot (`data`, `ptx` …) through models (`base`, `reward` …) to what the model itself took in."""

    @property
    def is_direct(self) -> bool:
        return len(self.path) == 1


def parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Ids in lots that a database takes as parameters."""
    for start in range(0, len(ids), ROWS_AT_ONCE):
        yield ids[start : start + ROWS_AT_ONCE]


def snapshots_holding(
    connection: Connection, *, pair_ids: Sequence[str] = (), label_ids: Sequence[str] = ()
) -> list[Held]:
    """The snapshots that hold any of these pairs, in whatever revision, or labels; oldest first."""
    records, revisions = schema.snapshot_records, schema.pair_revisions
    counts: dict[str, int] = {}
    for some in parts(pair_ids):
        query = (
            select(records.c.snapshot_id, func.count()).join(revisions, revisions.c.id == records.c.pair_revision_id)
            .where(revisions.c.pair_id.in_(some)).group_by(records.c.snapshot_id)
        )  # fmt: skip
        _add(counts, connection.execute(query))
    for some in parts(label_ids):
        query = (
            select(records.c.snapshot_id, func.count()).where(records.c.label_id.in_(some))
            .group_by(records.c.snapshot_id)
        )  # fmt: skip
        _add(counts, connection.execute(query))
    return _named(connection, counts)


def snapshots_of(connection: Connection, person_id: str, what: Literal["labels", "pairs"]) -> list[Held]:
    """The snapshots that hold labels of somebody, or pairs that they wrote; oldest first."""
    records = schema.snapshot_records
    query = _used_of(select(records.c.snapshot_id, func.count()), person_id, what).group_by(records.c.snapshot_id)
    return _named(connection, {row[0]: row[1] for row in connection.execute(query)})


def num_used_of(connection: Connection, person_id: str, what: Literal["labels", "pairs"]) -> int:
    """How many labels of somebody, or pairs that they wrote, stand in any snapshot."""
    one = schema.labels.c.id if what == "labels" else schema.pair_revisions.c.pair_id
    return connection.execute(_used_of(select(func.count(one.distinct())), person_id, what)).scalar_one()


def _used_of(query: Select[Any], person_id: str, what: Literal["labels", "pairs"]) -> Select[Any]:
    records, labels, revisions, pairs = schema.snapshot_records, schema.labels, schema.pair_revisions, schema.pairs
    query = query.select_from(records)
    if what == "labels":
        return query.join(labels, labels.c.id == records.c.label_id).where(labels.c.person_id == person_id)
    query = query.join(revisions, revisions.c.id == records.c.pair_revision_id)
    return query.join(pairs, pairs.c.id == revisions.c.pair_id).where(pairs.c.author_id == person_id)


def _add(counts: dict[str, int], rows: Any) -> None:
    for snapshot_id, number in rows:
        counts[snapshot_id] = counts.get(snapshot_id, 0) + number


def _named(connection: Connection, counts: dict[str, int]) -> list[Held]:
    found: list[Held] = []
    snapshots, datasets = schema.snapshots, schema.datasets
    for some in parts(sorted(counts)):
        query = (
            select(snapshots.c.id, datasets.c.name, snapshots.c.number)
            .join(datasets, datasets.c.id == snapshots.c.dataset_id).where(snapshots.c.id.in_(some))
            .order_by(snapshots.c.id)
        )  # fmt: skip
        found += [Held(id, f"{name}@{number}", counts[id]) for id, name, number in connection.execute(query)]
    return found


def uses_of(connection: Connection, held: Sequence[Held]) -> list[Use]:
    """Every model made with these snapshots, each with the shortest way; those made first come first."""
    return _follow(connection, held, {})


def uses_of_model(connection: Connection, name: str) -> list[Use]:
    """Every model made with a model, or from verdicts on its answers, each with the shortest way, itself left out."""
    return [use for use in _follow(connection, [], {name: ()}) if use.model != name]


def _follow(connection: Connection, held: Sequence[Held], known: dict[str, tuple[Step, ...]]) -> list[Use]:
    inputs = schema.model_inputs
    found = dict(known)
    waiting = deque(known)

    def take(condition: ColumnElement[bool], behind: tuple[Step, ...]) -> None:
        models = schema.models
        query = (
            select(models.c.name, inputs.c.role, inputs.c.name.label("input"))
            .join(inputs, inputs.c.model_id == models.c.id).where(condition)
            .order_by(models.c.created_ms, models.c.name, _IMPORTANCE)
        )  # fmt: skip
        for row in connection.execute(query):
            if row.name not in found:
                found[row.name] = (*behind, Step(row.role, row.input))
                waiting.append(row.name)

    for snapshot in held:
        take(inputs.c.snapshot_id == snapshot.id, ())
    while waiting:
        name = waiting.popleft()
        take((inputs.c.name == name) & inputs.c.role.in_(MODEL_ROLES), found[name])
    return [Use(name, path) for name, path in found.items()]


def models_judged(connection: Connection, snapshot_id: str) -> list[str]:
    """The models whose answers the labels of a snapshot are about."""
    records, labels, answers = schema.snapshot_records, schema.labels, schema.answers
    query = (
        select(labels.c.answer_ids).join(records, records.c.label_id == labels.c.id)
        .where(records.c.snapshot_id == snapshot_id)
    )  # fmt: skip
    ids = sorted({id for (answer_ids,) in connection.execute(query) for id in answer_ids})
    found: set[str] = set()
    for some in parts(ids):
        part = answers.c.id.in_(some)
        found |= set(
            connection.execute(select(answers.c.model).where(part, answers.c.model != "").distinct()).scalars()
        )
    return sorted(found)
