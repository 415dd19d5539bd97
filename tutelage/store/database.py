"""The workspace's database: SQLite in a file of the workspace by default, PostgreSQL by its address.

`Store.read` and `Store.write` give a connection inside one transaction; every other function of this room and of
`tutelage.feedback` takes such a connection first, so that what belongs together is written together or not at all.
SQLite runs in WAL mode, syncs at every commit, and begins a write with BEGIN IMMEDIATE, so that two writers wait for
each other instead of failing halfway, each in its turn (`tutelage.store.write_turns`).

Leaves out: the tables (`tutelage.store.schema`), their migrations (`tutelage.store.migrate`), which address a workspace
has (`tutelage.store.address`), and what a database's errors mean (`tutelage.store.failures`).
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote
from weakref import WeakSet

from sqlalchemy import Connection, Engine, Pool, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tutelage.errors import StoreError, UnavailableError
from tutelage.store.address import (
    CONFIG_FILE,
    DATABASE_FILE,
    database_url,
    has_store,
    parse_url,
)
from tutelage.store.failures import explained, may_pass, shown
from tutelage.store.held_signals import held_back
from tutelage.store.write_turns import WriteTurns

__all__ = [
    "BUSY_TIMEOUT_SECONDS", "CONFIG_FILE", "DATABASE_FILE", "Store", "database_url", "has_store", "open_store",
    "parse_url",
]  # fmt: skip

BUSY_TIMEOUT_SECONDS = 30
CONNECT_TIMEOUT_SECONDS = 10
WAITS_SECONDS = (0.01, 0.03, 0.1, 0.3)
"""Before each new attempt of `Store.run`, more or less."""
MANY_ROWS = 1_000
"""So many new rows change what a quick way to read them is."""

_MODE = "tutelage_mode"
Mode = Literal["read", "write", "rebuild"]
T = TypeVar("T")


class Store:
    """One workspace's record. Threads and forked processes may share it; each `read` or `write` is a transaction."""

    def __init__(self, workspace: Path, url: URL) -> None:
        self.workspace = Path(workspace)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.url = url.set(database=str(Path(url.database or "").absolute())) if self.is_sqlite else url
        self.engine = _sqlite_engine(self.url) if self.is_sqlite else _postgres_engine(self.url)
        self._turns = self._new_turns()
        self._identity: tuple[int, int] | None = None
        _OPEN.add(self)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one state of the record throughout, and cannot change it."""
        with self._explaining("read"), self._transaction("read") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection whose changes are kept together when the block ends, or dropped together when it raises.

        Ctrl-C waits until it is done, unless the block is one that takes long (`write_long`). One write inside another
        waits for itself, and fails after `BUSY_TIMEOUT_SECONDS`.
        """
        with held_back(), self.write_long() as connection:
            yield connection

    @contextmanager
    def write_long(self) -> Iterator[Connection]:
        """As `write`, but Ctrl-C ends it at once: for what takes long and is followed by no other write."""
        with self._explaining("write"), self._transaction("write") as connection:
            yield connection

    @contextmanager
    def rebuild(self) -> Iterator[Connection]:
        """As `write`, for changes of the tables themselves: references are checked at the end, not row by row."""
        with self._explaining("rebuild"), self._transaction("rebuild") as connection:
            yield connection
            if self.is_sqlite and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first()):
                raise StoreError(f"{shown(self.url)}: a row of {broken[0]} would point at nothing; nothing was changed")

    def run(self, work: Callable[[Connection], T]) -> T:
        """What `work` gives in a write of its own, done again from the start when other writers got in its way.

        `work` must do nothing but use the connection, for it may be called several times.
        """
        for seconds in WAITS_SECONDS:
            try:
                with held_back(), self._transaction("write") as connection:
                    return work(connection)
            except DBAPIError as error:
                if not may_pass(error):
                    raise explained(error, self.url, writing=True) or error from error
            time.sleep(seconds * random.uniform(0.5, 1.5))
        with self.write() as connection:
            return work(connection)

    def refresh_statistics(self, num_added: int) -> None:
        """Have the database look at its tables anew where many rows came, so that its plans fit their new size.

        PostgreSQL does so by itself after a minute or so, SQLite never. Where it cannot, plans stay as they were.
        """
        if num_added < MANY_ROWS:
            return
        with suppress(DBAPIError, UnavailableError), self.write() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("PRAGMA analysis_limit=1000")
            connection.exec_driver_sql("ANALYZE")

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self, mode: Mode) -> Iterator[Connection]:
        if not self.is_sqlite:
            level: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            with self.engine.connect() as plain:
                connection = plain.execution_options(**level) if mode == "read" else plain
                with connection.begin():
                    yield connection
            return
        self._check_file()
        with self._turn(mode), self.engine.connect() as plain:
            connection = plain.execution_options(**{_MODE: mode})
            with connection.begin():
                yield connection

    @contextmanager
    def _turn(self, mode: Mode) -> Iterator[None]:
        """Writers queue (`tutelage.store.write_turns`), which is fair; in SQLite they would poll."""
        if mode == "read":
            yield
            return
        with self._turns.turn(BUSY_TIMEOUT_SECONDS) as came:
            if not came:
                raise UnavailableError(
                    f"{shown(self.url)} is busy: another write has taken over {BUSY_TIMEOUT_SECONDS} seconds"
                )
            yield

    def _new_turns(self) -> WriteTurns:
        return WriteTurns(Path(str(self.url.database)) if self.is_sqlite else None)

    def _check_file(self) -> None:
        """Raise unless the file is there, and still the one that was opened first.

        Writing into a file that was removed succeeds, and everything written is gone with the last connection.
        """
        try:
            found = os.stat(str(self.url.database))
        except FileNotFoundError as error:
            raise UnavailableError(
                f"{self.url.database} is missing; restore it from a backup, or make it with `tutelage init`"
            ) from error
        identity = (found.st_dev, found.st_ino)
        self._identity = self._identity or identity
        if self._identity != identity:
            raise UnavailableError(f"{self.url.database} was replaced while it was in use; start this program again")

    @contextmanager
    def _explaining(self, mode: Mode) -> Iterator[None]:
        try:
            yield
        except PoolTimeoutError as error:
            raise UnavailableError(
                f"{shown(self.url)} is busy: every connection is in use; run fewer at once"
            ) from error
        except DBAPIError as error:
            if (plain := explained(error, self.url, writing=mode != "read")) is not None:
                raise plain from error
            raise

    def _forget_inherited(self) -> None:
        _INHERITED.append(self.engine.pool)
        self.engine.dispose(close=False)
        self._turns = self._new_turns()


