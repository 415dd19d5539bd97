"""Conservative DPO: the labels are taken to be wrong in a share ε of the cases. Leaves out estimating ε."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

from tutelage.methods.options import check_flip_rate, check_positive
from tutelage.methods.preference import Pairs, ReferencePairMethod
from tutelage.methods.registry import method


@method("cdpo")
class CDPO(ReferencePairMethod):
    """Conservative DPO (Mitchell 2023): cross-entropy against the label 1 − ε, optimal where βΔ = ln((1 − ε)/ε)."""

    summary = "conservative DPO: label smoothing for noisy verdicts"
    paper = "ericmitchell.ai/cdpo.pdf"
    formula = "(1 − ε)·ℓ(h) + ε·ℓ(−h), ℓ(h) = −log σ(h), h = βΔ − margin"
    takes_margin = True

    beta: float = 0.1
    """How firmly the policy is held to the reference."""
    label_smoothing: float = 0.1
    """ε, the share of verdicts taken to be the wrong way round: at least 0 and below 0.5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(beta=self.beta)
        check_flip_rate(label_smoothing=self.label_smoothing)

    def losses(self, pairs: Pairs) -> Tensor:
        h = self.beta * pairs.delta - pairs.margin
        return -(1 - self.label_smoothing) * logsigmoid(h) - self.label_smoothing * logsigmoid(-h)
