"""`init`, `backup`, `restore` and `upgrade` as one types them."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from next_step import NEXT, with_next_step
from record import Postgres
from sqlalchemy import select, text

from tutelage.cli import main
from tutelage.store import migrate, schema
from tutelage.store.database import Store, open_store
from tutelage.store.people import acting, add_person, everyone
from tutelage.store.secret import SECRET

PASSWORD = "s3cr3t-word"


class Done(NamedTuple):
    """How a verb ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the program in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as stop:
            main([str(each) for each in arguments])
        captured = capfd.readouterr()
        return Done(int(stop.value.code or 0), captured.out, captured.err)

    return call


def mode(path: str | Path) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_init_makes_a_workspace_that_is_its_owners_alone(run: Run) -> None:
    done = run("init", "--name", "ada")
    assert (done.code, done.err) == (0, "")
    assert "workspace made" in done.out.replace(str(Path.cwd()) + "/", "")
    assert "owner     ada (admin)" in done.out
    assert done.out.splitlines()[2:] == [
        "tutelage import FILE      brings your pairs, prompts or verdicts in",
        "tutelage people invite    lets somebody else in",
        "tutelage studio           opens it in the browser, for you and for them",
    ]
    assert mode("workspace") == 0o700
    assert {mode(path) for path in Path("workspace").iterdir()} == {0o600}
    with open_store(Path("workspace")) as store, store.read() as connection:
        assert acting(connection).name == "ada"
        secret = connection.execute(select(schema.settings.c.value).where(schema.settings.c.name == SECRET)).scalar()
        assert len(bytes.fromhex(str(secret))) == 32


def test_every_workspace_has_a_secret_of_its_own(run: Run) -> None:
    secrets = set()
    for name in ("one", "two"):
        run("init", "--workspace", name)
        with open_store(Path(name)) as store, store.read() as connection:
            query = select(schema.settings.c.value).where(schema.settings.c.name == SECRET)
            secrets.add(connection.execute(query).scalar())
    assert len(secrets) == 2


def test_init_again_changes_nothing(run: Run) -> None:
    run("init", "--name", "ada")
    files = {path: path.read_bytes() for path in Path("workspace").iterdir()}
    done = run("init", "--name", "bo")
    assert done.code == 0
    assert "is there already, nothing was changed" in done.out
    assert "'bo' was not added: tutelage people invite" in done.out
    assert {path: path.read_bytes() for path in Path("workspace").iterdir()} == files


def test_init_keeps_what_a_training_left(run: Run) -> None:
    Path("workspace/models/mine").mkdir(parents=True)
    os.chmod("workspace", 0o755)
    assert run("init").code == 0
    assert mode("workspace") == 0o755  # the folder is the user's; the record in it is closed
    assert mode("workspace/tutelage.db") == 0o600
    assert Path("workspace/models/mine").is_dir()


def test_init_of_a_team_notes_the_address_and_shows_no_password(run: Run, postgres: Postgres) -> None:
    url = postgres.new_database().set(password=PASSWORD)
    address = url.render_as_string(hide_password=False)
    first = run("init", "--name", "ada", "--database", address)
    second = run("init", "--workspace", "another", "--name", "bo", "--database", address)
    assert (first.code, second.code) == (0, 0)
    assert "is there already" in second.out  # a second machine joins the record
    assert PASSWORD not in first.out + first.err + second.out + second.err
    assert json.loads(Path("another/workspace.json").read_text())["database"] == address
    assert mode("another/workspace.json") == 0o600
    assert not Path("another/tutelage.db").exists()


def test_init_does_not_leave_a_record_behind_for_another_one(run: Run, postgres: Postgres) -> None:
    run("init")
    done = run("init", "--database", postgres.url.render_as_string(hide_password=False))
    assert done.code == 2
    assert "has its record at another address; to move it: `tutelage backup" in done.err


def test_init_with_a_wrong_address_makes_nothing(run: Run) -> None:
    done = run("init", "--database", f"postgresql://ada:{PASSWORD}@127.0.0.1:1/record")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert PASSWORD not in done.err
    assert not Path("workspace/workspace.json").exists()
    assert run("init", "--name", " ").code == 2


