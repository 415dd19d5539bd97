"""CISPO: the clip is on a weight that carries no gradient, so no token is ever left out of learning."""

from __future__ import annotations

from torch import Tensor

from tutelage.methods.grpo import GRPO
from tutelage.methods.policy import Aggregation
from tutelage.methods.registry import LossBatch, method


@method("cispo")
class CISPO(GRPO):
    """MiniMax 2025, equations 4 and 5. `clip_high` is what may be added to 1, as everywhere here."""

    summary = "clipped importance weights instead of clipped gains"
    paper = "arXiv:2506.13585"
    formula = "−sg(clip(ρ, 1−ε_low, 1+ε_high))·A·log π over all tokens; A as in GRPO"

    kl_coef: float = 0.0
    """The β before the KL term of the loss; 0 needs no reference."""
    aggregation: Aggregation = "token-mean"
    """How token losses are put together: over all tokens of the step, over each answer first, or over a constant."""
    clip_low: float = 1.0
    """Weights below 1 − this are raised to it; 1 = no lower clip, as in the paper."""
    clip_high: float = 4.0
    """Weights above 1 + this are lowered to it."""

    def token_losses(self, log_ratio: Tensor, batch: LossBatch) -> Tensor:
        weights = log_ratio.detach().exp().clamp(1 - self.clip_low, 1 + self.clip_high)
        return -weights * batch.tokens["advantages"] * batch.logprobs

    def clipped_tokens(self, log_ratio: Tensor, batch: LossBatch) -> Tensor:
        ratio = log_ratio.exp()
        return ((ratio > 1 + self.clip_high) | (ratio < 1 - self.clip_low)).float()
