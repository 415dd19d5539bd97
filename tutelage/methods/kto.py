"""Kahneman–Tversky optimisation: thumbs up and down on single answers, no pairs needed.

The reference point z is the mean KL on mismatched pairs of prompt and answer, of the whole step and without gradient.
Every prompt of a data set is paired, once and for all, with the answer of the next record, so that the reference's
logprobs of these pairs can be computed before training too. Leaves out a z that is carried from step to step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, sigmoid

from tutelage.data.load import load_ratings
from tutelage.engine.tree import Tokens, Tree
from tutelage.errors import ConfigError, DataError
from tutelage.methods.options import check_not_negative, check_positive
from tutelage.methods.preference import Side, sides
from tutelage.methods.registry import Loss, LossBatch, Reading, Renderer, method
from tutelage.types import Rating


@method("kto")
class KTO:
    """Kahneman–Tversky optimisation (Ethayarajh et al. 2024, equation 8)."""

    summary = "from thumbs up and down on single answers, unpaired"
    paper = "arXiv:2402.01306"
    formula = (
        "good: λ_D(1 − σ(β(r − z))), bad: λ_U(1 − σ(β(z − r))), r = log π − log π_ref, z = max(0, mean mismatched r)"
    )
    learns_from = "ratings"
    learning_rate = 1e-6
    needs_reference = True

    beta: float = 0.1
    """How firmly the policy is held to the reference."""
    desirable_weight: float = 1.0
    """λ_D, the weight of good answers. The paper keeps λ_D · good to λ_U · bad between 1 and 3/2."""
    undesirable_weight: float = 1.0
    """λ_U, the weight of bad answers."""
    threshold: float | None = None
    """Where ratings are numbers: those above it are good, those below are bad, those equal to it are left out."""
    ref_model: str | None = None
    """The reference; the model that training starts from unless given."""
    reference: Literal["precompute", "adapter-off"] = "precompute"
    """Where the reference's logprobs come from: all once before training, or each step with the adapter off (LoRA)."""

    def __post_init__(self) -> None:
        check_positive(beta=self.beta)
        check_not_negative(desirable_weight=self.desirable_weight, undesirable_weight=self.undesirable_weight)
        if self.desirable_weight == self.undesirable_weight == 0:
            raise ConfigError("--desirable-weight and --undesirable-weight are both 0; nothing would be learned")
        if self.ref_model is not None and self.reference == "adapter-off":
            raise ConfigError("--reference adapter-off: the reference is the starting model; leave out --ref-model")

    # Data ------------------------------------------------------------------------------------------------------------
    def read(self, source: Any, reading: Reading) -> Sequence[Rating]:
        """Ratings with a side taken; raises DataError for numbers without a threshold."""
        dropped: list[DataError] = []
        records = load_ratings(source, on_bad=reading.on_bad, dropped=dropped)
        reading.say_dropped(dropped)
        kept = [record for record in records if self._label(record) is not None]
        if undecided := len(records) - len(kept):
            reading.say(f"{undecided} of {len(records)} ratings equal --threshold {self.threshold:g}; left out")
        if len(kept) < 2:
            raise DataError(
                f"kto needs at least 2 ratings, since it pairs a prompt with another's answer; here: {len(kept)}"
            )
        return kept

    def _label(self, record: Rating) -> bool | None:
        if isinstance(record.value, bool):
            return record.value
        if self.threshold is None:
            source = record.source
            raise DataError(
                f"the rating is the number {record.value:g}; say which are good: --threshold 3 takes those above 3",
                file=source.file if source else None, line=source.line if source else None,
            )  # fmt: skip
        return None if record.value == self.threshold else record.value > self.threshold

    def trees(self, record: Rating, render: Renderer) -> list[Tree]:
        prompt, (answer,) = render.answers(record.messages, [record.answer], record.source)
        values = {"good": (float(bool(self._label(record))),), "context": (0.0,)}
        return [Tree(Tokens.prompt(prompt), (Tokens(answer.ids, answer.mask),), values)]

    def pair_up(self, items: list[list[Tree]]) -> list[list[Tree]]:
        """Each item with a second tree: its prompt with the next item's answer."""
        shifted = items[1:] + items[:1]
        return [[own, _mismatched(own, other)] for (own, *_), (other, *_) in zip(items, shifted, strict=True)]

    # Loss ------------------------------------------------------------------------------------------------------------
    def context(self, batch: LossBatch) -> Loss:
        """Sum and number of log π − log π_ref of the mismatched pairs."""
        ratios = sides(batch).log_ratio
        return Loss(ratios.sum(), float(len(ratios)))

    def loss(self, batch: LossBatch) -> Loss:
        side, good = sides(batch), batch.values["good"] > 0
        z = max(0.0, batch.context)
        gain = torch.where(good, side.log_ratio - z, z - side.log_ratio)
        weight = torch.where(good, self.desirable_weight, self.undesirable_weight)
        total = (weight * sigmoid(-self.beta * gain)).sum()
        return Loss(total, float(len(good)), self._metrics(side, good, z))

    def _metrics(self, side: Side, good: Tensor, z: float) -> dict[str, tuple[float, float]]:
        rewards, number = self.beta * side.log_ratio.detach(), float(len(good))
        return {
            "good_reward": (float(rewards[good].sum()), float(good.sum())),
            "bad_reward": (float(rewards[~good].sum()), float((~good).sum())),
            "kl": (z * number, number),
        }


def _mismatched(own: Tree, other: Tree) -> Tree:
    nothing = {"good": (math.nan,), "context": (1.0,)}
    return Tree(own.trunk, other.branches, nothing)
