"""Length-regularised DPO: longer chosen answers must win by more, against the bias to length."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

from tutelage.methods.options import check_not_negative, check_positive
from tutelage.methods.preference import Pairs, ReferencePairMethod
from tutelage.methods.registry import method


@method("r-dpo")
class RDPO(ReferencePairMethod):
    """Length-regularised DPO (Park et al. 2024, equation 9)."""

    summary = "DPO that takes the bias to length out of the margin"
    paper = "arXiv:2403.19159"
    formula = "−log σ(βΔ − α(|w| − |l|)), lengths in tokens"

    beta: float = 0.1
    """How firmly the policy is held to the reference."""
    alpha: float = 0.01
    """α, what each token more of the chosen answer costs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(beta=self.beta)
        check_not_negative(alpha=self.alpha)

    def losses(self, pairs: Pairs) -> Tensor:
        longer = pairs.chosen.num_tokens - pairs.rejected.num_tokens
        return -logsigmoid(self.beta * pairs.delta - self.alpha * longer)
