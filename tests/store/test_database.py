"""The database: transactions, writers that wait for each other, and errors that say what to do."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from record import ADA, PEOPLE, Postgres
from sqlalchemy import Connection, event, func, insert, select, text, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, IntegrityError

from tutelage.errors import StoreError
from tutelage.store import database, schema
from tutelage.store.address import CONFIG_FILE, database_url, note_address, parse_url
from tutelage.store.database import Store, open_store
from tutelage.store.failures import explained, said
from tutelage.store.people import acting, add_person, everyone

SECRET = "s3cr3t-word"


def add_setting(connection: Connection, name: str) -> None:
    connection.execute(insert(schema.settings).values(name=name, value=1))


def num_settings(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(schema.settings)).scalar_one()


# --- transactions -----------------------------------------------------------------------------------------------------


def test_a_workspace_has_its_people_on_either_database(any_store: Store) -> None:
    with any_store.read() as connection:
        assert tuple(everyone(connection)) == PEOPLE
        assert acting(connection) == ADA


def test_a_write_that_raises_leaves_nothing(any_store: Store) -> None:
    def add_and_stop() -> None:
        with any_store.write() as connection:
            add_person(connection, "eve", "rater")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        add_and_stop()
    with any_store.read() as connection:
        assert len(everyone(connection)) == len(PEOPLE)


def test_a_read_sees_one_state_throughout_and_cannot_change_it(any_store: Store) -> None:
    with any_store.read() as connection:
        before = len(everyone(connection))
        with any_store.write() as other:
            add_person(other, "eve", "rater")
        assert len(everyone(connection)) == before
    with any_store.read() as connection:
        assert len(everyone(connection)) == before + 1
    with pytest.raises(DBAPIError), any_store.read() as connection:
        add_setting(connection, "from-a-read")
    with any_store.write() as connection:  # the same pooled connection may write again
        add_setting(connection, "from-a-write")


def test_ctrl_c_within_a_write_comes_when_it_is_done(any_store: Store) -> None:
    def press(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), any_store.write() as connection:  # noqa: PT012
        event.listen(connection, "after_cursor_execute", press)
        add_setting(connection, "a")
    with pytest.raises(KeyboardInterrupt):
        any_store.run(lambda connection: (add_setting(connection, "b"), press()))
    begun = time.monotonic()
    with any_store.write() as connection:
        add_setting(connection, "c")
    assert time.monotonic() - begun < database.BUSY_TIMEOUT_SECONDS / 2
    with any_store.read() as connection:
        assert {"a", "b", "c"} <= set(connection.execute(select(schema.settings.c.name)).scalars())


def test_a_long_write_ends_at_ctrl_c_and_leaves_nothing(any_store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), any_store.write_long() as connection:  # noqa: PT012
        add_setting(connection, "a")
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")
    with any_store.read() as connection:
        assert "a" not in connection.execute(select(schema.settings.c.name)).scalars().all()


def test_sqlite_syncs_every_commit_and_checks_references(store: Store) -> None:
    with store.write() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_only_the_owner_may_read_the_files(store: Store) -> None:
    with store.write() as connection:
        add_setting(connection, "one")
        names = {path.name for path in store.workspace.iterdir()}
        assert names == {f"tutelage.db{each}" for each in ("", "-wal", "-shm", "-next", "-turn")}
        assert {stat.S_IMODE(path.stat().st_mode) for path in store.workspace.iterdir()} == {0o600}


# --- several writers --------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from sqlalchemy import insert
from tutelage.store import schema
from tutelage.store.address import parse_url
from tutelage.store.database import Store
with Store(Path("."), parse_url(sys.argv[1])) as store:
    for number in range(25):
        store.run(lambda c: c.execute(insert(schema.settings).values(name=f"{sys.argv[2]}-{number}", value=number)))
"""


def test_two_processes_that_write_at_once_both_succeed(any_store: Store) -> None:
    before, url = num_settings(any_store), any_store.url.render_as_string(hide_password=False)
    running = [subprocess.Popen([sys.executable, "-c", WRITER, url, name], stderr=subprocess.PIPE) for name in "ab"]
    assert [process.communicate(timeout=300)[1] for process in running] == [b"", b""]
    assert num_settings(any_store) == before + 50


