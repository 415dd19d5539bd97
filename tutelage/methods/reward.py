"""Reward models: a scalar for each answer, learned from which answers people put above which.

Leaves out: process rewards (a score a step), and scoring with what was trained (`tutelage.score`).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from tutelage.errors import ConfigError, TrainingError
from tutelage.methods.options import check_not_negative
from tutelage.methods.preference import ComparisonMethod, pair_index, pair_metrics
from tutelage.methods.ranking import plackett_luce
from tutelage.methods.registry import Loss, LossBatch, method


@method("reward")
class Reward(ComparisonMethod):
    """Bradley–Terry on pairs, or all pairs of a ranking (Ouyang et al. 2022, equation 1), or Plackett–Luce."""

    summary = "reward model: a score for an answer, from comparisons and rankings"
    paper = "arXiv:2203.02155"
    formula = "−log σ(r_w − r_l − margin) + centre · (r_w + r_l)², r read at the end-of-turn token"
    sees = "scores"
    learning_rate = 3e-5
    takes_margin = True

    ranking: Literal["all-pairs", "plackett-luce"] = "all-pairs"
    """Rankings of K answers: the mean over all K(K − 1)/2 pairs, or the likelihood of the whole order."""
    centre: float = 0.0
    """Weight of the squared sum of a pair's scores, which keeps scores around 0 (arXiv:2312.09244); .01 is usual."""
    ensemble: int = 1
    """Train this many, with seeds one apart, and save them as one ensemble."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(centre=self.centre)
        if self.ensemble < 1:
            raise ConfigError(f"--ensemble is {self.ensemble}; it must be at least 1")
        if self.ranking == "plackett-luce" and (self.ties, self.strength) != ("drop", "ignore"):
            raise ConfigError("--ranking plackett-luce has no ties and no strength; leave those options out")

    def loss(self, batch: LossBatch) -> Loss:
        scores = self.judge(batch)
        index = pair_index(batch, self.ties)
        chosen, rejected = scores[index.chosen], scores[index.rejected]
        margin, weight = self.weigh(batch, index)
        total = self.centre * (weight * (chosen + rejected).square()).sum()
        if self.ranking == "plackett-luce":
            total = total + plackett_luce(scores, batch.values["rank"], batch.tree_index).sum()
        else:
            total = total - (weight * logsigmoid(chosen - rejected - margin)).sum()
        return Loss(total, float(weight.sum()), pair_metrics(chosen, rejected, weight, index.is_tie))

    def judge(self, batch: LossBatch) -> Tensor:
        """`(num_sequences,)` the scores."""
        if batch.scores is None:
            raise TrainingError("a reward model is trained on scores, and the batch has none")
        return batch.scores
