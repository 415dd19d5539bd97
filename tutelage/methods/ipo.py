"""Identity preference optimisation: a squared loss that does not drive certain preferences to infinity."""

from __future__ import annotations

from torch import Tensor

from tutelage.methods.options import check_positive
from tutelage.methods.preference import Pairs, ReferencePairMethod, Side
from tutelage.methods.registry import method


@method("ipo")
class IPO(ReferencePairMethod):
    """Identity preference optimisation (Azar et al. 2023, equation 17; its τ is β here)."""

    summary = "identity preference optimisation: a squared loss with a finite optimum"
    paper = "arXiv:2310.12036"
    formula = "(Δ − 1/(2β))², Δ on sums of logprobs"

    beta: float = 0.1
    """The margin aimed at is 1/(2β) nats: of the whole answer with sums, per token with averages."""
    average_logprobs: bool = False
    """Use Δ of per-token averages. The paper sums; TRL 1.16 averages, so the same β means something else there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(beta=self.beta)

    def losses(self, pairs: Pairs) -> Tensor:
        delta = pairs.average_delta if self.average_logprobs else pairs.delta
        return (delta - 1 / (2 * self.beta)).square()

    def rewards(self, side: Side) -> Tensor:
        return self.beta * (side.log_ratio / side.num_tokens if self.average_logprobs else side.log_ratio)
