"""A Bayesian linear head on frozen features: how good an answer is thought to be, and how sure that is.

Bradley–Terry: the first of two answers is preferred with probability σ(θᵀΔφ), Δφ the difference of their features, and
θ ~ N(0, I/λ). The posterior is taken as a Gaussian around its mode (Laplace): mean the mode, precision
Λ = λI + Σ w·p(1−p)·ΔφΔφᵀ. A verdict on one answer is a row of φ itself with a 1 appended, and the same mathematics.

A target between 0 and 1 is how often others are expected to say the same: `tutelage.feedback.targets` gives a tie ½
and a hesitant preference less than 1. Pure numpy. Leaves out the choice (`tutelage.feedback.selection`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, TrainingError

Floats = NDArray[np.float64]
PRIOR_PRECISIONS: tuple[float, ...] = tuple(float(10 ** (half / 2)) for half in range(-6, 9))
"""From .001 to 10,000: what λ is chosen from by the evidence. Rows have a mean squared length of 1 (`reduction`)."""
MAX_STEPS, SMALLEST_DECREASE = 100, 1e-10


class Verdicts(NamedTuple):
    """What people said: one row a comparison."""

    rows: Floats
    """`(num, dim)`: Δφ, the first answer's features less the second's."""
    targets: Floats
    """`(num,)` in [0, 1]: 1 the first is better, ½ a tie."""
    weights: Floats
    """`(num,)` above 0: how much a row counts."""


@dataclass(frozen=True)
class Head:
    """The posterior of θ."""

    mean: Floats
    """`(dim,)` the mode."""
    covariance: Floats
    """`(dim, dim)` Λ⁻¹."""
    prior_precision: float
    """λ."""
    log_evidence: float = 0.0
    """Of λ, by Laplace's approximation."""

    def gaps(self, rows: Floats) -> Floats:
        """`(num,)` the predicted θᵀΔφ."""
        return rows @ self.mean

    def variances(self, rows: Floats) -> Floats:
        """`(num,)` ΔφᵀΛ⁻¹Δφ: the variance of the gap."""
        return np.einsum("nd,nd->n", rows @ self.covariance, rows)

    def expecting(self, rows: Floats, weights: Floats) -> Head:
        """The head as sure as it will be when verdicts on these rows have come in: the mean stays."""
        p = sigmoid(self.gaps(rows))
        weighted = rows * (weights * p * (1 - p))[:, None]
        inverse = np.linalg.inv(np.linalg.inv(self.covariance) + weighted.T @ rows)
        return replace(self, covariance=(inverse + inverse.T) / 2)


def predictive(gaps: Floats, variances: Floats) -> Floats:
    """`(num,)` the probability that the first is preferred, the doubt about θ averaged over.

    MacKay's approximation of that integral (The evidence framework applied to classification networks, 1992).
    """
    return sigmoid(gaps / np.sqrt(1 + math.pi / 8 * variances))


def sigmoid(values: Floats) -> Floats:
    """1 / (1 + e^−x), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * values))


def prior(dim: int, prior_precision: float = 1.0) -> Head:
    """What is believed before anybody said anything."""
    return Head(np.zeros(dim), np.eye(dim) / prior_precision, prior_precision)


def fit_head(verdicts: Verdicts, prior_precision: float | None = None) -> Head:
    """The posterior given the verdicts; λ as given, or the one of `PRIOR_PRECISIONS` with the highest evidence.

    Raises `ConfigError` for numbers that make no sense.
    """
    _check(verdicts, prior_precision)
    if prior_precision is not None:
        return _posterior(verdicts, prior_precision)
    if not len(verdicts.rows):
        return prior(verdicts.rows.shape[1])
    return max((_posterior(verdicts, each) for each in PRIOR_PRECISIONS), key=lambda head: head.log_evidence)


def _posterior(verdicts: Verdicts, prior_precision: float) -> Head:
    mode = posterior_mode(verdicts, prior_precision)
    precision = _hessian(verdicts, mode, prior_precision)
    dim, log_determinant = len(mode), float(np.linalg.slogdet(precision)[1])
    evidence = -_loss(verdicts, mode, prior_precision) + 0.5 * (dim * math.log(prior_precision) - log_determinant)
    inverse = np.linalg.inv(precision)
    return Head(mode, (inverse + inverse.T) / 2, prior_precision, evidence)


def posterior_mode(verdicts: Verdicts, prior_precision: float) -> Floats:
    """Newton's method on the negative log posterior, which is convex; steps are halved until it falls."""
    theta = np.zeros(verdicts.rows.shape[1])
    loss = _loss(verdicts, theta, prior_precision)
    for _ in range(MAX_STEPS):
        gradient = _gradient(verdicts, theta, prior_precision)
        step = np.linalg.solve(_hessian(verdicts, theta, prior_precision), gradient)
        decrease = float(gradient @ step)
        if decrease <= SMALLEST_DECREASE * (1 + loss):  # near the mode, where a whole step squares the error
            return theta - step
        size = 1.0
        while (shorter := _loss(verdicts, theta - size * step, prior_precision)) > loss - 1e-4 * size * decrease:
            size /= 2
        theta, loss = theta - size * step, shorter
    raise TrainingError(f"the head did not converge in {MAX_STEPS} steps of Newton's method; check the features")


def _loss(verdicts: Verdicts, theta: Floats, prior_precision: float) -> float:
    """−log of likelihood and prior, its constant left out: Σ w·(log(1 + e^x) − y·x) + λ/2·|θ|²."""
    gaps = verdicts.rows @ theta
    likelihood = verdicts.weights @ (np.logaddexp(0.0, gaps) - verdicts.targets * gaps)
    return float(likelihood + 0.5 * prior_precision * theta @ theta)


def _gradient(verdicts: Verdicts, theta: Floats, prior_precision: float) -> Floats:
    residual = sigmoid(verdicts.rows @ theta) - verdicts.targets
    return verdicts.rows.T @ (verdicts.weights * residual) + prior_precision * theta


def _hessian(verdicts: Verdicts, theta: Floats, prior_precision: float) -> Floats:
    """Λ at θ."""
    p = sigmoid(verdicts.rows @ theta)
    weighted = verdicts.rows * (verdicts.weights * p * (1 - p))[:, None]
    return weighted.T @ verdicts.rows + prior_precision * np.eye(len(theta))


def _check(verdicts: Verdicts, prior_precision: float | None) -> None:
    rows, targets, weights = verdicts
    if rows.ndim != 2 or targets.shape != (len(rows),) or weights.shape != (len(rows),):
        raise ConfigError(f"{rows.shape} rows, {targets.shape} targets and {weights.shape} weights do not fit")
    if not all(np.isfinite(each).all() for each in verdicts):
        raise ConfigError("a feature, target or weight is not a finite number; compute the features again")
    if len(rows) and (targets.min() < 0 or targets.max() > 1 or weights.min() <= 0):
        raise ConfigError("targets are in [0, 1], weights above 0")
    if prior_precision is not None and not 0 < prior_precision < math.inf:
        raise ConfigError(f"a prior precision of {prior_precision} is not above 0; 1 is usual")
