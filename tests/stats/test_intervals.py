"""Intervals against published numbers, against simulation, and at their edges."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import DataError
from tutelage.stats.intervals import (
    bootstrap_ratio,
    mean_interval,
    paired_bootstrap,
    paired_bootstrap_ratio,
    paired_proportions,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe 1998a, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_limits(successes, n, low, high):
    interval = wilson(successes, n)
    assert interval.estimate == successes / n
    assert round(interval.low, 4) == low
    assert round(interval.high, 4) == high


def test_wilson_touches_the_edges_exactly():
    assert wilson(0, 7).low == 0.0
    assert wilson(7, 7).high == 1.0


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_estimate_and_stays_within_0_and_1(case):
    successes, n = case
    estimate, low, high = wilson(successes, n)
    assert 0.0 <= low <= estimate <= high <= 1.0


def test_wilson_covers_the_truth_95_times_in_100_on_average():
    n = 40
    limits = [wilson(count, n) for count in range(n + 1)]

    def coverage(p):
        return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k, limit in enumerate(limits) if limit.contains(p))

    exact = [coverage(i / 200) for i in range(10, 191)]
    assert sum(exact) / len(exact) == pytest.approx(0.95, abs=0.005)
    assert min(exact) > 0.90


def test_wilson_of_nothing_is_an_error():
    with pytest.raises(DataError) as raised:
        wilson(0, 0)
    assert str(raised.value) == "a proportion needs at least one case, and there are 0"


def test_wilson_refuses_a_count_that_does_not_fit():
    with pytest.raises(DataError) as raised:
        wilson(5, 4)
    assert str(raised.value) == "5 successes do not fit into 4 cases"


def paired(both, only_before, only_after, neither):
    before = [True] * (both + only_before) + [False] * (only_after + neither)
    after = [True] * both + [False] * only_before + [True] * only_after + [False] * neither
    return before, after


@pytest.mark.parametrize(
    ("table", "estimate", "low", "high"),
    [
        ((14, 0, 5, 22), 0.122, 0.011, 0.226),  # Altman et al. 2000, Statistics with Confidence, table 6.2
        ((1, 1, 7, 12), 0.286, 0.026, 0.507),  # Fagerland et al. 2014, https://doi.org/10.1002/sim.6148
    ],
)
def test_paired_proportions_give_the_published_limits(table, estimate, low, high):
    interval = paired_proportions(*paired(*table))
    assert [round(value, 3) for value in interval] == [estimate, low, high]


def test_paired_proportions_swap_sign_when_before_and_after_swap():
    before, after = paired(4, 3, 9, 6)
    forward, backward = paired_proportions(before, after), paired_proportions(after, before)
    assert forward.estimate == pytest.approx(-backward.estimate)
    assert forward.low == pytest.approx(-backward.high)


def test_paired_proportions_keep_their_width_when_nothing_or_everything_changes():
    same = paired_proportions([False] * 20, [False] * 20)
    assert same.estimate == 0.0
    assert same.low == pytest.approx(-wilson(0, 20).high)
    all_changed = paired_proportions([False] * 20, [True] * 20)
    assert all_changed.estimate == 1.0
    assert all_changed.low == pytest.approx(1 - math.hypot(0.1611, 0.1611), abs=1e-3)


def test_paired_proportions_cover_the_truth_about_95_times_in_100():
    generator = np.random.default_rng(2)
    covered, num_runs = 0, 2_000
    for _ in range(num_runs):
        before = generator.random(30) < 0.3
        after = before | (generator.random(30) < 0.4)  # true difference .7 · .4 = .28
        covered += paired_proportions(before.tolist(), after.tolist()).contains(0.28)
    assert 0.93 <= covered / num_runs <= 0.985


def test_mean_interval_agrees_with_the_normal_one_for_many_values():
    values = np.random.default_rng(3).normal(5.0, 2.0, size=400)
    interval = mean_interval(values.tolist())
    half = 1.96 * values.std() / math.sqrt(400)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


def test_mean_interval_covers_the_truth_about_95_times_in_100():
    generator = np.random.default_rng(4)
    intervals = [mean_interval(generator.exponential(1.0, 60).tolist(), num_resamples=500) for _ in range(400)]
    covered = sum(interval.contains(1.0) for interval in intervals) / 400
    assert 0.90 <= covered <= 0.98


def test_the_bootstrap_is_deterministic_and_depends_on_its_seed():
    values = [0.1, 0.5, 0.2, 0.9, 0.4]
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)


def test_paired_bootstrap_is_the_mean_of_the_differences():
    before, after = [1.0, 2.0, 3.0, 4.0], [1.5, 2.0, 4.0, 4.5]  # differences .5 0 1 .5
    interval = paired_bootstrap(before, after)
    assert interval.estimate == pytest.approx(0.5)
    assert interval == mean_interval([0.5, 0.0, 1.0, 0.5])


def test_paired_bootstrap_is_narrower_than_the_prompts_are_spread():
    before = [float(i) for i in range(50)]
    interval = paired_bootstrap(before, [value + 1.0 for value in before])
    assert interval == (1.0, 1.0, 1.0)  # every prompt moved by one, though prompts differ by up to 49


def test_all_equal_values_have_no_width():
    assert mean_interval([2.5] * 9) == (2.5, 2.5, 2.5)


def test_bootstrap_ratio_weighs_documents_by_their_tokens():
    documents = [(10.0, 10), (300.0, 100)]  # per-document means 1 and 3; 310 / 110 overall
    assert bootstrap_ratio(documents).estimate == pytest.approx(310 / 110)


def test_bootstrap_ratio_of_one_document_has_no_width():
    assert bootstrap_ratio([(6.0, 3)]) == (2.0, 2.0, 2.0)


def test_paired_ratio_draws_the_same_documents_for_both():
    before = [(10.0, 10), (300.0, 100), (40.0, 20), (9.0, 3)]
    after = [(nll - tokens * 0.5, tokens) for nll, tokens in before]  # half a nat less for every token
    interval = paired_bootstrap_ratio(before, after)
    assert interval.estimate == pytest.approx(-0.5)
    assert interval.low == pytest.approx(-0.5)
    assert interval.high == pytest.approx(-0.5)


def test_many_resamples_of_many_values_are_drawn_in_pieces():
    whole = mean_interval([float(i) for i in range(3_000)], num_resamples=2_000)
    assert whole.low < 1499.5 < whole.high
    assert whole.high - whole.low == pytest.approx(2 * 1.96 * 3000 / math.sqrt(12) / math.sqrt(3000), rel=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([]), "an interval needs at least one value, and there are none"),
        (lambda: mean_interval([1.0, math.nan]), "value 2 of 2 is nan; an interval needs finite numbers"),
        (lambda: bootstrap_ratio([]), "an interval needs at least one value, and there are none"),
        (lambda: bootstrap_ratio([(1.0, 2), (0.0, 0)]), "document 2 has no tokens; leave out empty texts"),
        (
            lambda: paired_bootstrap([1.0], [1.0, 2.0]),
            "1 values before and 2 after cannot be paired; give one of each a prompt",
        ),
        (lambda: wilson(1, 2, confidence=95), "a confidence of 95 is not between 0 and 1; use 0.95 for 95 %"),
    ],
)
def test_degenerate_input_says_what_is_wrong(call, message):
    with pytest.raises(DataError) as raised:
        call()
    assert str(raised.value) == message
