"""Numbers and rows in plain words: "4 %", "+92 points [78, 98]", one sentence for each finding.

Leaves out: where the words go (HTML in `tutelage.evaluate.report`, a table in `tutelage.evaluate.terminal`).
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.evaluate.contest import Contest, Moved
from tutelage.evaluate.measures import Measure
from tutelage.evaluate.summary import Row, half_width_points
from tutelage.stats.intervals import Interval

MINUS = "−"
# What a reader wants to know first; the rest stands in the table. Whatever got worse is always named.
_HEADLINE = ("stopped", "instructions_strict", "loops", "text_after_end", "length_fit", "nll_reference")


def format_value(measure: Measure, value: float) -> str:
    """A value in its unit: "96 %", "12.3 words", "2.41 nats", "0.52"."""
    number = format_number(measure, value)
    space = "\u00a0" if measure.unit else ""
    return f"{number}{space}{measure.unit}"


def format_number(measure: Measure, value: float, *, signed: bool = False) -> str:
    """The same without its unit, percentages multiplied by 100; `signed` writes the + too."""
    if measure.unit == "%":
        scaled, decimals = 100 * value, 0 if abs(value) >= 0.0095 or value == 0 else 1
    else:
        scaled, decimals = value, 1 if measure.unit == "words" else 2
    text = f"{abs(scaled):.{decimals}f}"
    is_zero = not float(text)
    sign = "" if is_zero else MINUS if scaled < 0 else "+" if signed else ""
    return sign + text


def format_range(measure: Measure, interval: Interval, *, signed: bool = False) -> str:
    """The interval alone: "[89, 99]"."""
    low = format_number(measure, interval.low, signed=signed)
    high = format_number(measure, interval.high, signed=signed)
    return f"[{low}, {high}]"


def format_difference(measure: Measure, difference: Interval) -> str:
    """A difference in its unit: "+92 points"; a difference of percentages is in points."""
    unit = "points" if measure.unit == "%" else measure.unit
    space = "\u00a0" if unit else ""
    return f"{format_number(measure, difference.estimate, signed=True)}{space}{unit}"


def finding(row: Row) -> str:
    """One row as a sentence: "Stops by itself: 4 % → 96 % [89, 99]", the interval being the last model's."""
    known = [estimate for estimate in (row.estimates[0], row.estimates[-1]) if estimate is not None]
    values = [format_value(row.measure, estimate.estimate) for estimate in known]
    if len(row.estimates) == 1:
        values = values[:1]
    return f"{row.measure.label}: {' → '.join(values)} {format_range(row.measure, known[-1])}"


def contest_sentence(contest: Contest) -> str:
    """ "demo-rlhf beats demo-sft on 61 % of 96 prompts [51, 70] (55 wins, 7 ties, 34 losses)"."""
    rate = contest.rate
    share, low, high = (f"{100 * value:.0f}" for value in rate.score)
    counts = ", ".join((
        _counted(rate.wins, "win"), _counted(rate.ties, "tie"),
        _counted(rate.n - rate.wins - rate.ties, "loss", "losses"),
    ))  # fmt: skip
    return f"{contest.winner} beats {contest.loser} on {share} % of {rate.n} prompts [{low}, {high}] ({counts})"


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def moved_sentence(moved: Moved) -> str:
    """ "KL from demo-sft to demo-rlhf: 3.1 nats an answer [2.2, 4.0]"."""
    kl, low, high = (f"{value:.1f}".replace("-", MINUS) for value in moved.kl)
    return f"KL of {moved.model} from {moved.origin}: {kl} nats an answer [{low}, {high}], {moved.num_prompts} prompts"


def headline(rows: Sequence[Row]) -> list[Row]:
    """The findings to open with: the main measures that got better (or all, for one model), then whatever got worse."""
    worse = [row for row in rows if row.verdict == "worse"]
    by_name = {row.measure.name: row for row in rows if len(row.models) == 1 or row.verdict == "better"}
    return [*(by_name[name] for name in _HEADLINE if name in by_name), *worse]


def undecided_labels(rows: Sequence[Row]) -> str:
    """The measures without a verdict, as the end of a sentence: "empty answer, leaks a role token"."""
    return ", ".join(row.measure.label[0].lower() + row.measure.label[1:] for row in rows if row.verdict == "undecided")


def overview(rows: Sequence[Row]) -> str:
    """How many measures went which way, in one sentence; empty for a single model."""
    judged = [row for row in rows if row.verdict]
    if not judged:
        return ""
    counts = {verdict: sum(row.verdict == verdict for row in judged) for verdict in ("better", "worse", "undecided")}
    first, last = judged[0].models[0], judged[0].models[-1]
    return (
        f"Of {len(judged)} measures, {last} is better than {first} on {counts['better']}, "
        f"worse on {counts['worse']}, and {counts['undecided']} {_is_are(counts['undecided'])} undecided."
    )


def _is_are(count: int) -> str:
    return "is" if count == 1 else "are"


def sample_size_note(num_prompts: int) -> str:
    """What so many prompts can and cannot show."""
    noun = "prompt" if num_prompts == 1 else "prompts"
    note = (
        f"With {num_prompts} {noun}, a proportion near one half is known to "
        f"± {half_width_points(num_prompts):.1f} points (95 % interval)"
    )
    return f"{note}; 100 prompts would give ± 9.8." if num_prompts < 80 else f"{note}."
