"""The workspace's database: SQLite in a file of the workspace by default, PostgreSQL by its address.

`Store.read` and `Store.write` give a connection inside one transaction; every other function of this room and of
`tutelage.feedback` takes such a connection first, so that what belongs together is written together or not at all.
SQLite runs in WAL mode, syncs at every commit, and begins a write with BEGIN IMMEDIATE, so that two writers wait for
each other instead of failing halfway.

Leaves out: the tables (`tutelage.store.schema`) and their migrations (`tutelage.store.migrate`).
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from tutelage.errors import StoreError

DATABASE_FILE = "tutelage.db"
CONFIG_FILE = "workspace.json"
BUSY_TIMEOUT_SECONDS = 30
_WRITE = "tutelage_write"


class Store:
    """One workspace's record. Threads may share it; each `read` or `write` is a transaction of its own."""

    def __init__(self, workspace: Path, url: URL) -> None:
        self.workspace = Path(workspace)
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.engine = _engine(url)
        self._writing = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one state of the record throughout."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection whose changes are kept together when the block ends, or dropped together when it raises."""
        if not self.is_sqlite:
            with self.engine.begin() as connection:
                yield connection
            return
        with self._writing, self.engine.connect() as plain:  # waiting here is fair; waiting in SQLite is polling
            connection = plain.execution_options(**{_WRITE: True})
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _engine(url: URL) -> Engine:
    try:
        if url.get_backend_name() != "sqlite":
            return create_engine(
                url, pool_size=10, max_overflow=20, pool_pre_ping=True, isolation_level="READ COMMITTED"
            )
        engine = create_engine(
            url,
            pool_size=20,
            max_overflow=40,
            connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise StoreError(f"no driver for {_shown(url)}: {error}; pip install 'tutelage[postgresql]'") from error
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def database_url(workspace: Path) -> URL:
    """Where the record of `workspace` is kept: TUTELAGE_DATABASE, what `tutelage init` noted, or the SQLite file."""
    given = os.environ.get("TUTELAGE_DATABASE") or _noted(workspace)
    return parse_url(given) if given else URL.create("sqlite", database=str(workspace / DATABASE_FILE))


def parse_url(text: str) -> URL:
    """The address of a database; `StoreError` for one that is none or of another kind."""
    try:
        url = make_url(text)
        name = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        raise StoreError(f"--database: not an address of a database ({error}); for example {_EXAMPLE}") from error
    if name not in ("sqlite", "postgresql"):
        raise StoreError(f"--database: {name} is not supported; use SQLite (leave it out) or {_EXAMPLE}")
    return url


_EXAMPLE = "postgresql+psycopg://user:password@host/database"


def _noted(workspace: Path) -> str:
    try:
        return str(json.loads((workspace / CONFIG_FILE).read_text(encoding="utf-8")).get("database") or "")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{workspace / CONFIG_FILE} cannot be read ({error}); restore it, or run `tutelage init`"
        ) from error


def has_store(workspace: Path) -> bool:
    """Whether `tutelage init` was run here, or a database is named by the environment."""
    named = bool(os.environ.get("TUTELAGE_DATABASE"))
    return named or (workspace / CONFIG_FILE).is_file() or (workspace / DATABASE_FILE).is_file()


def open_store(workspace: Path) -> Store:
    """The record of `workspace`, at the version that this program knows.

    Raises `StoreError` when there is none, when it cannot be reached, or when a newer Tutelage wrote it.
    """
    if not has_store(workspace):
        raise StoreError(f"{workspace} has no record of people and their work yet; make it with `tutelage init`")
    store = Store(workspace, database_url(workspace))
    if store.is_sqlite and not Path(store.url.database or "").is_file():
        raise StoreError(f"{store.url.database} is missing; restore it from a backup, or make it with `tutelage init`")
    from tutelage.store.migrate import check_version

    with reachable(store):
        check_version(store)
    return store


@contextmanager
def reachable(store: Store) -> Iterator[None]:
    """Turn the driver's errors on first contact into one line that says what to do."""
    try:
        yield
    except OperationalError as error:
        raise StoreError(f"cannot reach the database {_shown(store.url)}: {_first_line(error)}") from error
    except DBAPIError as error:
        raise StoreError(f"{_shown(store.url)} is not a database of Tutelage: {_first_line(error)}") from error


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().splitlines()[0]
