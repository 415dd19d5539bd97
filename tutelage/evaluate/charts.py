"""Charts as inline SVG: training curves, and a small interval plot for each row of measures.

Drawn here and not by a library so that the page stays small, prints, follows light and dark mode by CSS and needs no
script that evaluates strings (see docs/decisions/002-no-judge-measures.md). Everything is a tag with numbers in it;
words pass through `Markup.format`, which escapes them.

Leaves out: zooming; the pointer read-out is in templates/report.js and reads the points that the chart carries.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from tutelage.errors import DataError
from tutelage.evaluate.markdown import clean_text
from tutelage.stats.intervals import Interval

MAX_POINTS = 400
SMOOTH_FROM_POINTS = 40
# The plot is stretched to whatever width the page has; strokes and letters are not (see .plot in report.css).
_WIDE, _HIGH = 1000, 400
# Series drawn together, under one title; anything else gets a chart of its own.
_GROUPS = (
    ("Loss", {"loss": "training", "val_loss": "validation"}),
    ("Reward", {"reward": ""}),
    ("KL to the reference, nats an answer", {"kl": ""}),
    ("Share of verdicts the reward model agrees with", {"accuracy": "training", "val_accuracy": "held out"}),
    ("Learning rate", {"learning_rate": ""}),
    ("Tokens a second", {"tokens_per_second": ""}),
)

_SMOOTH_ALREADY = {"learning_rate", "val_loss"}


@dataclass(frozen=True)
class RunCurve:
    """What a run recorded: `series` holds one number a step (nan where there is none) for loss, val_loss and so on."""

    name: str
    steps: list[int]
    series: dict[str, list[float]]


@dataclass(frozen=True)
class Line:
    """One line of a chart: its points in data units, and the slot of its colour."""

    label: str
    points: list[tuple[float, float]]
    slot: int
    dashed: bool = False
    noisy: bool = True


@dataclass(frozen=True)
class Chart:
    """A titled chart, ready for the page: the plot, its two axes, and the numbers behind it for the table below."""

    title: str
    plot: Markup
    x_axis: Markup
    y_axis: Markup
    lines: list[Line]

    @property
    def table(self) -> list[tuple[str, str, str, str]]:
        """For each line: its name, first, lowest and last value."""
        rows = []
        for line in self.lines:
            values = [y for _, y in line.points]
            rows.append((line.label, f"{values[0]:.4g}", f"{min(values):.4g}", f"{values[-1]:.4g}"))
        return rows


def draw_curves(curves: Sequence[RunCurve]) -> list[Chart]:
    """The charts of all runs, loss first; a series without a finite number is left out.

    Raises `DataError` when a series and its steps differ in length.
    """
    for curve in curves:
        for name, values in curve.series.items():
            if len(values) != len(curve.steps):
                raise DataError(
                    f"run '{curve.name}' has {len(curve.steps)} steps and {len(values)} values of {name}; "
                    "give one value a step, nan where there is none"
                )
    grouped = {name for _, group in _GROUPS for name in group}
    others = sorted({name for curve in curves for name in curve.series} - grouped)
    groups = [*_GROUPS, *((clean_text(name).replace("_", " ").capitalize(), {name: ""}) for name in others)]
    charts = [
        _chart(title, _lines(curves, group), num_ticks=6 if i == 0 else 4) for i, (title, group) in enumerate(groups)
    ]
    return [chart for chart in charts if chart is not None]


def _lines(curves: Sequence[RunCurve], group: dict[str, str]) -> list[Line]:
    lines = []
    # Colour 0 belongs to the model before training, which no run made.
    for slot, curve in enumerate(curves, start=1):
        for position, (name, suffix) in enumerate(group.items()):
            values = zip(curve.steps, curve.series.get(name, []), strict=False)
            points = [(float(x), float(y)) for x, y in values if math.isfinite(y)]
            label = clean_text(" · ".join(part for part in (curve.name, suffix) if part))
            if points:
                lines.append(Line(label, points, slot % 4, dashed=position > 0, noisy=name not in _SMOOTH_ALREADY))
    return lines


def _chart(title: str, lines: list[Line], *, num_ticks: int) -> Chart | None:
    if not lines:
        return None
    frame = Frame.around([point for line in lines for point in line.points], num_ticks)
    grid = Markup("").join(
        Markup('<path class="grid" d="M0 {y}H{w}"/>').format(y=frame.y(tick), w=_WIDE) for tick in frame.y_ticks
    )
    body = Markup("").join(_line(frame, line) for line in lines)
    plot = Markup(
        '<svg class="plot" viewBox="0 0 {w} {h}" preserveAspectRatio="none" role="img" aria-label="{title} by step" '
        'tabindex="0" data-lines="{data}" data-range="{low} {high}">{grid}{body}'
        '<path class="cursor" d="M0 0V{h}" visibility="hidden"/></svg>'
    ).format(
        w=_WIDE,
        h=_HIGH,
        title=title,
        data=_data(lines),
        low=frame.x_range[0],
        high=frame.x_range[1],
        grid=grid,
        body=body,
    )
    return Chart(title, plot, _x_axis(frame), _y_axis(frame), lines)


def _x_axis(frame: Frame) -> Markup:
    label = Markup('<text x="{}%" y="16" class="{}">{}</text>')
    parts = []
    for tick in frame.x_ticks:
        share = 100 * frame.x(tick) / _WIDE
        parts.append(
            label.format(f"{share:.2f}", "start" if share < 3 else "end" if share > 97 else "middle", _short(tick))
        )
    return Markup('<svg class="x-axis" aria-hidden="true">{}</svg>').format(Markup("").join(parts))


def _y_axis(frame: Frame) -> Markup:
    label = Markup('<text x="100%" y="{}%" dy="4" class="end">{}</text>')
    parts = [label.format(f"{100 * frame.y(tick) / _HIGH:.2f}", _short(tick)) for tick in frame.y_ticks]
    return Markup('<svg class="y-axis" aria-hidden="true">{}</svg>').format(Markup("").join(parts))


@dataclass(frozen=True)
class Frame:
    """Where data units land on the drawing."""

    x_ticks: list[float]
    y_ticks: list[float]
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    @staticmethod
    def around(points: Sequence[tuple[float, float]], num_ticks: int) -> Frame:
        xs, ys = [x for x, _ in points], [y for _, y in points]
        y_ticks = nice_ticks(min(ys), max(ys), num_ticks)
        x_range = (min(xs), max(*xs, min(xs) + 1))
        x_ticks = [tick for tick in nice_ticks(*x_range, 6) if x_range[0] <= tick <= x_range[1] and tick == int(tick)]
        return Frame(x_ticks, y_ticks, x_range, (min(y_ticks[0], *ys), max(y_ticks[-1], *ys)))

    def x(self, value: float) -> float:
        low, high = self.x_range
        return round((value - low) / (high - low) * _WIDE, 1)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return round((high - value) / (high - low) * _HIGH, 1)


def nice_ticks(low: float, high: float, at_most: int) -> list[float]:
    """Round numbers that span low..high: multiples of 1, 2 or 5 times a power of ten."""
    if high <= low:
        pad = abs(low) * 0.5 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / max(1, at_most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def _line(frame: Frame, line: Line) -> Markup:
    points, css = thin(line.points), f"curve c{line.slot}{' dashed' if line.dashed else ''}"
    if not line.noisy or len(line.points) < SMOOTH_FROM_POINTS:
        # A dot is a stroke of no length with round ends, so that stretching the plot keeps it round.
        dots = "".join(f"M{frame.x(x)} {frame.y(y)}h0" for x, y in points) if len(points) <= SMOOTH_FROM_POINTS else ""
        return _path(frame, points, css) + Markup('<path class="dots c{}" d="{}"/>').format(line.slot, dots)
    return _path(frame, points, f"{css} raw") + _path(frame, thin(smoothed(line.points)), css)


def _path(frame: Frame, points: Sequence[tuple[float, float]], css: str) -> Markup:
    route = " ".join(f"{'ML'[i > 0]}{frame.x(x)} {frame.y(y)}" for i, (x, y) in enumerate(points))
    return Markup('<path class="{}" d="{}"/>').format(css, route)


def thin(points: list[tuple[float, float]], limit: int = MAX_POINTS) -> list[tuple[float, float]]:
    """At most about `limit` points that keep the shape: the lowest and highest of each stretch, so spikes stay."""
    if len(points) <= limit:
        return points
    kept = []
    size = math.ceil(2 * len(points) / limit)
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        extremes = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        kept.extend(sorted(extremes))
    return kept


def smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A centred moving average over about a twentieth of the run, narrower towards both ends so that it never lags."""
    totals = np.concatenate(([0.0], np.cumsum([y for _, y in points])))
    most = max(1, len(points) // 40)
    out = []
    for i, (x, _) in enumerate(points):
        reach = min(most, i, len(points) - 1 - i)
        out.append((x, float(totals[i + reach + 1] - totals[i - reach]) / (2 * reach + 1)))
    return out


def _data(lines: Sequence[Line]) -> str:
    return json.dumps([[line.label, [[x, float(f"{y:.4g}")] for x, y in thin(line.points)]] for line in lines])


def _short(value: float) -> str:
    if value and abs(value) < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:,.6g}".replace(",", "\u202f")


