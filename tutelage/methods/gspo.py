"""Group sequence policy optimisation: the ratio and the clip are of a whole answer, not of a token."""

from __future__ import annotations

from torch import Tensor

from tutelage.methods.grpo import GRPO
from tutelage.methods.policy import clipped
from tutelage.methods.registry import LossBatch, method


@method("gspo")
class GSPO(GRPO):
    """Zheng et al. 2025, equations 5 to 7: ρ is the geometric mean of an answer's token ratios."""

    summary = "GRPO with one ratio an answer"
    paper = "arXiv:2507.18071"
    formula = "max(−As, −A·clip(s, 1−ε, 1+ε)), mean over answers; s = exp(mean log-ratio), A as in GRPO"

    kl_coef: float = 0.0
    """The β before the KL term of the loss; 0 needs no reference."""
    clip_low: float = 3e-4
    """Ratios below 1 − this gain nothing more."""
    clip_high: float = 4e-4
    """Ratios above 1 + this gain nothing more."""

    def token_losses(self, log_ratio: Tensor, batch: LossBatch) -> Tensor:
        whole = self._of_answers(log_ratio, batch)
        return clipped(whole, batch.tokens["advantages"], self.clip_low, self.clip_high)

    def clipped_tokens(self, log_ratio: Tensor, batch: LossBatch) -> Tensor:
        return super().clipped_tokens(self._of_answers(log_ratio, batch), batch)

    def _of_answers(self, log_ratio: Tensor, batch: LossBatch) -> Tensor:
        means = batch.sum_by_sequence(log_ratio) / batch.tokens_by_sequence().clamp(min=1)
        return means[batch.sequence_index]
