"""The small records that pass between the files of this room: a raw record, a problem, and an opened file of both.

A reader yields a `Problem` instead of raising it, so that loading can stop at the first one and checking can collect
them all. Leaves out: what a record means (`tutelage.data.formats`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tutelage.errors import DataError


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a file; `code` names the kind, e.g. `unknown-role`.

    `whole_file` marks what is no single record's fault: leaving that record out would not mend it.
    """

    code: str
    message: str
    line: int | None = None
    field: str | None = None
    whole_file: bool = False

    def __post_init__(self) -> None:
        # A message may quote a key or a role from the file, which can hold anything.
        object.__setattr__(self, "message", one_line(self.message))
        object.__setattr__(self, "field", one_line(self.field) if self.field else None)


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One record as the file holds it, and the 1-based line (or row) where it starts."""

    line: int
    value: Any


class ReadProblem(Exception):
    """Carries a problem out of a reader that cannot go on; never reaches a user as it is."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.message)


@dataclass(frozen=True, slots=True)
class RawFile:
    """An opened source: its name, how it is stored, what its numbers count, and its records in order."""

    name: str
    container: str
    items: Iterable[RawRecord | Problem]
    unit: str = "line"

    def __iter__(self) -> Iterator[RawRecord | Problem]:
        return iter(self.items)

    def error(self, problem: Problem) -> DataError:
        """The exception for a problem of this file; a Parquet place reads `pairs.parquet row 3`."""
        if problem.line is None or self.unit == "line":
            return DataError(problem.message, file=self.name, line=problem.line, field=problem.field)
        place = f"{self.unit} {problem.line}" if self.unit == "record" else f"{self.name} {self.unit} {problem.line}"
        error = DataError(problem.message, file=place, field=problem.field)
        # The sentence says "row"; the attributes stay what every caller expects them to be.
        error.file, error.line = self.name, problem.line
        return error


def one_line(text: str, limit: int = 300) -> str:
    """A text fit to print as one line: no line breaks, no half characters, not endless."""
    line = " ".join(text[: 4 * limit].encode("utf-8", "backslashreplace").decode().split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def type_name(value: Any) -> str:
    """The name of a value's type in words that suit every file format."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true or false"
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (str, "text"),
        ((int, float), "a number"),
        ((list, tuple), "a list"),
        (dict, "an object"),
    )
    return next((name for types, name in names if isinstance(value, types)), type(value).__name__)
