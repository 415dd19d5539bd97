"""What a process said before it ended, and what that makes of it: stopped by somebody, or failed, and why.

Leaves out: whose process it was (`evaluations`, `jobs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tutelage.runs.files import last_bytes

SILENT = "it ended without saying why: the machine may have run out of memory, or somebody ended the process"
STOPPED = "stopped by "
LONGEST_LINE = 2000


def lines_of(log: Path) -> list[str]:
    """The last lines of a log, without what cannot be shown."""
    text = last_bytes(log).decode("utf-8", "replace")
    lines = ("".join(c if c.isprintable() else " " for c in line).strip() for line in text.splitlines())
    return [line[:LONGEST_LINE] for line in lines if line]


def note_stop(log: Path, name: str) -> None:
    """Write into the log who stopped the process."""
    with log.open("ab") as file:
        file.write(f"\n{STOPPED}{name}\n".encode())


def ended(lines: Sequence[str]) -> tuple[Literal["stopped", "failed"], str]:
    """How a process that has not finished its work ended, and what there is to say about it."""
    stopped = [line for line in lines if line.startswith(STOPPED)]
    if stopped:
        return "stopped", stopped[-1]
    last = lines[-1] if lines else ""
    if last.startswith("tutelage: "):
        return "failed", last.removeprefix("tutelage: ")
    return "failed", last if any(line.startswith("Traceback (most recent call last)") for line in lines) else SILENT
