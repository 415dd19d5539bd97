"""Agreement: Krippendorff's own example and small ones by hand; the bootstrap against the package of his measure."""

from __future__ import annotations

import time

import krippendorff
import numpy as np
import pytest

from tutelage.errors import DataError
from tutelage.stats.agreement import LEVELS, Level, alpha, credit_share, raw_agreement
from tutelage.stats.intervals import wilson

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section D: four observers, twelve units.
OBSERVERS = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
UNITS = [
    [float(value) for value in unit if value != "."] for unit in zip(*(line.split() for line in OBSERVERS), strict=True)
]


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_own_example(level: Level, published: float):
    found = alpha(UNITS, level)
    assert found is not None
    assert found.alpha.estimate == pytest.approx(published, abs=0.0005)
    assert (found.num_units, found.num_values) == (11, 40)
    assert found.alpha.low < published < found.alpha.high


def test_alpha_by_hand():
    # Two raters, units (1, 1), (0, 0), (0, 1), (1, 1): n = 8, five ones and three zeros.
    # Observed disagreement 2 of 8; expected 2 · 5 · 3 / 7; α = 1 − 2 / (30 / 7) = 16 / 30.
    found = alpha([[1, 1], [0, 0], [0, 1], [1, 1]], "nominal")
    assert found is not None
    assert found.alpha.estimate == pytest.approx(16 / 30)


@pytest.mark.parametrize("level", LEVELS)
def test_each_resample_is_what_the_package_says_of_it(level: Level):
    """The quantiles of α over resamples are those of the package's α over the same resamples."""
    rng = np.random.default_rng(3)
    units = [(rng.integers(0, 2) + rng.integers(-1, 3, size=rng.integers(2, 5))).tolist() for _ in range(25)]
    found = alpha(units, level, num_resamples=60, seed=9)
    assert found is not None
    draw, values = np.random.default_rng(9), []
    domain = sorted({value for unit in units for value in unit})
    counts = np.array([[unit.count(value) for value in domain] for unit in units])
    for _ in range(60):
        rows = draw.integers(25, size=25)
        values.append(
            krippendorff.alpha(
                value_counts=counts[rows], value_domain=np.array(domain, float), level_of_measurement=level
            )
        )
    assert (found.alpha.low, found.alpha.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_resamples_of_items_with_several_units_are_what_the_package_says_of_them():
    rng = np.random.default_rng(5)
    units = [rng.integers(0, 3, size=rng.integers(2, 4)).tolist() for _ in range(60)]
    names = [number // 3 for number in range(60)]
    found = alpha(units, "ordinal", clusters=names, num_resamples=60, seed=9)
    assert found is not None
    draw, values = np.random.default_rng(9), []
    counts = np.array([[unit.count(value) for value in range(3)] for unit in units])
    for _ in range(60):
        rows = np.concatenate([3 * item + np.arange(3) for item in draw.integers(20, size=20)])
        values.append(krippendorff.alpha(value_counts=counts[rows], level_of_measurement="ordinal"))
    assert (found.alpha.low, found.alpha.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_units_of_one_item_are_drawn_together():
    """Ten copies of each item's verdicts as units of that item say no more than one copy does."""
    rng = np.random.default_rng(1)
    items = [rng.integers(0, 2, size=2).tolist() for _ in range(40)]
    copies = [unit for unit in items for _ in range(10)]
    names = [number for number in range(40) for _ in range(10)]
    one, together, apart = alpha(items, "nominal"), alpha(copies, "nominal", clusters=names), alpha(copies, "nominal")
    assert one is not None
    assert together is not None
    assert apart is not None
    width = one.alpha.high - one.alpha.low
    assert together.alpha.high - together.alpha.low == pytest.approx(width, rel=0.1)
    assert apart.alpha.high - apart.alpha.low < width / 2


def test_the_interval_covers_about_as_often_as_it_says():
    rng, truth, covered = np.random.default_rng(0), 0.36, 0
    for _ in range(100):  # two raters who each see a fair coin rightly 4 times in 5: α = (2 · .8 − 1)² = .36
        coin = rng.integers(0, 2, size=100)
        units = np.stack([np.where(rng.random(100) < 0.8, coin, 1 - coin) for _ in range(2)], axis=1)
        found = alpha(units.tolist(), "nominal", num_resamples=200)
        assert found is not None
        covered += found.alpha.contains(truth)
    assert 88 <= covered <= 100


@pytest.mark.parametrize("units", [[], [[1.0]], [[1, 1], [1, 1, 1]], [[1], [2]]])
def test_there_is_no_alpha_without_a_difference_or_a_pair(units: list[list[float]]):
    assert alpha(units, "nominal") is None


def test_clusters_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="2 clusters do not fit 1 units"):
        alpha([[1, 2]], "nominal", clusters=["a", "b"])


def test_it_is_quick_and_the_same_each_time():
    rng = np.random.default_rng(2)
    units = rng.integers(-4, 5, size=(1000, 3)).tolist()
    begun = time.process_time()
    first = alpha(units, "ordinal")
    assert time.process_time() - begun < 5  # measured: 0.25 s
    assert alpha(units, "ordinal") == first


def test_scores_that_never_occur_twice_take_no_table_of_all_pairs_of_them():
    rng = np.random.default_rng(2)
    truth = rng.random((5000, 1))
    begun = time.process_time()
    found = alpha((truth + 0.1 * rng.random((5000, 2))).tolist(), "interval", num_resamples=100)
    assert time.process_time() - begun < 20  # measured: 0.3 s; a table of 10,000² would be 800 MB
    assert found is not None
    assert 0.9 < found.alpha.low < found.alpha.high < 1


def test_raw_agreement_counts_pairs_of_raters():
    # Three raters a, a, b: one pair of three. Two raters a, a: one of one. One rater alone: nothing.
    found = raw_agreement([["a", "a", "b"], ["a", "a"], ["b"]])
    assert found is not None
    assert found.share.estimate == pytest.approx(2 / 4)
    assert (found.num_units, found.num_pairs) == (2, 4)
    assert raw_agreement([["a"], []]) is None


def test_credits_are_wilsons_where_each_item_has_one():
    found = credit_share([[1.0], [0.0], [0.5], []])
    assert found is not None
    assert (found.share, found.num_units, found.num_pairs) == (wilson(1.5, 3), 3, 3)
    several = credit_share([[1.0, 1.0], [0.0]])
    assert several is not None
    assert several.share.estimate == pytest.approx(2 / 3)
    assert credit_share([[]]) is None
