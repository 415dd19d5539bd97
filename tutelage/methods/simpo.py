"""Simple preference optimisation: average logprobs as the reward, a target margin, and no reference."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

from tutelage.methods.options import check_not_negative, check_positive
from tutelage.methods.preference import PairMethod, Pairs, Side
from tutelage.methods.registry import method


@method("simpo")
class SimPO(PairMethod):
    """Simple preference optimisation (Meng et al. 2024, equation 6)."""

    summary = "reference-free: average logprobs must win by a margin"
    paper = "arXiv:2405.14734"
    formula = "−log σ(β(log π_w/|w| − log π_l/|l|) − γ − margin)"
    takes_margin = True

    beta: float = 2.0
    """Scale of the average logprobs."""
    gamma: float = 1.0
    """γ, the margin to win by, as in the paper's formula. The authors' code names γ/β instead."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(beta=self.beta)
        check_not_negative(gamma=self.gamma)

    def losses(self, pairs: Pairs) -> Tensor:
        return -logsigmoid(self.beta * (pairs.chosen.average - pairs.rejected.average) - self.gamma - pairs.margin)

    def rewards(self, side: Side) -> Tensor:
        return self.beta * side.average
