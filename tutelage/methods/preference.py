"""What all methods share that learn from comparisons: reading them, their trees, and the ordered pairs of a batch.

A comparison is one tree whose branches are the answers, so the prompt is computed once however many answers it has. A
method of this family is a class with one function, `losses`: from the two sides of each pair to a loss a pair.
Leaves out: what makes a method differ from the next (a file each), and Plackett–Luce (`ranking`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from tutelage.data.load import load_comparisons
from tutelage.engine.tree import Tokens, Tree
from tutelage.errors import ConfigError, DataError, TrainingError
from tutelage.methods.registry import Loss, LossBatch, Reading, Renderer
from tutelage.types import Comparison


class Side(NamedTuple):
    """One side of each pair, or each sequence of a batch; every tensor is `(num_pairs,)` fp32."""

    logprobs: Tensor
    """Sum over the answer's tokens, current policy, differentiable."""
    ref_logprobs: Tensor
    """The same of the reference; zeros where the method has none."""
    num_tokens: Tensor

    @property
    def log_ratio(self) -> Tensor:
        """log π − log π_ref of the whole answer."""
        return self.logprobs - self.ref_logprobs

    @property
    def average(self) -> Tensor:
        """log π per token."""
        return self.logprobs / self.num_tokens


class Pairs(NamedTuple):
    """The ordered pairs of a batch: all of them for a ranking, both ways round for a tie that counts."""

    chosen: Side
    rejected: Side
    margin: Tensor
    """`(num_pairs,)` what the chosen side must win by; zeros unless strength is used as the margin."""
    weight: Tensor
    """`(num_pairs,)` share of its comparison, times the strength where that is used as the weight."""
    is_tie: Tensor
    """`(num_pairs,)` bool"""

    @property
    def delta(self) -> Tensor:
        """Δ = (log π − log π_ref) of chosen minus that of rejected, on token sums."""
        return self.chosen.log_ratio - self.rejected.log_ratio

    @property
    def average_delta(self) -> Tensor:
        """Δ with each side divided by its number of tokens."""
        return self.chosen.log_ratio / self.chosen.num_tokens - self.rejected.log_ratio / self.rejected.num_tokens


class PairIndex(NamedTuple):
    """Which sequences of a batch form its ordered pairs; `(num_pairs,)` each."""

    chosen: Tensor
    rejected: Tensor
    weight: Tensor
    """1 for each comparison, divided among its pairs."""
    is_tie: Tensor


@dataclass(frozen=True)
class ComparisonMethod:
    """Learns from comparisons. Options that all of them have."""

    strength: Literal["ignore", "weight", "margin"] = "ignore"
    """What the strength of a preference does: nothing; weights the comparison; is the margin to win by."""
    strength_scale: float = 1.0
    """What strength is multiplied by before it is used."""
    min_strength: float = 0.0
    """Leave out comparisons of less strength; those without strength are left out too when this is above 0."""
    ties: Literal["drop", "both"] = "drop"
    """A tie teaches nothing, or counts half each way round, which pulls the two sides together."""

    learning_rate: ClassVar[float] = 1e-6
    learns_from: ClassVar[str] = "comparisons"
    takes_margin: ClassVar[bool] = False
    """Whether the loss has a place for a margin."""

    def __post_init__(self) -> None:
        name = getattr(self, "name", type(self).__name__)
        if self.strength == "margin" and not self.takes_margin:
            raise ConfigError(f"--strength margin: the loss of {name} has no margin; give weight, or leave it out")
        if not 0 < self.strength_scale < math.inf:
            raise ConfigError(f"--strength-scale is {self.strength_scale}; it must be a number above 0")
        if not 0 <= self.min_strength < math.inf:
            raise ConfigError(f"--min-strength is {self.min_strength}; it must be at least 0")

    # Data ------------------------------------------------------------------------------------------------------------
    def read(self, source: Any, reading: Reading) -> Sequence[Comparison]:
        """Comparisons that there is something to learn from; raises DataError when none is left."""
        records = read_comparisons(source, reading)
        strong = [record for record in records if not self.min_strength or (record.strength or 0) >= self.min_strength]
        kept = [record for record in strong if self.ties == "both" or len(set(record.ranks)) > 1]
        if weak := len(records) - len(strong):
            reading.say(
                f"{weak} of {len(records)} comparisons are below --min-strength {self.min_strength:g}; left out"
            )
        if tied := len(strong) - len(kept):
            reading.say(f"{tied} of {len(records)} comparisons are ties; left out")
        if not kept:
            raise DataError(_nothing_left(len(strong), tied, self.min_strength))
        self._check_strength(kept)
        return kept

    def _check_strength(self, records: Sequence[Comparison]) -> None:
        for record in records if self.strength != "ignore" else ():
            if record.strength is None:
                source = record.source
                raise DataError(
                    f"says nothing of strength, which --strength {self.strength} needs; add it, or leave that out",
                    file=source.file if source else None, line=source.line if source else None, field="strength",
                )  # fmt: skip

    def trees(self, record: Comparison, render: Renderer) -> list[Tree]:
        """One tree: the prompt, and a branch an answer."""
        prompt, answers = render.answers(record.messages, record.answers, record.source)
        branches = tuple(Tokens(answer.ids, answer.mask) for answer in answers)
        strength = 1.0 if record.strength is None else record.strength * self.strength_scale
        values = {"rank": tuple(map(float, record.ranks)), "strength": (strength,) * len(branches)}
        return [Tree(Tokens.prompt(prompt), branches, values)]

    # Loss ------------------------------------------------------------------------------------------------------------
    def weigh(self, batch: LossBatch, index: PairIndex) -> tuple[Tensor, Tensor]:
        """(margin, weight) of each pair, `(num_pairs,)`."""
        strength = batch.values["strength"][index.chosen]
        margin = strength if self.strength == "margin" else torch.zeros_like(strength)
        weight = index.weight * strength if self.strength == "weight" else index.weight
        return margin.masked_fill(index.is_tie, 0.0), weight


