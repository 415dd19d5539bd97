"""On-policy distillation: at every token the policy samples it learns the teacher's next-token distribution.

Leaves out answers from a data file: the paper's λ, the share of answers that the student samples itself, is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from tutelage.errors import ConfigError
from tutelage.methods.options import check_positive
from tutelage.methods.policy import Aggregation, Rollouts, SampledMethod, aggregate, summed
from tutelage.methods.registry import Loss, LossBatch, method


@method("distill")
class Distill(SampledMethod):
    """Agarwal et al. 2023 (GKD), equation 1 with λ = 1: generalised Jensen–Shannon divergence over the vocabulary."""

    summary = "on-policy distillation: the teacher's distribution at each token the policy samples"
    paper = "arXiv:2306.13649"
    formula = (
        "β·KL(T‖M) + (1−β)·KL(S‖M) at each sampled token, M = βT + (1−β)S, T teacher, S student; "
        "β = 0: KL(T‖S), β = 1: KL(S‖T)"
    )
    learning_rate = 1e-5
    learns_from: ClassVar[str] = "a teacher"
    has_teacher: ClassVar[bool] = True

    teacher: str = ""
    """Model to learn from, with the same tokens: a starter model, a folder, a hub id or a name in the workspace."""
    beta: float = 0.5
    """0 = forward KL(teacher‖student), 1 = reverse KL(student‖teacher), between: the paper's JSD(β)."""
    prompts_per_step: int = 32
    """Prompts answered in each step."""
    group_size: int = 1
    """Answers sampled to each prompt."""
    temperature: float = 1.0
    """Of sampling."""
    distill_temperature: float = 1.0
    """Divides both models' logits before they are compared; the loss is not multiplied by its square."""
    aggregation: Aggregation = "sequence-mean"
    """How token losses are put together: over all tokens of the step, over each answer first, or over a constant."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(distill_temperature=self.distill_temperature)
        if not 0 <= self.beta <= 1:
            raise ConfigError(
                f"--beta is {self.beta}; it must be between 0, forward KL(teacher‖student), and 1, reverse "
                "KL(student‖teacher)"
            )

    @property
    def loss_temperature(self) -> float:
        return self.distill_temperature

    def advantages(self, rollouts: Rollouts) -> Mapping[str, Tensor]:
        """1: every sampled token is learned from alike."""
        return {"advantages": torch.ones(len(rollouts.sequence_index))}

    def loss(self, batch: LossBatch) -> Loss:
        divergence = batch.tokens["divergence"]
        metrics = {"divergence": summed(divergence), "teacher_logprob": summed(batch.tokens["teacher_logprobs"])}
        total = aggregate(batch.tokens["advantages"] * divergence, batch, self.aggregation, self.max_new_tokens)
        return Loss(total, self.weight(len(batch.tree_index), len(divergence)), metrics)
