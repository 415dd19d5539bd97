"""Advantages and losses of the methods that sample, on numbers small enough to work out by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tutelage.errors import ConfigError, TrainingError
from tutelage.methods.advantages import (
    gae,
    has_spread,
    last_tokens,
    less_group_mean,
    less_mean_of_others,
    over_group_std,
    rewards_to_go,
    token_rewards,
    whiten,
)
from tutelage.methods.describe import options_of
from tutelage.methods.policy import GroupMethod, Rollouts, clipped, k1, k2, k3, mismatch_weights
from tutelage.methods.registry import Loss, LossBatch, all_methods, find_method
from tutelage.methods.rejection import first_best

ONLINE = sorted(
    name
    for name, cls in all_methods().items()
    if cls.online and not cls.has_teacher and cls.__module__.startswith("tutelage.")
)
"""The methods that learn from rewards; what learns from a teacher has tests of its own."""
GROUPS = [name for name in ONLINE if issubclass(find_method(name), GroupMethod)]
SURROGATES = [name for name in ONLINE if name not in ("online-dpo", "rejection", "cispo")]
"""The methods whose gains are clipped."""

Numbers = Sequence[Sequence[float]]
"""A list an answer, a number a token."""


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def index_of(answers: Sequence[Sequence[Any]]) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(answers)), torch.tensor([len(answer) for answer in answers]))


def flat(answers: Numbers) -> Tensor:
    return double(*(number for answer in answers for number in answer))


def batch_of(
    logprobs: Numbers, advantages: Numbers, ratios: Numbers | None = None, moved: Numbers | None = None,
    sampler: Numbers | None = None, trees: Sequence[int] | None = None,
) -> LossBatch:  # fmt: skip
    """`ratios` are π/π_old, `moved` is log π − log π_ref, `sampler` is π_old/π_sampler, all a number a token."""
    now = flat(logprobs).requires_grad_()
    here = now.detach()
    tokens = {"advantages": flat(advantages)}
    if ratios is not None:
        tokens["old_logprobs"] = here - flat(ratios).log()
    if sampler is not None:
        tokens["rollout_logprobs"] = tokens.get("old_logprobs", here) - flat(sampler).log()
    reference = here - (torch.zeros_like(here) if moved is None else flat(moved))
    tree_index = torch.tensor(trees or [0] * len(logprobs))
    return LossBatch(now, index_of(logprobs), tree_index, reference, tokens=tokens)


def loss_of(name: str, batch: LossBatch, **options: Any) -> Loss:
    return find_method(name)(**options).loss(batch)


def gradient_of(name: str, batch: LossBatch, **options: Any) -> list[float]:
    batch.logprobs.grad = None
    loss_of(name, batch, **options).total.backward()
    assert batch.logprobs.grad is not None
    return batch.logprobs.grad.tolist()


def rollouts_of(
    rewards: Sequence[float], answers: Numbers, groups: Sequence[int] | None = None, kl_coef: float = 0.0,
    values: Numbers | None = None, dtype: torch.dtype = torch.float64,
) -> Rollouts:  # fmt: skip
    """`answers` is k1, a number a token."""
    critic = torch.zeros(sum(map(len, answers))) if values is None else flat(values)
    return Rollouts(
        torch.tensor(rewards, dtype=dtype), torch.tensor(groups or [0] * len(rewards)), index_of(answers),
        flat(answers).to(dtype), kl_coef, critic.to(dtype),
    )  # fmt: skip


def advantages_of(name: str, rollouts: Rollouts, **options: Any) -> list[float]:
    return find_method(name)(**options).advantages(rollouts)["advantages"].tolist()


def near(*values: float) -> Any:
    return pytest.approx(list(values), abs=2e-7)


# Arithmetic of advantages --------------------------------------------------------------------------------------------

TWO = torch.tensor([0, 0, 0, 1, 1])
"""An answer of three tokens and one of two."""


def test_gae_and_its_returns() -> None:
    """γ = .9, λ = .5, so what runs back is multiplied by .45.

    First answer, rewards 1, 0, 2, values .5, 1, −1:
      δ₃ = 2 + 0 + 1 = 3                 A₃ = 3
      δ₂ = 0 + .9 · (−1) − 1 = −1.9      A₂ = −1.9 + .45 · 3 = −.55
      δ₁ = 1 + .9 · 1 − .5 = 1.4         A₁ = 1.4 − .45 · .55 = 1.1525
    Second, rewards 0, −1, values .2, .4:
      δ₂ = −1 − .4 = −1.4                A₂ = −1.4
      δ₁ = 0 + .9 · .4 − .2 = .16        A₁ = .16 − .45 · 1.4 = −.47
    Returns are advantages + values.
    """
    found, returns = gae(double(1, 0, 2, 0, -1), double(0.5, 1, -1, 0.2, 0.4), TWO, gamma=0.9, lam=0.5)
    assert found.tolist() == near(1.1525, -0.55, 3, -0.47, -1.4)
    assert returns.tolist() == near(1.6525, 0.45, 2, -0.27, -1)


def test_gae_of_lambda_zero_is_one_step() -> None:
    """δ alone, from above; γ = 1 now: δ₂ = 0 − 1 − 1, δ₁ = 1 + 1 − .5, and .4 − .2."""
    found, _ = gae(double(1, 0, 2, 0, -1), double(0.5, 1, -1, 0.2, 0.4), TWO, gamma=1.0, lam=0.0)
    assert found.tolist() == near(1.5, -2, 3, 0.2, -1.4)


def test_rewards_to_go() -> None:
    """γ = .5: 2, 0 + 1, 1 + .5; and −1, 0 − .5."""
    assert rewards_to_go(double(1, 0, 2, 0, -1), TWO, 0.5).tolist() == near(1.5, 1, 2, -0.5, -1)
    assert rewards_to_go(double(1, 0, 2, 0, -1), TWO).tolist() == near(3, 2, 2, -1, -1)


def test_the_score_stands_at_the_last_token_and_kl_is_taken_off_everywhere() -> None:
    """β = .5: −.05, .1, −.15 + 2 and −.2, 0 − 1. What the policy likes more than the reference does costs."""
    rewards = token_rewards(double(2, -1), double(0.1, -0.2, 0.3, 0.4, 0), TWO, 0.5)
    assert rewards.tolist() == near(-0.05, 0.1, 1.85, -0.2, -1)


def test_last_tokens() -> None:
    assert last_tokens(torch.tensor([0, 0, 0, 1, 2, 2])).tolist() == [2, 3, 5]


def test_whitening_divides_by_bessels_deviation() -> None:
    """1, 2, 3, 6: mean 3, squares 4 + 1 + 0 + 9 = 14, over 3; √(14/3) = 2.1602469."""
    values = double(1, 2, 3, 6)
    assert whiten(values).tolist() == near(-0.9258201, -0.46291005, 0, 1.38873015)
    assert whiten(values, shift_mean=False).tolist() == near(2.0741799, 2.53708995, 3, 4.38873015)


@pytest.mark.parametrize("values", [[0.1], [5.0], [0.1] * 7, [1000.1] * 3, [12345.678] * 37, [-2.0] * 4])
def test_one_value_and_equal_values_have_no_deviation(values: list[float]) -> None:
    """In fp32 the mean of three times 1000.1 is off by an ulp, which is no deviation to divide by."""
    given = torch.tensor(values)
    assert whiten(given).tolist() == [0.0] * len(values)
    assert whiten(given, shift_mean=False).tolist() == given.tolist()


def test_less_the_mean_of_the_group_or_of_the_others() -> None:
    """Group 0 has 1, 2, 6: mean 3; the others' means are 4, 3.5, 1.5. Group 1 has one, group 2 has 4, 2."""
    rewards, groups = double(1, 5, 2, 4, 6, 2), torch.tensor([0, 1, 0, 2, 0, 2])
    assert less_group_mean(rewards, groups).tolist() == near(-2, 0, -1, 1, 3, -1)
    assert less_mean_of_others(rewards, groups).tolist() == near(-3, 0, -1.5, 2, 4.5, -2)
    assert has_spread(rewards, groups).tolist() == [True, False, True, True, True, True]


