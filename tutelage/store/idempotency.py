"""A request that makes something, said twice, makes it once: the second gets the first one's answer.

The key is the asker's own. It is written before the work is done and in the same transaction, so of two such requests
at one moment the second waits for the first. Labels have their own key (`tutelage.store.labels`).

Leaves out: answers that hold a secret (a new token, an invitation); those are never stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from tutelage.errors import ConflictError
from tutelage.store import schema
from tutelage.store.contents import content_hash
from tutelage.store.ids import now_ms
from tutelage.store.people import Person

KEPT_DAYS = 7


def once(connection: Connection, person: Person, key: str | None, asked: Any, work: Callable[[], Any]) -> Any:
    """What `work` gives, a JSON value; or what it gave when this person used this key before.

    Without a key the work is simply done. Raises `ConflictError` when the key was used for something else than
    `asked`.
    """
    if key is None:
        return work()
    table, request_hash = schema.idempotency, content_hash(asked)
    row = {"person_id": person.id, "request_key": key, "request_hash": request_hash, "created_ms": now_ms()}
    mine = (table.c.person_id == person.id) & (table.c.request_key == key)
    try:
        with connection.begin_nested():
            connection.execute(insert(table).values(**row))
    except IntegrityError:
        return _earlier(connection.execute(select(table).where(mine)).one(), request_hash)
    answer = work()
    connection.execute(update(table).where(mine).values(answer=answer))
    return answer


def _earlier(row: Any, request_hash: str) -> Any:
    if row.request_hash != request_hash:
        raise ConflictError(f"the key '{row.request_key}' was used for another request; use a new one")
    return row.answer


def forget_old(connection: Connection) -> None:
    """Drop the answers that are older than `KEPT_DAYS` days."""
    table = schema.idempotency
    connection.execute(delete(table).where(table.c.created_ms < now_ms() - KEPT_DAYS * 86_400_000))
