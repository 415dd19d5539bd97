"""How far people agree: Krippendorff's α, plain shares, and credits (with oneself, with what is known).

A unit is one thing that was judged, as the sequence of values that its raters gave, in any order; those who gave none
are left out. Several units can belong to one item (the pairs of a ranking); intervals resample items, since units of
one item are not independent. Everything is deterministic.

Leaves out: which labels are compared (`tutelage.feedback.progress`), and any threshold for "good enough": what α a
purpose needs is for people to say. The bootstrap interval of α is rough below some 20 items, and without width where
everybody agrees.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import krippendorff
import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError
from tutelage.stats.intervals import Interval, weighted_share, wilson

Level = Literal["nominal", "ordinal", "interval"]
LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval")
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NUM_RESAMPLES = 1_000


class Alpha(NamedTuple):
    """Krippendorff's α of some units, with its 95 % interval: 1 = perfect agreement, 0 = what chance would give."""

    alpha: Interval
    num_units: int
    """Units that at least two raters judged."""
    num_values: int
    """Values of these units."""


class Share(NamedTuple):
    """How often two verdicts on one unit are the same."""

    share: Interval
    num_units: int
    num_pairs: int
    """Pairs of verdicts that were compared."""


class _Coincidences(NamedTuple):
    """Every ordered pair of values of one unit: what α is made of, computed once for all resamples."""

    first: Ints
    second: Ints
    """Places of the two values in the sorted domain."""
    weight: Floats
    """1 / (number of values of the unit − 1)."""
    cluster: Ints
    counts: Floats
    """Values by cluster and place, `(num_clusters, num_places)`."""


def alpha(
    units: Sequence[Sequence[float]],
    level: Level,
    *,
    clusters: Sequence[Hashable] | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    confidence: float = 0.95,
) -> Alpha | None:
    """Krippendorff's α of `units` (https://en.wikipedia.org/wiki/Krippendorff%27s_alpha), missing values left out.

    Nominal differences are 0 or 1, interval ones (a − b)², ordinal ones go by how many values lie between. `clusters`
    says which item each unit belongs to; without it each is its own. None where no unit has two values, or where all
    values are the same: chance could then not have done otherwise, and α is not defined. Raises `DataError` for
    clusters that do not fit.
    """
    if clusters is not None and len(clusters) != len(units):
        raise DataError(f"{len(clusters)} clusters do not fit {len(units)} units; give one for each")
    names = clusters if clusters is not None else range(len(units))
    pairable = [(unit, name) for unit, name in zip(units, names, strict=True) if len(unit) > 1]
    domain = sorted({value for unit, _ in pairable for value in unit})
    if len(domain) < 2:
        return None
    place = {value: number for number, value in enumerate(domain)}
    counts = np.zeros((len(pairable), len(domain)), dtype=np.int64)
    for row, (unit, _) in enumerate(pairable):
        for value in unit:
            counts[row, place[value]] += 1
    scale = np.asarray(domain, dtype=np.float64)
    estimate = float(krippendorff.alpha(value_counts=counts, value_domain=scale, level_of_measurement=level))
    resampled = _resampled(_coincidences(counts, [name for _, name in pairable]), scale, level, num_resamples, seed)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail]) if len(resampled) else (estimate, estimate)
    return Alpha(Interval(estimate, float(low), float(high)), len(pairable), int(counts.sum()))


def _coincidences(counts: Ints, names: Sequence[Hashable]) -> _Coincidences:
    number = {name: place for place, name in enumerate(dict.fromkeys(names))}
    cluster = np.array([number[name] for name in names])
    rows, first, second, weight = [], [], [], []
    for row, unit in enumerate(counts):
        present = np.flatnonzero(unit)
        for c in present:
            for k in present:
                rows.append(row)
                first.append(c)
                second.append(k)
                weight.append((unit[c] * unit[k] - (unit[c] if c == k else 0)) / (unit.sum() - 1))
    totals = np.zeros((len(number), counts.shape[1]))
    np.add.at(totals, cluster, counts)
    return _Coincidences(np.array(first), np.array(second), np.array(weight), cluster[rows], totals)


def _resampled(found: _Coincidences, scale: Floats, level: Level, num_resamples: int, seed: int) -> Floats:
    """α of samples of the clusters with replacement, those without any difference left out."""
    generator = np.random.default_rng(seed)
    size = len(found.counts)
    values = []
    for _ in range(num_resamples):
        times = np.bincount(generator.integers(size, size=size), minlength=size)
        value = _alpha(found, times @ found.counts, found.weight * times[found.cluster], scale, level)
        if value is not None:
            values.append(value)
    return np.array(values)


def _alpha(found: _Coincidences, totals: Floats, weight: Floats, scale: Floats, level: Level) -> float | None:
    """1 − observed / expected disagreement, given how often each value occurs and each coincidence counts."""
    n = totals.sum()
    if level == "nominal":
        observed = weight[found.first != found.second].sum()
        expected = (n * n - (totals * totals).sum()) / (n - 1)
    else:
        # Krippendorff's ordinal difference is the interval difference of mid-ranks.
        position = scale if level == "interval" else np.cumsum(totals) - totals / 2
        observed = (weight * (position[found.first] - position[found.second]) ** 2).sum()
        expected = 2 * (n * (totals @ position**2) - (totals @ position) ** 2) / (n - 1)
    return None if expected <= 1e-12 * n else float(1 - observed / expected)


def raw_agreement(
    units: Sequence[Sequence[Hashable]],
    *,
    clusters: Sequence[Hashable] | None = None,
    num_resamples: int = NUM_RESAMPLES,
) -> Share | None:
    """How often two raters of one unit gave the same value, over all pairs of raters; None where there are no pairs.

    The 95 % interval resamples items; it is Wilson's where all items have the same share (`weighted_share`).
    """
    names = clusters if clusters is not None else range(len(units))
    groups: dict[Hashable, tuple[float, float]] = {}
    num_units = num_pairs = 0
    for unit, name in zip(units, names, strict=True):
        pairs = [one == other for one, other in combinations(unit, 2)]
        if pairs:
            same, all_ = groups.get(name, (0.0, 0.0))
            groups[name] = (same + sum(pairs), all_ + len(pairs))
            num_units, num_pairs = num_units + 1, num_pairs + len(pairs)
    if not groups:
        return None
    return Share(weighted_share(list(groups.values()), num_resamples=num_resamples), num_units, num_pairs)


def credit_share(groups: Sequence[Sequence[float]], *, num_resamples: int = 500) -> Share | None:
    """Mean of credits between 0 and 1, those of one item together; None where there are none.

    Wilson's interval where each item has one credit, else a bootstrap by item.
    """
    given = [group for group in groups if group]
    if not given:
        return None
    num_credits = sum(map(len, given))
    if num_credits == len(given):
        return Share(wilson(sum(group[0] for group in given), num_credits), len(given), num_credits)
    weights = [(float(sum(group)), float(len(group))) for group in given]
    return Share(weighted_share(weights, num_resamples=num_resamples), len(given), num_credits)