def test_there_and_back_again(run: Run, postgres: Postgres) -> None:
    """From SQLite to PostgreSQL and back, with everybody in it."""
    run("init", "--name", "ada")
    with open_store(Path("workspace")) as store, store.write() as connection:
        add_person(connection, "bo ☂", "reviewer")
    address = postgres.new_database().render_as_string(hide_password=False)
    assert run("backup", "--out", "one.zip").code == 0
    assert run("restore", "one.zip", "--workspace", "team", "--database", address).code == 0
    assert run("backup", "--out", "two.zip", "--workspace", "team").code == 0
    done = run("restore", "two.zip", "--workspace", "home")
    assert done.code == 0
    assert "people 2" in done.out
    with open_store(Path("home")) as store, store.read() as connection:
        assert [person.name for person in everyone(connection)] == ["ada", "bo ☂"]
        assert store.is_sqlite


def test_backup_says_what_it_left_out_and_keeps_what_is_there(run: Run) -> None:
    run("init")
    Path("workspace/models/mine").mkdir(parents=True)
    Path("workspace/models/mine/link").symlink_to("/etc/passwd")
    done = run("backup", "--out", "b.zip", "--with-models")
    assert "left out  models/mine/link" in done.out
    assert mode("b.zip") == 0o600
    assert "is there already; choose another name, or --overwrite it" in run("backup", "--out", "b.zip").err
    assert run("backup", "--out", "b.zip", "--overwrite").code == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("backup", "--out", "b.zip"), "make it with `tutelage init`"),
        (("upgrade",), "make it with `tutelage init`"),
        (("restore", "none.zip", "--workspace", "new"), "none.zip"),
        (("restore", "text.zip", "--workspace", "new"), "is no backup of Tutelage"),
        (("backup", "--out", "no/such/folder/b.zip", "--workspace", "there"), "no/such/folder"),
        (
            ("init", "--workspace", "text.zip"),
            "text.zip is a file, and a workspace is a folder; name another",
        ),
        (("init", "--workspace", "text.zip/inner"), "part of this path is a file, and a folder is needed"),
    ],
)
def test_mistakes_are_one_line(run: Run, arguments: tuple[str, ...], problem: str) -> None:
    Path("text.zip").write_text("no archive")
    run("init", "--workspace", "there")
    done = run(*arguments)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert problem in done.err


def test_an_init_that_fails_leaves_no_folder(run: Run) -> None:
    done = run("init", "--database", "postgresql://ada@127.0.0.1:1/none")
    assert (done.code, "cannot be reached" in done.err) == (2, True)
    assert not Path("workspace").exists()


def test_upgrade_makes_a_backup_first(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("init", "--name", "ada")
    before = migrate.REVISION
    assert "nothing was changed" in run("upgrade").out
    monkeypatch.setattr(migrate, "MIGRATIONS", with_next_step(tmp_path / "migrations"))
    monkeypatch.setattr(migrate, "REVISION", NEXT)
    assert "run `tutelage upgrade`, which makes a backup first" in run("init").err
    done = run("upgrade")
    assert (done.code, done.err) == (0, "")
    assert f"upgraded  from revision {before} to {NEXT}" in done.out
    (kept,) = Path("workspace/backups").iterdir()
    assert mode(kept) == 0o600
    with open_store(Path("workspace")) as store, store.read() as connection:
        assert connection.execute(text("SELECT nickname FROM people")).scalar() == "-"
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert run("restore", kept, "--workspace", "as-before").code == 0
    with open_store(Path("as-before")) as store:
        assert migrate.current_revision(store) == migrate.REVISION


def test_a_newer_record_can_still_be_backed_up_but_not_used(
    run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.upgrade(store, with_next_step(tmp_path / "migrations"))
    for verb in (("init",), ("upgrade",)):
        assert "install that version" in run(*verb, "--workspace", store.workspace).err
    assert run("backup", "--out", "b.zip", "--workspace", store.workspace).code == 0
    assert "install that version" in run("restore", "b.zip", "--workspace", "new").err