def test_a_write_that_lost_a_race_is_done_again(any_store: Store) -> None:
    """Both looked, found no such name, and added it: the second looks again and finds it."""
    both_looked, calls = threading.Barrier(2, timeout=60), []

    def add_or_find(connection: Connection) -> str:
        calls.append(threading.get_ident())
        if connection.execute(select(schema.settings.c.name).where(schema.settings.c.name == "one")).scalar():
            return "found"
        if not any_store.is_sqlite and len(calls) <= 2:  # SQLite lets one in at a time
            both_looked.wait()
        add_setting(connection, "one")
        return "added"

    results: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(any_store.run(add_or_find))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(results) == ["added", "found"]


def test_a_deadlock_ends_with_both_writes_done(postgres_store: Store) -> None:
    with postgres_store.write() as connection:
        add_setting(connection, "a")
        add_setting(connection, "b")
    both_hold_one, rounds = threading.Barrier(2, timeout=60), {"ab": 0, "ba": 0}

    def raise_both(connection: Connection, order: str) -> None:
        rounds[order] += 1
        for position, name in enumerate(order):
            row = schema.settings.c.name == name
            value = connection.execute(select(schema.settings.c.value).where(row).with_for_update()).scalar_one()
            connection.execute(update(schema.settings).where(row).values(value=value + 1))
            if position == 0 and rounds[order] == 1:
                both_hold_one.wait()

    threads = [
        threading.Thread(target=lambda order=order: postgres_store.run(lambda c: raise_both(c, order)))
        for order in ("ab", "ba")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    with postgres_store.read() as connection:
        values = connection.execute(select(schema.settings.c.value).where(schema.settings.c.name.in_(["a", "b"])))
        assert [row.value for row in values] == [3, 3]
    assert sum(rounds.values()) == 3  # one of the two was the victim, once


def test_a_mistake_is_not_repeated(any_store: Store) -> None:
    calls = []

    def wrong(connection: Connection) -> None:
        calls.append(1)
        connection.execute(insert(schema.sessions).values(
            id="x", person_id="nobody", token_hash="x", csrf_hash="x", created_ms=0, expires_ms=0
        ))  # fmt: skip

    with pytest.raises(IntegrityError):
        any_store.run(wrong)
    assert len(calls) == 1


def _write_in_a_fork(store: Store) -> None:
    store.run(lambda connection: add_setting(connection, "from-the-fork"))


def test_a_fork_takes_no_connection_of_its_parent(any_store: Store) -> None:
    """As a server does that loads the application before it starts its workers."""
    before = num_settings(any_store)
    with any_store._turn("write"):  # a thread of the parent is about to write
        child = multiprocessing.get_context("fork").Process(target=_write_in_a_fork, args=(any_store,))
        child.start()
    child.join(120)
    assert child.exitcode == 0
    with any_store.write() as connection:
        add_setting(connection, "from-the-parent")
    assert num_settings(any_store) == before + 2


# --- statistics -------------------------------------------------------------------------------------------------------


def test_the_database_looks_at_its_tables_anew_where_many_rows_came(any_store: Store) -> None:
    def expected(connection: Connection) -> int:
        """Rows of settings that a plan expects."""
        if any_store.is_sqlite:
            found = connection.execute(text("SELECT name FROM sqlite_master WHERE name = 'sqlite_stat1'")).first()
            told = "SELECT stat FROM sqlite_stat1 WHERE tbl = 'settings'"
            return int(connection.execute(text(told)).scalar_one().split()[0]) if found else -1
        return int(connection.execute(text("SELECT reltuples FROM pg_class WHERE relname = 'settings'")).scalar_one())

    with any_store.write() as connection:
        rows = [{"name": f"{number}", "value": 1} for number in range(database.MANY_ROWS)]
        connection.execute(insert(schema.settings), rows)
    any_store.refresh_statistics(database.MANY_ROWS - 1)
    with any_store.read() as connection:
        assert expected(connection) < database.MANY_ROWS / 2
    any_store.refresh_statistics(database.MANY_ROWS)
    with any_store.read() as connection:
        assert expected(connection) > database.MANY_ROWS / 2  # roughly: SQLite looks at some rows only


def test_statistics_that_cannot_be_taken_are_no_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.05)
    with store.write():
        store.refresh_statistics(database.MANY_ROWS)