@pytest.mark.parametrize("reward", [0.0, 0.1, -0.3, 1 / 3, 1000.1, 12345.678])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 10, 37])
def test_equal_rewards_are_exactly_zero(reward: float, size: int) -> None:
    """Also where the mean of equal numbers is not that number, and beside a group that has some spread."""
    rewards, groups = torch.tensor([reward] * size + [1.0, 2.0]), torch.tensor([0] * size + [1, 1])
    for baseline in (less_group_mean, less_mean_of_others):
        found = baseline(rewards, groups)
        assert found[:size].tolist() == [0.0] * size
        for eps in (0.0, 1e-4):
            for spread in ("sample", "population"):
                scaled = over_group_std(found, groups, spread, eps)
                assert scaled[:size].tolist() == [0.0] * size
                assert torch.isfinite(scaled).all()


def test_over_the_groups_standard_deviation() -> None:
    """−2, −1, 3: squares 14; √(14/2) = 2.6457513 of a sample, √(14/3) = 2.1602469 of a population; a lone 0 stays 0."""
    centred, groups = double(-2, -1, 3, 0), torch.tensor([0, 0, 0, 1])
    assert over_group_std(centred, groups, "sample", 0.0).tolist() == near(-0.75592895, -0.37796447, 1.13389342, 0)
    assert over_group_std(centred, groups, "population", 0.0).tolist() == near(-0.9258201, -0.46291005, 1.38873015, 0)
    # eps is added to the deviation, not to the variance: 2.6457513 + .5 = 3.1457513.
    assert over_group_std(centred, groups, "sample", 0.5).tolist() == near(-0.63577817, -0.31788909, 0.95366726, 0)


numbers = st.floats(-4, 4)
lengths = st.lists(st.integers(1, 5), min_size=1, max_size=5)


@settings(deadline=None)
@given(data=st.data(), lengths=lengths)
def test_gae_without_discount_is_rewards_to_go_less_values(data: st.DataObject, lengths: list[int]) -> None:
    number = sum(lengths)
    rewards, values = (double(*data.draw(st.lists(numbers, min_size=number, max_size=number))) for _ in range(2))
    index = index_of([range(length) for length in lengths])
    found, returns = gae(rewards, values, index, gamma=1.0, lam=1.0)
    ahead = rewards_to_go(rewards, index)
    assert torch.allclose(found, ahead - values, atol=1e-12)
    assert torch.allclose(returns, ahead, atol=1e-12)


# The parts of a loss -------------------------------------------------------------------------------------------------


def test_the_clipped_surrogate_and_its_gradient() -> None:
    """ε = .2, |A| = 1. The derivative by log π of −Aρ is −Aρ itself; where the clip decides it is 0.

    A > 0: ρ = 1.5 gains no more than 1.2; ρ = .5 and 1.1 are as they are.
    A < 0: ρ = .5 saves no more than .8; ρ = 1.5 and .9 are as they are.
    """
    log_ratio = double(1.5, 0.5, 1.1, 0.5, 1.5, 0.9).log().requires_grad_()
    losses = clipped(log_ratio, double(1, 1, 1, -1, -1, -1), 0.2, 0.2)
    assert losses.tolist() == near(-1.2, -0.5, -1.1, 0.8, 1.5, 0.9)
    losses.sum().backward()
    assert log_ratio.grad is not None
    assert log_ratio.grad.tolist() == near(0, -0.5, -1.1, 0, 1.5, 0.9)


def test_the_two_sides_of_the_clip_are_told_apart() -> None:
    """ε_low = .1, ε_high = .4: ρ = 1.5 at A = 2 is −2 · 1.4, ρ = .5 at A = −2 is 2 · .9; ρ = 1.3 is not clipped."""
    assert clipped(double(1.5, 0.5, 1.3).log(), double(2, -2, 2), 0.1, 0.4).tolist() == near(-2.8, 1.8, -2.6)


def test_a_ratio_too_large_for_a_float_is_clipped_like_any_other() -> None:
    """e^90 is infinite in fp32; infinity times a gradient of 0 would be NaN."""
    log_ratio = torch.tensor([90.0, 90.0], requires_grad=True)
    losses = clipped(log_ratio, torch.tensor([1.0, 0.0]), 0.2, 0.2)
    losses.sum().backward()
    assert losses.tolist() == near(-1.2, 0)
    assert log_ratio.grad is not None
    assert log_ratio.grad.tolist() == [0.0, 0.0]


VALUES = [
    # (V, old V, R, ½·max((V − R)², (V_clip − R)²), its derivative by V), clip .2
    (0.5, 0.0, 1.0, 0.32, 0.0),  # V_clip = .2: .25 against .64
    (-0.5, 0.0, -1.0, 0.32, 0.0),  # V_clip = −.2, the same from below
    (0.5, 0.0, 0.0, 0.125, 0.5),  # .25 against .04: too far on the wrong side is not forgiven
    (-0.5, 0.0, 0.0, 0.125, -0.5),
    (0.1, 0.0, 1.0, 0.405, -0.9),  # within: .81
    (1.3, 1.0, 3.0, 1.62, 0.0),  # around the old value, not around 0: V_clip = 1.2, 2.89 against 3.24
]


