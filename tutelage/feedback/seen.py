"""Labels read back by people: a rater sees others' verdicts on an item only after giving their own.

Who the others are, and which items are tests, stays with reviewers. Leaves out: counts and agreement
(`tutelage.feedback.progress`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from tutelage.errors import NotAllowedError, NotFoundError
from tutelage.store import people, schema
from tutelage.store.people import Person


@dataclass(frozen=True, slots=True)
class SeenLabel:
    """A label as it is shown to somebody."""

    id: str
    person: str
    """The rater's name; empty where a rater looks at another's."""
    is_mine: bool
    value: Mapping[str, Any]
    answer_ids: tuple[str, ...]
    """In the order in which `value` counts."""
    reasons: tuple[str, ...]
    critique: str
    rewrite: str
    guideline_version: int | None
    created_ms: int
    adjudicates: tuple[str, ...]
    """The labels that this one decides between, where a reviewer gave it."""
    seconds: float | None = None
    """Only of one's own label, and for reviewers."""
    round: int | None = None
    """Only for reviewers: 1 for a quiet repeat."""
    is_gold: bool | None = None
    """Only for reviewers."""


def current_labels(connection: Connection, item_id: str) -> Sequence[Row[Any]]:
    """The labels of an item that were neither corrected nor withdrawn, oldest first."""
    table = schema.labels
    query = select(table).where(
        table.c.item_id == item_id, table.c.superseded_ms.is_(None), table.c.withdrawn_ms.is_(None)
    )
    return connection.execute(query.order_by(table.c.id)).all()


def labels_of_item(connection: Connection, person: Person, item_id: str) -> list[SeenLabel]:
    """The labels of an item, for reviewers, and for a rater who has submitted theirs.

    Raises `NotFoundError` for a rater who was never given the item, `NotAllowedError` for one who has yet to submit.
    """
    people.require(person, "rater")
    if person.role == "rater":
        _check_submitted(connection, person, item_id)
    elif connection.execute(select(schema.items.c.id).where(schema.items.c.id == item_id)).first() is None:
        raise NotFoundError(f"no item {item_id}")
    names = _names(connection) if person.role != "rater" else {person.id: person.name}
    return [as_seen(row, person, names.get(row.person_id, "")) for row in current_labels(connection, item_id)]


def _check_submitted(connection: Connection, person: Person, item_id: str) -> None:
    table = schema.assignments
    query = select(table.c.state).where(table.c.item_id == item_id, table.c.person_id == person.id)
    states = set(connection.execute(query).scalars())
    if not states:
        raise NotFoundError(f"no item {item_id}")
    if "leased" in states or "done" not in states:
        raise NotAllowedError("others' verdicts are shown once you have submitted yours")


def _names(connection: Connection) -> dict[str, str]:
    return {person.id: person.name for person in people.everyone(connection)}


def as_seen(row: Row[Any], person: Person, rater: str) -> SeenLabel:
    """A row of `labels` as `person` may see it; `rater` is the name of whose it is."""
    reviews, mine = person.role != "rater", row.person_id == person.id
    return SeenLabel(
        row.id, rater, mine, row.value, tuple(row.answer_ids), tuple(row.reasons), row.critique,
        row.rewrite, row.guideline_version, row.created_ms, tuple(row.meta.get("adjudicates", ())),
        row.seconds if mine or reviews else None, row.round if reviews else None, row.is_gold if reviews else None,
    )  # fmt: skip
