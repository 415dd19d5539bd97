"""How far people agree: Krippendorff's α, plain shares, and credits (with oneself, with what is known).

A unit is one thing that was judged, as the sequence of values that its raters gave, in any order; those who gave none
are left out. Several units can belong to one item (the pairs of a ranking); intervals resample items, since units of
one item are not independent. Everything is deterministic.

Leaves out: which labels are compared (`tutelage.feedback.progress`), and any threshold for "good enough": what α a
purpose needs is for people to say. The bootstrap interval of α is rough below some 20 items, and without width where
everybody agrees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError
from tutelage.stats.intervals import Interval, weighted_share, wilson

Level = Literal["nominal", "ordinal", "interval"]
LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval")
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NUM_RESAMPLES = 1_000
_MAX_NUMBERS_AT_ONCE = 2_000_000  # of all resamples' units held in memory: 16 MB


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


class _Kinds(NamedTuple):
    """Clusters that hold the same units, each kind of them once: a resample is how often each kind was drawn."""

    of: Ints
    """The kind of each cluster."""
    unit_kind: Ints
    """The kind that each unit belongs to."""
    starts: Ints
    """Where the values of each unit begin in what follows."""
    place: Ints
    """Place of a value in the sorted domain."""
    times: Floats
    """How often that value occurs in its unit."""
    value_kind: Ints
    """The kind that it belongs to."""


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
    found = _kinds([[place[value] for value in unit] for unit, _ in pairable], [name for _, name in pairable])
    scale = np.asarray(domain, dtype=np.float64)
    [estimate] = _alphas(found, np.bincount(found.of)[None].astype(np.float64), scale, level)
    resampled = _resampled(found, scale, level, num_resamples, seed)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail]) if len(resampled) else (estimate, estimate)
    return Alpha(
        Interval(float(estimate), float(low), float(high)), len(pairable), sum(len(unit) for unit, _ in pairable)
    )


def _kinds(units: Sequence[Sequence[int]], names: Sequence[Hashable]) -> _Kinds:
    held: dict[Hashable, list[tuple[int, ...]]] = {}
    for name, unit in zip(names, units, strict=True):
        held.setdefault(name, []).append(tuple(sorted(unit)))
    kinds: dict[tuple[tuple[int, ...], ...], int] = {}
    of = [kinds.setdefault(tuple(sorted(each)), len(kinds)) for each in held.values()]
    rows = [
        (number, unit, place, times)
        for unit, (number, each) in enumerate((number, unit) for kind, number in kinds.items() for unit in kind)
        for place, times in Counter(each).items()
    ]
    kind, unit_of, place_of, times_of = np.array(rows).T
    starts = np.flatnonzero(np.diff(unit_of, prepend=-1))
    return _Kinds(np.array(of), kind[starts], starts, place_of, times_of.astype(np.float64), kind)


def _resampled(found: _Kinds, scale: Floats, level: Level, num_resamples: int, seed: int) -> Floats:
    """α of samples of the clusters with replacement, those without any difference left out."""
    generator = np.random.default_rng(seed)
    size, num_kinds = len(found.of), int(found.unit_kind.max()) + 1
    values, at_once = [np.zeros(0)], max(1, _MAX_NUMBERS_AT_ONCE // max(len(found.place), len(scale)))
    for start in range(0, num_resamples, at_once):
        drawn = (generator.integers(size, size=size) for _ in range(min(at_once, num_resamples - start)))
        times = np.stack([np.bincount(found.of[each], minlength=num_kinds) for each in drawn])
        values.append(_alphas(found, times.astype(np.float64), scale, level))
    return np.concatenate(values)


def _alphas(found: _Kinds, drawn: Floats, scale: Floats, level: Level) -> Floats:
    """1 − observed / expected disagreement, by how often each kind occurs: `drawn`, `(num_resamples, num_kinds)`."""
    occurs = drawn[:, found.value_kind] * found.times
    totals = np.stack([np.bincount(found.place, each, minlength=len(scale)) for each in occurs])
    n, sizes = totals.sum(axis=1), np.add.reduceat(found.times, found.starts)
    if level == "nominal":
        spread = (sizes**2 - np.add.reduceat(found.times**2, found.starts)) / (sizes - 1)
        observed = drawn @ np.bincount(found.unit_kind, spread)
        expected = (n**2 - (totals**2).sum(axis=1)) / (n - 1)
    else:
        # Krippendorff's ordinal difference is the interval difference of mid-ranks.
        place = np.tile(scale, (len(n), 1)) if level == "interval" else np.cumsum(totals, axis=1) - totals / 2
        place -= place.mean(axis=1, keepdims=True)  # differences stay the same, and less is rounded away
        mine = place[:, found.place]
        sums, squares = (np.add.reduceat(found.times * each, found.starts, axis=1) for each in (mine, mine**2))
        observed = 2 * (drawn[:, found.unit_kind] * (sizes * squares - sums**2) / (sizes - 1)).sum(axis=1)
        expected = 2 * (n * (totals * place**2).sum(axis=1) - (totals * place).sum(axis=1) ** 2) / (n - 1)
    differs = expected > 1e-12 * n
    return np.asarray(1 - observed[differs] / expected[differs])


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
