"""Migrations: the tables they make are those the program uses, old rows survive, and a newer record is not touched.

The step after the newest is that of `next_step.py`: what it does to tables with rows in them, real steps will do.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from next_step import NEXT, with_next_step
from record import ADA, BO, Postgres, fill
from sqlalchemy import CheckConstraint, Column, event, insert, inspect, select, text, update
from sqlalchemy.engine import URL
from sqlalchemy.schema import CreateIndex

import tutelage
from tutelage.errors import StoreError
from tutelage.store import migrate, schema
from tutelage.store.contents import add_prompt
from tutelage.store.database import Store, open_store
from tutelage.types import Message


def add_an_answer(store: Store) -> None:
    with store.write() as connection:
        prompt = add_prompt(connection, [Message("user", "Why?")], reference="Because.", author_id=BO.id)
        connection.execute(insert(schema.answers).values(id="a", prompt_id=prompt, text="So.", created_ms=1))


ORDERED = {
    str(index.name): index
    for table in schema.metadata.tables.values()
    for index in table.indexes
    if any(not isinstance(part, Column) for part in index.expressions)
}
"""Indexes with a direction or an expression, which Alembic cannot read back from SQLite."""

PARTIAL = {
    str(index.name): index
    for table in schema.metadata.tables.values()
    for index in table.indexes
    if index.dialect_options["sqlite"]["where"] is not None
}
"""Indexes of some of the rows, whose condition Alembic does not compare."""


def test_the_migrated_tables_are_those_of_the_program(any_store: Store) -> None:
    def comparable(_: object, name: str | None, kind: str, *__: object) -> bool:
        return not (kind == "index" and any_store.is_sqlite and name in ORDERED)

    with any_store.rebuild() as connection:
        options = {"compare_type": True, "include_object": comparable}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, schema.metadata) == []


def test_the_migrated_tables_have_the_programs_checks(any_store: Store) -> None:
    """What Alembic does not compare: CHECK constraints, and their names."""
    with any_store.read() as connection:
        found = inspect(connection)
        for name, table in schema.metadata.tables.items():
            ours = {str(rule.name) for rule in table.constraints if isinstance(rule, CheckConstraint)}
            assert {rule["name"] for rule in found.get_check_constraints(name)} == ours


def test_the_migrated_indexes_have_the_programs_direction_and_condition(store: Store) -> None:
    assert ORDERED
    assert PARTIAL
    with store.read() as connection:
        for name, index in (ORDERED | PARTIAL).items():
            found = connection.execute(
                text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": name}
            ).scalar()
            assert found == str(CreateIndex(index).compile(connection))


def test_the_migrated_indexes_have_the_programs_condition_on_postgresql(postgres_store: Store) -> None:
    with postgres_store.read() as connection:
        for index in PARTIAL.values():
            found = connection.execute(text(f"SELECT pg_get_indexdef('{index.name}'::regclass)")).scalar_one()
            wanted = re.sub(r"[()]", "", str(index.dialect_options["postgresql"]["where"]))
            assert re.sub(r"[()]|::\w+", "", found).split(" WHERE ")[1] == wanted


def test_the_newest_step_is_the_one_the_program_knows() -> None:
    script = ScriptDirectory(str(migrate.MIGRATIONS))
    assert script.get_current_head() == migrate.REVISION
    assert [step.revision for step in script.walk_revisions()] == [
        f"{number:04d}" for number in range(int(migrate.REVISION), 0, -1)
    ]


def test_the_version_is_one_select_without_alembic(any_store: Store) -> None:
    asked: list[str] = []
    event.listen(any_store.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    migrate.check_version(any_store)
    assert [statement for statement in asked if statement != "BEGIN"] == ["SELECT version_num FROM alembic_version"]
    code = "import sys, tutelage.store.migrate, tutelage.store.database; print('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_upgrading_again_changes_nothing(any_store: Store) -> None:
    add_an_answer(any_store)
    migrate.upgrade(any_store)
    migrate.check_version(any_store)
    with any_store.read() as connection:
        assert connection.execute(select(schema.answers.c.text)).scalar() == "So."


def test_a_step_keeps_every_row(any_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_an_answer(any_store)
    migrations = with_next_step(tmp_path / "migrations")
    monkeypatch.setattr(migrate, "REVISION", NEXT)
    with pytest.raises(StoreError, match="run `tutelage upgrade`, which makes a backup first"):
        migrate.check_version(any_store)
    migrate.upgrade(any_store, migrations)
    migrate.check_version(any_store)
    with any_store.read() as connection:
        assert connection.execute(text("SELECT nickname FROM people WHERE name = 'ada'")).scalar() == "-"
        both = select(schema.prompts.c.reference, schema.answers.c.text).join(schema.answers)
        assert connection.execute(both).all() == [("Because.", "So.")]
    with pytest.raises(Exception, match=r"(?i)foreign key"), any_store.write() as connection:  # still looked after
        connection.execute(insert(schema.answers).values(id="b", prompt_id="none", text="", created_ms=1))


def test_a_step_that_fails_changes_nothing(any_store: Store, tmp_path: Path) -> None:
    migrations = with_next_step(tmp_path / "migrations", more="op.execute('SELECT no_such_column FROM people')")
    with pytest.raises(Exception, match="no_such_column"):
        migrate.upgrade(any_store, migrations)
    migrate.check_version(any_store)
    with any_store.read() as connection, pytest.raises(Exception, match="nickname"):
        connection.execute(text("SELECT nickname FROM people"))


def test_a_step_that_would_break_a_reference_changes_nothing(store: Store, tmp_path: Path) -> None:
    add_an_answer(store)
    migrations = with_next_step(tmp_path / "migrations", more="op.execute('DELETE FROM prompts')")
    with pytest.raises(StoreError, match="a row of answers would point at nothing; nothing was changed"):
        migrate.upgrade(store, migrations)
    migrate.check_version(store)


def test_a_newer_record_names_the_version_to_install(
    any_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tutelage.__version__
    monkeypatch.setattr(tutelage, "__version__", "7.1.0")
    migrate.upgrade(any_store, with_next_step(tmp_path / "migrations"))
    monkeypatch.setattr(tutelage, "__version__", ours)
    with pytest.raises(StoreError) as caught:
        open_store(any_store.workspace)
    assert f"at revision {NEXT}, written by Tutelage 7.1.0; this one, {ours}, knows {migrate.REVISION}" in str(
        caught.value
    )
    assert str(caught.value).endswith("pip install 'tutelage>=7.1.0'")


def test_a_newer_record_that_does_not_say_who_wrote_it(store: Store) -> None:
    with store.write() as connection:
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{NEXT}'"))
        connection.execute(update(schema.settings).where(schema.settings.c.name == "schema").values(value="?"))
    with pytest.raises(StoreError, match="written by a later Tutelage"):
        migrate.check_version(store)


@pytest.mark.parametrize("revision", [f"{number:04d}" for number in range(1, int(NEXT))])
def test_every_earlier_revision_can_be_upgraded(revision: str, tmp_path: Path) -> None:
    """With people in it. The newest is among them, for it is what the next one will be upgraded from."""
    url = URL.create("sqlite", database=str(tmp_path / "tutelage.db"))
    migrate.create_file(tmp_path / "tutelage.db")
    with Store(tmp_path, url) as old:
        with old.rebuild() as connection:
            migrate.upgrade_within(connection, revision=revision)
            connection.execute(
                text("INSERT INTO people (id, name, role, active, created_ms) VALUES ('x', 'eve', 'rater', true, 1)")
            )
        migrate.upgrade(old)
        migrate.check_version(old)
        with old.read() as connection:
            assert connection.execute(select(schema.people.c.name)).scalars().all() == ["eve"]


def test_tables_of_the_same_name_are_not_built_upon(tmp_path: Path, postgres: Postgres) -> None:
    migrate.create_file(tmp_path / "tutelage.db")
    for url in (URL.create("sqlite", database=str(tmp_path / "tutelage.db")), postgres.new_database()):
        with Store(tmp_path, url) as other:
            with other.write() as connection:
                connection.execute(text("CREATE TABLE people (name TEXT)"))
            with pytest.raises(StoreError, match="has a table 'people' that Tutelage did not make"):
                migrate.upgrade(other)


def test_two_that_make_the_tables_at_once_make_them_once(tmp_path: Path, postgres: Postgres) -> None:
    code = "import sys; from pathlib import Path; from tutelage.store.address import parse_url\n"
    code += "from tutelage.store.database import Store; from tutelage.store.migrate import upgrade\n"
    code += "upgrade(Store(Path('.'), parse_url(sys.argv[1])))"
    for url in (URL.create("sqlite", database=str(tmp_path / "tutelage.db")), postgres.new_database()):
        address = url.render_as_string(hide_password=False)
        running = [subprocess.Popen([sys.executable, "-c", code, address], stderr=subprocess.PIPE) for _ in range(3)]
        assert [process.communicate(timeout=300)[1] for process in running] == [b""] * 3
        with Store(tmp_path, url) as made:
            migrate.check_version(made)


def test_the_template_of_the_tests_is_made_by_the_migrations(tmp_path: Path) -> None:
    with Store(tmp_path, URL.create("sqlite", database=str(tmp_path / "tutelage.db"))) as store:
        fill(store)
        with store.read() as connection:
            noted = connection.execute(
                select(schema.settings.c.value).where(schema.settings.c.name == "schema")
            ).scalar()
            assert (
                connection.execute(select(schema.people.c.name).where(schema.people.c.id == ADA.id)).scalar() == "ada"
            )
    assert noted == {"revision": migrate.REVISION, "tutelage": tutelage.__version__}
