"""The audit log: who did what to whose account, data or project, and when. Rows are only added.

Leaves out: what people wrote and judged, which is its own record with its own history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from tutelage.store import people, schema
from tutelage.store.ids import new_id, now_ms
from tutelage.store.people import Person


@dataclass(frozen=True, slots=True)
class Entry:
    """One act."""

    id: str
    at_ms: int
    person_id: str | None
    """Who did it; None for somebody who was not signed in."""
    action: str
    """For example `people.invited`, `session.refused`, `files.exported`."""
    subject: str
    """The id of what it was done to, where there is one."""
    detail: Mapping[str, Any]


def note(
    connection: Connection, person: Person | str | None, action: str, subject: str = "", **detail: str | int | bool
) -> None:
    """Add an act to the log; `detail` holds no secret."""
    who = person.id if isinstance(person, Person) else person
    row = {"id": new_id(), "at_ms": now_ms(), "person_id": who, "action": action, "subject": subject[:64]}
    connection.execute(insert(schema.audit_log).values(**row, detail=detail))


def listing(
    connection: Connection, person: Person, *, after: str = "", limit: int = 100, action: str = ""
) -> list[Entry]:
    """Acts from the newest to the oldest, those before the entry `after`; for admins."""
    people.require(person, "admin")
    table = schema.audit_log
    query = select(table).order_by(table.c.id.desc()).limit(limit)
    if after:
        query = query.where(table.c.id < after)
    if action:
        query = query.where(table.c.action == action)
    columns = ("id", "at_ms", "person_id", "action", "subject", "detail")
    return [Entry(**{name: getattr(row, name) for name in columns}) for row in connection.execute(query)]
