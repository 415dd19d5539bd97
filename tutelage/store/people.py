"""People of a workspace and their roles.

Leaves out: passwords, sessions, tokens and invitations (`tutelage.store.accounts`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from sqlalchemy import Connection, Row, insert, select

from tutelage.errors import ConflictError, NotAllowedError, NotFoundError
from tutelage.store import schema
from tutelage.store.ids import new_id, now_ms

Role = Literal["rater", "reviewer", "admin"]
ROLES: tuple[Role, ...] = ("rater", "reviewer", "admin")
"""Each may do all that those before it may."""

OWNER = "owner"
"""The setting that holds the id of the person who made the workspace."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who writes, judges, reviews or administers."""

    id: str
    name: str
    role: Role
    active: bool = True


def require(person: Person, role: Role) -> None:
    """Raise `NotAllowedError` unless `person` has at least `role`."""
    if not person.active or ROLES.index(person.role) < ROLES.index(role):
        raise NotAllowedError(f"{person.name} has the role {person.role}; this needs the role {role}")


def add_person(connection: Connection, name: str, role: Role, password_hash: str | None = None) -> Person:
    """A new person; `ConflictError` when the name is taken."""
    if connection.execute(select(schema.people.c.id).where(schema.people.c.name == name)).first():
        raise ConflictError(f"there is a person called '{name}' already; choose another name")
    person = Person(new_id(), name, role)
    connection.execute(
        insert(schema.people).values(
            id=person.id, name=name, role=role, password_hash=password_hash, active=True, created_ms=now_ms()
        )
    )
    return person


def person_named(connection: Connection, name: str) -> Person:
    """The person called `name`; `NotFoundError` when there is none."""
    row = connection.execute(select(schema.people).where(schema.people.c.name == name)).first()
    if row is None:
        raise NotFoundError(f"nobody here is called '{name}'; `tutelage people` lists everyone")
    return as_person(row)


def person_by_id(connection: Connection, id: str) -> Person:
    """The person with this id; `NotFoundError` when there is none."""
    row = connection.execute(select(schema.people).where(schema.people.c.id == id)).first()
    if row is None:
        raise NotFoundError(f"no person {id}")
    return as_person(row)


def acting(connection: Connection, name: str | None = None) -> Person:
    """Who acts at this terminal: the person called `name`, or the workspace's owner, whom `tutelage init` noted.

    Whoever can open the database file needs no password; the API asks for one.
    """
    if name:
        return person_named(connection, name)
    owner = connection.execute(select(schema.settings.c.value).where(schema.settings.c.name == OWNER)).scalar()
    if owner is None:
        raise NotFoundError("this workspace has no owner; say who you are by --by NAME")
    return person_by_id(connection, str(owner))


def everyone(connection: Connection) -> list[Person]:
    """All people, by name."""
    return [as_person(row) for row in connection.execute(select(schema.people).order_by(schema.people.c.name))]


def team(connection: Connection, *, after: str = "", limit: int = 100) -> list[Person]:
    """Everybody whose account is in use, by name, those behind the name `after`."""
    table = schema.people
    query = select(table).where(table.c.name > after, table.c.active).order_by(table.c.name).limit(limit)
    return [as_person(row) for row in connection.execute(query)]


def as_person(row: Row[tuple[object, ...]]) -> Person:
    """The person of a row of `people`."""
    return Person(row.id, row.name, cast(Role, row.role), bool(row.active))