def draw_intervals(
    estimates: Sequence[Interval | None], *, full_scale: bool, first_slot: int = 0, mark: float | None = None
) -> Markup:
    """A dot and its interval for each model on one axis: 0..1 for shares, 0..the largest limit otherwise.

    Colours begin with that of `first_slot`; `mark` is a place on the axis to compare with.
    """
    known = [estimate for estimate in estimates if estimate is not None]
    top = 1.0 if full_scale else max(estimate.high for estimate in known) or 1.0
    width, gap = 150, 12
    height = gap * len(estimates) + 4

    def across(value: float) -> float:
        return round(4 + min(1.0, max(0.0, value / top)) * (width - 8), 1)

    parts = [Markup('<line class="axis" x1="4" x2="{}" y1="{}" y2="{}"/>').format(width - 4, height - 1, height - 1)]
    if mark is not None:
        parts.append(Markup('<line class="axis" x1="{0}" x2="{0}" y1="0" y2="{1}"/>').format(across(mark), height - 1))
    for row, estimate in enumerate(estimates):
        if estimate is not None:
            slot, y = first_slot + row, gap * row + gap / 2
            low, mid, high = across(estimate.low), across(estimate.estimate), across(estimate.high)
            parts.append(
                Markup('<line class="whisker c{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(slot, low, high, y, y)
            )
            parts.append(Markup('<circle class="dot c{}" cx="{}" cy="{}" r="3.5"/>').format(slot, mid, y))
    return Markup(
        '<svg class="intervals" viewBox="0 0 {} {}" width="{}" height="{}" aria-hidden="true">{}</svg>'
    ).format(width, height, width, height, Markup("").join(parts))
