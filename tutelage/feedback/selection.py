"""Which items to label next: a batch chosen by rule from candidates, with a random share in every batch.

The random share is drawn first, uniformly from all candidates, no score looked at; the rule fills the rest.

| rule | takes the candidates with the largest |
|---|---|
| `random` | nothing: the whole batch is the random share |
| `uncertainty` | −abs(p − ½), p the predictive probability: whose verdict the head is least sure of |
| `gap` | abs(θᵀΔφ) + β·√(ΔφᵀΛ⁻¹Δφ): the largest difference in worth that is still plausible |
| `d-optimal` | p(1−p)·ΔφᵀΛ⁻¹Δφ: what adds most to log det Λ |

`gap` and `d-optimal` pick one after the other, and each pick makes Λ larger as if its verdict were in (a verdict's
information does not depend on what it says), so that a batch does not hold the same thing twice. No cluster of prompts
gives more than twice its share of the candidates.

What may be computed from the batch without bias: see `Chosen.probability`. Pure numpy; the same seed gives the same
batch. Leaves out where candidates come from (`tutelage.feedback.choosing`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError
from tutelage.feedback.head import Floats, Head, predictive, sigmoid

Rule = Literal["random", "uncertainty", "gap", "d-optimal"]
RULES: tuple[Rule, ...] = get_args(Rule)
Ints = NDArray[np.int64]
OPTIMISM = 1.0
"""β of `gap`: how many standard deviations it hopes for."""
CLUSTER_SHARE = 2.0
"""A cluster with a tenth of the candidates gives at most two tenths of what the rule picks."""


@dataclass(frozen=True)
class Candidates:
    """Items that may be chosen, each with its rows: one for a comparison, one for each pair of a ranking."""

    rows: Floats
    """`(num_rows, dim)` Δφ."""
    owners: Ints
    """`(num_rows,)` which candidate a row belongs to, counted from 0 without gaps, in order."""
    weights: Floats
    """`(num_rows,)` how much the row's verdict will count."""
    clusters: Ints
    """`(num_candidates,)` the cluster of its prompt."""

    def __len__(self) -> int:
        return len(self.clusters)


def blind(number: int) -> Candidates:
    """Candidates of which nothing is known: enough for the rule `random`."""
    return Candidates(np.zeros((number, 1)), np.arange(number), np.ones(number), np.zeros(number, dtype=np.int64))


class Chosen(NamedTuple):
    """One item of a batch."""

    place: int
    """Among the candidates, counted from 0."""
    rule: Rule
    """`random` for the random share."""
    probability: float
    """That it was taken in the step that took it, before that step.

    Of the random share: its size over the number of candidates, the same for all. It is a simple random sample of them,
    so means over `rule == "random"` alone (agreement, accuracy of a reward model) are unbiased.

    Of a rule's picks: 1, for given the head and the random share there was no chance in it, and the candidates it
    passed over had 0. No weighting by these numbers makes the whole batch speak for the pool: use such labels for
    training, and the random share to measure.
    """


@dataclass
class _Beliefs:
    """The head while a batch is filled: the mean stays, the covariance shrinks with every pick."""

    head: Head
    pool: Candidates
    covariance: Floats = field(init=False)
    gaps: Floats = field(init=False)
    variances: Floats = field(init=False)
    information: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.covariance = self.head.covariance.copy()
        self.gaps = self.head.gaps(self.pool.rows)
        self.variances = self.head.variances(self.pool.rows)
        p = sigmoid(self.gaps)
        self.information = self.pool.weights * p * (1 - p)

    def take(self, candidate: int) -> None:
        """Λ ← Λ + w·p(1−p)·ΔφΔφᵀ for its rows, by the formula of Sherman and Morrison."""
        for row in np.flatnonzero(self.pool.owners == candidate):
            delta, weight = self.pool.rows[row], self.information[row]
            towards = self.covariance @ delta
            shrink = weight / (1 + weight * float(delta @ towards))
            self.covariance -= shrink * np.outer(towards, towards)
            self.variances -= shrink * (self.pool.rows @ towards) ** 2
        np.maximum(self.variances, 0.0, out=self.variances)  # rounding

    def per_candidate(self, values: Floats) -> Floats:
        """Sums over the rows of each candidate."""
        return np.bincount(self.pool.owners, values, minlength=len(self.pool)).astype(np.float64)


