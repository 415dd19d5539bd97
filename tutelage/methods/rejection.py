"""Rejection sampling: of several answers the best one is learned like a pair that a person wrote."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tutelage.errors import ConfigError
from tutelage.methods.advantages import has_spread
from tutelage.methods.policy import GroupMethod, Rollouts
from tutelage.methods.registry import LossBatch, method


@method("rejection")
class Rejection(GroupMethod):
    """Touvron et al. 2023 (Llama 2), section 3.2.3, one step at a time: always from the newest policy."""

    summary = "fine-tuning on the best of several sampled answers"
    paper = "arXiv:2307.09288"
    formula = "−log π of the best answer of each prompt, mean over its tokens"
    learning_rate = 1e-5
    counts_idle = False
    unused = ("kl_coef", "kl_estimator", "clip_low", "clip_high")

    min_reward: float | None = None
    """Learn only from answers with at least this reward."""
    keep_equal: bool = False
    """Also learn from a prompt whose answers are all equally good (its first)."""

    def __post_init__(self) -> None:
        if self.kl_coef:
            raise ConfigError(f"--kl-coef is {self.kl_coef}; rejection only learns its best answers, so leave it out")
        super().__post_init__()

    def advantages(self, rollouts: Rollouts) -> Mapping[str, Tensor]:
        """1 for the answer to learn, 0 for the others."""
        chosen = first_best(rollouts.rewards, rollouts.group_index)
        if not self.keep_equal:
            chosen &= has_spread(rollouts.rewards, rollouts.group_index)
        if self.min_reward is not None:
            chosen &= rollouts.rewards >= self.min_reward
        return {"advantages": chosen.float()[rollouts.sequence_index]}

    def token_losses(self, log_ratio: Tensor, batch: LossBatch) -> Tensor:
        return -batch.tokens["advantages"] * batch.logprobs

    def clipped_tokens(self, log_ratio: Tensor, batch: LossBatch) -> Tensor:
        return torch.zeros_like(log_ratio)


def first_best(rewards: Tensor, group_index: Tensor) -> Tensor:
    """`(num_sequences,)` bool: the first answer of each group with its highest reward."""
    chosen = torch.zeros(len(rewards), dtype=torch.bool, device=rewards.device)
    best: dict[int, int] = {}
    for place, (group, reward) in enumerate(zip(group_index.tolist(), rewards.tolist(), strict=True)):
        if group not in best or reward > float(rewards[best[group]]):
            best[group] = place
    chosen[list(best.values())] = True
    return chosen