@pytest.mark.parametrize(("value", "old", "target", "loss", "slope"), VALUES)
def test_the_clipped_value_loss(value: float, old: float, target: float, loss: float, slope: float) -> None:
    values = double(value).requires_grad_()
    batch = batch_of([[-1.0]], [[0.0]])
    batch.tokens.update(old_values=double(old), returns=double(target))  # type: ignore[attr-defined]
    losses = find_method("ppo")().value_losses(values, batch)
    losses.sum().backward()
    assert losses.tolist() == near(loss)
    assert values.grad is not None
    assert values.grad.tolist() == near(slope)


def test_without_a_value_clip_the_loss_is_half_the_square() -> None:
    """V = .5 and R = 1: ½ · .25."""
    batch = batch_of([[-1.0]], [[0.0]])
    batch.tokens.update(old_values=double(0.0), returns=double(1.0))  # type: ignore[attr-defined]
    assert find_method("ppo")(value_clip=0.0).value_losses(double(0.5), batch).tolist() == near(0.125)


def test_the_adaptive_kl_coefficient() -> None:
    """Target 6, horizon 2000, 100 answers, β = .05.

    KL 6.6: error .1, so .05 · (1 + .1 · 100/2000) = .05025; beyond ± .2 the error is cut: .05 · 1.01 and .05 · .99.
    """
    following = find_method("ppo")(kl_target=6.0).next_kl_coef
    assert [following(0.05, kl, 100) for kl in (6.0, 6.6, 5.4)] == near(0.05, 0.05025, 0.04975)
    assert [following(0.05, kl, 100) for kl in (60.0, 7.2, 0.0, -3.0)] == near(0.0505, 0.0505, 0.0495, 0.0495)
    assert find_method("ppo")().next_kl_coef(0.05, 60.0, 100) == 0.05


def test_estimators_of_kl() -> None:
    """x = .5: k1 = .5, k2 = .125, k3 = e^.5 − 1 − .5 = .1487213; at −.5: e^−.5 − 1 + .5 = .1065307."""
    assert k1(double(0.5, -0.5)).tolist() == near(0.5, -0.5)
    assert k2(double(0.5, -0.5)).tolist() == near(0.125, 0.125)
    assert k3(double(0.5, -0.5)).tolist() == near(0.14872127, 0.10653066)


def test_k1_and_k3_are_unbiased() -> None:
    """π = ½, ½ and π_ref = ¼, ¾, so x = ln 2, ln ⅔: KL(π‖ref) = ½ ln 2 + ½ ln ⅔ = .1438410.

    k3(−x) = ½ − 1 + .6931472 = .1931472 and 1.5 − 1 − .4054651 = .0945349, of which the mean is .1438410. k2 is
    biased: ½ · (.2402265 + .0822010).
    """
    moved = double(math.log(2), math.log(2 / 3))
    assert [float(k1(moved).mean()), float(k3(-moved).mean())] == near(0.14384104, 0.14384104)
    assert float(k2(moved).mean()) == pytest.approx(0.16121373)


@given(st.lists(st.floats(-30, 30), min_size=1))
def test_k3_is_never_negative(values: list[float]) -> None:
    assert (k3(double(*values)) >= 0).all()


def test_weights_for_a_sampler_that_differs() -> None:
    """Weights 3, 1, ⅓ at a cap of 2: 2, 1, ⅓ truncated; 0, 1, 0 masked, for ½ is the lowest then."""
    log_weight = double(3, 1, 1 / 3).log().requires_grad_()
    for how, expected in (("truncate", near(2, 1, 1 / 3)), ("mask", [0.0, 1.0, 0.0])):
        weights = mismatch_weights(log_weight, how, 2.0)
        assert weights.tolist() == expected
        assert not weights.requires_grad
    assert mismatch_weights(double(1.99, 0.51).log(), "mask", 2.0).tolist() == near(1.99, 0.51)


# The advantages of each method ---------------------------------------------------------------------------------------

K1 = [[0.1, -0.2, 0.3], [0.4, 0.0]]
"""With scores 2, −1 and β = .5 the token rewards are −.05, .1, 1.85 and −.2, −1 (shown above)."""


def test_ppos_advantages() -> None:
    """γ = 1, λ = .5, values .5, 0, 1 and 0, −.5:

      δ₃ = 1.85 − 1 = .85       A = .85
      δ₂ = .1 + 1 − 0 = 1.1     A = 1.1 + .425 = 1.525
      δ₁ = −.05 + 0 − .5 = −.55 A = −.55 + .7625 = .2125
      δ₂ = −1 + .5 = −.5        A = −.5
      δ₁ = −.2 − .5 − 0 = −.7   A = −.7 − .25 = −.95
    Whitened: mean 1.1375/5 = .2275; squares .000225 + 1.68350625 + .38750625 + 1.38650625 + .52925625 = 3.987; the
    deviation √(3.987/4) = .9983737. Returns are those of before whitening.
    """
    rollouts = rollouts_of([2, -1], K1, kl_coef=0.5, values=[[0.5, 0, 1], [0, -0.5]])
    plain = find_method("ppo")(lam=0.5, whiten_rewards=False, whiten_advantages=False).advantages(rollouts)
    assert plain["advantages"].tolist() == near(0.2125, 1.525, 0.85, -0.95, -0.5)
    assert plain["returns"].tolist() == near(0.7125, 1.525, 1.85, -0.95, -1)
    white = find_method("ppo")(lam=0.5, whiten_rewards=False).advantages(rollouts)
    assert white["advantages"].tolist() == near(-0.01502443, 1.29961351, 0.62351401, -1.17941808, -0.728685)
    assert white["returns"].tolist() == near(0.7125, 1.525, 1.85, -0.95, -1)


def test_ppo_whitens_rewards_without_moving_their_mean() -> None:
    """Rewards 1, 3: mean 2, deviation √2, so 2 ∓ .7071068."""
    found = find_method("ppo")(whiten_advantages=False).advantages(rollouts_of([1, 3], [[0.0], [0.0]]))
    assert found["advantages"].tolist() == near(1.29289322, 2.70710678)


