"""What a check hands back: findings, each with its place, and the report that holds them.

Leaves out: finding anything (`tutelage.data.check`) and showing it (`tutelage.data.check_table`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tutelage.data.formats import Parsed

Severity = Literal["error", "warning", "note"]
Kind = Literal["conversations", "comparisons", "ratings"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong (`error`), suspicious (`warning`) or worth knowing (`note`)."""

    severity: Severity
    code: str
    line: int | None
    field: str | None
    message: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All findings about one source, errors first, with counts and sizes for a table."""

    file: str
    format: str
    num_records: int
    num_turns: int
    findings: tuple[Finding, ...]
    stats: Mapping[str, int | float] = field(default_factory=dict)
    kind: Kind = "conversations"

    @property
    def ok(self) -> bool:
        """True when there is no error; warnings and notes are for a person to judge."""
        return not any(finding.severity == "error" for finding in self.findings)


def finding_at(
    parsed: Parsed, code: str, message: str, *, turn: int | None = None, severity: Severity = "warning"
) -> Finding:
    """A finding about a record, or about one of its turns."""
    source = parsed.conversation.source
    line, file = (source.line, source.file) if source else (None, "")
    return Finding(severity, code, line, None if turn is None else parsed.fields[turn], message, file)


def place_of(parsed: Parsed, seen_from: Parsed) -> str:
    """How a message names another record: `line 12`, or with its file when that is a different one."""
    there, here = parsed.conversation.source, seen_from.conversation.source
    if there is None:
        return "an earlier record"
    if here is not None and here.file != there.file:
        return str(there)
    return f"{parsed.unit} {there.line}"
