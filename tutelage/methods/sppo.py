"""Self-play preference optimisation with hard labels: each log ratio is drawn to a target of its own.

Leaves out soft win rates from a judge, and the self-play around it.
"""

from __future__ import annotations

from torch import Tensor

from tutelage.methods.options import check_positive
from tutelage.methods.preference import Pairs, ReferencePairMethod
from tutelage.methods.registry import method


@method("sppo")
class SPPO(ReferencePairMethod):
    """Self-play preference optimisation (Wu et al. 2024, equation 4.7, with win rates 1 and 0)."""

    summary = "squared loss: the chosen answer's log ratio up to a target, the other's down"
    paper = "arXiv:2405.00675"
    formula = "(r_w − 1/(2β))² + (r_l + 1/(2β))², r = log π − log π_ref"

    beta: float = 0.1
    """The log ratios aimed at are ±1/(2β)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(beta=self.beta)

    def losses(self, pairs: Pairs) -> Tensor:
        target = 1 / (2 * self.beta)
        return (pairs.chosen.log_ratio - target).square() + (pairs.rejected.log_ratio + target).square()