def test_the_coefficient_of_now_counts_and_not_the_option() -> None:
    """An adaptive β has moved from .05 to 1: 1 − 1 · .3."""
    rollouts = rollouts_of([1], [[0.3]], kl_coef=1.0)
    plain = {"whiten_rewards": False, "whiten_advantages": False}
    assert advantages_of("ppo", rollouts, kl_coef=0.05, **plain) == near(0.7)
    assert advantages_of("reinforce++", rollouts, kl_coef=0.05, whiten="none") == near(0.7)


THREE = [[0.0, 0.0], [0.0], [0.0], [0.0], [0.0, 0.0]]
"""Answers of 2, 1, 1 tokens to one prompt, rewards 1, 2, 6, and two of reward 4 to another."""
THREE_REWARDS, THREE_GROUPS = [1.0, 2.0, 6.0, 4.0, 4.0], [0, 0, 0, 1, 1]
SCALED = (-0.75590037, -0.75590037, -0.37795019, 1.13385056, 0, 0, 0)  # −2, −1, 3 over 2.6457513 + .0001
POPULATION = (-0.92577725, -0.92577725, -0.46288862, 1.38866587, 0, 0, 0)  # over 2.1602469 + .0001
ADVANTAGES = [
    *((name, {}, SCALED) for name in ("grpo", "gspo", "cispo", "dapo")),
    *((name, {"std": "population"}, POPULATION) for name in ("grpo", "gspo", "cispo", "dapo")),
    ("grpo", {"std_eps": 1.0}, (-0.54858377, -0.54858377, -0.27429189, 0.82287566, 0, 0, 0)),  # over 3.6457513
    ("dr-grpo", {}, (-2, -2, -1, 3, 0, 0, 0)),
    ("rloo", {}, (-3, -3, -1.5, 4.5, 0, 0, 0)),  # 1 − 4, 2 − 3.5, 6 − 1.5
    ("online-dpo", {}, (-1, -1, 0, 1, 0, 0, 0)),
    ("rejection", {}, (0, 0, 0, 1, 0, 0, 0)),
    ("rejection", {"keep_equal": True}, (0, 0, 0, 1, 1, 0, 0)),
    ("rejection", {"min_reward": 6.0}, (0, 0, 0, 1, 0, 0, 0)),  # at least 6
    ("rejection", {"min_reward": 6.5}, (0, 0, 0, 0, 0, 0, 0)),
    ("rejection", {"keep_equal": True, "min_reward": 4.5}, (0, 0, 0, 1, 0, 0, 0)),
]


@pytest.mark.parametrize(("name", "options", "expected"), ADVANTAGES)
def test_advantages_in_groups(name: str, options: dict[str, Any], expected: tuple[float, ...]) -> None:
    rollouts = rollouts_of(THREE_REWARDS, THREE, THREE_GROUPS)
    assert advantages_of(name, rollouts, **options) == near(*expected)


def test_rloo_takes_the_kl_of_whole_answers_off_before_it_compares() -> None:
    """β = .5, k1 sums .4, −.2, 0: r' = .8, 2.1, 6; the others' means are 4.05, 3.4, 1.45."""
    rollouts = rollouts_of([1, 2, 6], [[0.1, 0.3], [-0.2], [0.0]], kl_coef=0.5)
    assert advantages_of("rloo", rollouts) == near(-3.25, -3.25, -1.3, 4.55)


REINFORCE = [
    # Rewards to go: 1.85, 1.95, 1.9 and −1, −1.2.
    ({"whiten": "none"}, (1.9, 1.95, 1.85, -1.2, -1)),
    # Mean 3.5/5 = .7.
    ({"whiten": "mean"}, (1.2, 1.25, 1.15, -1.9, -1.7)),
    # Squares 1.44 + 1.5625 + 1.3225 + 3.61 + 2.89 = 10.825; √(10.825/4) = 1.6450684.
    ({}, (0.72945296, 0.75984683, 0.69905908, -1.15496718, -1.03339169)),
    # γ = .5: 1.85, .1 + .925, −.05 + .5125 and −1, −.2 − .5.
    ({"whiten": "none", "gamma": 0.5}, (0.4625, 1.025, 1.85, -0.7, -1)),
    # The scores are 2 − .5 and −1 − .5 then; KL stays what it is.
    ({"whiten": "none", "baseline": "group"}, (1.4, 1.45, 1.35, -1.7, -1.5)),
]


@pytest.mark.parametrize(("options", "expected"), REINFORCE)
def test_reinforce_plus_plus(options: dict[str, Any], expected: tuple[float, ...]) -> None:
    assert advantages_of("reinforce++", rollouts_of([2, -1], K1, kl_coef=0.5), **options) == near(*expected)


def test_penalties_of_long_and_unfinished_answers() -> None:
    """Limit 10, buffer 4: nothing is lost up to 6 tokens, a quarter for each above, 1 at the limit."""
    method = find_method("dapo")(max_new_tokens=10, overlong_buffer=4, missing_end_penalty=0.5)
    lengths, stopped = torch.tensor([1, 6, 7, 9, 10, 10]), torch.tensor([True] * 5 + [False])
    shaped = method.shape(torch.ones(6), lengths, stopped)
    assert shaped.tolist() == near(1, 1, 0.75, 0.25, 0, -0.5)
    assert find_method("dapo")(max_new_tokens=10).shape(torch.ones(6), lengths, stopped).tolist() == [1.0] * 6
    ppo = find_method("ppo")(missing_end_penalty=2.0)
    assert ppo.shape(torch.ones(6), lengths, stopped).tolist() == [1.0] * 5 + [-1.0]


def test_the_first_best_answer_of_each_group() -> None:
    rewards, groups = double(1, 3, 3, -2, -1, -1), torch.tensor([0, 0, 0, 1, 1, 1])
    assert first_best(rewards, groups).tolist() == [False, True, False, False, True, False]


def test_online_dpo_pairs_the_first_best_with_the_first_worst() -> None:
    rollouts = rollouts_of([1, 3, 3, 0, 0], [[0.0]] * 5)
    assert advantages_of("online-dpo", rollouts) == [0.0, 1.0, 0.0, -1.0, 0.0]


rewards_in_groups = st.lists(st.lists(st.integers(-8, 8), min_size=2, max_size=4), min_size=1, max_size=3)


@pytest.mark.parametrize("name", GROUPS)
@settings(deadline=None, max_examples=30)
@given(rewards=rewards_in_groups, shift=st.integers(-100, 100))
def test_a_constant_on_all_rewards_of_a_group_changes_nothing(name: str, rewards: list[list[int]], shift: int) -> None:
    groups = [number for number, group in enumerate(rewards) for _ in group]
    here = [reward / 4 for group in rewards for reward in group]
    there = [reward + shift * (group == 0) for reward, group in zip(here, groups, strict=True)]
    one, other = (advantages_of(name, rollouts_of(given, [[0.0]] * len(given), groups)) for given in (here, there))
    assert one == pytest.approx(other, abs=1e-9)


