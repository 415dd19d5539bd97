"""A backup's file: a ZIP with one JSONL for each table, the files of models and runs, and a manifest of all of it.

    manifest.json          what made it and when, and each part's count or size and SHA-256
    tables/NAME.jsonl      a row a line; a column that holds nothing is left out
    files/models/…         only where they were asked for
    files/runs/…           and reports/, prompts/

The manifest is read as strictly as anything from outside: a name that leads elsewhere, a link, a part that is missing,
twice there or not in the manifest, a wrong count or hash are errors, before anything is written.

Leaves out: what is in the rows (`tutelage.store.backup`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tutelage.errors import StoreError

MANIFEST = "manifest.json"
FORMAT = 1
FOLDERS = ("models", "runs", "reports", "prompts")
LONGEST_LINE = 64 * 2**20
LONGEST_MANIFEST = 64 * 2**20
CHUNK = 2**20
LEVEL = 3
"""Of compression: nearly as small as the default, in a third of its time."""

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError)
"""What the library raises at an archive that is cut, flipped, encrypted or of no kind it knows."""


@dataclass(frozen=True, slots=True)
class Part:
    """A member of the archive; `count` is rows for a table, bytes for a file."""

    name: str
    count: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive says of itself."""

    tutelage: str
    revision: str
    database: str
    made_ms: int
    tables: Mapping[str, Part]
    files: Mapping[str, Part] = field(default_factory=dict)


