"""Direct preference optimisation, its length-normalised form, and its form for whole rankings.

Leaves out: the variants that change more than what stands inside the logarithm; each has a file of its own.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from tutelage.errors import ConfigError
from tutelage.methods.options import check_positive
from tutelage.methods.preference import Pairs, ReferencePairMethod, Side, pair_index, pair_metrics, sides
from tutelage.methods.ranking import plackett_luce
from tutelage.methods.registry import Loss, LossBatch, method


@method("dpo")
class DPO(ReferencePairMethod):
    """Direct preference optimisation (Rafailov et al. 2023, equation 7; for rankings appendix A.3)."""

    summary = "direct preference optimisation"
    paper = "arXiv:2305.18290"
    formula = "−log σ(βΔ − margin) + sft_coef · NLL of chosen per token"
    takes_margin = True

    beta: float = 0.1
    """How firmly the policy is held to the reference: smaller lets it move further."""
    length_normalised: bool = False
    """Use Δ of per-token averages instead of sums; β then has to be some 20 times as large (arXiv:2411.15124)."""
    sft_coef: float = 0.0
    """Weight of the chosen answer's NLL per token, which keeps its likelihood from falling (arXiv:2404.19733)."""
    ranking: Literal["all-pairs", "plackett-luce"] = "all-pairs"
    """Rankings of more than two answers: the mean over all pairs, or the likelihood of the whole order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(beta=self.beta)
        if self.ranking == "plackett-luce" and (self.ties, self.strength) != ("drop", "ignore"):
            raise ConfigError("--ranking plackett-luce has no ties and no strength; leave those options out")

    def losses(self, pairs: Pairs) -> Tensor:
        delta = pairs.average_delta if self.length_normalised else pairs.delta
        return -logsigmoid(self.beta * delta - pairs.margin) - self.sft_coef * pairs.chosen.average

    def loss(self, batch: LossBatch) -> Loss:
        if self.ranking == "all-pairs":
            return super().loss(batch)
        everyone, index = sides(batch), pair_index(batch)
        rewards = self.rewards(everyone)
        losses = plackett_luce(rewards, batch.values["rank"], batch.tree_index)
        best = everyone.average[batch.values["rank"] == 0]
        metrics = pair_metrics(rewards[index.chosen], rewards[index.rejected], index.weight, index.is_tie)
        return Loss(losses.sum() - self.sft_coef * best.sum(), float(len(losses)), metrics)

    def rewards(self, side: Side) -> Tensor:
        return self.beta * (side.log_ratio / side.num_tokens if self.length_normalised else side.log_ratio)