_OPEN: WeakSet[Store] = WeakSet()
_INHERITED: list[Pool] = []
"""Connections that a fork brought along. They belong to the parent; collecting them would close them under it."""


def _after_fork() -> None:
    for store in list(_OPEN):
        store._forget_inherited()


os.register_at_fork(after_in_child=_after_fork)


def _sqlite_engine(url: URL) -> Engine:
    address = f"file:{quote(str(url.database))}?mode=rw"  # never makes an empty file where one is missing

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            address, uri=True, timeout=BUSY_TIMEOUT_SECONDS, check_same_thread=False, isolation_level=None
        )  # transactions begin where we say, not where the driver guesses

    engine = create_engine(url, creator=connect, pool_size=20, max_overflow=40, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "journal_size_limit=67108864"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get(_MODE)
    driver = connection.connection.dbapi_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.execute(f"PRAGMA query_only={'ON' if mode == 'read' else 'OFF'}")
    driver.execute(f"PRAGMA foreign_keys={'OFF' if mode == 'rebuild' else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if mode in ("write", "rebuild") else "BEGIN")


def _postgres_engine(url: URL) -> Engine:
    patience = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_TIMEOUT_SECONDS}
    try:
        return create_engine(
            url,
            pool_size=10,
            max_overflow=20,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
            connect_args=patience,
            hide_parameters=True,
        )
    except ImportError as error:
        raise StoreError(
            f"no driver for {shown(url)} ({error}); install it: pip install 'tutelage[postgresql]'"
        ) from error


def open_store(workspace: Path) -> Store:
    """The record of `workspace`, at the version that this program knows.

    Raises `StoreError` when there is none, when it cannot be reached, or when a newer Tutelage wrote it.
    """
    from tutelage.store.migrate import check_version

    if not has_store(workspace):
        raise StoreError(f"{workspace} has no record of people and their work yet; make it with `tutelage init`")
    store = Store(workspace, database_url(workspace))
    with ExitStack() as unless_read:
        unless_read.callback(store.close)
        check_version(store)
        unless_read.pop_all()
    return store
