"""Opens a file to import and tells by its content which tool wrote it.

Nothing is fetched: an address is refused, and so is what every other part of Tutelage refuses to open.

Leaves out: what the records mean (the readers beside this file).
"""

from __future__ import annotations

import gzip
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tutelage.data import foreign_argilla, foreign_label_studio, foreign_open_assistant, foreign_tutelage, readers
from tutelage.data.files import open_path
from tutelage.data.foreign import KIND_OF, Incoming, IncomingKind, LeftOut
from tutelage.data.foreign_plain import read_plain
from tutelage.data.raw import Problem, RawFile, RawRecord, ReadProblem
from tutelage.errors import ConfigError

ForeignFormat = Literal["plain", "tutelage", "label-studio", "argilla", "open-assistant"]
FORMATS: tuple[ForeignFormat, ...] = ("plain", "tutelage", "label-studio", "argilla", "open-assistant")
_address = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*://|^(?:hub|data|file|mailto):")


@dataclass(frozen=True, slots=True)
class Opened:
    """A file whose tool is known, and its records."""

    file: RawFile
    format: ForeignFormat

    def incoming(self, kind: IncomingKind | None = None) -> Iterator[Incoming]:
        """Everything in the file; with `kind`, whatever is not of that kind is left out."""
        return _of_kind(_READ[self.format](self.file, kind), kind)


def refuse_address(path: str) -> None:
    """Raise `ConfigError` for what is no path of a file on this machine."""
    if _address.match(path):
        raise ConfigError(f"'{path[:80]}' is an address, and nothing is fetched; download it and give the file's path")


def open_foreign(path: str | Path, format: ForeignFormat | None = None, name: str = "") -> Opened:
    """Open a file to import; `name` is what records call it. Raises `DataError` for one that cannot be opened."""
    refuse_address(str(path))
    file = _unrolled(path, open_path(path))
    items = iter(file)
    head = list(itertools.islice(items, 1))
    for first in head:
        if isinstance(first, Problem) and first.code == "empty-file":
            raise replace(file, name=name or file.name).error(first)
    sure: ForeignFormat = format or "plain"
    if format is None and head and isinstance(head[0], RawRecord):
        sure = _told(head[0].value)
    return Opened(replace(file, name=name or Path(path).name, items=itertools.chain(head, items)), sure)


def _told(value: Any) -> ForeignFormat:
    """The tool that wrote a record."""
    if foreign_tutelage.is_own(value):
        return "tutelage"
    if foreign_label_studio.is_task(value) or foreign_label_studio.is_row(value):
        return "label-studio"
    if foreign_argilla.is_record(value):
        return "argilla"
    if foreign_open_assistant.is_tree(value) or foreign_open_assistant.is_message(value):
        return "open-assistant"
    return "plain"


def _unrolled(path: str | Path, file: RawFile) -> RawFile:
    """A JSON file that is one object with a column for each field, as Argilla writes it, row by row."""
    if file.container != "JSON":
        return file
    try:
        with Path(path).open("rb") as stream:
            compressed = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else Path(path).open("rb") as stream:
            start = stream.read(64).removeprefix(readers.UTF8_MARK).lstrip()
            if not start.startswith(b"{"):
                return file
            stream.seek(0)
            data = stream.read(readers.JSON_LIMIT_BYTES + 1)
        value = readers.parse_json(readers.decode(data, 0, 1), 1) if len(data) <= readers.JSON_LIMIT_BYTES else None
    except (ReadProblem, OSError, EOFError):
        return file  # the reader meets the same problem and says where
    rows = foreign_argilla.unrolled(value) if isinstance(value, Mapping) else None
    if rows is None and _told(value) != "plain":
        rows = [value]  # one task alone, as Label Studio's storage holds it
    return replace(file, items=[RawRecord(1, row) for row in rows]) if rows is not None else file


def _of_kind(incoming: Iterator[Incoming], kind: IncomingKind | None) -> Iterator[Incoming]:
    for each in incoming:
        if kind and not isinstance(each, LeftOut) and KIND_OF[type(each)] != kind:
            problem = f"holds {KIND_OF[type(each)]}, and only {kind} were asked for"
            yield LeftOut(each.source, "other-kind", problem)
        else:
            yield each


def _any_kind(
    read: Callable[[RawFile], Iterator[Incoming]],
) -> Callable[[RawFile, IncomingKind | None], Iterator[Incoming]]:
    return lambda file, _: read(file)


_READ: Mapping[str, Callable[[RawFile, IncomingKind | None], Iterator[Incoming]]] = {
    "plain": read_plain,
    "tutelage": foreign_tutelage.read_own,
    "label-studio": _any_kind(foreign_label_studio.read_label_studio),
    "argilla": _any_kind(foreign_argilla.read_argilla),
    "open-assistant": foreign_open_assistant.read_open_assistant,
}
