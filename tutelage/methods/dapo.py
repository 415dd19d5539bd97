"""DAPO: clip higher, count every token alike, drop prompts that teach nothing and ask others instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from tutelage.errors import ConfigError
from tutelage.methods.advantages import less_group_mean, over_group_std
from tutelage.methods.options import check_not_negative
from tutelage.methods.policy import GroupMethod, Rollouts
from tutelage.methods.registry import method


@method("dapo")
class DAPO(GroupMethod):
    """Yu et al. 2025: decoupled clip, dynamic sampling, token-level loss, soft overlong punishment."""

    summary = "GRPO with a higher upper clip, refilled groups and a token mean"
    paper = "arXiv:2503.14476"
    formula = "max(−Aρ, −A·clip(ρ, 1−.2, 1+.28)) over all tokens; A = (r − mean)/(std + eps); equal groups refilled"
    learning_rate = 1e-6
    refills = True
    counts_idle = False

    clip_high: float = 0.28
    """Ratios above 1 + this gain nothing more."""
    max_refills: int = 3
    """How often more prompts are asked when groups of equal rewards were dropped; 0 = never."""
    overlong_buffer: int = 0
    """Answers longer than --max-new-tokens less this many lose up to 1, rising evenly; 0 = no such punishment."""
    std: Literal["sample", "population"] = "sample"
    """Standard deviation with Bessel's correction, or of the group itself."""
    std_eps: float = 1e-4
    """Added to the standard deviation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(std_eps=self.std_eps, max_refills=self.max_refills)
        if not 0 <= self.overlong_buffer <= self.max_new_tokens:
            raise ConfigError(
                f"--overlong-buffer is {self.overlong_buffer}; it must be between 0 and --max-new-tokens, "
                f"which is {self.max_new_tokens}"
            )

    def shape(self, rewards: Tensor, num_tokens: Tensor, stopped: Tensor) -> Tensor:
        shaped = super().shape(rewards, num_tokens, stopped)
        if not self.overlong_buffer:
            return shaped
        over = num_tokens.to(shaped) - (self.max_new_tokens - self.overlong_buffer)
        return shaped - (over / self.overlong_buffer).clamp(0, 1)

    def advantages(self, rollouts: Rollouts) -> Mapping[str, Tensor]:
        centred = less_group_mean(rollouts.rewards, rollouts.group_index)
        scaled = over_group_std(centred, rollouts.group_index, self.std, self.std_eps)
        return {"advantages": scaled[rollouts.sequence_index]}