# The loss of each method ---------------------------------------------------------------------------------------------

LOGPROBS = [[-1.0, -2.0], [-0.5]]
RATIOS = [[1.5, 1.0], [0.5]]
PULL = [[1.0, 1.0], [-2.0]]
MOVED = [[0.1, -0.2], [0.3]]
SAMPLER = [[3.0, 1.0], [1 / 3]]

# Token losses with ε = .2: −1.2 (clipped), −1, and 2 · .8 = 1.6 (clipped). Their sum is −.6; first the mean of each
# answer gives −1.1 + 1.6 = .5.
LOSSES = [
    ("ppo", {}, -0.6, 3),  # KL is in its rewards, so not in its loss
    ("ppo", {"aggregation": "sequence-mean"}, 0.5, 2),
    ("reinforce++", {}, -0.6, 3),
    ("grpo", {"kl_coef": 0.0}, 0.5, 2),
    ("grpo", {"kl_coef": 0.0, "aggregation": "token-mean"}, -0.6, 3),
    ("grpo", {"kl_coef": 0.0, "aggregation": "sequence-sum"}, -0.6, 2),
    ("grpo", {"kl_coef": 0.0, "aggregation": "constant", "max_new_tokens": 5}, -0.12, 2),
    # k2 of .1, −.2, .3 is .005, .02, .045: .5 + .04 · (.0125 + .045)
    ("grpo", {}, 0.5023, 2),
    ("grpo", {"aggregation": "token-mean"}, -0.5972, 3),  # −.6 + .04 · .07
    # k3 = e^−.1 − 1 + .1 = .0048374, e^.2 − 1 − .2 = .0214028, e^−.3 − 1 + .3 = .0408182: .5 + .04 · .0539383
    ("grpo", {"kl_estimator": "k3"}, 0.50215753, 2),
    ("dr-grpo", {"max_new_tokens": 4}, -0.15, 2),
    ("dr-grpo", {}, -0.0046875, 2),  # the longest answer allowed is 128
    ("dapo", {}, -0.68, 3),  # the first is −1.28 now
    # The ratio of the whole first answer is 1.5: −1.2 for both of its tokens. −1.2 + 1.6
    ("rloo", {}, 0.4, 2),
    ("rloo", {"clip_high": 0.6}, 0.1, 2),
    # √1.5 = 1.2247449, clipped at 1.0004; .5 at .9997, twice: −1.0004 + 1.9994
    ("gspo", {}, 0.999, 2),
    ("gspo", {"clip_low": 0.2, "clip_high": 0.3}, 0.37525513, 2),  # −1.2247449 + 1.6
    # −ρ · A · log π: 1.5 · 1, 1 · 2, and −.5 · −2 · −.5 = −.5
    ("cispo", {}, 3.0, 3),
    ("cispo", {"clip_high": 0.2}, 2.7, 3),  # 1 + .2 is the highest weight: 1.2 + 2 − .5
    ("cispo", {"clip_low": 0.2}, 2.7, 3),  # 1 − .2 is the lowest: 1.5 + 2 − .8
    ("rejection", {}, 2.0, 3),  # here with weights 1, 1, −2: 1 + 2 − 2 · .5
    # Weights 3, 1, ⅓, cut at 2: −2.4 − 1 + .5333333; or of the middle one alone
    ("ppo", {"mismatch": "truncate"}, -2.86666667, 3),
    ("ppo", {"mismatch": "truncate", "mismatch_cap": 4.0}, -4.06666667, 3),
    ("ppo", {"mismatch": "mask"}, -1.0, 3),
    # The weights are on the surrogate; KL stays as it is: −½ + .04 · .0575
    ("grpo", {"mismatch": "mask"}, -0.4977, 2),
]


@pytest.mark.parametrize(("name", "options", "total", "weight"), LOSSES)
def test_the_loss_of_two_answers(name: str, options: dict[str, Any], total: float, weight: float) -> None:
    batch = batch_of(LOGPROBS, PULL, RATIOS, MOVED, SAMPLER)
    loss = loss_of(name, batch, **options)
    assert float(loss.total.detach()) == pytest.approx(total, abs=1e-8)
    assert loss.weight == weight == find_method(name)(**options).weight(2, 3)


def test_every_method_that_samples_has_golden_numbers() -> None:
    assert {name for name, *_ in LOSSES} | {"online-dpo"} == set(ONLINE)
    assert {name for name, *_ in ADVANTAGES} | {"ppo", "reinforce++"} == set(ONLINE)


GRADIENTS = [
    ("ppo", {}, (0, -1, 0)),
    ("reinforce++", {}, (0, -1, 0)),
    ("dapo", {}, (0, -1, 0)),
    ("grpo", {"kl_coef": 0.0}, (0, -0.5, 0)),  # half of an answer of two tokens
    # k2's derivative is log π − log π_ref, k3's 1 − e^−x: −.2 and 1 − e^.2 for the middle one.
    ("grpo", {}, (0.04 * 0.05, -0.5 - 0.04 * 0.1, 0.04 * 0.3)),
    ("grpo", {"kl_estimator": "k3"}, (0.00190325, -0.50442806, 0.01036727)),
    ("dr-grpo", {"max_new_tokens": 4}, (0, -0.25, 0)),
    ("rloo", {}, (0, 0, 0)),
    ("rloo", {"clip_low": 0.6, "clip_high": 0.6}, (-1.5, -1.5, 1)),  # −Aρ of the answer, for each of its tokens
    ("gspo", {}, (0, 0, 0)),
    ("gspo", {"clip_low": 0.6, "clip_high": 0.6}, (-0.61237244, -0.61237244, 1)),  # −As over the answer's length
    ("cispo", {"clip_low": 0.2, "clip_high": 0.2}, (-1.2, -1, 1.6)),  # what is clipped is learned as well
    ("rejection", {}, (-1, -1, 2)),
    ("ppo", {"mismatch": "truncate", "clip_high": 1.0}, (-3, -1, 0)),  # −Aρ · 2; the weight has no gradient
]


@pytest.mark.parametrize(("name", "options", "expected"), GRADIENTS)
def test_the_gradient_of_each_token(name: str, options: dict[str, Any], expected: tuple[float, ...]) -> None:
    assert gradient_of(name, batch_of(LOGPROBS, PULL, RATIOS, MOVED, SAMPLER), **options) == near(*expected)


