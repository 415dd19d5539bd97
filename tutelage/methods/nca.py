"""Noise-contrastive alignment: each answer's own likelihood ratio counts, so the chosen one does not fall."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

from tutelage.methods.options import check_positive
from tutelage.methods.preference import Pairs, ReferencePairMethod
from tutelage.methods.registry import method


@method("nca")
class NCA(ReferencePairMethod):
    """Noise-contrastive alignment for pairs (Chen et al. 2024)."""

    summary = "noise-contrastive: absolute ratios, so that chosen answers stay likely"
    paper = "arXiv:2402.05369"
    formula = "−log σ(βr_w) − ½ log σ(−βr_w) − ½ log σ(−βr_l), r = log π − log π_ref"

    beta: float = 0.1
    """Scale of the log ratios."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(beta=self.beta)

    def losses(self, pairs: Pairs) -> Tensor:
        chosen, rejected = self.beta * pairs.chosen.log_ratio, self.beta * pairs.rejected.log_ratio
        return -logsigmoid(chosen) - 0.5 * logsigmoid(-chosen) - 0.5 * logsigmoid(-rejected)
