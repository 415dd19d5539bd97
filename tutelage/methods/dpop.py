"""DPO-positive: a penalty as soon as the chosen answer becomes less likely than it was."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

from tutelage.methods.options import check_not_negative, check_positive
from tutelage.methods.preference import Pairs, ReferencePairMethod
from tutelage.methods.registry import method


@method("dpop")
class DPOP(ReferencePairMethod):
    """DPO-positive (Pal et al. 2024, equation 3)."""

    summary = "DPO with a penalty when the chosen answer becomes less likely"
    paper = "arXiv:2402.13228"
    formula = "−log σ(β(Δ − λ·max(0, log π_ref,w − log π_w)))"

    beta: float = 0.1
    """How firmly the policy is held to the reference."""
    penalty: float = 50.0
    """λ, the weight of what the chosen answer has lost."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(beta=self.beta)
        check_not_negative(penalty=self.penalty)

    def losses(self, pairs: Pairs) -> Tensor:
        lost = (-pairs.chosen.log_ratio).relu()
        return -logsigmoid(self.beta * (pairs.delta - self.penalty * lost))
