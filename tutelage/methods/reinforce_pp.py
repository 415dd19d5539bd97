"""REINFORCE++: no critic and no groups; a step's tokens are each other's baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from tutelage.errors import ConfigError
from tutelage.methods.advantages import less_group_mean, rewards_to_go, token_rewards, whiten
from tutelage.methods.policy import PolicyMethod, Rollouts
from tutelage.methods.registry import method


@method("reinforce++")
class ReinforcePlusPlus(PolicyMethod):
    """Hu 2025: KL in each token's reward, rewards to go, whitened over all tokens of the step."""

    summary = "REINFORCE with token KL, whitened over the whole step"
    paper = "arXiv:2501.03262"
    formula = "max(−Aρ, −A·clip(ρ, 1−ε, 1+ε)); A = whitened Σ_{later} (score − β·k1)"
    learning_rate = 1e-6
    kl_in_reward = True
    unused = ("kl_estimator",)

    group_size: int = 1
    """Answers sampled to each prompt."""
    prompts_per_step: int = 32
    """Prompts answered in each step."""
    kl_coef: float = 0.01
    """The β of the penalty −β·(log π − log π_ref) in each token's reward."""
    gamma: float = 1.0
    """Discount a token."""
    baseline: Literal["none", "group"] = "none"
    """`group` takes the mean of a prompt's answers off first (the paper's variant for several answers a prompt)."""
    whiten: Literal["mean-std", "mean", "none"] = "mean-std"
    """What is taken out of a step's advantages. Dividing by the spread changes how reward and KL weigh up."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.gamma <= 1:
            raise ConfigError(f"--gamma is {self.gamma}; it must be above 0 and at most 1")

    def advantages(self, rollouts: Rollouts) -> Mapping[str, Tensor]:
        scores = rollouts.rewards
        if self.baseline == "group":
            scores = less_group_mean(scores, rollouts.group_index)
        rewards = token_rewards(scores, rollouts.k1, rollouts.sequence_index, rollouts.kl_coef)
        found = rewards_to_go(rewards, rollouts.sequence_index, self.gamma)
        if self.whiten == "mean-std":
            found = whiten(found)
        elif self.whiten == "mean":
            found = found - found.mean()
        return {"advantages": found}
