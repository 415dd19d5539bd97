"""Accounts: signing in, changing a password or a role, and taking an account out of use.

`sign_in`, `accept` and `change_password` take the store instead of a connection: a password takes a tenth of a second
to check, on purpose, and no other writer should wait for that.

Leaves out: what a session or token is (`tutelage.store.sessions`) and how an account begins
(`tutelage.store.invitations`).
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, func, select, update

from tutelage.errors import ConflictError, DataError, NotAllowedError, SignInError
from tutelage.store import audit, invitations, passwords, people, schema, sessions
from tutelage.store.database import Store
from tutelage.store.people import Person, Role
from tutelage.store.sessions import Opened

MAX_NAME = 200


def sign_in(store: Store, name: str, password: str) -> tuple[Person, Opened]:
    """The person with this name and password, and a new session of theirs.

    Raises `SignInError`, the same for an unknown name and for a wrong password, and `TooManyError` after
    `passwords.MAX_FAILURES` failures in `passwords.FAILURE_MINUTES` minutes.
    """
    name = name.strip()[:MAX_NAME]
    with store.write() as connection:
        passwords.note_attempt(connection, name)
        person, stored = _account(connection, name)
    right = passwords.is_right(stored, password)
    if person is None or stored is None or not right:
        with store.write() as connection:
            audit.note(connection, None, "session.refused", person.id if person else "")
        raise SignInError("the name or the password is wrong; an admin can set a new password")
    newer = passwords.hash_password(password) if passwords.is_outdated(stored) else None
    with store.write() as connection:
        return person, _enter(connection, person, stored, newer)


def _account(connection: Connection, name: str) -> tuple[Person | None, str | None]:
    """The active person of this name and the hash of their password."""
    table = schema.people
    row = connection.execute(select(table).where(table.c.name == name, table.c.active)).first()
    return (None, None) if row is None else (people.as_person(row), row.password_hash)


def _enter(connection: Connection, person: Person, checked: str, newer: str | None) -> Opened:
    _, stored = _account(connection, person.name)
    if stored != checked:  # changed, or the account was closed, while the password was being checked
        raise SignInError("the password was changed at this moment; sign in again")
    if newer is not None:
        passwords.store_hash(connection, person.id, newer)
    passwords.forget_attempts(connection, person.name)
    audit.note(connection, person, "session.opened")
    return sessions.open_session(connection, person)


def accept(store: Store, token: str, name: str, password: str) -> tuple[Person, Opened]:
    """Accept an invitation and sign in; as `invitations.accept_invitation`."""
    with store.read() as connection:
        invitations.find_open(connection, token)  # nobody without one makes this machine hash
    password_hash = passwords.hash_password(password)
    with store.write() as connection:
        person = invitations.accept_with_hash(connection, token, name, password_hash)
        sessions.end_sessions(connection, person.id)
        return person, sessions.open_session(connection, person)


def change_password(store: Store, person: Person, old: str, new: str, *, session_id: str | None = None) -> None:
    """Change one's own password; every other session of theirs ends.

    Raises `DataError` for a wrong old one and for a new one that cannot be, `TooManyError` as `sign_in` does.
    """
    passwords.check_password(new)
    with store.write() as connection:
        passwords.note_attempt(connection, person.name)
        _, stored = _account(connection, person.name)
    if not passwords.is_right(stored, old):
        raise DataError("the old password is wrong", field="old")  # whoever asks stays signed in
    password_hash = passwords.hash_password(new)
    with store.write() as connection:
        _replace_hash(connection, person, password_hash)
        sessions.end_sessions(connection, person.id, but=session_id)
        audit.note(connection, person, "password.changed", person.id)


def set_password(connection: Connection, by: Person, person: Person, password: str) -> None:
    """Set somebody's password; for admins, and for oneself at the terminal. Every session of theirs ends."""
    if by.id != person.id:
        people.require(by, "admin")
    _replace_hash(connection, person, passwords.hash_password(password))
    sessions.end_sessions(connection, person.id)
    audit.note(connection, by, "password.set", person.id)


def _replace_hash(connection: Connection, person: Person, password_hash: str) -> None:
    passwords.store_hash(connection, person.id, password_hash)
    passwords.forget_attempts(connection, person.name)


def has_password(connection: Connection, person: Person) -> bool:
    """Whether this person can sign in."""
    table = schema.people
    return connection.execute(select(table.c.password_hash).where(table.c.id == person.id)).scalar() is not None


def change_role(connection: Connection, by: Person, person: Person, role: Role) -> Person:
    """Give somebody another role; for admins. The last active admin stays one (`ConflictError`)."""
    people.require(by, "admin")
    if role not in people.ROLES:
        raise DataError(f"{role!r} is none of {', '.join(people.ROLES)}", field="role")
    if role != "admin":
        _keep_an_admin(connection, person)
    connection.execute(update(schema.people).where(schema.people.c.id == person.id).values(role=role))
    audit.note(connection, by, "people.role", person.id, role=role)
    return replace(person, role=role)


def set_active(connection: Connection, by: Person, person: Person, active: bool) -> Person:
    """Take an account out of use, or back into it; for admins. Sessions and API tokens end with it.

    What the person wrote and judged stays in the record.
    """
    people.require(by, "admin")
    if not active:
        if by.id == person.id:
            raise NotAllowedError("nobody takes their own account out of use; ask another admin")
        _keep_an_admin(connection, person)
        sessions.end_sessions(connection, person.id)
        sessions.revoke_tokens(connection, person.id)
    connection.execute(update(schema.people).where(schema.people.c.id == person.id).values(active=active))
    audit.note(connection, by, "people.activated" if active else "people.deactivated", person.id)
    return replace(person, active=active)


def deactivate(connection: Connection, by: Person, person: Person) -> Person:
    """Take an account out of use; as `set_active`."""
    return set_active(connection, by, person, False)


def _keep_an_admin(connection: Connection, person: Person) -> None:
    """Raise `ConflictError` when `person` is the only active admin; admins are locked until the transaction ends."""
    table = schema.people
    admins = select(table.c.id).where(table.c.role == "admin", table.c.active).with_for_update()
    if [row.id for row in connection.execute(admins)] == [person.id]:
        raise ConflictError(f"{person.name} is the last admin; make somebody else admin first")


def page(connection: Connection, person: Person, *, after: str = "", limit: int = 100) -> list[Person]:
    """People by id, those after `after`; raters see only themselves."""
    table = schema.people
    query = select(table).where(table.c.id > after).order_by(table.c.id).limit(limit)
    if person.role == "rater":
        query = query.where(table.c.id == person.id)
    return [people.as_person(row) for row in connection.execute(query)]


def num_admins(connection: Connection) -> int:
    """How many admins are active."""
    table = schema.people
    return connection.execute(select(func.count()).where(table.c.role == "admin", table.c.active)).scalar_one()
