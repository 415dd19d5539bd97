"""Proximal policy optimisation with a critic: classic RLHF, as InstructGPT did it.

Leaves out: where the critic comes from and how it is stepped (the loop), and early stopping inside a step.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tutelage.errors import ConfigError
from tutelage.methods.advantages import gae, token_rewards, whiten
from tutelage.methods.options import check_not_negative, check_positive
from tutelage.methods.policy import PolicyMethod, Rollouts
from tutelage.methods.registry import LossBatch, method


@method("ppo")
class PPO(PolicyMethod):
    """Ouyang et al. 2022, step 3; details as Huang et al. 2024 (arXiv:2403.17031) found them to matter."""

    summary = "classic RLHF: reward model, critic, KL in the reward"
    paper = "arXiv:2203.02155"
    formula = "max(−Aρ, −A·clip(ρ, 1−ε, 1+ε)) + vf_coef · ½ max((V−R)², (V_clip−R)²); A by GAE of score − β·k1"
    learning_rate = 1e-6
    has_critic = True
    kl_in_reward = True
    unused = ("kl_estimator",)

    group_size: int = 1
    """Answers sampled to each prompt."""
    prompts_per_step: int = 32
    """Prompts answered in each step."""
    kl_coef: float = 0.05
    """The β of the penalty −β·(log π − log π_ref) in each token's reward."""
    kl_target: float = 0.0
    """Move --kl-coef so that an answer's KL comes to this many nats (Ziegler et al. 2019); 0 = keep it fixed."""
    kl_horizon: int = 2000
    """Answers over which an adaptive coefficient may double or so."""
    inner_epochs: int = 2
    """Passes over the answers of a step, each in a fresh order."""
    minibatches: int = 2
    """Updates a pass."""
    missing_end_penalty: float = 1.0
    """Taken off the reward of an answer that the limit cut off."""
    gamma: float = 1.0
    """Discount a token."""
    lam: float = 0.95
    """GAE's λ: 0 trusts the critic, 1 the rewards."""
    whiten_rewards: bool = True
    """Divide a step's token rewards by their standard deviation; their mean stays."""
    whiten_advantages: bool = True
    """Give a step's advantages mean 0 and standard deviation 1."""
    critic: str | None = None
    """Model that the critic starts from; the reward model if there is one, else the policy with a head of zeros."""
    critic_learning_rate: float | None = None
    """Peak learning rate of the critic; ten times the policy's if not given."""
    critic_warmup: int = 0
    """Steps in which only the critic learns."""
    vf_coef: float = 0.1
    """Weight of the value loss."""
    value_clip: float = 0.2
    """Values further than this from the old ones gain nothing more; 0 = never clip."""
    ptx_data: str | None = None
    """Pairs or text whose likelihood is learned beside the rewards (PPO-ptx); `starter` for the starter pairs."""
    ptx_coef: float = 1.0
    """Weight of that likelihood, per token."""
    ptx_batch: int = 8
    """Records of --ptx-data in each update."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(
            kl_target=self.kl_target, vf_coef=self.vf_coef, value_clip=self.value_clip, ptx_coef=self.ptx_coef,
            critic_warmup=self.critic_warmup,
        )  # fmt: skip
        check_positive(kl_horizon=self.kl_horizon, ptx_batch=self.ptx_batch)
        if self.critic_learning_rate is not None:
            check_positive(critic_learning_rate=self.critic_learning_rate)
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"--{name} is {getattr(self, name)}; it must be between 0 and 1")
        if self.kl_target and not self.kl_coef:
            raise ConfigError("--kl-target moves --kl-coef, which is 0; give it a value to start from")
        lowest = 0.2 * self.prompts_per_step * self.group_size
        if self.kl_target and self.kl_horizon <= lowest:
            raise ConfigError(
                f"--kl-horizon is {self.kl_horizon}; a fifth of a step's answers is {lowest:g}; it must be more, or "
                "--kl-coef falls to 0 and below"
            )

    def advantages(self, rollouts: Rollouts) -> Mapping[str, Tensor]:
        assert rollouts.values is not None
        rewards = token_rewards(rollouts.rewards, rollouts.k1, rollouts.sequence_index, rollouts.kl_coef)
        if self.whiten_rewards:
            rewards = whiten(rewards, shift_mean=False)
        found, returns = gae(rewards, rollouts.values, rollouts.sequence_index, gamma=self.gamma, lam=self.lam)
        return {"advantages": whiten(found) if self.whiten_advantages else found, "returns": returns}

    def value_losses(self, values: Tensor, batch: LossBatch) -> Tensor:
        """½·max((V − R)², (V_clip − R)²), V clipped around the old values, `(num_targets,)`."""
        returns, old = batch.tokens["returns"], batch.tokens["old_values"]
        losses = (values - returns).square()
        if self.value_clip:
            near = old + (values - old).clamp(-self.value_clip, self.value_clip)
            losses = torch.maximum(losses, (near - returns).square())
        return 0.5 * losses

    def next_kl_coef(self, kl_coef: float, kl: float, num_sequences: int) -> float:
        """β·(1 + clip(KL/target − 1, ±.2)·n/horizon); KL in nats an answer (Ziegler et al. 2019, section 2.2)."""
        if not self.kl_target:
            return kl_coef
        error = min(max(kl / self.kl_target - 1, -0.2), 0.2)
        return kl_coef * (1 + error * num_sequences / self.kl_horizon)
