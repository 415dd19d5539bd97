"""The loss of distillation on a batch: what is averaged over what, which tokens count, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tutelage.errors import ConfigError
from tutelage.methods.policy import Rollouts
from tutelage.methods.registry import Loss, LossBatch, find_method

DIVERGENCES = [[0.4, 0.2, 0.6], [1.0]]
"""Two answers, to two prompts, of three tokens and of one."""


def batch_of(advantages: list[float] | None = None) -> LossBatch:
    flat = torch.tensor([number for answer in DIVERGENCES for number in answer], dtype=torch.float64).requires_grad_()
    tokens = {
        "divergence": flat,
        "teacher_logprobs": torch.tensor([-1.0, -2.0, -3.0, -6.0], dtype=torch.float64),
        "advantages": torch.tensor(advantages or [1.0] * 4, dtype=torch.float64),
    }
    return LossBatch(torch.zeros(4), torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1]), tokens=tokens)


def loss_of(batch: LossBatch | None = None, **options: Any) -> Loss:
    return find_method("distill")(**options).loss(batch or batch_of())


def gradient_of(batch: LossBatch, **options: Any) -> list[float]:
    loss = loss_of(batch, **options)
    (gradient,) = torch.autograd.grad(loss.total / loss.weight, batch.tokens["divergence"])
    return gradient.tolist()


def test_the_mean_over_each_answer_first() -> None:
    """The paper's: (.4 + .2 + .6)/3 + 1.0 = 1.4 over two answers. A token of the long answer weighs a third."""
    loss = loss_of()
    assert (loss.total.item(), loss.weight) == (pytest.approx(1.4), 2)
    assert gradient_of(batch_of()) == pytest.approx([1 / 6] * 3 + [1 / 2])


def test_the_mean_over_all_tokens() -> None:
    """2.2 over four tokens, which is TRL's."""
    loss = loss_of(aggregation="token-mean")
    assert (loss.total.item(), loss.weight) == (pytest.approx(2.2), 4)
    assert gradient_of(batch_of(), aggregation="token-mean") == pytest.approx([1 / 4] * 4)


def test_the_mean_over_a_constant() -> None:
    """2.2 over ten tokens an answer and two answers."""
    loss = loss_of(aggregation="constant", max_new_tokens=10)
    assert loss.total.item() / loss.weight == pytest.approx(0.11)


def test_the_loss_falls_with_the_divergence() -> None:
    assert all(number > 0 for number in gradient_of(batch_of()))


def test_a_token_that_is_not_learned_from_has_no_gradient() -> None:
    assert gradient_of(batch_of([1, 0, 1, 1]), aggregation="token-mean") == pytest.approx([1 / 4, 0, 1 / 4, 1 / 4])


def test_metrics_are_means_over_tokens() -> None:
    metrics = loss_of().metrics
    assert metrics["divergence"] == (pytest.approx(2.2), 4)
    assert metrics["teacher_logprob"] == (-12, 4)


def test_every_sampled_token_is_learned_from_whatever_the_rewards() -> None:
    def advantages(rewards: list[float]) -> Tensor:
        index = torch.tensor([0, 0, 0, 1])
        rollouts = Rollouts(torch.tensor(rewards), torch.tensor([0, 1]), index, torch.zeros(4), 0.0)
        return find_method("distill")().advantages(rollouts)["advantages"]

    assert advantages([0.0, 0.0]).tolist() == advantages([5.0, -1.0]).tolist() == [1.0] * 4


def test_no_reference_no_reward_no_kl() -> None:
    method = find_method("distill")
    assert not method.needs_reference
    assert method.has_teacher
    assert (method().kl_coef, method().has_kl_loss) == (0.0, False)
    for option in ("reward", "kl_coef", "measure_kl", "ref_model", "clip_low", "mismatch"):
        with pytest.raises(TypeError, match=option):
            method(**{option: 1})


@pytest.mark.parametrize("beta", [-0.1, 1.5, math.nan, math.inf])
def test_beta_is_between_forward_and_reverse(beta: float) -> None:
    with pytest.raises(ConfigError) as caught:
        find_method("distill")(beta=beta)
    assert str(caught.value) == (
        f"--beta is {beta}; it must be between 0, forward KL(teacher‖student), and 1, reverse KL(student‖teacher)"
    )


@pytest.mark.parametrize("option", ["temperature", "distill_temperature"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_temperatures_are_above_0(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^--{option.replace('_', '-')} is {value}; it must be a number above 0$"):
        find_method("distill")(**{option: value})


@pytest.mark.parametrize("option", ["prompts_per_step", "group_size", "max_new_tokens", "inner_epochs", "minibatches"])
def test_counts_are_at_least_1(option: str) -> None:
    with pytest.raises(ConfigError, match=f"^--{option.replace('_', '-')} is 0; it must be at least 1$"):
        find_method("distill")(**{option: 0})
