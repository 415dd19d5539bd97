"""REINFORCE with a leave-one-out baseline: an answer is one action, the others to its prompt say what to expect."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tutelage.methods.advantages import less_mean_of_others
from tutelage.methods.policy import Aggregation, GroupMethod, Rollouts, clipped
from tutelage.methods.registry import LossBatch, method


@method("rloo")
class RLOO(GroupMethod):
    """Ahmadian et al. 2024, equation 6; KL of the whole answer in its reward."""

    summary = "REINFORCE, the mean of the other answers as baseline"
    paper = "arXiv:2402.14740"
    formula = "−A·ρ(answer), clipped; A = r' − mean of the others' r', r' = r − β·Σ k1"
    learning_rate = 1e-6
    kl_in_reward = True
    unused = ("kl_estimator",)

    group_size: int = 4
    """Answers sampled to each prompt."""
    kl_coef: float = 0.05
    """The β of the penalty −β·(log π − log π_ref) of the whole answer."""
    aggregation: Aggregation = "sequence-mean"
    """How token losses are put together; a whole answer has one loss here, which all its tokens carry."""

    def advantages(self, rollouts: Rollouts) -> Mapping[str, Tensor]:
        rewards = rollouts.rewards - rollouts.kl_coef * rollouts.sum_by_sequence(rollouts.k1)
        return {"advantages": less_mean_of_others(rewards, rollouts.group_index)[rollouts.sequence_index]}

    def token_losses(self, log_ratio: Tensor, batch: LossBatch) -> Tensor:
        whole = batch.sum_by_sequence(log_ratio)[batch.sequence_index]
        return clipped(whole, batch.tokens["advantages"], self.clip_low, self.clip_high)

    def clipped_tokens(self, log_ratio: Tensor, batch: LossBatch) -> Tensor:
        return super().clipped_tokens(batch.sum_by_sequence(log_ratio)[batch.sequence_index], batch)
