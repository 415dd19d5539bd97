"""Bring a database to the version of its tables that this program knows, and say so when it is another.

Every command asks for the version, so that takes one SELECT, and Alembic is imported only where tables change. A change
is one transaction on both databases: all of it, or nothing.

Leaves out: the steps themselves (`tutelage/store/migrations/versions`), and the backup that `tutelage upgrade` makes
first (`tutelage.workspace.setup`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, inspect, select, text, update
from sqlalchemy.exc import OperationalError, ProgrammingError

import tutelage
from tutelage.errors import StoreError
from tutelage.store import schema
from tutelage.store.database import Store
from tutelage.store.failures import shown

REVISION = "0003"
"""The newest step in `migrations/versions`: what this program reads and writes. Steps are numbered in order."""

MIGRATIONS = Path(__file__).with_name("migrations")
VERSION_TABLE = "alembic_version"
WRITTEN_BY = "schema"
"""The setting that says which Tutelage brought the tables to their revision."""

_ONE_UPGRADE = 0x7475_7465
"""PostgreSQL's advisory lock that lets one upgrade run at a time."""


def check_version(store: Store) -> None:
    """Raise `StoreError` when there are no tables, or when they are newer or older than this program."""
    found = current_revision(store)
    if found == REVISION:
        return
    if found is None:
        raise StoreError(f"{shown(store.url)} holds no record of Tutelage yet; make it with `tutelage init`")
    if found > REVISION:
        raise StoreError(f"{shown(store.url)} is {too_new(found, _writer(store))}")
    raise StoreError(
        f"{shown(store.url)} is at revision {found} and this Tutelage needs {REVISION}; "
        "run `tutelage upgrade`, which makes a backup first"
    )


def current_revision(store: Store) -> str | None:
    """The revision of the tables; None where there are none. `StoreError` where another program has its tables."""
    with store.read() as connection:
        try:
            found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
        except (OperationalError, ProgrammingError):  # no such table
            return None
    if found is not None and not (len(str(found)) == len(REVISION) and str(found).isdecimal()):
        raise StoreError(f"{shown(store.url)} belongs to another program; give Tutelage a database of its own")
    return None if found is None else str(found)


def too_new(revision: str, written_by: str | None) -> str:
    """What to do about tables or a backup from a later Tutelage, whose version is None where it is not known."""
    by, wanted = (f"Tutelage {written_by}", f"tutelage>={written_by}") if written_by else ("a later Tutelage", None)
    remedy = f"pip install '{wanted}'" if wanted else "pip install --upgrade tutelage"
    return (
        f"at revision {revision}, written by {by}; this one, {tutelage.__version__}, knows {REVISION}; "
        f"install that version: {remedy}"
    )


def _writer(store: Store) -> str | None:
    """The version of Tutelage that brought the tables to their revision."""
    with store.read() as connection:
        noted = connection.execute(select(schema.settings.c.value).where(schema.settings.c.name == WRITTEN_BY)).scalar()
    return str(noted["tutelage"]) if isinstance(noted, dict) and noted.get("tutelage") else None


def upgrade(store: Store, migrations: Path | None = None) -> None:
    """Make the tables, or bring them to the newest revision; nothing is changed when a step fails."""
    if store.is_sqlite:
        create_file(Path(str(store.url.database)))
    with store.rebuild() as connection:
        upgrade_within(connection, migrations)


def create_file(path: Path) -> None:
    """Make an empty database file that nobody else may read, unless it is there."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return


def upgrade_within(connection: Connection, migrations: Path | None = None, revision: str = "head") -> None:
    """Upgrade in the caller's transaction, which comes from `Store.rebuild`; by our own steps where none are named."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ONE_UPGRADE})"))
    _refuse_strangers(connection)
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(migrations or MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, revision)
    reached = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    _note_writer(connection, {"revision": reached, "tutelage": tutelage.__version__})


def _refuse_strangers(connection: Connection) -> None:
    """Tables of the same names that are not ours are not built upon."""
    there = set(inspect(connection).get_table_names())
    if VERSION_TABLE not in there and (strange := sorted(there & set(schema.metadata.tables))):
        raise StoreError(
            f"the database has a table '{strange[0]}' that Tutelage did not make; give it a database of its own"
        )


def _note_writer(connection: Connection, written_by: dict[str, Any]) -> None:
    table = schema.settings
    mine = table.c.name == WRITTEN_BY
    if connection.execute(update(table).where(mine).values(value=written_by)).rowcount == 0:
        connection.execute(insert(table).values(name=WRITTEN_BY, value=written_by))
