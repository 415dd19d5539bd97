"""Efficient exact optimisation: the reverse KL between the policy's preference and the label's, for pairs."""

from __future__ import annotations

import math

from torch import Tensor, sigmoid
from torch.nn.functional import logsigmoid

from tutelage.errors import ConfigError
from tutelage.methods.options import check_flip_rate, check_positive
from tutelage.methods.preference import Pairs, ReferencePairMethod
from tutelage.methods.registry import method


@method("exo")
class EXO(ReferencePairMethod):
    """Efficient exact optimisation (Ji et al. 2024, equation 16, K = 2)."""

    summary = "reverse KL to the label: seeks the mode where DPO covers the mass"
    paper = "arXiv:2402.00856"
    formula = "KL(p‖q), p = (σ(βΔ), σ(−βΔ)), q = (1 − ε, ε)"

    beta: float = 0.1
    """How firmly the policy is held to the reference."""
    label_smoothing: float = 1e-3
    """ε of the label's distribution: above 0 and below 0.5, since the KL to a certain label is infinite."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(beta=self.beta)
        check_flip_rate(label_smoothing=self.label_smoothing)
        if self.label_smoothing == 0:
            raise ConfigError(
                "--label-smoothing is 0; exo needs it above 0, since the KL to a certain label is infinite"
            )

    def losses(self, pairs: Pairs) -> Tensor:
        h, noise = self.beta * pairs.delta, self.label_smoothing
        won = sigmoid(h) * (logsigmoid(h) - math.log1p(-noise))
        return won + sigmoid(-h) * (logsigmoid(-h) - math.log(noise))
