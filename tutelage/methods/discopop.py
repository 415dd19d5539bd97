"""DiscoPOP: a blend of logistic and exponential loss that a search over programs found."""

from __future__ import annotations

from torch import Tensor, sigmoid
from torch.nn.functional import logsigmoid

from tutelage.methods.options import check_positive
from tutelage.methods.preference import Pairs, ReferencePairMethod
from tutelage.methods.registry import method


@method("discopop")
class DiscoPOP(ReferencePairMethod):
    """Discovered preference optimisation, the log-ratio modulated loss (Lu et al. 2024, equation 5)."""

    summary = "a blend of logistic and exponential loss found by search"
    paper = "arXiv:2406.08414"
    formula = "(1 − s)·(−log σ(h)) + s·exp(−h), s = σ(h/τ), h = βΔ"

    beta: float = 0.1
    """How firmly the policy is held to the reference."""
    tau: float = 0.05
    """τ, how sharply the blend changes over."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(beta=self.beta, tau=self.tau)

    def losses(self, pairs: Pairs) -> Tensor:
        h = self.beta * pairs.delta
        share = sigmoid(h / self.tau)
        return -(1 - share) * logsigmoid(h) + share * (-h).exp()