# --- what cannot be opened --------------------------------------------------------------------------------------------


def failure(workspace: Path) -> str:
    with pytest.raises(StoreError) as caught:
        open_store(workspace)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def at(workspace: Path, address: str) -> Path:
    workspace.mkdir(exist_ok=True)
    note_address(workspace, parse_url(address))
    return workspace


def test_a_folder_without_a_record(empty_workspace: Path) -> None:
    assert "make it with `tutelage init`" in failure(empty_workspace)


def test_a_record_that_is_missing_is_not_made_anew(store: Store) -> None:
    store.close()
    note_address(store.workspace, None)
    os.remove(str(store.url.database))
    assert failure(store.workspace).endswith("restore it from a backup, or make it with `tutelage init`")
    assert not Path(str(store.url.database)).exists()


def test_a_file_that_is_no_database(empty_workspace: Path) -> None:
    empty_workspace.mkdir()
    (empty_workspace / "tutelage.db").write_bytes(
        b"a letter to my aunt, which is long enough to be read as a header" * 20
    )
    assert "is no SQLite database" in failure(empty_workspace)


def test_a_damaged_database(store: Store) -> None:
    store.close()
    path = Path(str(store.url.database))
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    content[100:4096] = b"\xff" * 3996
    path.write_bytes(content)
    assert "is damaged" in failure(store.workspace)


def test_an_empty_database_and_one_of_another_program(empty_workspace: Path) -> None:
    empty_workspace.mkdir()
    connection = sqlite3.connect(empty_workspace / "tutelage.db")
    assert "holds no record of Tutelage yet" in failure(empty_workspace)
    connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    connection.execute("INSERT INTO alembic_version VALUES ('ae1027a6acf')")
    connection.commit()
    assert "belongs to another program" in failure(empty_workspace)


def test_a_folder_in_place_of_the_database(empty_workspace: Path) -> None:
    (empty_workspace / "tutelage.db").mkdir(parents=True)
    assert "cannot be opened" in failure(at(empty_workspace, f"sqlite:///{empty_workspace / 'tutelage.db'}"))


def test_a_file_removed_or_replaced_while_it_is_open(store: Store) -> None:
    path = Path(str(store.url.database))
    assert num_settings(store) > 0
    shutil.copyfile(path, copy := path.with_suffix(".copy"))
    os.remove(path)
    with pytest.raises(StoreError, match="is missing"), store.write():
        pass
    os.replace(copy, path)
    with pytest.raises(StoreError, match="was replaced while it was in use"), store.write():
        pass


def test_a_full_disk(store: Store) -> None:
    def too_much(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # not below what there is
        connection.execute(insert(schema.settings).values(name="long", value="x" * 2_000_000))

    with pytest.raises(StoreError, match=r"the disk is full; nothing of this step was kept"):
        store.run(too_much)
    with pytest.raises(StoreError, match="the disk is full"), store.write() as connection:
        too_much(connection)


def test_a_database_that_may_only_be_read(store: Store) -> None:
    plain = sqlite3.connect(f"file:{store.url.database}?mode=ro", uri=True)
    with pytest.raises(sqlite3.OperationalError) as caught:
        plain.execute("DELETE FROM settings")
    error = explained(DBAPIError("", None, caught.value), store.url, writing=True)
    assert "check who owns it and whether its disk is mounted read-only" in str(error)


def test_another_program_that_holds_the_database(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.05)
    plain = sqlite3.connect(str(store.url.database), isolation_level=None)
    plain.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="is busy: another program"), store.write():
        pass
    with store._turn("write"), pytest.raises(StoreError, match="is busy: another write"), store.write():
        pass
    assert num_settings(store) > 0  # reading goes on


# --- PostgreSQL that cannot be reached --------------------------------------------------------------------------------


def test_a_host_that_is_not_there(empty_workspace: Path) -> None:
    message = failure(at(empty_workspace, f"postgresql://ada:{SECRET}@127.0.0.1:1/record"))
    assert message.startswith("postgresql+psycopg://ada:***@127.0.0.1:1/record cannot be reached")
    assert message.endswith("check that the server runs, and the port in the address")
    assert SECRET not in message


