"""Bring a database to the version of its tables that this program knows.

Leaves out: the steps themselves (`tutelage/store/migrations/versions`).
"""

from __future__ import annotations

from tutelage.store.database import Store
from tutelage.store.schema import metadata


def check_version(store: Store) -> None:
    """Raise `StoreError` when the database is newer or older than this program."""


def upgrade(store: Store) -> None:
    """Make or update the tables."""
    metadata.create_all(store.engine)
