"""The workspace's secret, and how a token is kept: as a keyed hash, so that whoever reads the database cannot use it.

Tokens are 256 random bits. They are looked up by their HMAC-SHA256 under the secret, so no comparison of a token with
another takes place, and the time an answer takes says nothing about how much of a token was right.

Leaves out: whose tokens they are (`tutelage.store.sessions`, `tutelage.store.invitations`).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from tutelage.store import schema

SECRET = "secret"
"""The setting that holds the workspace's secret, 64 hexadecimal digits."""


def secret(connection: Connection) -> bytes:
    """The workspace's secret; drawn at its first use, which needs a connection that may write."""
    kept = _kept(connection)
    if kept is None:
        try:
            with connection.begin_nested():
                connection.execute(insert(schema.settings).values(name=SECRET, value=secrets.token_hex(32)))
        except IntegrityError:  # another process was first
            pass
        kept = _kept(connection)
    return bytes.fromhex(str(kept))


def _kept(connection: Connection) -> str | None:
    value = connection.execute(select(schema.settings.c.value).where(schema.settings.c.name == SECRET)).scalar()
    return None if value is None else str(value)


def new_token(prefix: str = "") -> str:
    """256 random bits as text that may stand in an address."""
    return prefix + secrets.token_urlsafe(32)


def hashed(key: bytes, token: str) -> str:
    """What is stored of a token: its HMAC-SHA256 under the workspace's secret, 64 hexadecimal digits."""
    return hmac.new(key, token.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