def test_the_ratio_of_a_whole_answer() -> None:
    """1.5 · .6 = .9 for RLOO; its root .9486833 for GSPO. Neither is clipped at A > 0 and a ratio below 1."""
    batch = batch_of(LOGPROBS, PULL, [[1.5, 0.6], [0.5]])
    assert float(loss_of("rloo", batch).total.detach()) == pytest.approx(-0.9 + 1.6)
    assert float(loss_of("gspo", batch).total.detach()) == pytest.approx(-0.9486833 + 1.9994)


CLIPPED = [
    ("ppo", {}, 2),
    ("ppo", {"clip_low": 0.6}, 1),
    ("ppo", {"clip_high": 0.6}, 1),
    ("rloo", {}, 3),  # all tokens of both answers
    ("gspo", {}, 3),
    ("gspo", {"clip_high": 0.3}, 1),
    ("cispo", {}, 0),
    ("cispo", {"clip_low": 0.2, "clip_high": 0.2}, 2),
    ("cispo", {"clip_high": 0.6}, 0),  # ρ = 1.5 is above .6 and below 1 + .6
    ("rejection", {}, 0),
]


@pytest.mark.parametrize(("name", "options", "number"), CLIPPED)
def test_the_share_of_clipped_tokens(name: str, options: dict[str, Any], number: int) -> None:
    """And how far the update has gone: ρ − 1 − ln ρ is .5 − ln 1.5, 0 and −.5 + ln 2, together ln 4/3 = .2876821."""
    metrics = loss_of(name, batch_of(LOGPROBS, PULL, RATIOS), **options).metrics
    assert metrics["clip_frac"] == (number, 3)
    assert metrics["update_kl"] == pytest.approx((0.28768207, 3))


def test_the_mean_weight_of_a_sampler_that_differs_is_told() -> None:
    batch = batch_of(LOGPROBS, PULL, RATIOS, sampler=SAMPLER)
    assert loss_of("ppo", batch, mismatch="truncate").metrics["mismatch_weight"] == pytest.approx((3 + 1 / 3, 3))
    assert "mismatch_weight" not in loss_of("ppo", batch).metrics


PAIR = [[1.0, 1.0], [-1.0]]


def test_online_dpo_on_one_pair() -> None:
    """Δ = (.1 − .2) − .3 = −.4, β = .1: ln(1 + e^.04) = .7133472; dℓ/dlog π = ∓ .1 · σ(.04) = ∓ .0509999."""
    batch = batch_of(LOGPROBS, PAIR, RATIOS, MOVED)
    loss = loss_of("online-dpo", batch)
    assert (float(loss.total.detach()), loss.weight) == pytest.approx((0.71334718, 1))
    assert loss.metrics == {"margin": (pytest.approx(-0.04), 1), "accuracy": (0, 1)}
    assert gradient_of("online-dpo", batch) == near(-0.05099987, -0.05099987, 0.05099987)
    assert find_method("online-dpo")().weight(2, 3) == 1  # two answers, one pair


def test_online_dpo_on_two_prompts() -> None:
    """Δ = .5 − .1 and −.2 − .2 at β = 1, the pair of the second prompt the other way round: −.4 → .4."""
    batch = batch_of(
        [[-1.0]] * 4, [[1.0], [-1.0], [-1.0], [1.0]], None, [[0.5], [0.1], [-0.2], [0.2]], trees=[0, 0, 1, 1]
    )
    loss = loss_of("online-dpo", batch, beta=1.0)
    assert (float(loss.total.detach()), loss.weight) == pytest.approx((2 * 0.51301525, 2))  # ln(1 + e^−.4)
    assert loss.metrics == {"margin": (pytest.approx(0.8), 2), "accuracy": (2, 2)}


def test_online_dpo_starts_at_ln_2() -> None:
    loss = loss_of("online-dpo", batch_of(LOGPROBS, PAIR))
    assert float(loss.total.detach()) == pytest.approx(0.69314718)


def test_online_dpo_without_a_reference_says_so() -> None:
    batch = LossBatch(double(-1.0), torch.tensor([0]), torch.tensor([0]), tokens={"advantages": double(1.0)})
    with pytest.raises(TrainingError, match="online-dpo compares with a reference, and the batch has none"):
        loss_of("online-dpo", batch)


# What has to hold for every method -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ONLINE if name != "online-dpo"])
@pytest.mark.parametrize("looked_back", [False, True])
def test_at_step_0_the_ratio_is_1_and_nothing_is_clipped(name: str, looked_back: bool) -> None:
    """With the logprobs of before the update, and without them, where the step has one update only.

    −A for each token: −1, −1, 2 (CISPO and rejection have the same gradient, and log π in their value).
    """
    batch = batch_of(LOGPROBS, PULL, [[1.0, 1.0], [1.0]] if looked_back else None)
    loss = loss_of(name, batch, aggregation="sequence-sum")
    assert loss.metrics["clip_frac"] == (0, 3)
    assert loss.metrics["update_kl"] == (0, 3)
    if name in SURROGATES:
        assert float(loss.total.detach()) == pytest.approx(0.0)
    expected = (-2, -2, 2) if name == "rloo" else (-1, -1, 2)  # each token of RLOO carries its whole answer's loss
    assert gradient_of(name, batch, aggregation="sequence-sum") == near(*expected)


@pytest.mark.parametrize("name", ONLINE)
def test_the_better_answer_becomes_likelier_and_the_worse_one_less_likely(name: str) -> None:
    rewards, answers = [1.0, -1.0], [[0.0, 0.0], [0.0]]
    found = find_method(name)().advantages(rollouts_of(rewards, answers))["advantages"].tolist()
    better, other, worse = gradient_of(name, batch_of(LOGPROBS, [found[:2], found[2:]]))
    assert better < 0  # descending raises the logprob
    assert other < 0
    assert worse == 0 if name == "rejection" else worse > 0


