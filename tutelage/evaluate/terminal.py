"""The rows of a report as a table for the terminal.

Leaves out: answers to read; those are in the HTML report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tutelage.evaluate.contest import Standings
from tutelage.evaluate.markdown import clean_text
from tutelage.evaluate.summary import Row
from tutelage.evaluate.wording import contest_sentence, format_difference, format_range, format_value, moved_sentence

if TYPE_CHECKING:
    from rich.table import Table

_LABELS, _CELL = 34, 22
"""Columns that the labels take, and a value with its interval."""
_STYLES = {"better": "green", "worse": "bold red", "undecided": "dim", "": ""}


def report_table(rows: Sequence[Row], width: int = 200) -> Table:
    """Measures down, models across, then the paired difference of last and first with its verdict.

    Where the terminal is too narrow for the intervals it has the values and verdicts alone, and says so.
    """
    from rich.table import Table
    from rich.text import Text

    names = rows[0].models if rows else ()
    brief = width < _LABELS + _CELL * (len(names) + 2 * (len(names) > 1))
    title = "the report has their 95 % intervals" if brief else "with 95 % intervals"
    table = Table(title=f"Measures that need no judge, {title}", title_justify="left", pad_edge=False)
    if brief:
        table.box, table.padding = None, (0, 0, 0, 1)
    table.add_column("Measure", no_wrap=True)
    for name in names:
        table.add_column(Text(clean_text(name)), justify="right")
    if len(names) > 1:
        if not brief:
            table.add_column("Difference", justify="right")
        table.add_column("Verdict", min_width=9, no_wrap=brief)
    for row in rows:
        cells = _brief_cells(row) if brief else _cells(row)
        table.add_row(*(Text(cell, style=_STYLES[row.verdict] if i > len(names) else "") for i, cell in cells))
    return table


def _brief_cells(row: Row) -> list[tuple[int, str]]:
    cells = [format_value(row.measure, estimate.estimate) if estimate else "–" for estimate in row.estimates]
    verdict = [row.verdict or "–"] if len(row.models) > 1 else []
    return list(enumerate([row.measure.label, *cells, *verdict]))


def standings_table(standings: Standings) -> Table:
    """A line for each pair of models and for each distance."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=f"Who wins under the {standings.rater}, with 95 % intervals", title_justify="left", show_header=False,
        pad_edge=False,
    )  # fmt: skip
    for contest in standings.contests:
        table.add_row(clean_text(contest_sentence(contest)), Text(contest.verdict, style=_STYLES[contest.verdict]))
    for moved in standings.moved:
        table.add_row(clean_text(moved_sentence(moved)), "")
    return table


def _cells(row: Row) -> list[tuple[int, str]]:
    cells = [row.measure.label]
    for estimate in row.estimates:
        cells.append(
            f"{format_value(row.measure, estimate.estimate)} {format_range(row.measure, estimate)}" if estimate else "–"
        )
    if len(row.models) > 1:
        change = row.difference
        cells.append(
            f"{format_difference(row.measure, change)} {format_range(row.measure, change, signed=True)}"
            if change
            else "–"
        )
        cells.append(row.verdict or row.remark)
    return list(enumerate(cells))
