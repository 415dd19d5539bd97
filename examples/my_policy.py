"""A method of your own that samples: TOPR, tapered off-policy REINFORCE (arXiv:2503.14286).

tutelage train ./examples/my_policy.py --model sft --reward rm --prompts prompts.jsonl --out mine --max-weight 0.5
"""

from collections.abc import Mapping

import torch

from tutelage.methods import GroupMethod, LossBatch, Rollouts, method
from tutelage.methods.advantages import less_group_mean


@method("topr")
class TOPR(GroupMethod):
    """Good answers are learned as they are, bad ones unlearned only as far as the policy still gives them."""

    summary = "REINFORCE whose bad answers fade as the policy leaves them"
    paper = "arXiv:2503.14286"
    formula = "−w·A·log π; w = 1 where A ≥ 0, else min(π(answer)/π_old(answer), max weight); A = r − mean"
    learning_rate = 1e-6

    inner_epochs: int = 2
    """Passes over the answers of a step."""
    max_weight: float = 1.0
    """Largest weight of a bad answer."""

    def advantages(self, rollouts: Rollouts) -> Mapping[str, torch.Tensor]:
        return {"advantages": less_group_mean(rollouts.rewards, rollouts.group_index)[rollouts.sequence_index]}

    def token_losses(self, log_ratio: torch.Tensor, batch: LossBatch) -> torch.Tensor:
        advantages = batch.tokens["advantages"]
        ratio = batch.sum_by_sequence(log_ratio.detach()).exp()[batch.sequence_index]
        weights = torch.where(advantages < 0, ratio.clamp(max=self.max_weight), 1.0)
        return -weights * advantages * batch.logprobs

    def clipped_tokens(self, log_ratio: torch.Tensor, batch: LossBatch) -> torch.Tensor:
        return torch.zeros_like(log_ratio)  # no token is without a gradient