@dataclass(frozen=True)
class PairMethod(ComparisonMethod, ABC):
    """Learns from the logprobs of pairs; a method of this family says what each pair costs."""

    @abstractmethod
    def losses(self, pairs: Pairs) -> Tensor:
        """`(num_pairs,)` the loss of each pair."""

    def rewards(self, side: Side) -> Tensor:
        """`(num_sequences,)` what the policy implies of an answer's worth: for metrics and held-out accuracy."""
        return float(getattr(self, "beta", 1.0)) * side.log_ratio

    def loss(self, batch: LossBatch) -> Loss:
        """The weighted sum over pairs; a comparison counts once however many pairs it gives."""
        pairs = self.pairs(batch)
        total = (pairs.weight * self.losses(pairs)).sum()
        metrics = pair_metrics(self.rewards(pairs.chosen), self.rewards(pairs.rejected), pairs.weight, pairs.is_tie)
        return Loss(total, float(pairs.weight.sum()), metrics)

    def pairs(self, batch: LossBatch) -> Pairs:
        """The ordered pairs of a batch. Raises TrainingError when there is none."""
        index, everyone = pair_index(batch, self.ties), sides(batch)
        chosen, rejected = (Side(*(part[which] for part in everyone)) for which in (index.chosen, index.rejected))
        return Pairs(chosen, rejected, *self.weigh(batch, index), index.is_tie)

    def judge(self, batch: LossBatch) -> Tensor:
        """`(num_sequences,)` the worth of each answer, for held-out accuracy."""
        return self.rewards(sides(batch))


@dataclass(frozen=True)
class ReferencePairMethod(PairMethod):
    """Learns from comparisons and stays near a reference policy. Options that all of them have."""

    ref_model: str | None = None
    """The reference; the model that training starts from unless given."""
    reference: Literal["precompute", "adapter-off"] = "precompute"
    """Where the reference's logprobs come from: all once before training, or each step with the adapter off (LoRA)."""

    needs_reference: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ref_model is not None and self.reference == "adapter-off":
            raise ConfigError("--reference adapter-off: the reference is the starting model; leave out --ref-model")


def _nothing_left(num_strong: int, num_tied: int, min_strength: float) -> str:
    if num_tied:
        return "every comparison is a tie, so there is nothing to learn; give --ties both, or other data"
    return f"no comparison is of strength {min_strength:g} or more; lower --min-strength" if not num_strong else "empty"


def read_comparisons(source: Any, reading: Reading) -> list[Comparison]:
    """Comparisons from any source; says what was left out when bad records may be dropped."""
    dropped: list[DataError] = []
    records = load_comparisons(source, on_bad=reading.on_bad, dropped=dropped)
    reading.say_dropped(dropped)
    return records


def sides(batch: LossBatch) -> Side:
    """Every sequence of a batch as a side, `(num_sequences,)`."""
    logprobs = batch.sum_by_sequence(batch.logprobs)
    reference = batch.ref_logprobs
    ref_logprobs = torch.zeros_like(logprobs) if reference is None else batch.sum_by_sequence(reference)
    return Side(logprobs, ref_logprobs.detach(), batch.tokens_by_sequence())


def pair_index(batch: LossBatch, ties: Literal["drop", "both"] = "drop") -> PairIndex:
    """All pairs of answers to the same prompt where one ranks above the other; with `both`, ties both ways round.

    Raises TrainingError when the batch has none.
    """
    rank, tree = batch.values["rank"], batch.tree_index
    is_same = (tree[:, None] == tree[None, :]).fill_diagonal_(False)
    equal = rank[:, None] == rank[None, :]
    wanted = is_same & ((rank[:, None] < rank[None, :]) | (equal if ties == "both" else torch.zeros_like(equal)))
    chosen, rejected = wanted.nonzero(as_tuple=True)
    if not len(chosen):
        raise TrainingError("every comparison of the batch is a tie: there is no pair to learn from; give --ties both")
    is_tie = equal[chosen, rejected]
    share = torch.where(is_tie, 0.5, 1.0)  # a tie stands twice
    of_tree = share.new_zeros(int(tree.max()) + 1).index_add(0, tree[chosen], share)
    return PairIndex(chosen, rejected, share / of_tree[tree[chosen]], is_tie)


def pair_metrics(chosen: Tensor, rejected: Tensor, weight: Tensor, is_tie: Tensor) -> Mapping[str, tuple[float, float]]:
    """accuracy, margin and both sides' mean reward over the strict pairs, as (sum, weight)."""
    share = weight * ~is_tie
    total = float(share.sum())
    if not total:
        return {}
    chosen, rejected = chosen.detach(), rejected.detach()
    correct = (chosen > rejected).float() + 0.5 * (chosen == rejected).float()
    parts = {
        "accuracy": correct, "margin": chosen - rejected, "chosen_reward": chosen, "rejected_reward": rejected,
    }  # fmt: skip
    return {name: (float((share * part).sum()), total) for name, part in parts.items()}
