"""Online DPO: sample, judge, and learn from the best and the worst answer to each prompt as a pair."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn.functional import logsigmoid

from tutelage.errors import ConfigError, TrainingError
from tutelage.methods.advantages import has_spread
from tutelage.methods.options import check_positive
from tutelage.methods.policy import GroupMethod, Rollouts
from tutelage.methods.registry import Loss, LossBatch, method
from tutelage.methods.rejection import first_best


@method("online-dpo")
class OnlineDPO(GroupMethod):
    """Guo et al. 2024. A prompt whose answers are all equally good has no pair and is left out."""

    summary = "DPO on pairs the policy samples itself"
    paper = "arXiv:2402.04792"
    formula = "−log σ(βΔ), chosen = best and rejected = worst of the sampled answers"
    learning_rate = 5e-7
    counts_idle = False
    unused = ("kl_coef", "kl_estimator", "clip_low", "clip_high", "mismatch", "mismatch_cap", "aggregation")

    group_size: int = 2
    """Answers sampled to each prompt."""
    beta: float = 0.1
    """How firmly the policy is held to the reference: smaller lets it move further."""

    def __post_init__(self) -> None:
        if self.kl_coef:
            raise ConfigError(
                f"--kl-coef is {self.kl_coef}; online-dpo holds the policy to the reference by --beta, so leave it out"
            )
        super().__post_init__()
        check_positive(beta=self.beta)

    @property
    def needs_reference(self) -> bool:
        return True

    def advantages(self, rollouts: Rollouts) -> Mapping[str, Tensor]:
        """+1 for the chosen answer, −1 for the rejected one, 0 for the rest."""
        best = first_best(rollouts.rewards, rollouts.group_index)
        worst = first_best(-rollouts.rewards, rollouts.group_index)
        sign = best.float() - worst.float()
        sign = sign * has_spread(rollouts.rewards, rollouts.group_index)
        return {"advantages": sign[rollouts.sequence_index]}

    def weight(self, num_sequences: float, num_tokens: float) -> float:
        return num_sequences / 2

    def loss(self, batch: LossBatch) -> Loss:
        if batch.ref_logprobs is None:
            raise TrainingError("online-dpo compares with a reference, and the batch has none")
        moved = batch.sum_by_sequence((batch.logprobs - batch.ref_logprobs) * batch.tokens["advantages"])
        margin = moved.new_zeros(int(batch.tree_index.max()) + 1).index_add(0, batch.tree_index, moved)
        metrics = {
            "margin": (float(self.beta * margin.detach().sum()), float(len(margin))),
            "accuracy": (float((margin > 0).sum()), float(len(margin))),
        }
        return Loss(-logsigmoid(self.beta * margin).sum(), float(len(margin)), metrics)
