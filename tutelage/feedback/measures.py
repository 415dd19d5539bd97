"""What it means that two verdicts agree, by kind of label.

"Cannot judge" is no opinion: it neither agrees nor disagrees with anything, and is counted apart. Leaves out the
statistics (`tutelage.stats.agreement`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from tutelage.stats.agreement import Alpha, Level, Share, alpha, raw_agreement

Value = Mapping[str, Any]
Opinion = Mapping[str, float]
OUTCOMES = {"first": 0.0, "second": 1.0, "tie": 2.0, "both_bad": 3.0}
GOLD_TOLERANCE = 0.25
"""A score counts as right within this part of its attribute's range."""


class Measure(NamedTuple):
    """How far raters agree in one respect."""

    name: str
    level: Level
    alpha: Alpha | None
    raw: Share | None


def is_opinion(value: Value) -> bool:
    """False for "cannot judge"."""
    return value.get("outcome") != "cannot_judge" and not value.get("cannot_judge")


def same(kind: str, one: Value, other: Value) -> float | None:
    """How far two verdicts are the same, 0 to 1; None where either is no opinion.

    Comparisons by outcome, whatever the strength; rankings by the share of pairs in the same order; ratings by the
    share of attributes with the same score.
    """
    mine, theirs = opinion(kind, one), opinion(kind, other)
    return None if mine is None or theirs is None else same_opinion(mine, theirs)


def opinion(kind: str, value: Value) -> Opinion | None:
    """What `same` compares of a verdict, so that it is worked out once however many others there are."""
    return _parts(kind, value) if is_opinion(value) else None


def same_opinion(mine: Opinion, theirs: Opinion) -> float | None:
    """How far two opinions are the same, 0 to 1; None where they have nothing in common to compare."""
    if mine == theirs and mine:
        return 1.0
    shared = [name for name in mine if name in theirs]
    return sum(mine[name] == theirs[name] for name in shared) / len(shared) if shared else None


def right(kind: str, value: Value, gold: Value, attributes: Sequence[Mapping[str, Any]] = ()) -> float | None:
    """How far a verdict is what is known to be right, 0 to 1; None where it is no opinion.

    Of rankings the pairs count that the gold verdict puts in order; a score is right within `GOLD_TOLERANCE`.
    """
    if kind == "rating":
        near = [
            abs(value["scores"][each["name"]] - gold["scores"][each["name"]])
            <= GOLD_TOLERANCE * (each["high"] - each["low"])
            for each in attributes
        ]
        return sum(near) / len(near) if near else None
    if kind == "ranking" and is_opinion(value) and is_opinion(gold):
        mine, known = _parts(kind, value), _parts(kind, gold)
        strict = [name for name, order in known.items() if order]
        return sum(mine[name] == known[name] for name in strict) / len(strict) if strict else None
    return same(kind, value, gold)


def _parts(kind: str, value: Value) -> dict[str, float]:
    """An opinion as numbers that can be equal or not, by name."""
    if kind == "comparison":
        return {"outcome": OUTCOMES[value["outcome"]]}
    if kind == "thumbs":
        return {"thumb": float(value["good"])}
    if kind == "rating":
        return {name: float(score) for name, score in value["scores"].items()}
    ranks = value["ranks"]
    return {
        f"{i} {j}": float((ranks[i] > ranks[j]) - (ranks[i] < ranks[j])) for i, j in combinations(range(len(ranks)), 2)
    }


def measure(kind: str, items: Mapping[str, Iterable[Value]]) -> list[Measure]:
    """Agreement on items, each with the verdicts of different raters."""
    opinions = {item: [value for value in values if is_opinion(value)] for item, values in items.items()}
    if kind == "ranking":
        return [_pairs_of_rankings(opinions)]
    parts = {item: [_parts(kind, value) for value in values] for item, values in opinions.items()}
    names = dict.fromkeys(name for many in parts.values() for each in many for name in each)
    level: Level = "ordinal" if kind == "rating" else "nominal"
    found = [
        _measure(name, level, [[each[name] for each in many if name in each] for many in parts.values()])
        for name in names
    ]
    if kind == "comparison":
        found.append(
            _measure("strength", "ordinal", [[_strength(each) for each in many] for many in opinions.values()])
        )
    return found


def _measure(name: str, level: Level, units: Sequence[Sequence[float]]) -> Measure:
    return Measure(name, level, alpha(units, level), raw_agreement(units))


def _strength(value: Value) -> float:
    """From 4, the first is much better, to −4; 0 where neither is."""
    return value.get("strength", 0) * {"first": 1.0, "second": -1.0}.get(value["outcome"], 0.0)


def _pairs_of_rankings(opinions: Mapping[str, Sequence[Value]]) -> Measure:
    units, clusters = list[list[float]](), list[str]()
    for item, values in opinions.items():
        parts = [_parts("ranking", value) for value in values]
        for name in parts[0] if parts else ():
            units.append([each[name] for each in parts])
            clusters.append(item)
    return Measure(
        "order of pairs", "nominal", alpha(units, "nominal", clusters=clusters), raw_agreement(units, clusters=clusters)
    )
