"""What waits for somebody in each project, and what they have done there: a few counts that are quick on any queue.

Leaves out: totals of a project and agreement, which take longer (`tutelage.feedback.progress`).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, case, false, func, select

from tutelage.feedback import projects
from tutelage.feedback import queue_sql as sql
from tutelage.feedback.projects import Project
from tutelage.store import people, schema
from tutelage.store.ids import now_ms as clock_ms
from tutelage.store.people import Person

COUNTED = 1_000
"""Waiting items are counted so far; beyond it there are "more"."""


@dataclass(frozen=True, slots=True)
class Work:
    """A project as somebody who judges sees it."""

    project: str
    kind: str
    question: str
    state: str
    num_waiting: int
    """Items that this person could be given now, the one they hold among them; at most `COUNTED`."""
    has_more: bool
    """Whether there are more than `num_waiting`."""
    num_given: int
    """Tasks that this person has judged."""
    num_since: int
    """Those of them since the time asked for."""
    why_nothing: str = ""
    """Where the project is open and nothing waits: `empty` (it has no items), `done` (all have their labels), `held`
    (others are at work on them), `yours` (the rest one has judged or skipped), `written` (or is the author of)."""


def work_of(
    connection: Connection, person: Person, project: Project, since_ms: int = 0, *, now_ms: int | None = None
) -> Work:
    """What waits for the person in a project, and what they did there, in all and since a time."""
    people.require(person, "rater")
    now = clock_ms() if now_ms is None else now_ms
    waiting = num_waiting(connection, person, project, now) if project.state == "open" else 0
    given, since = _num_given(connection, person, project, since_ms)
    is_idle = project.state == "open" and waiting == 0
    return Work(
        project.name, project.kind, project.question, project.state, min(waiting, COUNTED), waiting > COUNTED, given,
        since, _why_nothing(connection, person, project) if is_idle else "",
    )  # fmt: skip


def _why_nothing(connection: Connection, person: Person, project: Project) -> str:
    keys = {"person": person.id, "project": project.id}
    for why, query in _REASONS:
        if connection.execute(query, keys).first() is not None:
            return why
    return "done" if connection.execute(_ANY, keys).first() is not None else "empty"


def work_in_all(
    connection: Connection, person: Person, since_ms: int = 0, *, after: str = "", limit: int = 100
) -> list[Work]:
    """`work_of` each project by name, those behind the name `after`."""
    found = projects.listing(connection, after=after, limit=limit)
    return [work_of(connection, person, each, since_ms) for each in found]


def num_waiting(connection: Connection, person: Person, project: Project, now: int, *, at_most: int = COUNTED) -> int:
    """Items of an open project that this person could be given now; beyond `at_most` just more than that."""
    keys = {"person": person.id, "project": project.id, "now": now, "counted": at_most + 1}
    held = any(row.expires_ms > now or row.has_place for row in connection.execute(sql.HELD, keys))
    return int(held) + int(connection.execute(_FREE, keys).scalar_one())


_free = (
    select(sql.ITEMS.c.id)
    .where(
        sql.ITEMS.c.project_id == sql.PROJECT, sql.ITEMS.c.state == "open", sql.ITEMS.c.is_gold == false(),
        sql.MAY_JUDGE, sql.HAS_PLACE,
    )
    .limit(bindparam("counted"))
)  # fmt: skip
_FREE = select(func.count()).select_from(_free.subquery())
_ANY = select(sql.ITEMS.c.id).where(
    sql.ITEMS.c.project_id == sql.PROJECT, sql.ITEMS.c.state != "withdrawn", sql.ITEMS.c.is_gold == false()
).limit(1)  # fmt: skip
_open = _ANY.where(sql.ITEMS.c.state == "open")
_REASONS = (("held", _open.where(sql.MAY_JUDGE)), ("yours", _open.where(~sql.WROTE)), ("written", _open))
"""What is asked of open items that nobody can be given now, in turn: the first that finds one says why."""


def _num_given(connection: Connection, person: Person, project: Project, since_ms: int) -> tuple[int, int]:
    table = schema.assignments
    recent = func.coalesce(func.sum(case((table.c.finished_ms >= since_ms, 1), else_=0)), 0)
    query = select(func.count(), recent).where(
        table.c.person_id == person.id, table.c.project_id == project.id, table.c.state == "done"
    )
    num_given, num_since = connection.execute(query).one()
    return int(num_given), int(num_since)