def _uncertainty(beliefs: _Beliefs) -> Floats:
    """The mean over its rows, so that a ranking is no more uncertain for having more of them."""
    doubt = -np.abs(predictive(beliefs.gaps, beliefs.variances) - 0.5)
    return beliefs.per_candidate(doubt) / beliefs.per_candidate(np.ones_like(doubt))


def _gap(beliefs: _Beliefs) -> Floats:
    """The largest of its rows."""
    hoped = np.abs(beliefs.gaps) + OPTIMISM * np.sqrt(beliefs.variances)
    largest = np.full(len(beliefs.pool), -np.inf)
    np.maximum.at(largest, beliefs.pool.owners, hoped)
    return largest


def _d_optimal(beliefs: _Beliefs) -> Floats:
    """The sum over its rows: exact for one row, else the first order of what the item adds to log det Λ."""
    return beliefs.per_candidate(beliefs.information * beliefs.variances)


SCORES: dict[Rule, Callable[[_Beliefs], Floats]] = {
    "uncertainty": _uncertainty, "gap": _gap, "d-optimal": _d_optimal,
}  # fmt: skip


def select(
    pool: Candidates, head: Head, number: int, rule: Rule, *, random_frac: float = 0.25, seed: int = 0
) -> list[Chosen]:
    """A batch of `number` candidates, or all where there are fewer, the random share spread evenly through it.

    The order is the order to label in: whoever stops early has a random share of the right size. Raises `ConfigError`
    for an unknown rule, a number below 1 or a share outside [0, 1].
    """
    check_options(rule, number, random_frac)
    number = min(number, len(pool))
    if not number:
        return []
    num_random = number if rule == "random" else _num_random(number, random_frac)
    drawn = np.random.default_rng(seed).choice(len(pool), size=num_random, replace=False)
    share = [Chosen(int(place), "random", num_random / len(pool)) for place in drawn]
    picked = [] if rule == "random" else _pick(pool, head, rule, drawn, number - num_random)
    return _spread(share, [Chosen(place, rule, 1.0) for place in picked])


def check_options(rule: str, number: int, random_frac: float, num_clusters: int = 1) -> None:
    """Raises `ConfigError` for what `select` cannot do, or `tutelage.feedback.reduction.cluster`."""
    if rule not in RULES:
        raise ConfigError(f"there is no rule '{rule}'; the rules are {', '.join(RULES)}")
    if number < 1:
        raise ConfigError(f"--number is {number}; choose at least 1 item")
    if not 0 <= random_frac <= 1:
        raise ConfigError(f"--random-frac is {random_frac}; it is a share between 0 and 1, and .2 to .3 is usual")
    if num_clusters < 1:
        raise ConfigError(f"--clusters is {num_clusters}; it must be at least 1, which means no quota")


def _num_random(number: int, random_frac: float) -> int:
    """At least one where there is to be a share at all."""
    return max(1, round(random_frac * number)) if random_frac else 0


def _pick(pool: Candidates, head: Head, rule: Rule, taken: Ints, number: int) -> list[int]:
    """The rule's picks, best first; of equal scores the earlier candidate."""
    beliefs, looks_ahead = _Beliefs(head, pool), rule != "uncertainty"  # that asks what is doubtful now
    for place in taken if looks_ahead else ():
        beliefs.take(int(place))
    free = np.ones(len(pool), dtype=bool)
    free[taken] = False
    room = quotas(pool.clusters, number)
    picked: list[int] = []
    while len(picked) < number:
        allowed = free & (room[pool.clusters] > 0)
        if not allowed.any():  # the random share emptied a cluster that had room
            allowed = free
        best = int(np.where(allowed, SCORES[rule](beliefs), -np.inf).argmax())
        picked.append(best)
        free[best] = False
        room[pool.clusters[best]] -= 1
        if looks_ahead:
            beliefs.take(best)
    return picked


def quotas(clusters: Ints, number: int) -> Ints:
    """How many of `number` picks each cluster may give: `CLUSTER_SHARE` times its share, rounded up."""
    sizes = np.bincount(clusters)
    return np.ceil(CLUSTER_SHARE * number * sizes / len(clusters)).astype(np.int64)


def _spread(share: list[Chosen], picked: list[Chosen]) -> list[Chosen]:
    """Both in their own order, mixed evenly."""
    at = [((order + 0.5) / len(part), one) for part in (share, picked) for order, one in enumerate(part)]
    return [one for _, one in sorted(at, key=lambda entry: entry[0])]
