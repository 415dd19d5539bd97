"""Chart geometry: ticks, thinning, smoothing, and series with holes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import DataError
from tutelage.evaluate.charts import RunCurve, draw_curves, draw_intervals, nice_ticks, smoothed, thin
from tutelage.stats.intervals import Interval


@pytest.mark.parametrize(
    ("low", "high", "at_most", "ticks"),
    [
        (1.1, 3.4, 6, [1.0, 1.5, 2.0, 2.5, 3.0, 3.5]),
        (0.0, 2e-5, 4, [0.0, 1e-5, 2e-5]),
        (2.0, 2.0, 3, [1.0, 2.0, 3.0]),
        (0.0, 0.0, 3, [-1.0, 0.0, 1.0]),
    ],
)
def test_ticks_are_round_numbers_around_the_data(low, high, at_most, ticks):
    assert nice_ticks(low, high, at_most) == ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_always_span_the_data(low, width, at_most):
    ticks = nice_ticks(low, low + width, at_most)
    slack = 1e-6 * max(1.0, abs(low), width)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + width - slack
    assert len(ticks) <= at_most + 2


def test_thinning_keeps_a_single_spike():
    points = [(float(i), 1.0) for i in range(10_000)]
    points[5_003] = (5_003.0, 9.0)
    kept = thin(points)
    assert len(kept) <= 400
    assert (5_003.0, 9.0) in kept
    assert kept == sorted(kept)


def test_smoothing_follows_a_straight_line_exactly():
    points = [(float(i), 2.0 * i) for i in range(200)]
    assert [y for _, y in smoothed(points)] == pytest.approx([y for _, y in points])


def test_a_series_with_holes_is_drawn_at_the_steps_it_has():
    curve = RunCurve("run", [1, 2, 3], {"loss": [3.0, 2.0, 1.0], "val_loss": [math.nan, 2.5, math.nan]})
    (chart,) = draw_curves([curve])
    assert chart.title == "Loss"
    assert [(line.label, line.points) for line in chart.lines] == [
        ("run · training", [(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]),
        ("run · validation", [(2.0, 2.5)]),
    ]
    assert chart.table[0] == ("run · training", "3", "1", "1")


def test_each_unknown_series_has_its_own_chart_after_the_known_ones():
    curve = RunCurve("run", [1, 2], {"grad_norm": [1.0, 2.0], "learning_rate": [0.1, 0.2], "loss": [1.0, math.inf]})
    assert [chart.title for chart in draw_curves([curve])] == ["Loss", "Learning rate", "Grad norm"]


def test_a_run_without_finite_numbers_has_no_chart():
    assert draw_curves([RunCurve("run", [], {"loss": []}), RunCurve("b", [1], {"loss": [math.nan]})]) == []


def test_a_single_step_can_be_drawn():
    (chart,) = draw_curves([RunCurve("run", [7], {"loss": [1.5]})])
    assert "nan" not in chart.plot


def test_series_and_steps_of_different_length_are_refused():
    with pytest.raises(DataError) as raised:
        draw_curves([RunCurve("run", [1, 2], {"loss": [1.0]})])
    assert str(raised.value) == (
        "run 'run' has 2 steps and 1 values of loss; give one value a step, nan where there is none"
    )


def test_names_are_escaped_in_the_drawing():
    (chart,) = draw_curves([RunCurve('"><script>alert(1)</script>', [1, 2], {"loss": [1.0, 2.0]})])
    assert "<script" not in chart.plot
    assert "&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in chart.plot


def test_interval_plots_leave_out_missing_models():
    svg = draw_intervals([Interval(0.5, 0.4, 0.6), None], full_scale=True)
    assert svg.count("<circle") == 1


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=60))
def test_any_finite_series_can_be_drawn(values):
    (chart,) = draw_curves([RunCurve("run", list(range(len(values))), {"loss": values})])
    assert "nan" not in chart.plot
    assert "inf" not in chart.plot
