"""Model folders appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tutelage.errors import ModelError
from tutelage.models.folder import megabytes, new_folder, read_origin, write_origin


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_appears_when_the_block_ends(tmp_path):
    with new_folder(tmp_path / "deep" / "model", needed_bytes=1) as folder:
        (folder / "config.json").write_text("{}")
        assert not (tmp_path / "deep" / "model").exists()
    assert names(tmp_path / "deep") == ["model"]
    assert names(tmp_path / "deep" / "model") == ["config.json"]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_nothing_is_left_when_the_block_fails(tmp_path, error):
    def write() -> None:
        with new_folder(tmp_path / "model", needed_bytes=1) as folder:
            (folder / "half").write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert names(tmp_path) == []


def test_files_become_as_readable_as_the_folder(tmp_path):
    with new_folder(tmp_path / "model", needed_bytes=1) as folder:
        (folder / "weights").touch(mode=0o600)
        folder.chmod(0o755)
    assert (tmp_path / "model" / "weights").stat().st_mode & 0o777 == 0o644


def test_an_existing_path_is_refused_and_untouched(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "precious").touch()
    with pytest.raises(ModelError) as error, new_folder(tmp_path / "model", needed_bytes=1):
        pytest.fail("the block must not run")
    assert str(error.value) == f"{tmp_path}/model already exists; choose another --out name or remove it"
    assert names(tmp_path / "model") == ["precious"]


def test_a_path_taken_while_the_block_ran_is_refused(tmp_path):
    def write() -> None:
        with new_folder(tmp_path / "model", needed_bytes=1) as folder:
            (folder / "mine").touch()
            (tmp_path / "model").mkdir()

    with pytest.raises(ModelError, match="already exists"):
        write()
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == []


def test_too_little_space_is_said_beforehand(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 3_000_000))
    with pytest.raises(ModelError) as error, new_folder(tmp_path / "model", needed_bytes=540_000_000):
        pytest.fail("the block must not run")
    assert str(error.value) == (
        f"{tmp_path}: 540 MB needed, 3.0 MB free; free some space or choose a folder on another disk"
    )


def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def write() -> None:
        with new_folder(tmp_path / "model", needed_bytes=20_000_000) as folder:
            (folder / "half").write_text("half")
            monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 0))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ModelError) as error:
        write()
    assert str(error.value) == (
        f"{tmp_path}/model: the disk is full, 20 MB needed, 0.0 MB free; "
        "free some space or choose a folder on another disk; nothing was left behind"
    )
    assert names(tmp_path) == []


def test_a_parent_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ModelError) as error, new_folder(tmp_path / "file" / "model", needed_bytes=1):
        pytest.fail("the block must not run")
    assert str(error.value).startswith(f"{tmp_path}/file/model cannot be written (")


def test_what_a_killed_process_left_is_removed_and_a_living_ones_work_is_not(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = socket.gethostname()
    (tmp_path / f".model.partial-{host}-{dead.pid}").mkdir()
    (tmp_path / f".model.partial-{host}-{os.getppid()}").mkdir()
    (tmp_path / f".model.partial-elsewhere-{dead.pid}").mkdir()
    with new_folder(tmp_path / "model", needed_bytes=1):
        pass
    assert names(tmp_path) == sorted(
        [f".model.partial-{host}-{os.getppid()}", f".model.partial-elsewhere-{dead.pid}", "model"]
    )


def test_origin_is_read_back(tmp_path):
    assert read_origin(tmp_path) == {}
    write_origin(tmp_path, {"base": "starter-base", "note": "é"})
    assert read_origin(tmp_path) == {"base": "starter-base", "note": "é"}
    (tmp_path / "tutelage_origin.json").write_text("{")
    with pytest.raises(ModelError, match=r"tutelage_origin.json cannot be read .* remove the file to go on without it"):
        read_origin(tmp_path)


def test_megabytes_are_decimal():
    assert [megabytes(n) for n in (0, 1_500_000, 238_203_411, 1_234_000_000)] == [
        "0.0 MB",
        "1.5 MB",
        "238 MB",
        "1,234 MB",
    ]
