"""Anchored preference optimisation: says for each side whether its likelihood should rise or fall, not only the gap."""

from __future__ import annotations

from torch import Tensor, sigmoid

from tutelage.methods.options import check_positive
from tutelage.methods.preference import Pairs, ReferencePairMethod
from tutelage.methods.registry import method


@method("apo-zero")
class APOZero(ReferencePairMethod):
    """For answers better than the model's own: chosen up, rejected down (D'Oosterlinck et al. 2024, equation 7)."""

    summary = "anchored: the chosen answer becomes more likely, the rejected one less"
    paper = "arXiv:2408.06266"
    formula = "[1 − σ(βr_w)] + σ(βr_l), r = log π − log π_ref"

    beta: float = 0.1
    """Scale of the log ratios."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(beta=self.beta)

    def losses(self, pairs: Pairs) -> Tensor:
        return sigmoid(-self.beta * pairs.chosen.log_ratio) + sigmoid(self.beta * pairs.rejected.log_ratio)


@method("apo-down")
class APODown(ReferencePairMethod):
    """For answers worse than the model's own: both down, the rejected one more (the same paper, equation 8)."""

    summary = "anchored: both answers become less likely, the rejected one more so"
    paper = "arXiv:2408.06266"
    formula = "σ(βr_w) + [1 − σ(β(r_w − r_l))], r = log π − log π_ref"

    beta: float = 0.1
    """Scale of the log ratios."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(beta=self.beta)

    def losses(self, pairs: Pairs) -> Tensor:
        return sigmoid(self.beta * pairs.chosen.log_ratio) + sigmoid(-self.beta * pairs.delta)
