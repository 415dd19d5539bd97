"""A preference report in plain words, for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tutelage.stats.intervals import Interval
from tutelage.stats.preferences import PreferenceReport

if TYPE_CHECKING:
    from rich.console import RenderableType


def preference_table(report: PreferenceReport, *, what: str = "held-out accuracy") -> RenderableType:
    """What the report says, the lines that matter first, then the accuracy by strength and by length.

    `what` is what to call the accuracy: whoever does not know that the data was held out must not say so.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    lines = Text("\n".join(preference_lines(report, what)))
    lines.stylize("bold", 0, lines.plain.index("\n"))
    table = Table("accuracy where", "comparisons", "right", box=None, header_style="bold")
    table.columns[1].justify = "right"
    for group in (*report.by_strength, *report.by_longer, *report.by_length_gap):
        table.add_row(group.label, f"{group.num_comparisons:,}", _percent(group.accuracy))
    return Group(lines, Text(""), table)


def preference_lines(report: PreferenceReport, what: str = "held-out accuracy") -> list[str]:
    """The report without its parts, a sentence a line; percentages with their 95 % intervals."""
    calibration = report.calibration
    lines = [
        f"{what} {_percent(report.accuracy)} on {_how_many(report)}",
        f"always the longer answer: {_percent(report.length_baseline)}",
        *_agreement_lines(report),
        f"confidence: {100 * calibration.confidence:.1f} % on average, off by {100 * calibration.expected_error:.1f} "
        f"points (calibration error); log loss {calibration.log_loss:.3f} nats, a coin has {math.log(2):.3f}",
        f"mean margin {report.mean_margin:+.3f}",
    ]
    if report.num_ties:
        lines.append(f"left out: {_count(report.num_ties, 'tie')} in the data")
    if report.num_equal_scores:
        lines.append(f"counted one half: {_count(report.num_equal_scores, 'pair')} with equal scores")
    return lines


def _agreement_lines(report: PreferenceReport) -> list[str]:
    agreement = report.agreement
    if agreement is None:
        why = "no two raters judged the same answers" if report.num_raters else "the data does not say who judged"
        return [f"raters' own agreement: unknown, {why}"]
    lines = [f"raters agree with each other: {_percent(agreement.share)} on {_count(agreement.num_items, 'pair')}"]
    best = agreement.best_accuracy()
    if best is not None:
        lines.append(f"if raters slip at random, a model that is always right would be at {100 * best:.1f} %")
    return lines


def _how_many(report: PreferenceReport) -> str:
    comparisons = _count(report.num_comparisons, "comparison")
    if report.num_pairs == report.num_comparisons:
        return comparisons
    return f"{comparisons} ({report.num_pairs:,} pairs)"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _percent(share: Interval) -> str:
    return f"{100 * share.estimate:.1f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]"