@pytest.mark.parametrize("name", [*GROUPS, "reinforce++"])
@pytest.mark.parametrize("reward", [0.0, 0.1, 1000.1])
def test_equal_rewards_give_no_gradient_and_no_nan(name: str, reward: float) -> None:
    """In fp32, where the mean of equal numbers is not always that number; and where nothing is added to the spread."""
    options: dict[str, Any] = {"kl_coef": 0.0} | ({"std_eps": 0.0} if hasattr(find_method(name), "std_eps") else {})
    answers = [[0.0, 0.0], [0.0], [0.0]]
    found = find_method(name)(**options).advantages(rollouts_of([reward] * 3, answers, dtype=torch.float32))
    assert found["advantages"].tolist() == [0.0] * 4
    batch = batch_of([[-1.0, -2.0], [-0.5], [-3.0]], [[0.0, 0.0], [0.0], [0.0]], [[1.5, 0.5], [1.0], [9.0]])
    assert gradient_of(name, batch, **options) == [0.0] * 4


@pytest.mark.parametrize("name", [name for name in ONLINE if name != "online-dpo"])
def test_answers_of_one_token(name: str) -> None:
    """Means over an answer and over all tokens are the same then, and so are ratios of tokens and of answers."""
    options = {"kl_coef": 0.0}
    rollouts = rollouts_of([1.0, 0.0], [[0.0], [0.0]])
    found = find_method(name)(**options).advantages(rollouts)["advantages"]
    assert torch.isfinite(found).all()
    batch = batch_of([[-1.0], [-0.5]], [[number] for number in found.tolist()], [[1.1], [0.9]])
    one, other = (gradient_of(name, batch, aggregation=how, **options) for how in ("token-mean", "sequence-mean"))
    assert one == other
    assert all(map(math.isfinite, one))
    weights = [loss_of(name, batch, aggregation=how, **options).weight for how in ("token-mean", "sequence-mean")]
    assert weights[0] == weights[1]


def test_one_answer_of_one_token_and_no_other() -> None:
    """No baseline and no deviation: nothing to learn, and no NaN."""
    for name in ONLINE:
        found = find_method(name)().advantages(rollouts_of([1.0], [[0.0]]))["advantages"]
        assert found.tolist() == [0.0], name


OTHER_LOGPROBS, OTHER_RATIOS = [[-0.1, -4.0, -1.0]], [[0.1, 3.0, 1.2]]
OTHER_MOVED, OTHER_PULL = [[1.0, -2.0, 0.5]], [[3.0, -1.0, 0.5]]


@pytest.mark.parametrize("name", [name for name in ONLINE if name != "online-dpo"])
@pytest.mark.parametrize("mismatch", ["ignore", "truncate", "mask"])
def test_an_answers_tokens_never_touch_anothers_gradient(name: str, mismatch: str) -> None:
    """Given its advantages; baselines are the one way by which answers know of each other."""
    alone = batch_of(LOGPROBS[:1], PULL[:1], [[1.1, 0.9]], MOVED[:1], SAMPLER[:1])
    beside = batch_of(
        LOGPROBS[:1] + OTHER_LOGPROBS, PULL[:1] + OTHER_PULL, [[1.1, 0.9], *OTHER_RATIOS], MOVED[:1] + OTHER_MOVED,
        [*SAMPLER[:1], [5.0, 0.2, 1.0]],
    )  # fmt: skip
    options = {"mismatch": mismatch, "kl_coef": 0.0 if name == "rejection" else 0.1}
    assert gradient_of(name, beside, **options)[:2] == gradient_of(name, alone, **options)


@pytest.mark.parametrize("name", [name for name in ONLINE if name not in ("online-dpo", "rloo", "gspo")])
def test_a_tokens_gradient_is_its_own(name: str) -> None:
    """Except where the ratio is one of the whole answer."""
    beta = 0.0 if name == "rejection" else 0.1
    one, other = (
        gradient_of(name, batch_of([[-1.0, second]], [[1.0, pull]], [[1.1, ratio]], [[0.2, moved]]), kl_coef=beta)
        for second, pull, ratio, moved in ((-2.0, 1.0, 1.0, 0.0), (-0.3, -2.0, 0.4, 3.0))
    )
    assert one[0] == other[0]
    assert one[1] != other[1]


# Losses add up -------------------------------------------------------------------------------------------------------

NAMES = ("logprobs", "moved", "advantages", "log_ratio", "sampler")
VARIANTS: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in ONLINE]
VARIANTS += [("grpo", {"aggregation": how}) for how in ("token-mean", "sequence-sum", "constant")]
VARIANTS += [("dapo", {"kl_coef": 0.1, "kl_estimator": "k3"}), ("gspo", {"kl_coef": 0.1, "clip_high": 0.5})]
VARIANTS += [("ppo", {"mismatch": "truncate"}), ("cispo", {"mismatch": "mask", "clip_high": 0.2})]


def random_tree(lengths: Sequence[int], generator: torch.Generator) -> tuple[list[int], Tensor]:
    """(tokens of each answer, `(5, num_tokens)` numbers in the order of `NAMES`)."""
    return list(lengths), torch.randn(len(NAMES), sum(lengths), generator=generator, dtype=torch.float64) / 2


def joined(trees: Sequence[tuple[list[int], Tensor]]) -> LossBatch:
    lengths = [length for tree, _ in trees for length in tree]
    found = dict(zip(NAMES, torch.cat([given for _, given in trees], 1), strict=True))
    logprobs = found["logprobs"].clone().requires_grad_()
    here = logprobs.detach()
    old = here - found["log_ratio"]
    tokens = {"advantages": found["advantages"], "old_logprobs": old, "rollout_logprobs": old - found["sampler"]}
    return LossBatch(
        logprobs, index_of([range(length) for length in lengths]),
        torch.tensor([number for number, (tree, _) in enumerate(trees) for _ in tree]), here - found["moved"],
        tokens=tokens,
    )  # fmt: skip


