"""GRPO done right: no division by the spread, none by an answer's length."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tutelage.methods.advantages import less_group_mean
from tutelage.methods.policy import Aggregation, GroupMethod, Rollouts
from tutelage.methods.registry import method


@method("dr-grpo")
class DrGRPO(GroupMethod):
    """Liu et al. 2025. Token losses are summed and divided by a constant, the longest answer allowed."""

    summary = "group-relative advantages without the two biases of GRPO"
    paper = "arXiv:2503.20783"
    formula = "Σ max(−Aρ, −A·clip(ρ, 1−ε, 1+ε)) / (answers · longest allowed); A = r − mean"
    learning_rate = 1e-6

    aggregation: Aggregation = "constant"
    """How token losses are put together: over all tokens of the step, over each answer first, or over a constant."""

    def advantages(self, rollouts: Rollouts) -> Mapping[str, Tensor]:
        return {"advantages": less_group_mean(rollouts.rewards, rollouts.group_index)[rollouts.sequence_index]}
