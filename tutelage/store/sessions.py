"""Who is asking: sessions of a browser, and API tokens of scripts. Both are long random texts kept as keyed hashes.

A session begins with a new token at every sign-in, so one that was known before (or planted) opens nothing. Its CSRF
token is made from the session's token and the workspace's secret: whoever can only send the cookie cannot know it.

Leaves out: passwords (`tutelage.store.passwords`), and cookies and headers, which are the server's.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, insert, select, update

from tutelage.errors import DataError, NotFoundError
from tutelage.store import audit, schema
from tutelage.store.ids import new_id, now_ms
from tutelage.store.people import Person, as_person
from tutelage.store.secret import hashed, new_token, secret

SESSION_DAYS = 14
TOKEN_PREFIX = "tut_"
MAX_TOKEN_DAYS = 3650
DAY_MS = 86_400_000
USED_EVERY_MS = 10 * 60_000
"""How exact `last_used_ms` is: writing at every request would make each one wait for the disk."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that was opened just now; neither text is stored."""

    session_id: str
    token: str
    csrf: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who showed a token."""

    person: Person
    session_id: str | None = None
    token_id: str | None = None
    csrf_hash: str | None = None
    """Of sessions: the hash of the CSRF token that an unsafe request must carry."""
    token_stale: bool = False
    """Of API tokens: whether the time of last use should be noted."""


@dataclass(frozen=True, slots=True)
class ApiToken:
    """An API token as its owner sees it; the token itself is not part of it."""

    id: str
    name: str
    created_ms: int
    expires_ms: int | None
    last_used_ms: int | None = None
    revoked_ms: int | None = None


# --- sessions ---------------------------------------------------------------------------------------------------------


def open_session(connection: Connection, person: Person) -> Opened:
    """A new session of this person."""
    key, token, now = secret(connection), new_token(), now_ms()
    opened = Opened(new_id(), token, csrf_of(key, token), now + SESSION_DAYS * DAY_MS)
    row = {"id": opened.session_id, "person_id": person.id, "created_ms": now, "expires_ms": opened.expires_ms}
    hashes = {"token_hash": hashed(key, token), "csrf_hash": hashed(key, opened.csrf)}
    connection.execute(insert(schema.sessions).values(**row, **hashes))
    return opened


def csrf_of(key: bytes, session_token: str) -> str:
    """The CSRF token of the session with this token."""
    return hashed(key, f"csrf:{session_token}")


def csrf_fits(key: bytes, caller: Caller, csrf: str) -> bool:
    """Whether `csrf` is the CSRF token of this session; takes as long for a wrong one."""
    return hmac.compare_digest(hashed(key, csrf), caller.csrf_hash or "")


def find_session(connection: Connection, key: bytes, token: str) -> Caller | None:
    """Whose session this is; None for one that is not known, has run out, was revoked, or of somebody not active."""
    row = _find(connection, schema.sessions, hashed(key, token))
    return None if row is None else Caller(as_person(row), session_id=row.own_id, csrf_hash=row.csrf_hash)


def end_session(connection: Connection, session_id: str) -> None:
    """The session opens nothing any more."""
    table = schema.sessions
    still = (table.c.id == session_id) & table.c.revoked_ms.is_(None)
    connection.execute(update(table).where(still).values(revoked_ms=now_ms()))


def end_sessions(connection: Connection, person_id: str, *, but: str | None = None) -> None:
    """End every session of a person, except the one they are in where it is given."""
    table = schema.sessions
    theirs = (table.c.person_id == person_id) & table.c.revoked_ms.is_(None) & (table.c.id != (but or ""))
    connection.execute(update(table).where(theirs).values(revoked_ms=now_ms()))


# --- API tokens -------------------------------------------------------------------------------------------------------


def add_token(connection: Connection, person: Person, name: str, days: int | None = None) -> tuple[ApiToken, str]:
    """A new API token of this person, and its text, which is shown only now; it never runs out without `days`."""
    if not 1 <= len(name.strip()) <= 200 or not name.isprintable():
        raise DataError("a token's name has 1 to 200 characters that can be shown", field="name")
    if days is not None and not 1 <= days <= MAX_TOKEN_DAYS:
        raise DataError(f"{days} is outside 1 to {MAX_TOKEN_DAYS}; leave it out for no end", field="days")
    text, now = new_token(TOKEN_PREFIX), now_ms()
    made = ApiToken(new_id(), name.strip(), now, None if days is None else now + days * DAY_MS)
    row = {"id": made.id, "person_id": person.id, "name": made.name, "created_ms": now, "expires_ms": made.expires_ms}
    connection.execute(insert(schema.api_tokens).values(**row, token_hash=hashed(secret(connection), text)))
    audit.note(connection, person, "token.made", made.id, name=made.name)
    return made, text


def find_token(connection: Connection, key: bytes, token: str) -> Caller | None:
    """Whose API token this is; None for one that is not known, has run out, was revoked, or of somebody not active."""
    if not token.startswith(TOKEN_PREFIX):
        return None
    row = _find(connection, schema.api_tokens, hashed(key, token))
    if row is None:
        return None
    stale = now_ms() - (row.last_used_ms or 0) > USED_EVERY_MS
    return Caller(as_person(row), token_id=row.own_id, token_stale=stale)


def note_use(connection: Connection, token_id: str) -> None:
    """The API token was used just now."""
    connection.execute(
        update(schema.api_tokens).where(schema.api_tokens.c.id == token_id).values(last_used_ms=now_ms())
    )


def tokens_of(connection: Connection, person: Person) -> list[ApiToken]:
    """The API tokens of this person, the oldest first, those revoked or run out included."""
    table = schema.api_tokens
    names = ("id", "name", "created_ms", "expires_ms", "last_used_ms", "revoked_ms")
    rows = connection.execute(select(table).where(table.c.person_id == person.id).order_by(table.c.id).limit(1000))
    return [ApiToken(**{name: getattr(row, name) for name in names}) for row in rows]


def revoke_token(connection: Connection, person: Person, token_id: str) -> None:
    """An API token of this person's opens nothing any more; an admin may revoke anybody's."""
    table = schema.api_tokens
    mine = (table.c.id == token_id) & table.c.revoked_ms.is_(None)
    if person.role != "admin":
        mine &= table.c.person_id == person.id
    if connection.execute(update(table).where(mine).values(revoked_ms=now_ms())).rowcount != 1:
        raise NotFoundError(f"no API token {token_id} of yours that is in force")
    audit.note(connection, person, "token.revoked", token_id)


def revoke_tokens(connection: Connection, person_id: str) -> None:
    """Revoke every API token of a person."""
    table = schema.api_tokens
    theirs = (table.c.person_id == person_id) & table.c.revoked_ms.is_(None)
    connection.execute(update(table).where(theirs).values(revoked_ms=now_ms()))


def _find(connection: Connection, table: Table, token_hash: str) -> Row[Any] | None:
    """The row of a token that is in force, joined with its person: one look in two indexes."""
    folk = schema.people
    own = [column for column in table.c if column.name not in ("id", "person_id", "name", "token_hash", "created_ms")]
    query = (
        select(folk.c.id, folk.c.name, folk.c.role, folk.c.active, table.c.id.label("own_id"), *own)
        .join(folk, folk.c.id == table.c.person_id)
        .where(table.c.token_hash == token_hash, table.c.revoked_ms.is_(None), folk.c.active)
        .where(table.c.expires_ms.is_(None) | (table.c.expires_ms > now_ms()))
    )
    return connection.execute(query).first()
