"""Model folders on disk: written whole or not at all, with a note of where they came from.

A folder is filled under a temporary name beside its final one, synced and renamed, so nobody ever meets half a model.
Leaves out what goes into the folder (`tutelage.models.save`, `tutelage.models.starter`).
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tutelage.errors import ModelError

ORIGIN_FILE = "tutelage_origin.json"


@contextmanager
def new_folder(target: Path, *, needed_bytes: int) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` when the block ends well and vanishes when it does not.

    Raises `ModelError` when `target` exists, when fewer than `needed_bytes` are free, or when the disk fills up.
    """
    refuse_existing(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        check_space(target.parent, needed_bytes)
        temporary = target.parent / f".{target.name}.partial-{socket.gethostname()}-{os.getpid()}"
        temporary.mkdir()
    except OSError as error:
        raise _disk_error(error, target, needed_bytes) from error
    try:
        yield temporary
        _share_with_readers(temporary)
        sync_tree(temporary)
        refuse_existing(target)
        temporary.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise _disk_error(error, target, needed_bytes) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _share_with_readers(folder: Path) -> None:
    """Give files the folder's own permissions: safetensors makes its files readable by their owner alone."""
    mode = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def refuse_existing(target: Path) -> None:
    """Raise `ModelError` when there is already something at `target`."""
    if target.exists() or target.is_symlink():
        raise ModelError(f"{target} already exists; choose another --out name or remove it")


def check_space(folder: Path, needed_bytes: int) -> None:
    """Raise `ModelError` when the disk of `folder` has fewer than `needed_bytes` free."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise ModelError(
            f"{folder}: {megabytes(needed_bytes)} needed, {megabytes(free_bytes)} free; "
            "free some space or choose a folder on another disk"
        )


def megabytes(num_bytes: int) -> str:
    """Bytes as people read them, in decimal megabytes: `1,234 MB`, and `0.5 MB` below ten."""
    return f"{num_bytes / 1e6:,.0f} MB" if num_bytes >= 10_000_000 else f"{num_bytes / 1e6:.1f} MB"


def write_origin(folder: Path, origin: Mapping[str, Any]) -> None:
    """Write where a model came from beside its weights."""
    text = json.dumps(dict(origin), indent=2, ensure_ascii=False, sort_keys=True)
    (folder / ORIGIN_FILE).write_text(text + "\n", encoding="utf-8")


def read_origin(folder: Path) -> dict[str, Any]:
    """What `write_origin` wrote, or nothing for a folder that came from elsewhere."""
    try:
        origin = json.loads((folder / ORIGIN_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder / ORIGIN_FILE} cannot be read ({error}); remove the file to go on without it"
        ) from error
    return origin if isinstance(origin, dict) else {}


def sync_tree(folder: Path) -> None:
    """Force every file and folder under `folder` to disk, so that a rename cannot outrun its content."""
    for path in sorted(folder.rglob("*")):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder for syncing
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftovers(target: Path) -> None:
    """Remove what a process of this machine left of the same target when it was killed."""
    import psutil

    prefix = f".{target.name}.partial-{socket.gethostname()}-"
    for leftover in target.parent.glob(f"{prefix}*"):
        pid = leftover.name.removeprefix(prefix)
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(leftover, ignore_errors=True)


def _disk_error(error: OSError, target: Path, needed_bytes: int) -> ModelError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = megabytes(shutil.disk_usage(target.parent).free)
        return ModelError(
            f"{target}: the disk is full, {megabytes(needed_bytes)} needed, {free} free; "
            "free some space or choose a folder on another disk; nothing was left behind"
        )
    return ModelError(f"{target} cannot be written ({error.strerror or error}); choose a folder that you can write to")
