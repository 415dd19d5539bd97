"""Group-relative policy optimisation: the other answers to a prompt are the baseline, their spread the unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from tutelage.methods.advantages import less_group_mean, over_group_std
from tutelage.methods.options import check_not_negative
from tutelage.methods.policy import Aggregation, GroupMethod, Rollouts
from tutelage.methods.registry import method


@method("grpo")
class GRPO(GroupMethod):
    """Shao et al. 2024, equation 3. The division by the spread changes the optimum; `dr-grpo` leaves it out."""

    summary = "group-relative advantages, divided by the group's spread"
    paper = "arXiv:2402.03300"
    formula = "max(−Aρ, −A·clip(ρ, 1−ε, 1+ε)) + β·KL per token, mean over each answer; A = (r − mean)/(std + eps)"
    learning_rate = 1e-6

    kl_coef: float = 0.04
    """The β before the KL term of the loss; 0 needs no reference."""
    aggregation: Aggregation = "sequence-mean"
    """How token losses are put together: over all tokens of the step, over each answer first, or over a constant."""
    std: Literal["sample", "population"] = "sample"
    """Standard deviation with Bessel's correction, or of the group itself."""
    std_eps: float = 1e-4
    """Added to the standard deviation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(std_eps=self.std_eps)

    def advantages(self, rollouts: Rollouts) -> Mapping[str, Tensor]:
        centred = less_group_mean(rollouts.rewards, rollouts.group_index)
        scaled = over_group_std(centred, rollouts.group_index, self.std, self.std_eps)
        return {"advantages": scaled[rollouts.sequence_index]}
