"""Passwords: argon2id hashes, their limits, and slowing down whoever guesses.

An attempt is written down before the password is looked at and taken back when it was right, so that many attempts at
once are counted too. An unknown name costs the same work as a known one. Few passwords are hashed at the same time:
each takes 64 MiB.

Leaves out: what a right password opens (`tutelage.store.accounts`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, delete, func, insert, select, update

from tutelage.errors import DataError, TooManyError
from tutelage.store import schema
from tutelage.store.ids import new_id, now_ms
from tutelage.store.secret import SECRET

MIN_CHARACTERS, MAX_CHARACTERS = 10, 1000
MAX_FAILURES, FAILURE_MINUTES = 5, 15
HASHES_AT_ONCE, HASH_WAIT_SECONDS = 2, 20

_hasher = PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4, type=Type.ID)  # RFC 9106, the smaller setting
_hashing = threading.BoundedSemaphore(HASHES_AT_ONCE)


def hash_password(password: str) -> str:
    """The argon2id hash of a new password; `DataError` when it is too short or too long."""
    check_password(password)
    with _one_of_few():
        return _hasher.hash(password)


def check_password(password: str) -> None:
    """Raise `DataError` unless the length is within the limits and the text can be encoded."""
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        limits = f"{MIN_CHARACTERS} to {MAX_CHARACTERS}"
        raise DataError(f"{len(password)} characters, and a password has {limits}", field="password")
    if any("\ud800" <= character <= "\udfff" for character in password):
        raise DataError("holds half a character (a lone surrogate); type it again", field="password")


def is_right(stored: str | None, password: str) -> bool:
    """Whether `password` is the one of this hash; as slow for a person without one, and then False."""
    with _one_of_few():
        try:
            _hasher.verify(stored or _nobodys(), password[:MAX_CHARACTERS])
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False
    return stored is not None and len(password) <= MAX_CHARACTERS


def is_outdated(stored: str) -> bool:
    """Whether the hash was made with other settings than a new one would be."""
    return _hasher.check_needs_rehash(stored)


def store_hash(connection: Connection, person_id: str, password_hash: str) -> None:
    """Make this the hash of the person's password."""
    connection.execute(update(schema.people).where(schema.people.c.id == person_id).values(password_hash=password_hash))


@cache
def _nobodys() -> str:
    return _hasher.hash("the password of nobody")


@contextmanager
def _one_of_few() -> Iterator[None]:
    if not _hashing.acquire(timeout=HASH_WAIT_SECONDS):
        raise TooManyError(f"more people are signing in than {HASHES_AT_ONCE} at once; try again in a minute")
    try:
        yield
    finally:
        _hashing.release()


def note_attempt(connection: Connection, name: str) -> None:
    """Write down that somebody tries to sign in as `name`; `TooManyError` after too many failures of late."""
    table, now = schema.sign_in_failures, now_ms()
    _one_at_a_time(connection)
    connection.execute(delete(table).where(table.c.at_ms < now - FAILURE_MINUTES * 60_000))
    of_late = select(func.count(), func.min(table.c.at_ms)).where(table.c.name == name)
    count, first = connection.execute(of_late).one()
    if count >= MAX_FAILURES:
        wait = max(1, -(-(first + FAILURE_MINUTES * 60_000 - now) // 60_000))
        raise TooManyError(
            f"{count} failed attempts to sign in as '{name}' in {FAILURE_MINUTES} minutes, and the limit is "
            f"{MAX_FAILURES}; wait {wait} minutes, or ask an admin to set a new password"
        )
    connection.execute(insert(table).values(id=new_id(), name=name, at_ms=now))


def forget_attempts(connection: Connection, name: str) -> None:
    """The attempts for this name count no more: one was right, or an admin has set a new password."""
    connection.execute(delete(schema.sign_in_failures).where(schema.sign_in_failures.c.name == name))


def _one_at_a_time(connection: Connection) -> None:
    """Let attempts queue up, so that none is counted before another is written; SQLite's writers do so anyway."""
    connection.execute(select(schema.settings.c.name).where(schema.settings.c.name == SECRET).with_for_update())
