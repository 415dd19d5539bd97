"""A model's folder as a tar: whole, of the size that was said, and of nothing that lies elsewhere."""

from __future__ import annotations

import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from tutelage.errors import ModelError
from tutelage.models import archive
from tutelage.models.archive import members_of, tar_of, tar_size


def packed(folder: Path, top: str = "m") -> bytes:
    members = members_of(folder)
    data = b"".join(tar_of(folder, top, members))
    assert len(data) == tar_size(top, members)
    return data


def test_what_is_unpacked_is_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    (folder / "sub").mkdir(parents=True)
    contents = {"a.json": b"{}", "empty": b"", "sub/weights": bytes(range(256)) * 9, "exact": b"x" * 1024,
                "ünï" + "x" * 100: b"long name"}  # fmt: skip
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    with tarfile.open(fileobj=io.BytesIO(packed(folder, "mein modell"))) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    out = tmp_path / "out" / "mein modell"
    assert {
        path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()
    } == contents


def test_no_link_is_followed_and_nothing_but_files_is_sent(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "more").write_text("more")
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path / "elsewhere")
    (folder / "broken").symlink_to(tmp_path / "nothing")
    assert [member.name for member in members_of(folder)] == ["config.json"]


def test_a_file_that_became_a_link_or_shorter_breaks_off(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    (folder / "weights").write_bytes(b"123456")
    members = members_of(folder)
    (folder / "weights").write_bytes(b"123")
    with pytest.raises(ModelError, match="became shorter"):
        list(tar_of(folder, "m", members))
    (folder / "weights").unlink()
    (folder / "weights").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="ymbolic"):
        list(tar_of(folder, "m", members))


def test_a_large_file_takes_no_memory(tmp_path: Path) -> None:
    with (tmp_path / "weights").open("wb") as file:
        file.truncate(64 * archive.CHUNK_BYTES)
    members = members_of(tmp_path)
    tracemalloc.start()
    size = sum(len(chunk) for chunk in tar_of(tmp_path, "m", members))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == tar_size("m", members) > 64 * archive.CHUNK_BYTES
    assert peak < 4 * archive.CHUNK_BYTES


def test_a_folder_of_very_many_files_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_FILES", 2)
    for number in range(3):
        (tmp_path / f"{number}").touch()
    with pytest.raises(ModelError, match="more than 2 files"):
        members_of(tmp_path)
