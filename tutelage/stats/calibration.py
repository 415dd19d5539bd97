"""Calibration of a reward model: whether a difference of scores means what the Bradley–Terry model says it means.

That model says the first of two answers wins with probability σ(score − score). Which answer stands first is nobody's
choice here: each pair is seen from the side that the model prefers, so its confidence is max(p, 1 − p), at least one
half, and it is right when that side won. Read from the winner's side, every outcome would be a win.

Leaves out: corrections of the scores. The expected error of bins is above 0 for a perfect model, too: with n pairs
in a bin, by some 0.4 / √n.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NUM_BINS = 10


class Bin(NamedTuple):
    """Pairs of about the same confidence."""

    confidence: float
    """Mean probability that the model gave the answer it prefers."""
    accuracy: float
    """How often that answer was preferred; equal scores count one half."""
    num_pairs: int


class Calibration(NamedTuple):
    """Confidence beside correctness, over all pairs and by bins of about equal count."""

    confidence: float
    expected_error: float
    """Mean distance between confidence and accuracy over the bins, by weight; 0 to 1."""
    log_loss: float
    """Mean of −log σ(margin) in nats; a coin has log 2 = 0.693."""
    bins: tuple[Bin, ...]


def calibrate(margins: Sequence[float], weights: Sequence[float]) -> Calibration:
    """Calibration of pairs with `margins` (the preferred answer's score minus the other's) and weights above 0.

    Bins are cut where the sorted confidences have equal counts (Naeini et al. 2015, by count instead of width,
    https://ojs.aaai.org/index.php/AAAI/article/view/9602); equal confidences stay in one bin.
    """
    margin, weight = np.asarray(margins, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    order = np.argsort(np.abs(margin), kind="stable")
    margin, weight = margin[order], weight[order] / weight.sum()
    confidence = np.exp(-np.logaddexp(0.0, -np.abs(margin)))
    correct = (np.sign(margin) + 1) / 2
    bins, error = [], 0.0
    for start, end in _cuts(confidence):
        share = weight[start:end].sum()
        mean_confidence = float(weight[start:end] @ confidence[start:end] / share)
        accuracy = float(weight[start:end] @ correct[start:end] / share)
        bins.append(Bin(mean_confidence, accuracy, end - start))
        error += float(share) * abs(accuracy - mean_confidence)
    log_loss = float(weight @ np.logaddexp(0.0, -margin))
    return Calibration(float(weight @ confidence), error, log_loss, tuple(bins))


def _cuts(ordered: Floats) -> list[tuple[int, int]]:
    """(start, end) of each bin; a cut inside a run of equal values moves to its end."""
    ends: list[int] = []
    for number in range(1, NUM_BINS + 1):
        end = round(number * len(ordered) / NUM_BINS)
        while 0 < end < len(ordered) and ordered[end] == ordered[end - 1]:
            end += 1
        if end > (ends[-1] if ends else 0):
            ends.append(end)
    return list(zip([0, *ends], ends, strict=False))
