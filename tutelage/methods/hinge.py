"""A hinge instead of the logistic loss: pairs that are won clearly stop pulling."""

from __future__ import annotations

from torch import Tensor

from tutelage.methods.options import check_positive
from tutelage.methods.preference import Pairs, ReferencePairMethod
from tutelage.methods.registry import method


@method("hinge")
class Hinge(ReferencePairMethod):
    """Hinge loss on the log-ratio margin (Liu et al. 2023, "hinge-norm"), after SLiC-HF (arXiv:2305.10425)."""

    summary = "DPO with a hinge: pairs won by enough are left alone (SLiC, RSO)"
    paper = "arXiv:2309.06657"
    formula = "max(0, 1 − βΔ)"

    beta: float = 0.1
    """A pair is left alone once Δ exceeds 1/β."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(beta=self.beta)

    def losses(self, pairs: Pairs) -> Tensor:
        return (1 - self.beta * pairs.delta).relu()
