"""A model's folder as one stream of bytes: an uncompressed tar of its regular files, whose size is known beforehand.

Nothing but regular files that lie in the folder is read: no link is followed, wherever it leads, and a name that is no
UTF-8 is left out. A file that turns out
shorter than it was said to be breaks the stream off, so that nobody takes half a model for a whole one.

Leaves out: compressing, which weights do not repay.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tutelage.errors import ModelError

CHUNK_BYTES = 1 << 20
MOST_FILES = 10_000


class Member(NamedTuple):
    """A regular file of the folder."""

    name: str
    """Its way from the folder, with `/`."""
    size_bytes: int
    modified_s: int


def members_of(folder: Path) -> list[Member]:
    """The regular files in and under the folder, by name. Raises `ModelError` where there are very many."""
    found = []
    for root, folders, files in os.walk(folder, followlinks=False):
        folders.sort()
        for name in files:
            path = Path(root, name)
            status = path.lstat()
            inside = path.relative_to(folder).as_posix()
            if stat.S_ISREG(status.st_mode) and is_text(inside):
                found.append(Member(inside, status.st_size, int(status.st_mtime)))
        if len(found) > MOST_FILES:
            raise ModelError(f"{folder} holds more than {MOST_FILES:,} files, which no model has; copy it by hand")
    return sorted(found)


def is_text(name: str) -> bool:
    """Whether a name of the disk can be told in JSON."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def tar_size(top: str, members: Sequence[Member]) -> int:
    """How many bytes `tar_of` gives."""
    blocks = sum(len(_header(top, member)) + _padded(member.size_bytes) for member in members)
    return blocks + len(_END)


def tar_of(folder: Path, top: str, members: Sequence[Member]) -> Iterator[bytes]:
    """The members as a tar in which they lie in a folder called `top`; at most a chunk is in memory.

    Raises `ModelError` when a file has become shorter or is no regular file any more.
    """
    for member in members:
        yield _header(top, member)
        yield from _content(folder, member)
        if rest := _padded(member.size_bytes) - member.size_bytes:
            yield bytes(rest)
    yield _END


_END = bytes(2 * tarfile.BLOCKSIZE)


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _header(top: str, member: Member) -> bytes:
    info = tarfile.TarInfo(f"{top}/{member.name}")
    info.size, info.mtime, info.mode = member.size_bytes, member.modified_s, 0o644
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _content(folder: Path, member: Member) -> Iterator[bytes]:
    left = member.size_bytes
    with open(os.open(folder / member.name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
        while left:
            chunk = file.read(min(CHUNK_BYTES, left))
            if not chunk:
                raise ModelError(f"{folder / member.name} became shorter while it was sent; send it again")
            left -= len(chunk)
            yield chunk
