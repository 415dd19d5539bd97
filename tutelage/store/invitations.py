"""Invitations, the only way to an account: single use, expiring, with the role they give.

The token is shown once, when it is made; the record holds its keyed hash. Sign-up without one does not exist.

Leaves out: the address that an invitation is opened at, which is the server's.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import Connection, Row, insert, select, update

from tutelage.errors import ConflictError, DataError, NotFoundError
from tutelage.store import audit, passwords, people, schema
from tutelage.store.ids import new_id, now_ms
from tutelage.store.people import Person, Role
from tutelage.store.secret import hashed, new_token, secret

PREFIX = "inv_"
DEFAULT_DAYS, MAX_DAYS = 7, 90
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation as admins see it; the token is not part of it."""

    id: str
    role: Role
    note: str
    """Whom it is for, in the admin's own words."""
    created_by: str
    created_ms: int
    expires_ms: int
    for_person: str | None = None
    """Somebody who is here already and is to set a password; None for one that makes a new person."""
    accepted_by: str | None = None
    accepted_ms: int | None = None
    revoked_ms: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can still be accepted."""
        return self.accepted_ms is None and self.revoked_ms is None and self.expires_ms > now_ms()


COLUMNS = tuple(field.name for field in fields(Invitation))


def invite(
    connection: Connection, person: Person, role: Role, *, note: str = "", days: int = DEFAULT_DAYS
) -> tuple[Invitation, str]:
    """A new invitation and its token, which is shown only now; for admins."""
    people.require(person, "admin")
    return _add(connection, person, role, note, days, None)


def invite_to_set_password(
    connection: Connection, by: Person, person: Person, *, days: int = DEFAULT_DAYS
) -> tuple[Invitation, str]:
    """An invitation for somebody who is here already to set a password; earlier ones of theirs are revoked."""
    if by.id != person.id:
        people.require(by, "admin")
    table = schema.invitations
    earlier = (table.c.for_person == person.id) & table.c.accepted_ms.is_(None) & table.c.revoked_ms.is_(None)
    connection.execute(update(table).where(earlier).values(revoked_ms=now_ms()))
    return _add(connection, by, person.role, "to set a password", days, person.id)


def _add(
    connection: Connection, by: Person, role: Role, note: str, days: int, for_person: str | None
) -> tuple[Invitation, str]:
    _check(role, note, days)
    token, now = new_token(PREFIX), now_ms()
    made = Invitation(new_id(), role, note, by.id, now, now + days * DAY_MS, for_person)
    row = {name: getattr(made, name) for name in COLUMNS} | {"token_hash": hashed(secret(connection), token)}
    connection.execute(insert(schema.invitations).values(**row))
    audit.note(connection, by, "people.invited", made.id, role=role)
    return made, token


def _check(role: Role, note: str, days: int) -> None:
    if role not in people.ROLES:
        raise DataError(f"{role!r} is none of {', '.join(people.ROLES)}", field="role")
    if not 1 <= days <= MAX_DAYS:
        raise DataError(f"{days} is outside 1 to {MAX_DAYS}", field="days")
    if len(note) > 200:
        raise DataError(f"{len(note)} characters, and the limit is 200", field="note")


def accept_invitation(connection: Connection, token: str, name: str, password: str) -> Person:
    """The new person that this invitation makes, or the one it was for with their password set.

    Raises `NotFoundError` for a token that was never made, was used, revoked or has run out, `DataError` for a name
    or password that cannot be, and `ConflictError` for a name that is taken.
    """
    return accept_with_hash(connection, token, name, passwords.hash_password(password))


def accept_with_hash(connection: Connection, token: str, name: str, password_hash: str) -> Person:
    """As `accept_invitation`, with the password hashed before: hashing is slow, and no transaction should wait."""
    found = find_open(connection, token)
    person = _person_of(connection, found, name, password_hash)
    table = schema.invitations
    still_open = (table.c.id == found.id) & table.c.accepted_ms.is_(None)
    change = update(table).where(still_open).values(accepted_by=person.id, accepted_ms=now_ms())
    if connection.execute(change).rowcount != 1:
        raise ConflictError("this invitation was accepted at the same moment; ask for another one")
    audit.note(connection, person, "people.accepted", found.id, role=person.role)
    return person


def find_open(connection: Connection, token: str) -> Invitation:
    """The invitation of this token; `NotFoundError` unless it can still be accepted."""
    table = schema.invitations
    row = connection.execute(select(table).where(table.c.token_hash == hashed(secret(connection), token))).first()
    if row is None or not (found := _invitation(row)).is_open:
        raise NotFoundError("this invitation is not known, was used, was revoked or has run out; ask for a new one")
    return found


def _person_of(connection: Connection, found: Invitation, name: str, password_hash: str) -> Person:
    if found.for_person is None:
        return people.add_person(connection, checked_name(name), found.role, password_hash)
    person = people.person_by_id(connection, found.for_person)
    if not person.active:
        raise NotFoundError(f"the account of {person.name} is out of use; ask an admin")
    if name and name != person.name:
        raise DataError(f"this invitation is for '{person.name}'; leave the name out", field="name")
    passwords.store_hash(connection, person.id, password_hash)
    passwords.forget_attempts(connection, person.name)
    return person


def checked_name(name: str) -> str:
    """The name a person may have, without spaces around it; `DataError` for any other."""
    name = name.strip()
    if not 1 <= len(name) <= 200:
        raise DataError(f"{len(name)} characters, and a name has 1 to 200", field="name")
    if not name.isprintable():
        raise DataError("holds a character that cannot be shown; leave it out", field="name")
    return name


def listing(connection: Connection, person: Person, *, after: str = "", limit: int = 100) -> list[Invitation]:
    """Invitations from the oldest, those after the id `after`; for admins."""
    people.require(person, "admin")
    table = schema.invitations
    query = select(table).where(table.c.id > after).order_by(table.c.id).limit(limit)
    return [_invitation(row) for row in connection.execute(query)]


def revoke(connection: Connection, person: Person, invitation_id: str) -> None:
    """An invitation can be accepted no more; for admins. `NotFoundError` unless it is open."""
    people.require(person, "admin")
    table = schema.invitations
    still_open = (table.c.id == invitation_id) & table.c.accepted_ms.is_(None) & table.c.revoked_ms.is_(None)
    if connection.execute(update(table).where(still_open).values(revoked_ms=now_ms())).rowcount != 1:
        raise NotFoundError(f"no open invitation {invitation_id}")
    audit.note(connection, person, "people.uninvited", invitation_id)


def _invitation(row: Row[tuple[object, ...]]) -> Invitation:
    return Invitation(**{name: getattr(row, name) for name in COLUMNS})
