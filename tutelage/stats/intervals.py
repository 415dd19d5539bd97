"""How sure the numbers are: intervals for proportions, means, ratios and paired differences.

Wilson's score interval for one proportion, Newcombe's for the difference of two paired ones, the percentile bootstrap
by prompt for everything else. All are deterministic: the bootstrap draws from a generator seeded by the caller.

Leaves out: tests and p-values, corrections for looking at many measures, and the spread between training seeds, which
needs several trained models. The percentile bootstrap is a little too narrow below some 20 prompts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError

Floats = NDArray[np.float64]
_MAX_DRAWS_AT_ONCE = 2_000_000  # resampled indices held in memory: 16 MB


class Interval(NamedTuple):
    """An estimate and the interval around it, in the unit of the data."""

    estimate: float
    low: float
    high: float

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high


def wilson(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Score interval of one proportion, without continuity correction (Wilson 1927; method 3 of Newcombe 1998a,
    https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E).

    A case may be half a success. The interval is then too wide rather than too narrow: of all variables between 0 and 1
    with one mean, those that are 0 or 1 vary most. Raises `DataError` for n = 0 or a count outside 0..n.
    """
    if n <= 0:
        raise DataError(f"a proportion needs at least one case, and there are {n}")
    if not 0 <= successes <= n:
        raise DataError(f"{successes} successes do not fit into {n} cases")
    z, p = _z(confidence), successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # Rounding would leave 1e-17 where the interval touches 0 or 1 exactly.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(p, low, high)


def paired_proportions(before: Sequence[bool], after: Sequence[bool], confidence: float = 0.95) -> Interval:
    """Interval of the difference after − before of two proportions over the same cases.

    Method 10 of Newcombe 1998b (https://doi.org/10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C):
    Wilson's limits of both sides, squared and added, corrected for their correlation. Unlike the bootstrap it keeps its
    width when every case agrees, which is what happens when a stop rate goes from 0 to 1.
    """
    _same_length(before, after)
    n = len(before)
    both = sum(b and a for b, a in zip(before, after, strict=True))
    first, second = wilson(sum(before), n, confidence), wilson(sum(after), n, confidence)
    phi = _phi(both, sum(before) - both, sum(after) - both, n)
    difference = second.estimate - first.estimate
    down = _square_and_add(second.estimate - second.low, first.high - first.estimate, phi)
    up = _square_and_add(second.high - second.estimate, first.estimate - first.low, phi)
    return Interval(difference, difference - down, difference + up)


def _phi(both: int, only_before: int, only_after: int, n: int) -> float:
    """Correlation of the two outcomes, with the continuity correction that method 10 applies to positive ones."""
    neither = n - both - only_before - only_after
    margins = (both + only_before) * (only_after + neither) * (both + only_after) * (only_before + neither)
    if margins == 0:
        return 0.0
    cross = both * neither - only_before * only_after
    corrected = max(cross - n / 2, 0.0) if cross > 0 else float(cross)
    return corrected / math.sqrt(margins)


