"""Verdicts as what the head learns from: which answer is set against which, the target, and how much it counts.

| verdict | rows |
|---|---|
| comparison | one: 1 or 0 for "much better", nearer ½ the more hesitant (`BY_STRENGTH`); a tie and "both bad" ½ |
| ranking of K | each pair of answers: 1, ½ where the ranks are equal, 0; each counts 2/K, together K − 1 comparisons |
| thumbs | one, of the answer alone: 1 or 0 |
| rating | one, of the answer alone: the mean over attributes of how far up the scale it is, 0 to 1 |

"Both bad" is a tie here: it says that neither is better, though not that either is good. "Can't judge" is no row.
Leaves out: what training takes (`tutelage.data.verdicts`).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

BY_STRENGTH: Mapping[int, float] = {4: 1.0, 3: 0.9, 2: 0.75, 1: 0.6}
"""How often others are expected to prefer the same answer, by strength: a guess in round numbers, not a measurement."""


class Target(NamedTuple):
    """One row of what the head learns from."""

    first: int
    """The place of an answer in the item's canonical order."""
    second: int | None
    """The one it is set against; None where the answer is judged alone."""
    target: float
    weight: float = 1.0


def targets(
    kind: str, value: Mapping[str, Any], num_answers: int, attributes: Sequence[Mapping[str, Any]] = ()
) -> list[Target]:
    """The rows of a verdict (`tutelage.store.labels` says what `value` holds)."""
    if kind == "comparison":
        return _comparison(value)
    if kind == "ranking":
        return _ranking(value, num_answers)
    if kind == "thumbs":
        return [Target(0, None, 1.0 if value["good"] else 0.0)]
    limits = {each["name"]: (each["low"], each["high"]) for each in attributes}
    heights = [(score - limits[name][0]) / (limits[name][1] - limits[name][0])
               for name, score in value["scores"].items() if name in limits]  # fmt: skip
    return [Target(0, None, statistics.fmean(heights))] if heights else []


def expected(kind: str, num_answers: int) -> list[Target]:
    """The rows that a verdict of this kind will have, with ½ for what nobody knows yet."""
    if kind in ("thumbs", "rating"):
        return [Target(0, None, 0.5)]
    return [Target(one, other, 0.5, 2 / num_answers) for one, other in combinations(range(num_answers), 2)]


def _comparison(value: Mapping[str, Any]) -> list[Target]:
    outcome = value["outcome"]
    if outcome == "cannot_judge":
        return []
    if outcome in ("tie", "both_bad"):
        return [Target(0, 1, 0.5)]
    sure = BY_STRENGTH[value["strength"]]
    return [Target(0, 1, sure if outcome == "first" else 1 - sure)]


def _ranking(value: Mapping[str, Any], num_answers: int) -> list[Target]:
    ranks = value.get("ranks")
    if ranks is None:
        return []
    return [
        Target(one, other, 0.5 + 0.5 * ((ranks[one] < ranks[other]) - (ranks[one] > ranks[other])), 2 / num_answers)
        for one, other in combinations(range(num_answers), 2)
    ]
