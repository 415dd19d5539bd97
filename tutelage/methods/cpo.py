"""Contrastive preference optimisation: DPO with a uniform reference, and the chosen answer's likelihood beside it."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

from tutelage.methods.options import check_not_negative, check_positive
from tutelage.methods.preference import PairMethod, Pairs
from tutelage.methods.registry import method


@method("cpo")
class CPO(PairMethod):
    """Contrastive preference optimisation (Xu et al. 2024, equation 5)."""

    summary = "reference-free DPO with the chosen answer's likelihood added"
    paper = "arXiv:2401.08417"
    formula = "−log σ(β(log π_w − log π_l)) + α · NLL of chosen per token"

    beta: float = 0.1
    """Scale of the difference of summed logprobs."""
    alpha: float = 1.0
    """Weight of the chosen answer's NLL: the mean over its own tokens. TRL 1.16 takes the mean over the batch's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(beta=self.beta)
        check_not_negative(alpha=self.alpha)

    def losses(self, pairs: Pairs) -> Tensor:
        difference = pairs.chosen.logprobs - pairs.rejected.logprobs
        return -logsigmoid(self.beta * difference) - self.alpha * pairs.chosen.average