class Writer:
    """Adds the parts of a new archive, hashing them on the way."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.tables: dict[str, Part] = {}
        self.files: dict[str, Part] = {}

    def add_table(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """A row a line."""
        count, sha = 0, hashlib.sha256()
        with self._archive.open(f"tables/{name}.jsonl", "w", force_zip64=True) as member:
            for row in rows:
                line = json.dumps(row, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"
                member.write(line)
                sha.update(line)
                count += 1
        self.tables[name] = Part(f"tables/{name}.jsonl", count, sha.hexdigest())

    def add_file(self, path: Path, name: str) -> None:
        """A file as it stands, not compressed: weights do not shrink."""
        count, sha = 0, hashlib.sha256()
        with path.open("rb") as source, self._archive.open(_stored(f"files/{name}"), "w", force_zip64=True) as member:
            while chunk := source.read(CHUNK):
                member.write(chunk)
                sha.update(chunk)
                count += len(chunk)
        self.files[name] = Part(f"files/{name}", count, sha.hexdigest())

    def add_manifest(self, manifest: Mapping[str, Any]) -> None:
        """The last part: everything else is known by now."""
        parts = {
            kind: {name: {"count": part.count, "sha256": part.sha256} for name, part in found.items()}
            for kind, found in (("tables", self.tables), ("files", self.files))
        }
        whole = {"format": FORMAT, **manifest, **parts}
        self._archive.writestr(MANIFEST, json.dumps(whole, indent=1) + "\n")


def _stored(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_STORED
    info.external_attr = 0o600 << 16
    return info


class Reader:
    """An archive whose names and manifest are in order; what is read from it is compared with its hash at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except FileNotFoundError as error:
            raise StoreError(f"there is no file {path}") from error
        except _BROKEN as error:
            raise StoreError(f"{path} is no backup of Tutelage, or was cut off ({error})") from error
        with ExitStack() as unless_whole:
            unless_whole.callback(self._archive.close)
            self.manifest = self._read_manifest()
            self._check_names()
            unless_whole.pop_all()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """The rows of a table; `StoreError` when they are not those that were backed up."""
        part = self.manifest.tables[table]
        count, sha = 0, hashlib.sha256()
        with self._open(part) as member:
            while line := self._some(member, part):
                sha.update(line)
                count += 1
                yield self._row(line, part, count)
        self._compare(part, count, sha.hexdigest())

    def copy(self, name: str, into: IO[bytes] | None) -> None:
        """A file's bytes; without `into` they are only checked."""
        part = self.manifest.files[name]
        count, sha = 0, hashlib.sha256()
        with self._open(part) as member:
            while chunk := self._some(member, part, CHUNK):
                sha.update(chunk)
                count += len(chunk)
                if into is not None:
                    into.write(chunk)
        self._compare(part, count, sha.hexdigest())

    def check(self) -> None:
        """Read everything once and compare it with the manifest."""
        for name in self.manifest.tables:
            for _ in self.rows(name):
                pass
        for name in self.manifest.files:
            self.copy(name, None)

    def _open(self, part: Part) -> IO[bytes]:
        try:
            return self._archive.open(part.name)
        except _BROKEN as error:
            raise self._damaged(part, str(error)) from error

    def _some(self, member: IO[bytes], part: Part, size: int = 0) -> bytes:
        try:
            found = member.read(size) if size else member.readline(LONGEST_LINE)
        except _BROKEN as error:
            raise self._damaged(part, str(error)) from error
        return found

    def _row(self, line: bytes, part: Part, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self._damaged(part, f"line {number} is no JSON") from error
        if not isinstance(row, dict):
            raise self._damaged(part, f"line {number} is no object")
        return row

    def _compare(self, part: Part, count: int, sha256: str) -> None:
        if (count, sha256) != (part.count, part.sha256):
            raise self._damaged(part, "it is not what the manifest says")

    def _damaged(self, part: Part, why: str) -> StoreError:
        return StoreError(f"{self.path}: {part.name} is damaged ({why}); nothing was restored; take another backup")

    def _read_manifest(self) -> Manifest:
        try:
            if self._archive.getinfo(MANIFEST).file_size > LONGEST_MANIFEST:
                raise ValueError("too long")
            found = json.loads(self._archive.read(MANIFEST))
            if found["format"] != FORMAT:
                raise StoreError(f"{self.path} has format {found['format']}, and this Tutelage reads {FORMAT}")
            return _as_manifest(found)
        except KeyError as error:
            raise StoreError(f"{self.path} is no backup of Tutelage: {error} is missing") from error
        except (*_BROKEN, TypeError, AttributeError) as error:
            raise StoreError(f"{self.path} is no backup of Tutelage: its {MANIFEST} cannot be read") from error

    def _check_names(self) -> None:
        members = self._archive.infolist()
        names = [member.filename for member in members]
        parts = [*self.manifest.tables.values(), *self.manifest.files.values()]
        expected = {MANIFEST, *(part.name for part in parts)}
        if len(names) != len(set(names)) or set(names) != expected:
            odd = sorted(set(names) ^ expected) or ["a name twice"]
            raise self._refused(f"does not hold what its manifest says: {odd[0][:100]!r}")
        for member in members:
            if stat.S_ISLNK(member.external_attr >> 16):
                raise self._refused(f"holds a link, {member.filename[:100]!r}, and a backup has none")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise self._refused(f"is packed in a way that no backup is ({member.compress_type})")
        for name in self.manifest.files:
            check_inside(name, self.path)

    def _refused(self, why: str) -> StoreError:
        return StoreError(f"{self.path} {why}; nothing was restored")


def _as_manifest(found: Mapping[str, Any]) -> Manifest:
    if not all(re.fullmatch(r"[a-z_]{1,64}", name) for name in found["tables"]):
        raise ValueError("a table's name")
    tables, files = (
        {
            name: Part(f"{kind}/{name}{ending}", int(part["count"]), str(part["sha256"]))
            for name, part in found[kind].items()
        }
        for kind, ending in (("tables", ".jsonl"), ("files", ""))
    )
    tutelage, revision, database = (str(found[name]) for name in ("tutelage", "revision", "database"))
    return Manifest(tutelage, revision, database, int(found["made_ms"]), tables, files)


def check_inside(name: str, archive: Path) -> None:
    """Raise `StoreError` unless `name` is a plain path below one of `FOLDERS`."""
    path = PurePosixPath(name)
    harmless = all(part not in ("..", ".") and part.isprintable() and "\\" not in part for part in path.parts)
    if path.is_absolute() or len(path.parts) < 2 or path.parts[0] not in FOLDERS or not harmless or str(path) != name:
        raise StoreError(f"{archive} holds {name[:100]!r}, which would lie outside the workspace; nothing was restored")


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
