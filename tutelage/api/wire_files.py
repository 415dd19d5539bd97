"""The wire models of imports and exports.

Leaves out: the formats themselves (docs/import-export.md).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

KindOfFile = Literal["pairs", "labels", "prompts"]
StateOfPair = Literal["draft", "submitted", "accepted"]
ForeignFormat = Literal["plain", "tutelage", "label-studio", "argilla", "open-assistant"]


class LeftOutRecord(BaseModel):
    """Something of a file that was not taken, and why."""

    line: int | None = None
    record: str | int | None = None
    field: str | None = None
    code: str
    problem: str


class ImportMade(BaseModel):
    """What became of a file: `num_read` = `num_added` + `num_already` + `num_left_out`."""

    import_id: str
    file: str
    format: str
    dry_run: bool
    project: str
    num_read: int
    num_added: int
    num_already: int
    num_left_out: int
    added: dict[str, int]
    left_out: list[LeftOutRecord]


class ImportListed(BaseModel):
    """An import as the list shows it."""

    id: str
    file: str
    kind: str
    format: str
    num_read: int
    num_added: int
    num_already: int
    num_left_out: int
    person_id: str
    at_ms: int
    finished_ms: int | None


class ImportTold(ImportListed):
    """An import with what it left out."""

    left_out: list[dict[str, Any]]