def _square_and_add(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


def mean_interval(
    values: Sequence[float], *, num_resamples: int = 10_000, seed: int = 0, confidence: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of a mean (Efron & Tibshirani 1993, chapter 13)."""
    data = _finite(values)
    return _percentiles(float(data.mean()), _resampled_means(data, num_resamples, seed), confidence)


def paired_bootstrap(
    before: Sequence[float],
    after: Sequence[float],
    *,
    num_resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Interval of the mean difference after − before, resampling prompts; value i of both belongs to prompt i."""
    _same_length(before, after)
    differences = _finite(after) - _finite(before)
    return mean_interval(differences.tolist(), num_resamples=num_resamples, seed=seed, confidence=confidence)


def bootstrap_ratio(
    documents: Sequence[tuple[float, int]], *, num_resamples: int = 10_000, seed: int = 0, confidence: float = 0.95
) -> Interval:
    """Interval of Σ nll / Σ tokens over documents of (sum of nll, number of tokens), resampling whole documents.

    A mean of per-document means would let a short document count as much as a long one.
    """
    sums, tokens = _sums_and_tokens(documents)
    ratios = _resampled_means(sums, num_resamples, seed) / _resampled_means(tokens, num_resamples, seed)
    return _percentiles(float(sums.sum() / tokens.sum()), ratios, confidence)


def paired_bootstrap_ratio(
    before: Sequence[tuple[float, int]],
    after: Sequence[tuple[float, int]],
    *,
    num_resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Interval of the change of Σ nll / Σ tokens between two models, resampling the documents they share."""
    _same_length(before, after)
    changes, estimate = np.zeros(num_resamples), 0.0
    for documents, sign in ((after, 1.0), (before, -1.0)):
        sums, tokens = _sums_and_tokens(documents)
        # The same seed draws the same documents for all four sums.
        ratios = _resampled_means(sums, num_resamples, seed) / _resampled_means(tokens, num_resamples, seed)
        changes += sign * ratios
        estimate += sign * float(sums.sum() / tokens.sum())
    return _percentiles(estimate, changes, confidence)


def weighted_share(
    groups: Sequence[tuple[float, float]], *, num_resamples: int = 10_000, seed: int = 0, confidence: float = 0.95
) -> Interval:
    """Interval of Σ credit / Σ weight over groups of (credit, weight), 0 ≤ credit ≤ weight, resampling whole groups.

    Where every group has the same share the bootstrap has no width, and Wilson's interval for as many cases as there
    are groups is given instead. Raises `DataError` for no groups or a weight that is not above 0.
    """
    credits, weights = _finite([credit for credit, _ in groups]), _finite([weight for _, weight in groups])
    if weights.min() <= 0:
        raise DataError(f"group {int(weights.argmin()) + 1} weighs {weights.min()}; a weight is above 0")
    share = float(credits.sum() / weights.sum())
    if np.ptp(credits / weights) < 1e-12:
        return wilson(round(share, 12) * len(weights), len(weights), confidence)
    draws = _draws(len(credits), num_resamples, seed)
    ratios = np.concatenate([credits[rows].mean(axis=1) / weights[rows].mean(axis=1) for rows in draws])
    return _percentiles(share, ratios, confidence)


def _sums_and_tokens(documents: Sequence[tuple[float, int]]) -> tuple[Floats, Floats]:
    sums = _finite([nll for nll, _ in documents])
    tokens = _finite([num_tokens for _, num_tokens in documents])
    if tokens.min() < 1:
        raise DataError(f"document {int(tokens.argmin()) + 1} has no tokens; leave out empty texts")
    return sums, tokens


def _resampled_means(data: Floats, num_resamples: int, seed: int) -> Floats:
    """Means of samples with replacement, `(num_resamples,)`; which rows are drawn depends on length and seed only."""
    return np.concatenate([data[rows].mean(axis=1) for rows in _draws(len(data), num_resamples, seed)])


def _draws(n: int, num_resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    at_once = max(1, _MAX_DRAWS_AT_ONCE // n)
    for start in range(0, num_resamples, at_once):
        yield generator.integers(n, size=(min(at_once, num_resamples - start), n))


def _percentiles(estimate: float, resampled: Floats, confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(estimate, float(low), float(high))


def _finite(values: Sequence[float]) -> Floats:
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        raise DataError("an interval needs at least one value, and there are none")
    bad = np.flatnonzero(~np.isfinite(data))
    if bad.size:
        raise DataError(f"value {int(bad[0]) + 1} of {data.size} is {data[bad[0]]}; an interval needs finite numbers")
    return data


def _same_length(before: Sequence[object], after: Sequence[object]) -> None:
    if len(before) != len(after):
        raise DataError(
            f"{len(before)} values before and {len(after)} after cannot be paired; give one of each a prompt"
        )


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise DataError(f"a confidence of {confidence} is not between 0 and 1; use 0.95 for 95 %")
    return NormalDist().inv_cdf((1 + confidence) / 2)
