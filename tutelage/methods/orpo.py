"""Odds-ratio preference optimisation: fine-tuning on the chosen answer with a penalty by the odds ratio, in one run."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from tutelage.methods.options import check_not_negative
from tutelage.methods.preference import PairMethod, Pairs, Side
from tutelage.methods.registry import method

SMALLEST = 1e-6
"""log p is taken to be at most minus this, since the odds of a certain answer are infinite."""


@method("orpo")
class ORPO(PairMethod):
    """Odds-ratio preference optimisation (Hong et al. 2024, equations 4 to 7), odds of the average logprob."""

    summary = "fine-tuning and preference in one: NLL of chosen and an odds ratio"
    paper = "arXiv:2403.07691"
    formula = "NLL of chosen per token − λ · log σ(log odds_w − log odds_l), odds p/(1 − p) of log p = log π/|y|"
    learning_rate = 5e-6

    odds_coef: float = 0.1
    """λ, the weight of the odds ratio (TRL calls it beta). The NLL is of the answer; TRL 1.16 counts the prompt too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(odds_coef=self.odds_coef)

    def losses(self, pairs: Pairs) -> Tensor:
        ratio = log_odds(pairs.chosen.average) - log_odds(pairs.rejected.average)
        return -pairs.chosen.average - self.odds_coef * logsigmoid(ratio)

    def rewards(self, side: Side) -> Tensor:
        return log_odds(side.average)


def log_odds(logp: Tensor) -> Tensor:
    """log(p / (1 − p)) from log p, without cancellation near 0 and 1."""
    logp = logp.clamp(max=-SMALLEST)
    return logp - log1mexp(logp)


def log1mexp(x: Tensor) -> Tensor:
    """log(1 − eˣ) for x < 0 (Mächler 2012, https://cran.r-project.org/package=Rmpfr/vignettes/log1mexp-note.pdf)."""
    is_near = x > -math.log(2)
    # Each branch gets an argument that is good for it, since `where` passes gradients of both.
    near = torch.log(-torch.expm1(torch.where(is_near, x, -1.0)))
    far = torch.log1p(-torch.exp(torch.where(is_near, -1.0, x)))
    return torch.where(is_near, near, far)
