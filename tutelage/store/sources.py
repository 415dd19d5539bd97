"""What `--data curated@3` means: the snapshot that it names, written once to a file that training reads.

    curated@3         that snapshot of a dataset of pairs
    curated           its newest snapshot
    labels:helpful    the labels of a project as they are now: a new snapshot where they changed
    labels:helpful@2  that snapshot

The file is `snapshots/NAME@NUMBER.jsonl` of the workspace, checked against the hash each time. A dataset goes
before a file of the same name; `./curated` is always the file.

Leaves out: what a snapshot holds (`tutelage.store.datasets`).
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tutelage.errors import NotFoundError, StoreError
from tutelage.store.dataset_names import LABELS, is_name, split_name

if TYPE_CHECKING:
    from tutelage.store.database import Store
    from tutelage.store.datasets import Snapshot

FOLDER = "snapshots"


@dataclass(frozen=True, slots=True)
class Source:
    """A snapshot to read."""

    name: str
    """With its number, e.g. `labels:helpful@4`."""
    path: Path
    snapshot_id: str
    content_hash: str
    """SHA-256 of the file and of the snapshot."""
    num_records: int


def resolve(workspace: Path, text: str) -> Source | None:
    """The snapshot that `text` names, its file written; None where `text` names no dataset of the workspace.

    Raises `NotFoundError` for a name that nothing has, neither dataset nor file, `ConflictError` for a snapshot that
    holds work which was withdrawn since, and `StoreError` when the record or the file cannot be used.
    """
    if not may_name_a_dataset(workspace, text):
        return None
    from tutelage.store.database import open_store

    with open_store(workspace) as store:
        snapshot = _snapshot(store, text)
        return None if snapshot is None else _written(store, snapshot)


def readable(workspace: Path, text: str) -> str:
    """What to open for `text`: the snapshot's file where it names a dataset, else what was given."""
    source = resolve(workspace, text)
    return text if source is None else str(source.path)


def may_name_a_dataset(workspace: Path, text: str) -> bool:
    """Whether to look into the record at all: not for what is plainly a file, nor where there is no record."""
    if not is_name(split_name(text)[0]):
        return False
    from tutelage.store.address import has_store

    return has_store(workspace) or (("@" in text or ":" in text) and not Path(text).exists())


def _snapshot(store: Store, text: str) -> Snapshot | None:
    from tutelage.store.datasets import snapshot_of, take_snapshot
    from tutelage.store.lineage import refuse_withdrawn

    name, number = split_name(text)
    if name.startswith(LABELS) and number is None:
        return take_snapshot(store, None, name)
    try:
        with store.read() as connection:
            snapshot = snapshot_of(connection, text)
            refuse_withdrawn(connection, snapshot.id, snapshot.label)
            return snapshot
    except NotFoundError:
        if Path(text).is_file():
            return None
        raise


def _written(store: Store, snapshot: Snapshot) -> Source:
    path = file_of(store.workspace, snapshot.label)
    if path.exists():
        _check(path, snapshot)
    else:
        _write(store, snapshot, path)
    return Source(snapshot.label, path, snapshot.id, snapshot.content_hash, snapshot.num_records)


def file_of(workspace: Path, label: str) -> Path:
    """Where a snapshot is written; a name cannot lead out of the folder."""
    return workspace / FOLDER / f"{quote(label, safe='@:')}.jsonl"


def _check(path: Path, snapshot: Snapshot) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != snapshot.content_hash:
        raise StoreError(
            f"{path} is not what {snapshot.label} holds: somebody has changed it; remove it, and it is written again"
        )


def _write(store: Store, snapshot: Snapshot, path: Path) -> None:
    from tutelage.store.datasets import as_bytes, records

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with store.read() as connection:
            _write_durably(path, (as_bytes(line) for line in records(connection, snapshot)), snapshot)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}; put that right and try again") from error


def _write_durably(path: Path, lines: Iterable[bytes], snapshot: Snapshot) -> None:
    """Write the file in one instant, so that whoever reads finds it whole or not at all."""
    temporary, digest = path.with_name(f".tmp-{secrets.token_hex(6)}-{path.name}"), hashlib.sha256()
    try:
        with temporary.open("wb") as file:
            for line in lines:
                digest.update(line)
                file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != snapshot.content_hash:
            raise StoreError(f"the record no longer holds what {snapshot.label} held; restore it from a backup")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
