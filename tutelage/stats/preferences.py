"""How often scores put answers in the order that people did, and how often people agree with each other.

Every strictly ordered pair of a comparison is right (1), wrong (0) or scored equally (one half). The pairs of a ranking
share one vote, so that a comparison counts once however many answers it has. Beside the accuracy stand what it must
beat (always preferring the longer answer) and what it is measured against (the raters' own agreement).

Leaves out: where scores come from, and the table for the terminal (`tutelage.stats.preference_table`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from tutelage.errors import DataError
from tutelage.stats.calibration import Calibration, calibrate
from tutelage.stats.intervals import Interval, weighted_share, wilson
from tutelage.types import Comparison, Message

MOST_STRENGTHS = 6
"""Up to so many different strengths are shown one by one; more are shown by quartile."""
_NUM_RESAMPLES = 2_000


class Judged(NamedTuple):
    """One comparison and the scores that its answers got."""

    scores: tuple[float, ...]
    ranks: tuple[int, ...]
    """0 = best, as in `Comparison`; equal ranks are a tie."""
    strength: float | None
    lengths: tuple[int, ...]
    """Tokens of each answer."""
    rater: str
    key: str
    """The same for the same prompt and answers in any order, so that they are resampled together; may be empty."""


class Group(NamedTuple):
    """The accuracy on a part of the pairs."""

    label: str
    accuracy: Interval
    num_comparisons: int
    num_pairs: int


class Agreement(NamedTuple):
    """How often two raters of the same two answers prefer the same one."""

    share: Interval
    num_items: int
    """Pairs of answers that at least two raters judged without a tie."""
    num_rater_pairs: int
    num_ties: int
    """Pairs of raters left out because one of them or both saw a tie."""
    num_raters: int

    def best_accuracy(self) -> float | None:
        """What a model that is always right would score against one rater, if raters slip independently and equally.

        They agree with probability a = (1 − e)² + e² when each slips with probability e, and the model with one of them
        with probability 1 − e = (1 + √(2a − 1)) / 2. None for raters that agree no more than coins do.
        """
        share = self.share.estimate
        return (1 + math.sqrt(2 * share - 1)) / 2 if share > 0.5 else None


class PreferenceReport(NamedTuple):
    """What `preference_report` found; shares are 0 to 1, margins in the scores' own unit."""

    accuracy: Interval
    num_comparisons: int
    num_pairs: int
    num_ties: int
    """Pairs that the data calls a tie, left out of everything else."""
    num_equal_scores: int
    """Pairs that got the same score, which count one half."""
    length_baseline: Interval
    """The accuracy of always preferring the longer answer."""
    mean_margin: float
    by_strength: tuple[Group, ...]
    by_longer: tuple[Group, ...]
    by_length_gap: tuple[Group, ...]
    calibration: Calibration
    num_raters: int
    """Raters who are named in the data."""
    agreement: Agreement | None

    def to_dict(self) -> dict[str, Any]:
        """The report as nested dictionaries and lists, for JSON."""
        plain = _plain(self)
        assert isinstance(plain, dict)
        return plain


class _Pair(NamedTuple):
    """Two answers of one comparison, the preferred one first."""

    margin: float
    longer: int
    """Tokens of the preferred answer minus those of the other."""
    weight: float
    strength: float | None
    comparison: int
    item: str
    """What is resampled as a whole."""


def preference_report(judged: Sequence[Judged], *, agreement: Agreement | None = None) -> PreferenceReport:
    """Accuracy of scores on comparisons, with its parts, its baseline and its calibration.

    95 % intervals are Wilson's where every comparison is one pair and none was judged twice; half credits go into it
    as they are, which makes it too wide rather than too narrow. Otherwise they are bootstrap intervals by item, that is
    by comparison, those with the same key together. Raises `DataError` for no comparisons, nothing but ties, or scores
    that are not finite.
    """
    if not judged:
        raise DataError("there are no comparisons to judge; give at least one")
    for number, one in enumerate(judged, start=1):
        _check(one, number)
    pairs = [pair for number, one in enumerate(judged) for pair in _pairs(one, number)]
    if not pairs:
        raise DataError(f"all {len(judged)} comparisons are ties; accuracy needs answers that somebody preferred")
    margins, weights = [pair.margin for pair in pairs], [pair.weight for pair in pairs]
    return PreferenceReport(
        accuracy=_accuracy(pairs),
        num_comparisons=len({pair.comparison for pair in pairs}),
        num_pairs=len(pairs),
        num_ties=sum(math.comb(len(one.ranks), 2) for one in judged) - len(pairs),
        num_equal_scores=sum(pair.margin == 0 for pair in pairs),
        length_baseline=_accuracy([pair._replace(margin=pair.longer) for pair in pairs]),
        mean_margin=float(np.average(margins, weights=weights)),
        by_strength=_by_strength(pairs),
        by_longer=_by_longer(pairs),
        by_length_gap=_by_length_gap(pairs),
        calibration=calibrate(margins, weights),
        num_raters=len({one.rater for one in judged} - {""}),
        agreement=agreement,
    )


def _check(one: Judged, number: int) -> None:
    if not len(one.scores) == len(one.ranks) == len(one.lengths):
        raise DataError(
            f"comparison {number} has {len(one.ranks)} ranks, {len(one.scores)} scores and {len(one.lengths)} lengths; "
            "give one of each for every answer"
        )
    if bad := [score for score in one.scores if not math.isfinite(score)]:
        raise DataError(f"comparison {number} has the score {bad[0]}; scores are finite numbers")


