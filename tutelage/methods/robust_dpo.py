"""Robust DPO: an unbiased estimate of the loss without label noise. Leaves out estimating the noise."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

from tutelage.methods.options import check_flip_rate, check_positive
from tutelage.methods.preference import Pairs, ReferencePairMethod
from tutelage.methods.registry import method


@method("robust-dpo")
class RobustDPO(ReferencePairMethod):
    """Provably robust DPO (Ray Chowdhury et al. 2024, equation 12): its mean under flips is the loss without them."""

    summary = "DPO that is unbiased when a known share of verdicts is flipped"
    paper = "arXiv:2403.00409"
    formula = "[(1 − ε)·ℓ(h) − ε·ℓ(−h)] / (1 − 2ε), ℓ(h) = −log σ(h), h = βΔ"

    beta: float = 0.1
    """How firmly the policy is held to the reference."""
    label_smoothing: float = 0.1
    """ε, the share of verdicts that are the wrong way round: at least 0 and below 0.5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(beta=self.beta)
        check_flip_rate(label_smoothing=self.label_smoothing)

    def losses(self, pairs: Pairs) -> Tensor:
        h, noise = self.beta * pairs.delta, self.label_smoothing
        return (-(1 - noise) * logsigmoid(h) + noise * logsigmoid(-h)) / (1 - 2 * noise)
