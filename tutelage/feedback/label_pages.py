"""Labels page by page, by key: one's own for a rater, everybody's for reviewers.

Leaves out: all labels of one item (`tutelage.feedback.seen`), and files (`tutelage.store.exports`).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from tutelage.errors import NotAllowedError
from tutelage.feedback.projects import Project
from tutelage.feedback.seen import SeenLabel, as_seen
from tutelage.store import people, schema
from tutelage.store.people import Person


@dataclass(frozen=True, slots=True)
class ListedLabel:
    """A label and what it is about."""

    id: str
    kind: str
    project_id: str | None
    item_id: str | None
    prompt_id: str
    supersedes: str | None
    superseded_ms: int | None
    withdrawn_ms: int | None
    label: SeenLabel


def listing(
    connection: Connection,
    person: Person,
    project: Project | None = None,
    rater: Person | None = None,
    *,
    after: str = "",
    limit: int = 100,
) -> list[ListedLabel]:
    """Labels by id, those behind the id `after`; corrected and withdrawn ones are among them, and say so.

    Raises `NotAllowedError` for a rater who asks for another's.
    """
    people.require(person, "rater")
    if person.role == "rater":
        if rater is not None and rater.id != person.id:
            raise NotAllowedError("a rater reads their own labels; a reviewer reads everybody's")
        rater = person
    table = schema.labels
    query = select(table).where(table.c.id > after)
    if project is not None:
        query = query.where(table.c.project_id == project.id)
    if rater is not None:
        query = query.where(table.c.person_id == rater.id)
    rows = connection.execute(query.order_by(table.c.id).limit(limit)).all()
    raters = _raters(connection, {row.person_id for row in rows})
    names = ("id", "kind", "project_id", "item_id", "prompt_id", "supersedes", "superseded_ms", "withdrawn_ms")
    return [
        ListedLabel(**{name: getattr(row, name) for name in names}, label=as_seen(row, person, raters[row.person_id]))
        for row in rows
    ]


def _raters(connection: Connection, ids: set[str]) -> dict[str, str]:
    """Names by id. Asked apart: joined, a planner may begin with the people, and sort all of their labels."""
    table = schema.people
    query = select(table.c.id, table.c.name).where(table.c.id.in_(ids))
    return {row.id: row.name for row in connection.execute(query)}