def _pairs(one: Judged, number: int) -> list[_Pair]:
    places = range(len(one.ranks))
    strict = [(i, j) for i in places for j in places if one.ranks[i] < one.ranks[j]]
    return [
        _Pair(
            margin=one.scores[i] - one.scores[j],
            longer=one.lengths[i] - one.lengths[j],
            weight=1 / len(strict),
            strength=one.strength,
            comparison=number,
            item=f"key {one.key}" if one.key else f"number {number}",
        )
        for i, j in strict
    ]


def _credit(pair: _Pair) -> float:
    return 0.5 if pair.margin == 0 else float(pair.margin > 0)


def _accuracy(pairs: Sequence[_Pair]) -> Interval:
    items: dict[str, tuple[float, float]] = {}
    for pair in pairs:
        credit, weight = items.get(pair.item, (0.0, 0.0))
        items[pair.item] = (credit + pair.weight * _credit(pair), weight + pair.weight)
    if len(items) == len(pairs) and all(pair.weight == 1 for pair in pairs):
        return wilson(sum(map(_credit, pairs)), len(pairs))
    return weighted_share(list(items.values()), num_resamples=_NUM_RESAMPLES)


def _group(label: str, pairs: Sequence[_Pair]) -> Group:
    return Group(label, _accuracy(pairs), len({pair.comparison for pair in pairs}), len(pairs))


def _by_strength(pairs: Sequence[_Pair]) -> tuple[Group, ...]:
    """By each strength where there are few, else by quartile; empty where nobody said how much better."""
    known = [(pair.strength, pair) for pair in pairs if pair.strength is not None]
    distinct = sorted({strength for strength, _ in known})
    if len(distinct) > MOST_STRENGTHS:
        return tuple(_group(f"strength {label}", part) for label, part in _by_quantile(known, 4))
    return tuple(
        _group(f"strength {value:g}", [pair for strength, pair in known if strength == value]) for value in distinct
    )


def _by_longer(pairs: Sequence[_Pair]) -> tuple[Group, ...]:
    parts = (
        ("preferred answer longer", [pair for pair in pairs if pair.longer > 0]),
        ("same length", [pair for pair in pairs if pair.longer == 0]),
        ("preferred answer shorter", [pair for pair in pairs if pair.longer < 0]),
    )
    return tuple(_group(label, part) for label, part in parts if part)


def _by_length_gap(pairs: Sequence[_Pair]) -> tuple[Group, ...]:
    parts = _by_quantile([(abs(pair.longer), pair) for pair in pairs], 3)
    return tuple(_group(f"lengths {label} tokens apart", part) for label, part in parts)


def _by_quantile(pairs: Sequence[tuple[float, _Pair]], num_parts: int) -> Iterator[tuple[str, list[_Pair]]]:
    """(range of the values, pairs) of each part; equal values stay together, so parts can be fewer and uneven."""
    values = np.array([value for value, _ in pairs], dtype=np.float64)
    edges = np.quantile(values, [number / num_parts for number in range(1, num_parts)])
    places = np.searchsorted(edges, values, side="left")
    for place in range(num_parts):
        inside = np.flatnonzero(places == place).tolist()
        if inside:
            low, high = values[inside].min(), values[inside].max()
            label = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            yield label, [pairs[index][1] for index in inside]


def rater_agreement(comparisons: Sequence[Comparison]) -> Agreement | None:
    """How often different raters prefer the same of two answers to the same prompt, whatever order they stood in.

    All pairs of raters of one pair of answers count; a rater's second verdict on the same answers does not. Rankings
    are taken as their pairs. The 95 % interval resamples prompts, whose pairs belong together. None where no two named
    raters judged the same answers.
    """
    verdicts: dict[_Prompt, dict[_Answers, dict[str, int]]] = {}
    for comparison in comparisons:
        if comparison.rater:
            items = verdicts.setdefault(comparison.messages, {})
            for answers, preferred in _verdicts(comparison):
                items.setdefault(answers, {}).setdefault(comparison.rater, preferred)
    prompts = [_agreed(items.values()) for items in verdicts.values()]
    strict = [(float(found.agree), float(found.strict)) for found in prompts if found.strict]
    if not strict:
        return None
    return Agreement(
        share=weighted_share(strict, num_resamples=_NUM_RESAMPLES),
        num_items=sum(found.items for found in prompts),
        num_rater_pairs=sum(found.strict for found in prompts),
        num_ties=sum(found.ties for found in prompts),
        num_raters=len({rater for items in verdicts.values() for raters in items.values() for rater in raters}),
    )


_Prompt = tuple[Message, ...]
_Answers = tuple[tuple[Message, ...], tuple[Message, ...]]


def _verdicts(comparison: Comparison) -> Iterator[tuple[_Answers, int]]:
    """(two answers in an order of their own, 1 where the first is better, −1 where the second is, 0 for a tie)."""
    ranked = sorted(
        zip(comparison.answers, comparison.ranks, strict=True), key=lambda one: [(m.role, m.content) for m in one[0]]
    )
    for (first, first_rank), (second, second_rank) in combinations(ranked, 2):
        if first != second:
            yield (first, second), (first_rank < second_rank) - (first_rank > second_rank)


class _Agreed(NamedTuple):
    agree: int
    strict: int
    ties: int
    items: int


def _agreed(items: Iterable[dict[str, int]]) -> _Agreed:
    agree = strict = ties = num_items = 0
    for verdicts in items:
        both = [one * other for one, other in combinations(verdicts.values(), 2)]
        agree += both.count(1)
        strict += len(both) - both.count(0)
        ties += both.count(0)
        num_items += any(both)
    return _Agreed(agree, strict, ties, num_items)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(one) for name, one in value._asdict().items()}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