@pytest.mark.parametrize(("name", "options"), VARIANTS)
@settings(deadline=None, max_examples=20)
@given(
    shapes=st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=2, max_size=5),
    order=st.randoms(use_true_random=False),
    seed=st.integers(0, 2**32),
)
def test_losses_and_weights_add_up_however_trees_are_put_into_rows(
    name: str, options: dict[str, Any], shapes: list[list[int]], order: Any, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    trees = [random_tree(shape, generator) for shape in shapes]
    method = find_method(name)(**options)
    joint = joined(trees)
    whole = method.loss(joint)
    whole.total.backward()
    assert joint.logprobs.grad is not None
    gradient = dict(enumerate(joint.logprobs.grad.split([sum(shape) for shape in shapes])))

    chosen = list(range(len(trees)))
    order.shuffle(chosen)
    cut = order.randint(1, len(trees) - 1)
    total, weight = 0.0, 0.0
    sums: dict[str, list[float]] = {}
    for row in (chosen[:cut], chosen[cut:]):
        batch = joined([trees[number] for number in row])
        loss = method.loss(batch)
        loss.total.backward()
        total, weight = total + float(loss.total.detach()), weight + loss.weight
        for metric, (amount, over) in loss.metrics.items():
            sums[metric] = [a + b for a, b in zip(sums.get(metric, [0.0, 0.0]), (amount, over), strict=True)]
        assert batch.logprobs.grad is not None
        parts = batch.logprobs.grad.split([sum(shapes[number]) for number in row])
        for number, part in zip(row, parts, strict=True):
            assert torch.allclose(part, gradient[number], atol=1e-12)
    assert float(whole.total.detach()) == pytest.approx(total, abs=1e-9)
    assert whole.weight == pytest.approx(weight)
    assert {metric: list(value) for metric, value in whole.metrics.items()} == {
        metric: pytest.approx(value, abs=1e-9) for metric, value in sums.items()
    }


# Options that cannot be ----------------------------------------------------------------------------------------------

AT_LEAST_1 = ["prompts_per_step", "max_new_tokens", "inner_epochs", "minibatches", "sampling_batch", "mismatch_cap"]
NOT_NEGATIVE = [
    *(("grpo", name) for name in ["kl_coef", "clip_low", "clip_high", "ensemble_penalty", "missing_end_penalty"]),
    *((name, "std_eps") for name in ("grpo", "gspo", "cispo", "dapo")),
    *(("ppo", name) for name in ["kl_target", "vf_coef", "value_clip", "ptx_coef", "critic_warmup"]),
    ("dapo", "max_refills"),
]
POSITIVE = [
    *(("grpo", name) for name in ("temperature",)),
    *(("ppo", name) for name in ("ptx_batch", "kl_horizon", "critic_learning_rate")),
    ("online-dpo", "beta"),
]
MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    *(("grpo", {name: 0}, f"--{name.replace('_', '-')} is 0; it must be at least 1") for name in AT_LEAST_1),
    *((cls, {name: -1}, f"--{name.replace('_', '-')} is -1; it must be a number of at least 0")
      for cls, name in NOT_NEGATIVE),
    *((cls, {name: 0}, f"--{name.replace('_', '-')} is 0; it must be a number above 0") for cls, name in POSITIVE),
    *((name, {"group_size": 1}, "--group-size is 1; answers are compared with each other, so give 2 or more")
      for name in GROUPS),
    ("ppo", {"group_size": 0}, "--group-size is 0; it must be at least 1"),
    ("grpo", {"answer_every": -1}, "--answer-every is -1; it must be at least 0"),
    # Outside of [1/.5, .5] is everything: nothing would be learned.
    ("grpo", {"mismatch_cap": 0.5}, "--mismatch-cap is 0.5; it must be at least 1"),
    ("grpo", {"mismatch_cap": math.nan}, "--mismatch-cap is nan; it must be a number above 0"),
    ("grpo", {"clip_high": math.inf}, "--clip-high is inf; it must be a number of at least 0"),
    ("grpo", {"minibatches": 9},
     "--minibatches is 9 and --prompts-per-step 8; a minibatch needs at least one prompt"),
    *(("dapo", {"overlong_buffer": number},
       f"--overlong-buffer is {number}; it must be between 0 and --max-new-tokens, which is 128")
      for number in (-1, 129)),
    ("rejection", {"kl_coef": 0.1}, "--kl-coef is 0.1; rejection only learns its best answers, so leave it out"),
    ("online-dpo", {"kl_coef": 0.1},
     "--kl-coef is 0.1; online-dpo holds the policy to the reference by --beta, so leave it out"),
    # 32 answers a step: at an error of −.2 the coefficient would be multiplied by 1 − 6.4/6.
    ("ppo", {"kl_target": 6.0, "kl_horizon": 6},
     "--kl-horizon is 6; a fifth of a step's answers is 6.4; it must be more, or --kl-coef falls to 0 and below"),
    *(("reinforce++", {"gamma": gamma}, f"--gamma is {gamma}; it must be above 0 and at most 1")
      for gamma in (0.0, 1.01, math.nan)),
    ("ppo", {"gamma": 1.1}, "--gamma is 1.1; it must be between 0 and 1"),
    ("ppo", {"lam": -0.1}, "--lam is -0.1; it must be between 0 and 1"),
    ("ppo", {"kl_target": 6.0, "kl_coef": 0.0},
     "--kl-target moves --kl-coef, which is 0; give it a value to start from"),
]  # fmt: skip


UNUSED: dict[str, dict[str, Any]] = {
    "online-dpo": {
        "kl_estimator": "k3", "clip_low": 0.1, "clip_high": 0.3, "mismatch": "mask",
        "mismatch_cap": 3.0, "aggregation": "sequence-mean",
    },
    "rejection": {"kl_estimator": "k3", "clip_low": 0.1, "clip_high": 0.3},
    "ppo": {"kl_estimator": "k3"}, "rloo": {"kl_estimator": "k3"}, "reinforce++": {"kl_estimator": "k3"},
}  # fmt: skip


@pytest.mark.parametrize(("name", "option"), [(name, option) for name, given in UNUSED.items() for option in given])
def test_an_option_that_a_method_has_no_use_for_is_refused_and_not_shown(name: str, option: str) -> None:
    value, spelt = UNUSED[name][option], "--" + option.replace("_", "-")
    message = f"{spelt} is {value}; {name} has no use for it, so leave it out"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        find_method(name)(**{option: value})
    default = getattr(find_method(name)(), option)
    assert getattr(find_method(name)(**{option: default}), option) == default
    assert spelt not in [shown.name for shown in options_of(find_method(name))]
    assert spelt in [shown.name for shown in options_of(find_method("grpo"))]


def test_the_options_without_use_are_all_tried() -> None:
    """But for the KL of these two, whose own words stand among the mistakes above."""
    unused = {name: set(find_method(name).unused) - {"kl_coef"} for name in ONLINE if find_method(name).unused}
    assert unused == {name: set(given) for name, given in UNUSED.items()}


@pytest.mark.parametrize(("name", "options", "message"), MISTAKES)
def test_options_that_cannot_be(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        find_method(name)(**options)


def test_options_at_their_limits_are_allowed() -> None:
    find_method("grpo")(mismatch_cap=1.0, group_size=2, std_eps=0.0, clip_low=0.0, clip_high=0.0, answer_every=0)
    find_method("ppo")(gamma=0.0, lam=1.0, kl_target=6.0, kl_horizon=7, value_clip=0.0, minibatches=32)
    find_method("dapo")(overlong_buffer=128, max_refills=0)
