"""Backup and restore: the same rows on either database, one moment under concurrent writes, all or nothing."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import stat
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from next_step import NEXT, with_next_step
from record import ADA, BO, CY, Postgres
from sqlalchemy import JSON, func, insert, null, select, text, update

from tutelage.errors import ConflictError, StoreError
from tutelage.store import archive, backup, migrate, schema
from tutelage.store.address import parse_url
from tutelage.store.backup import back_up, restore
from tutelage.store.contents import add_answer, add_prompt
from tutelage.store.database import Store, open_store
from tutelage.store.labels import NewLabel, add_label
from tutelage.store.rows import read_rows, tables_of
from tutelage.types import Message

pytestmark = pytest.mark.slow  # both databases, whole

ODD = "a “quoted” line\n\u2028\u0001 \U0001f9f9 ' \\ {} \x7f"
Rows = dict[str, list[dict[str, Any]]]


def fill_with_everything_odd(store: Store) -> None:
    """Rows that are easy to lose something of: odd texts, both nothings of JSON, and references to later rows."""
    with store.write() as connection:
        prompt = add_prompt(
            connection, [Message("user", ODD)], meta={"α": [1.5, None, {"deep": True}]}, author_id=BO.id
        )
        answers = [add_answer(connection, prompt, ODD * n, model="m", sampling={"seed": 2**53 + 1}) for n in (1, 2)]
        first = add_label(
            connection, NewLabel(CY.id, "k1", "comparison", prompt, answers, {"outcome": "tie"}, seconds=0.1)
        )
        second = NewLabel(CY.id, "k2", "comparison", prompt, answers, {"outcome": "both_bad"}, supersedes=first)
        newest = add_label(connection, second)
        # The same millisecond gives ids in any order: the correction may well sort before what it corrects.
        connection.execute(update(schema.labels).where(schema.labels.c.id == newest).values(id="0" * 32))
        project = {
            "id": "p", "name": "helpful", "kind": "comparison", "question": "?", "created_by": ADA.id, "created_ms": 1,
            "attributes": [], "reasons": [], "models": [], "sampling": {},
        }  # fmt: skip
        connection.execute(insert(schema.projects).values(**project))
        for number, gold in enumerate((null(), JSON.NULL, {"outcome": "tie"})):
            connection.execute(insert(schema.items).values(
                id=f"i{number}", project_id="p", prompt_id=prompt, answer_ids=answers, num_wanted=1, gold_value=gold,
                created_ms=2**40, selection_probability=1 / 3,
            ))  # fmt: skip


def everything(store: Store) -> Rows:
    with store.read() as connection:
        return {table.name: list(read_rows(connection, table)) for table in tables_of(connection)}


def nothings(store: Store) -> list[str]:
    """What the database itself says about the three gold values."""
    kind = "json_type(gold_value)" if store.is_sqlite else "jsonb_typeof(gold_value)"
    with store.read() as connection:
        return list(connection.execute(text(f"SELECT {kind} FROM items ORDER BY id")).scalars())


def test_every_row_comes_back_on_either_database(any_store: Store, postgres: Postgres, tmp_path: Path) -> None:
    fill_with_everything_odd(any_store)
    made = back_up(any_store, tmp_path / "b.zip")
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    before = everything(any_store)
    for url in (None, postgres.new_database()):
        workspace = tmp_path / f"restored-{url is None}"
        restored = restore(made.path, workspace, url)
        assert restored.rows == made.rows == {name: len(rows) for name, rows in before.items()}
        with open_store(workspace) as store:
            assert everything(store) == before
            assert nothings(store) == [None, "null", "object"]
        assert stat.S_IMODE(workspace.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in workspace.iterdir()} == {0o600}


def test_a_restored_record_is_looked_after_as_before(any_store: Store, postgres: Postgres, tmp_path: Path) -> None:
    fill_with_everything_odd(any_store)
    back_up(any_store, tmp_path / "b.zip")
    for url in (None, postgres.new_database()):
        workspace = tmp_path / f"restored-{url is None}"
        restore(tmp_path / "b.zip", workspace, url)
        with open_store(workspace) as store:
            with pytest.raises(Exception, match=r"(?i)foreign key"), store.write() as connection:
                add_answer(connection, "none", "text")
            with store.read() as connection:
                if not store.is_sqlite:
                    deferred = text("SELECT count(*) FROM pg_constraint WHERE condeferrable")
                    assert connection.execute(deferred).scalar() == 0


def test_a_backup_under_concurrent_writes_is_one_moment(any_store: Store, tmp_path: Path) -> None:
    """Each write adds a prompt and two answers; a backup between the two tables must not see half of one."""
    stop = threading.Event()

    def write_on() -> None:
        number = 0
        while not stop.is_set():
            with any_store.write() as connection:
                prompt = add_prompt(connection, [Message("user", f"{threading.get_ident()} {number}")])
                for _ in range(2):
                    add_answer(connection, prompt, "x" * 200)
            number += 1

    writers = [threading.Thread(target=write_on) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        backups = [back_up(any_store, tmp_path / f"{number}.zip").rows for number in range(5)]
    finally:
        stop.set()
        for writer in writers:
            writer.join(60)
    assert all(rows["answers"] == 2 * rows["prompts"] for rows in backups)
    assert backups[-1]["prompts"] > backups[0]["prompts"]  # they did write meanwhile
    restore(tmp_path / "2.zip", tmp_path / "restored")
    with open_store(tmp_path / "restored") as store, store.read() as connection:
        assert connection.execute(select(func.count()).select_from(schema.prompts)).scalar() == backups[2]["prompts"]


def test_the_workspaces_files_come_along_where_asked(store: Store, tmp_path: Path) -> None:
    model = store.workspace / "models" / "mine"
    (model / "sub").mkdir(parents=True)
    (model / "model.safetensors").write_bytes(os.urandom(3_000_000))
    (model / "sub" / "empty").touch()
    (store.workspace / "runs" / "r1").mkdir(parents=True)
    (store.workspace / "runs" / "r1" / "config.json").write_text("{}")
    (store.workspace / "reports").mkdir()
    (store.workspace / "reports" / "mine.json").write_text("[1]")
    (model / "link").symlink_to("/etc/passwd")
    (model / "away").symlink_to("/etc")
    os.mkfifo(model / "pipe")
    plain = back_up(store, tmp_path / "plain.zip")
    assert (plain.num_files, plain.left_out) == (0, ())
    made = back_up(store, tmp_path / "whole.zip", with_models=True)
    assert made.num_files == 4
    assert made.left_out == ("models/mine/away", "models/mine/link", "models/mine/pipe")
    assert restore(made.path, tmp_path / "new").num_files == 4
    weights = Path("models/mine/model.safetensors")
    assert (tmp_path / "new" / weights).read_bytes() == (store.workspace / weights).read_bytes()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "models",
        "reports",
        "runs",
        "tutelage.db",
        "workspace.json",
    ]


# --- all or nothing ---------------------------------------------------------------------------------------------------


@pytest.fixture
def whole(store: Store, tmp_path: Path) -> Path:
    """A backup with rows and a model."""
    fill_with_everything_odd(store)
    (store.workspace / "models" / "mine").mkdir(parents=True)
    (store.workspace / "models" / "mine" / "config.json").write_text("{}")
    return back_up(store, tmp_path / "whole.zip", with_models=True).path


def changed(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """A copy of an archive whose members were changed."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    change(members)
    with zipfile.ZipFile(out := path.with_name("changed.zip"), "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    return out


def manifest_with(members: dict[str, bytes], change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads(members["manifest.json"])
    change(manifest)
    members["manifest.json"] = json.dumps(manifest).encode()


def one_row_less(members: dict[str, bytes]) -> None:
    members["tables/people.jsonl"] = members["tables/people.jsonl"].split(b"\n", 1)[1]


def one_word_else(members: dict[str, bytes]) -> None:
    members["tables/answers.jsonl"] = members["tables/answers.jsonl"].replace(b"quoted", b"QUOTED")


def another_weight(members: dict[str, bytes]) -> None:
    members["files/models/mine/config.json"] = b"[]"


def renamed(name: str) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        def move(manifest: dict[str, Any]) -> None:
            manifest["files"][name] = manifest["files"].pop("models/mine/config.json")

        members[f"files/{name}"] = members.pop("files/models/mine/config.json")
        manifest_with(members, move)

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (one_row_less, "people.jsonl is damaged"),
        (one_word_else, "answers.jsonl is damaged"),
        (another_weight, "config.json is damaged"),
        (lambda members: members.pop("tables/people.jsonl"), "does not hold what its manifest says"),
        (lambda members: members.pop("manifest.json"), "manifest.json.* is missing|no backup of Tutelage"),
        (lambda members: members.update({"files/models/extra": b""}), "does not hold what its manifest says"),
        (lambda members: members.update({"manifest.json": b"[1]"}), "manifest.json cannot be read"),
        (lambda members: manifest_with(members, lambda m: m.update(format=9)), "has format 9"),
        (lambda members: manifest_with(members, lambda m: m.update(revision="9999", tutelage="8.0")), "tutelage>=8.0"),
        (lambda members: manifest_with(members, lambda m: m["tables"].update({"../x": {}})), "cannot be read"),
        (renamed("models/../../outside"), "would lie outside the workspace"),
        (renamed("/models/absolute"), "would lie outside the workspace"),
        (renamed("models/mine/..\\..\\outside"), "would lie outside the workspace"),
        (renamed("tutelage.db"), "would lie outside the workspace"),
        (renamed("other/place"), "would lie outside the workspace"),
        (renamed("models/./mine"), "would lie outside the workspace"),
        (renamed("models/mi\nne"), "would lie outside the workspace"),
    ],
)
def test_an_archive_that_was_tampered_with_restores_nothing(
    whole: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], problem: str
) -> None:
    with pytest.raises(StoreError, match=problem) as caught:
        restore(changed(whole, change), tmp_path / "new")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_link_or_a_name_twice_in_an_archive_restores_nothing(whole: Path, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("files/models/mine/config.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    without = changed(whole, lambda members: members.pop(link.filename))
    with zipfile.ZipFile(without, "a") as archive_file:
        archive_file.writestr(link, b"{}")
    with pytest.raises(StoreError, match="holds a link"):
        restore(without, tmp_path / "new")
    with zipfile.ZipFile(whole, "a") as archive_file, pytest.warns(UserWarning, match="Duplicate"):
        archive_file.writestr("tables/people.jsonl", b"")
    with pytest.raises(StoreError, match="does not hold what its manifest says"):
        restore(whole, tmp_path / "new")


def test_a_cut_or_flipped_file_restores_nothing(whole: Path, tmp_path: Path) -> None:
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match="is no backup of Tutelage, or was cut off"):
        restore(whole, tmp_path / "new")
    refused = 0
    for place in range(100, len(content), 997):
        whole.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        target = tmp_path / f"new-{place}"
        try:
            restore(whole, target)
        except StoreError:
            refused += 1
            assert not target.exists()
        else:  # a byte that means nothing: a date, a flag
            with open_store(target) as store:
                assert everything(store)["people"]
            shutil.rmtree(target)
    assert refused > 0


def test_nothing_that_is_there_is_written_over(any_store: Store, tmp_path: Path) -> None:
    file = back_up(any_store, tmp_path / "b.zip").path
    with pytest.raises(ConflictError, match="is there already; choose another name, or --overwrite"):
        back_up(any_store, file)
    back_up(any_store, file, overwrite=True)
    before = everything(any_store)
    with pytest.raises(ConflictError, match=r"is there already|holds a record already"):
        restore(file, any_store.workspace)
    assert everything(any_store) == before
    with pytest.raises(ConflictError, match="at another address"):
        restore(file, any_store.workspace, parse_url("postgresql://somewhere/else"))


def test_a_model_that_is_there_is_not_written_over(whole: Path, tmp_path: Path) -> None:
    mine = tmp_path / "new" / "models" / "mine"
    mine.mkdir(parents=True)
    with pytest.raises(ConflictError, match="models/mine is there already"):
        restore(whole, tmp_path / "new")
    assert list(mine.iterdir()) == []
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["models"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_restore_that_fails_halfway_leaves_nothing(
    whole: Path, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    url = postgres.new_database() if kind == "postgresql" else None

    def fill_and_fail(*args: Any) -> dict[str, int]:
        real(*args)
        raise OSError("the power went")

    real = backup._fill
    monkeypatch.setattr(backup, "_fill", fill_and_fail)
    with pytest.raises(OSError, match="the power went"):
        restore(whole, tmp_path / "new", url)
    assert [path for path in (tmp_path / "new").rglob("*") if path.is_file()] == []
    monkeypatch.setattr(backup, "_fill", real)
    assert restore(whole, tmp_path / "new", url).num_files == 1  # and again, this time to the end


def test_a_backup_that_fails_leaves_no_file(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError("the power went")

    monkeypatch.setattr(archive.Writer, "add_manifest", fail)
    with pytest.raises(StoreError, match="the power went"):
        back_up(store, tmp_path / "b.zip")
    assert [path.name for path in tmp_path.iterdir() if "b.zip" in path.name] == []


def test_a_text_that_postgresql_cannot_hold_is_named(store: Store, postgres: Postgres, tmp_path: Path) -> None:
    with store.write() as connection:
        add_prompt(connection, [Message("user", "text")], reference="a\x00b")
    back_up(store, tmp_path / "b.zip")
    url = postgres.new_database()
    with pytest.raises(StoreError, match=r"the table prompts, rows 1 to .* NUL"):
        restore(tmp_path / "b.zip", tmp_path / "new", url)
    with Store(tmp_path, url) as empty:
        assert migrate.current_revision(empty) is None


def test_a_row_that_points_at_nothing_is_not_restored(whole: Path, postgres: Postgres, tmp_path: Path) -> None:
    import hashlib

    def without_prompts(members: dict[str, bytes]) -> None:
        members["tables/prompts.jsonl"] = b""
        empty = {"count": 0, "sha256": hashlib.sha256().hexdigest()}
        manifest_with(members, lambda manifest: manifest["tables"].update(prompts=empty))

    for url in (None, postgres.new_database()):
        with pytest.raises(StoreError, match="would point at nothing"):
            restore(changed(whole, without_prompts), tmp_path / "new", url)


# --- across revisions -------------------------------------------------------------------------------------------------


def test_a_backup_of_an_earlier_revision_is_upgraded_as_it_is_restored(
    any_store: Store, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_with_everything_odd(any_store)
    file = back_up(any_store, tmp_path / "b.zip").path
    migrations = with_next_step(tmp_path / "migrations")
    monkeypatch.setattr(migrate, "REVISION", NEXT)
    monkeypatch.setattr(backup, "REVISION", NEXT)
    monkeypatch.setattr(migrate, "MIGRATIONS", migrations)
    for url in (None, postgres.new_database()):
        workspace = tmp_path / f"restored-{url is None}"
        restore(file, workspace, url)
        with open_store(workspace) as store:
            rows = everything(store)
        assert [person["nickname"] for person in rows["people"]] == ["-"] * 4
        assert len(rows["labels"]) == 2


def test_a_backup_can_be_read_by_anyone(any_store: Store, tmp_path: Path) -> None:
    """A ZIP, a JSON object a line: no program of ours is needed to get one's work back."""
    file = back_up(any_store, tmp_path / "b.zip").path
    with zipfile.ZipFile(file) as opened:
        lines = io.TextIOWrapper(opened.open("tables/people.jsonl"), encoding="utf-8")
        assert [json.loads(line)["name"] for line in lines] == ["ada", "bo", "cy", "dee"]


def test_a_full_disk_is_told_with_the_file_that_was_to_be_written(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tutelage.store.backup.os.fsync", full)
    with pytest.raises(StoreError, match=r"b\.zip cannot be written: No space left on device; free some space"):
        back_up(store, tmp_path / "b.zip")
    assert [path.name for path in tmp_path.iterdir() if ".zip" in path.name] == []
