"""The Bayesian head, by hand: its mode, its precision, its predictions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from tutelage.errors import ConfigError
from tutelage.feedback.head import PRIOR_PRECISIONS, Verdicts, fit_head, posterior_mode, predictive, prior, sigmoid
from tutelage.feedback.targets import BY_STRENGTH, Target, expected, targets

GENERATOR = np.random.default_rng(0)


def verdicts(rows: list[list[float]], said: list[float], weights: list[float] | None = None) -> Verdicts:
    return Verdicts(np.array(rows, dtype=float), np.array(said), np.array(weights or [1.0] * len(said)))


def many(num: int = 400, dim: int = 5, seed: int = 0) -> tuple[Verdicts, np.ndarray]:
    """Verdicts drawn from a known θ."""
    generator = np.random.default_rng(seed)
    theta, rows = generator.normal(size=dim) * 2, generator.normal(size=(num, dim)) / math.sqrt(dim)
    said = (generator.random(num) < sigmoid(rows @ theta)).astype(float)
    return Verdicts(rows, said, np.ones(num)), theta


def test_the_mode_of_one_verdict_by_hand() -> None:
    # One dimension, Δφ = 2, "the first", λ = 1: the mode solves 2(1 − σ(2θ)) = θ.
    expected_mode = brentq(lambda theta: 2 * (1 - 1 / (1 + math.exp(-2 * theta))) - theta, 0, 2)
    head = fit_head(verdicts([[2.0]], [1.0]), 1.0)
    p = 1 / (1 + math.exp(-2 * expected_mode))
    assert head.mean[0] == pytest.approx(expected_mode, abs=1e-7)
    assert 1 / head.covariance[0, 0] == pytest.approx(1 + p * (1 - p) * 4)  # Λ = λ + p(1 − p)Δφ²


def test_ties_alone_leave_the_mode_at_zero_and_still_inform() -> None:
    head = fit_head(verdicts([[1.0, 0.0], [1.0, 0.0]], [0.5, 0.5]), 1.0)
    assert np.allclose(head.mean, 0)
    assert np.allclose(head.covariance, np.diag([1 / (1 + 2 * 0.25), 1.0]))


def test_a_weight_of_two_is_the_same_verdict_twice() -> None:
    once, twice = verdicts([[1.0, -0.5]], [0.9], [2.0]), verdicts([[1.0, -0.5]] * 2, [0.9] * 2)
    one, other = fit_head(once, 0.5), fit_head(twice, 0.5)
    assert np.allclose(one.mean, other.mean)
    assert np.allclose(one.covariance, other.covariance)


def test_turning_a_row_round_with_its_target_changes_nothing() -> None:
    one = fit_head(verdicts([[1.0, 2.0], [0.5, -1.0]], [1.0, 0.25]), 1.0)
    other = fit_head(verdicts([[-1.0, -2.0], [0.5, -1.0]], [0.0, 0.25]), 1.0)
    assert np.allclose(one.mean, other.mean)


def test_the_gradient_is_zero_at_the_mode_even_where_verdicts_are_separable() -> None:
    rows = GENERATOR.normal(size=(30, 8)) * 50  # far beyond where σ is 0 or 1
    said = (rows[:, 0] > 0).astype(float)
    data = Verdicts(rows, said, np.ones(30))
    for precision in PRIOR_PRECISIONS:
        mode = posterior_mode(data, precision)
        gradient = rows.T @ (sigmoid(rows @ mode) - said) + precision * mode
        assert np.abs(gradient).max() < 1e-5
        assert ((rows @ mode > 0) == (said > 0.5)).mean() > 0.9


def test_it_converges_under_a_prior_that_hardly_lets_it_move() -> None:
    # Rounding of the loss hides the last descent here: a search that waits for it never ends.
    data, _ = many(num=300, dim=64)
    mode = posterior_mode(data, 3162.0)
    assert np.abs(data.rows.T @ (sigmoid(data.rows @ mode) - data.targets) + 3162.0 * mode).max() < 1e-8


def test_it_finds_the_theta_that_made_the_verdicts_and_knows_how_sure_it_is() -> None:
    inside = 0
    for seed in range(40):
        data, theta = many(seed=seed)
        head = fit_head(data, 0.25)  # the θ of `many` come from this prior
        error = head.mean - theta
        inside += int(error @ np.linalg.inv(head.covariance) @ error < 11.07)  # 95 % of χ² with 5 degrees
    assert inside >= 33  # 38 expected; below 33 with a chance of 1 in 200


def test_the_evidence_prefers_a_prior_of_the_right_size() -> None:
    clear, _ = many(num=2000)
    noise = Verdicts(clear.rows, GENERATOR.integers(0, 2, len(clear.rows)).astype(float), clear.weights)
    assert fit_head(clear).prior_precision <= 1.0
    assert fit_head(noise).prior_precision >= 10.0
    chosen = fit_head(clear)
    assert chosen.log_evidence == max(fit_head(clear, each).log_evidence for each in PRIOR_PRECISIONS)


def test_the_evidence_is_that_of_an_integral() -> None:
    # One dimension, five verdicts: p(y|λ) = ∫ Π σ(±xθ) N(θ; 0, 1/λ) dθ by the trapezium rule.
    data, precision = verdicts([[1.0], [0.5], [-0.3], [1.2], [0.8]], [1, 1, 0, 0, 1]), 2.0
    theta = np.linspace(-12, 12, 200_001)
    signs = np.where(data.targets > 0.5, 1, -1)
    likelihood = np.prod([sigmoid(s * x * theta) for s, x in zip(signs, data.rows[:, 0], strict=True)], axis=0)
    density = np.exp(-0.5 * precision * theta**2) * math.sqrt(precision / (2 * math.pi))
    exact = math.log(float(np.trapezoid(likelihood * density, theta)))
    assert fit_head(data, precision).log_evidence == pytest.approx(exact, abs=0.02)


def test_no_verdicts_give_the_prior() -> None:
    head = fit_head(Verdicts(np.zeros((0, 3)), np.zeros(0), np.zeros(0)))
    assert np.array_equal(head.mean, np.zeros(3))
    assert np.array_equal(head.covariance, np.eye(3))
    assert np.array_equal(prior(3).covariance, head.covariance)


def test_the_predictive_probability_is_nearer_half_than_the_plain_one() -> None:
    gaps, variances = np.array([2.0, -2.0, 0.0]), np.array([4.0, 4.0, 4.0])
    theta = np.random.default_rng(1).normal(2.0, 2.0, 400_000)
    assert predictive(gaps, variances)[0] == pytest.approx(float(sigmoid(theta).mean()), abs=0.01)
    assert 0.5 < predictive(gaps, variances)[0] < sigmoid(gaps)[0]
    assert predictive(gaps, variances)[1] == pytest.approx(1 - predictive(gaps, variances)[0])
    assert predictive(gaps, variances)[2] == 0.5


def test_expecting_adds_information_and_keeps_the_mean() -> None:
    head = fit_head(verdicts([[1.0, 0.0]], [1.0]), 1.0)
    rows = np.array([[0.0, 2.0]])
    later = head.expecting(rows, np.ones(1))
    assert np.array_equal(later.mean, head.mean)
    assert later.variances(rows)[0] == pytest.approx(4 / (1 + 0.25 * 4))  # p = ½ in a direction nobody spoke of
    assert later.variances(np.array([[1.0, 0.0]]))[0] == pytest.approx(head.covariance[0, 0])


@pytest.mark.parametrize(
    ("data", "precision"),
    [
        (Verdicts(np.zeros((2, 3)), np.zeros(3), np.ones(2)), None),
        (verdicts([[math.nan]], [1.0]), None),
        (verdicts([[1.0]], [1.2]), None),
        (verdicts([[1.0]], [1.0], [-1.0]), None),
        (verdicts([[1.0]], [1.0]), 0.0),
    ],
)
def test_numbers_that_make_no_sense_are_refused(data: Verdicts, precision: float | None) -> None:
    with pytest.raises(ConfigError):
        fit_head(data, precision)


# --- verdicts as targets ----------------------------------------------------------------------------------------------


def test_a_comparison_is_a_target_by_strength() -> None:
    assert targets("comparison", {"outcome": "first", "strength": 4}, 2) == [Target(0, 1, 1.0)]
    assert targets("comparison", {"outcome": "second", "strength": 1}, 2) == [Target(0, 1, pytest.approx(0.4))]
    assert targets("comparison", {"outcome": "tie"}, 2) == [Target(0, 1, 0.5)]
    assert targets("comparison", {"outcome": "both_bad"}, 2) == [Target(0, 1, 0.5)]
    assert targets("comparison", {"outcome": "cannot_judge"}, 2) == []
    assert [BY_STRENGTH[each] for each in (1, 2, 3, 4)] == sorted(BY_STRENGTH.values())


def test_a_ranking_is_every_pair_and_counts_as_one_comparison_less_than_its_answers() -> None:
    rows = targets("ranking", {"ranks": [1, 0, 1]}, 3)
    assert rows == [Target(0, 1, 0.0, 2 / 3), Target(0, 2, 0.5, 2 / 3), Target(1, 2, 1.0, 2 / 3)]
    assert sum(row.weight for row in rows) == pytest.approx(2)
    assert targets("ranking", {"cannot_judge": True}, 3) == []
    assert [row[:2] for row in expected("ranking", 3)] == [row[:2] for row in rows]
    assert expected("comparison", 2) == [Target(0, 1, 0.5, 1.0)]


def test_answers_judged_alone() -> None:
    limits = [{"name": "helpful", "low": 0, "high": 4}, {"name": "correct", "low": 1, "high": 5}]
    assert targets("thumbs", {"good": False}, 1) == [Target(0, None, 0.0)]
    assert targets("rating", {"scores": {"helpful": 3, "correct": 2}}, 1, limits) == [Target(0, None, 0.5)]
    assert expected("rating", 1) == [Target(0, None, 0.5)]
