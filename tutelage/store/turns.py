"""Taking turns: work that must not be done by two at once, on a database that lets two write at once.

On SQLite a write has the database for itself, and there is nothing to do. On PostgreSQL the first takes a lock of the
transaction under a name, and the second waits until the first has committed; whatever it reads after that is what the
first left. Nobody who waits here may hold what the one before still needs: take a turn as the last thing that waits.

Leaves out: rows that are locked for themselves (`SELECT … FOR UPDATE`).
"""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection, func, select


def take_turn(connection: Connection, *name: str) -> None:
    """Wait until no other transaction has the turn of this name; it ends with the transaction."""
    if connection.dialect.name == "sqlite":
        return
    digest = hashlib.blake2b("\0".join(name).encode("utf-8"), digest_size=8).digest()
    connection.execute(select(func.pg_advisory_xact_lock(int.from_bytes(digest, signed=True))))