def test_a_host_name_that_nobody_knows(empty_workspace: Path) -> None:
    message = failure(at(empty_workspace, f"postgresql://ada:{SECRET}@no.such.host.invalid/record"))
    assert message.endswith("check the host in the address")
    assert SECRET not in message


def test_a_wrong_password(empty_workspace: Path, postgres_with_passwords: URL) -> None:
    wrong = postgres_with_passwords.set(username="ada", password=SECRET)
    message = failure(at(empty_workspace, wrong.render_as_string(hide_password=False)))
    assert "password authentication failed" in message
    assert message.endswith("check the user and the password in the address")
    assert SECRET not in message


@pytest.fixture
def postgres_with_passwords(postgres: Postgres) -> URL:
    """A database that asks the user `ada` for a password."""
    with postgres.control.connect() as connection:
        rules = Path(str(connection.execute(text("SHOW hba_file")).scalar()))
        if "ada" not in (kept := rules.read_text()):
            rules.write_text("local all ada scram-sha-256\n" + kept)
            connection.execute(text("CREATE ROLE ada LOGIN PASSWORD 'another-word'"))
            connection.execute(text("SELECT pg_reload_conf()"))
    return postgres.template


def test_a_database_that_does_not_exist(empty_workspace: Path, postgres: Postgres) -> None:
    missing = postgres.url.set(database="nothing_here").render_as_string(hide_password=False)
    assert "make the database with `createdb`" in failure(at(empty_workspace, missing))


def test_a_server_that_goes_away(postgres: Postgres, postgres_store: Store) -> None:
    def add_while_the_connection_dies(connection: Connection) -> None:
        process = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        with postgres.control.connect() as control:
            control.execute(text(f"SELECT pg_terminate_backend({process}, 10000)"))
        add_setting(connection, "lost")

    with pytest.raises(StoreError, match="whether this step was kept is not known"):
        postgres_store.run(add_while_the_connection_dies)
    postgres_store.run(lambda connection: add_setting(connection, "kept"))  # by a new connection


def test_a_missing_driver(empty_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    message = failure(at(empty_workspace, f"postgresql://ada:{SECRET}@host/record"))
    assert message.endswith("install it: pip install 'tutelage[postgresql]'")
    assert SECRET not in message


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        (f"ada:{SECRET}@host", "not an address of a database"),
        (f"postgresql://ada:{SECRET}@host:port/record", "not an address of a database"),
        (f"mysql://ada:{SECRET}@host/record", "mysql is not supported"),
        ("sqlite://", "a record in memory would be lost"),
        ("sqlite:///:memory:", "a record in memory would be lost"),
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(address: str, problem: str) -> None:
    with pytest.raises(StoreError, match=problem) as caught:
        parse_url(address)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"])
def test_every_name_of_postgresql_means_our_driver(scheme: str) -> None:
    assert parse_url(f"{scheme}://ada@host/record").drivername == "postgresql+psycopg"


def test_the_environment_wins_over_what_was_noted(empty_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at(empty_workspace, "postgresql://ada@host/noted")
    assert database_url(empty_workspace).database == "noted"
    monkeypatch.setenv("TUTELAGE_DATABASE", "postgresql://ada@host/environment")
    assert database_url(empty_workspace).database == "environment"


@pytest.mark.parametrize("content", ["{", "[]", "\x00", '"text"'])
def test_a_damaged_workspace_file_is_named(empty_workspace: Path, content: str) -> None:
    empty_workspace.mkdir()
    (empty_workspace / CONFIG_FILE).write_text(content)
    assert f"{CONFIG_FILE} cannot be read" in failure(empty_workspace)


def test_a_drivers_text_is_one_line_without_the_password() -> None:
    url = parse_url(f"postgresql://ada:{SECRET}@host/record")
    text = said(DBAPIError("", None, Exception(f"user ada\n  password {SECRET}\n" + "x" * 1000)), url)
    assert text.startswith("user ada password *** xxx")
    assert len(text) == 300


def test_an_error_of_the_program_keeps_what_people_wrote_to_itself(any_store: Store) -> None:
    with pytest.raises(IntegrityError) as caught, any_store.write() as connection:
        connection.execute(
            insert(schema.people).values(id=ADA.id, name="a private name", role="rater", active=True, created_ms=0)
        )
    assert "a private name" not in str(caught.value)
