"""A check report as tables for the terminal.

Leaves out: deciding anything; the report itself says whether the data is fit to train on.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from tutelage.data.report import CheckReport, Finding

if TYPE_CHECKING:
    from rich.console import RenderableType

COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}
MAX_ROWS_PER_CODE = 10


def render_check(report: CheckReport, *, max_rows_per_code: int = MAX_ROWS_PER_CODE) -> RenderableType:
    """The overview, the findings (a few of each kind; 0 shows all) and a closing line."""
    from rich.console import Group

    parts: list[RenderableType] = [_overview(report)]
    if report.findings:
        parts.append(_findings(report.findings, max_rows_per_code))
    return Group(*parts, _verdict(report))


def _overview(report: CheckReport) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(report.file), title_justify="left", show_header=False, box=None)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_row("kind", report.kind)
    table.add_row("format", report.format)
    table.add_row("records", f"{report.num_records:,}")
    table.add_row("turns", f"{report.num_turns:,}")
    for name, value in report.stats.items():
        table.add_row(name.replace("_", " "), f"{value:,}")
    return table


def _findings(findings: Sequence[Finding], max_rows: int) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table("", "finding", "line", "field", "what", show_edge=False, pad_edge=False)
    table.columns[4].overflow = "fold"
    has_many_files = len({finding.file for finding in findings if finding.file}) > 1
    for (severity, code), members in groupby(sorted(findings, key=_rank), key=lambda each: (each.severity, each.code)):
        group = list(members)
        shown = group[:max_rows] if max_rows else group
        for finding in shown:
            place = Text(_place(finding, has_many_files))
            mark = Text(severity, style=COLOURS[severity])
            table.add_row(mark, code, place, Text(finding.field or ""), Text(finding.message))
        if len(group) > len(shown):
            table.add_row("", code, "", "", f"… and {len(group) - len(shown):,} more")
    return table


def _rank(finding: Finding) -> tuple[int, str]:
    return list(COLOURS).index(finding.severity), finding.code


def _place(finding: Finding, has_many_files: bool) -> str:
    """The line, with the file where a report covers several."""
    if finding.line is None:
        return ""
    return f"{finding.file}:{finding.line}" if has_many_files else str(finding.line)


def _verdict(report: CheckReport) -> RenderableType:
    from rich.text import Text

    counts = [sum(finding.severity == severity for finding in report.findings) for severity in COLOURS]
    named = [f"{count:,} {name}{'' if count == 1 else 's'}" for name, count in zip(COLOURS, counts, strict=True)]
    summary = ", ".join(named)
    if report.ok:
        return Text(f"{summary}: fit to train on", style="green")
    return Text(f"{summary}: mend the errors before training", style="red")
