"""The enumerable bandit for methods that sample: their optimum is known, and sampling must lead there.

Two prompts; an answer is two tokens out of three, so token rewards, discounts, baselines and returns all take part. The
reference is not uniform. At the optimum of KL-regularised reward, r − β·log(π/π_ref) is the same for every answer, so a
correct method's noise dies out there and it comes to rest; a wrong sign, mask or KL direction rests elsewhere.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tutelage.methods.policy import Rollouts
from tutelage.methods.registry import LossBatch, find_method

BETA = 0.5
REWARDS = torch.tensor(
    [[1.0, 0.2, -0.7, 0.0, 0.5, -0.4, 0.3, -1.0, 0.8], [-1.0, 0.3, 0.9, 0.1, -0.2, 0.6, -0.5, 0.4, 0.0]],
    dtype=torch.float64,
)
FIRST = torch.tensor([[0.5, 0.2, 0.3], [0.2, 0.3, 0.5]], dtype=torch.float64).log()
SECOND = torch.tensor(
    [[[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]], [[0.1, 0.6, 0.3], [0.4, 0.4, 0.2], [0.3, 0.1, 0.6]]],
    dtype=torch.float64,
).log()


def joint(first: Tensor, second: Tensor) -> Tensor:
    """log π of whole answers, `(prompts, 9)`, from logits."""
    return (first.log_softmax(-1)[..., None] + second.log_softmax(-1)).flatten(1)


REFERENCE = joint(FIRST, SECOND)
OPTIMUM = (REFERENCE + REWARDS / BETA).log_softmax(-1)


def kl(policy: Tensor, optimum: Tensor) -> float:
    """KL(π‖π*), the mean over prompts, in nats."""
    return float((policy.exp() * (policy - optimum)).sum(-1).mean())


class World:
    """A table as policy, a table as critic, and the loop's part: sample, look back, advantages, learn."""

    def __init__(self, name: str, rewards: Tensor = REWARDS, **options: Any) -> None:
        defaults = {"kl_coef": BETA, "max_new_tokens": 2}
        self.method = find_method(name)(**defaults | options)
        self.rewards = rewards
        self.first, self.second = FIRST.clone().requires_grad_(), SECOND.clone().requires_grad_()
        self.values = [torch.zeros(2, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64)]
        for table in self.values:
            table.requires_grad_()
        self.generator = torch.Generator().manual_seed(0)

    @property
    def policy(self) -> Tensor:
        return joint(self.first, self.second).detach()

    def logprobs(self, prompt: Tensor, one: Tensor, two: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Token logprobs of answers, flat: first and second token in turn."""
        a = first.log_softmax(-1)[prompt, one]
        b = second.log_softmax(-1)[prompt, one, two]
        return torch.stack([a, b], 1).flatten()

    def step(self, num_each: int, rate: float, passes: int = 1) -> None:
        prompt = torch.arange(2).repeat_interleave(num_each)
        answer = torch.multinomial(self.policy.exp()[prompt], 1, generator=self.generator).squeeze(1)
        one, two = answer // 3, answer % 3
        sequence, tree = torch.arange(len(prompt)).repeat_interleave(2), torch.arange(len(prompt))
        old = self.logprobs(prompt, one, two, self.first, self.second).detach()
        reference = self.logprobs(prompt, one, two, FIRST, SECOND)
        values = self._values(prompt, one)
        rollouts = Rollouts(
            self.rewards[prompt, answer], prompt, sequence, old - reference, self.method.kl_coef, values.detach()
        )
        tokens = {"old_logprobs": old, "old_values": values.detach(), **self.method.advantages(rollouts)}
        for _ in range(passes):
            logprobs = self.logprobs(prompt, one, two, self.first, self.second)
            seen = LossBatch(logprobs, sequence, tree, reference, tokens=tokens)
            loss = self.method.loss(seen)
            self._descend([self.first, self.second], loss.total / loss.weight, rate)
            if self.method.has_critic:
                losses = self.method.value_losses(self._values(prompt, one), seen)
                self._descend(self.values, losses.mean(), 2.0)

    def _values(self, prompt: Tensor, one: Tensor) -> Tensor:
        return torch.stack([self.values[0][prompt], self.values[1][prompt, one]], 1).flatten()

    @staticmethod
    def _descend(parameters: list[Tensor], loss: Tensor, rate: float) -> None:
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.data -= rate * gradient

    def train(self, num_steps: int, rate: float, num_each: int = 256, passes: int = 1) -> Tensor:
        for step in range(num_steps):
            self.step(num_each, rate * (1 - step / num_steps), passes)
        return self.policy


UNSCALED = {"whiten_rewards": False, "whiten_advantages": False}
RUNS: dict[str, tuple[dict[str, Any], float]] = {
    "ppo": ({**UNSCALED, "missing_end_penalty": 0.0, "lam": 0.95}, 4.0),
    "rloo": ({}, 2.0),
    "reinforce++": ({"whiten": "mean"}, 4.0),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_optimum_of_kl_regularised_reward_is_reached(name: str) -> None:
    options, rate = RUNS[name]
    found = World(name, **options).train(400, rate, passes=2)
    assert kl(found, OPTIMUM) < 1e-3
    assert kl(REFERENCE, OPTIMUM) > 0.3  # where it began


@pytest.mark.parametrize("name", RUNS)
def test_a_wrong_sign_is_far_away(name: str) -> None:
    """What keeps the test above from passing by chance."""
    options, rate = RUNS[name]
    assert kl(World(name, rewards=-REWARDS, **options).train(100, rate), OPTIMUM) > 0.5


def test_grpo_rests_where_each_prompts_spread_is_its_unit() -> None:
    """Dividing by a group's standard deviation changes the optimum: prompts of little spread get as far as others.

    With rewards of a prompt made ten times smaller the regularised optimum hardly leaves the reference there; GRPO
    moves about as far as before, and away from the optimum. Without the division the rest is small but not nothing: KL
    as a loss of each token does not see that the first token decides which KL the second one costs.
    """
    scaled = REWARDS * torch.tensor([[1.0], [0.1]], dtype=torch.float64)
    optimum = (REFERENCE + scaled / BETA).log_softmax(-1)
    options = {"aggregation": "sequence-sum", "kl_coef": BETA}
    without = World("dr-grpo", rewards=scaled, **options).train(400, 2.0)
    divided = World("grpo", rewards=scaled, **options).train(400, 2.0)
    assert kl(without, optimum) < 5e-3
    assert kl(divided, optimum) > 0.1
    assert kl(without[1:], REFERENCE[1:]) < 0.02
    assert kl(divided[1:], REFERENCE[1:]) > 0.3


@pytest.mark.parametrize("estimator", ["k2", "k3"])
def test_as_a_loss_k2_pulls_along_kl_to_the_reference_and_k3_along_the_other_way(estimator: str) -> None:
    """The exact expected gradient at a policy that has moved (Tang & Munos 2025 show the same): checked by autograd."""
    torch.manual_seed(0)
    logits = (FIRST[0] + torch.randn(3, dtype=torch.float64)).requires_grad_()
    reference = FIRST[0].log_softmax(-1)
    logprobs = logits.log_softmax(-1)
    probabilities = logprobs.detach().exp()
    method = find_method("grpo")(kl_coef=1.0, kl_estimator=estimator)
    total = torch.zeros((), dtype=torch.float64)
    for token in range(3):  # the expectation over samples of the policy, each a step of its own
        none = torch.zeros(1, dtype=torch.float64)
        batch = LossBatch(
            logprobs[token : token + 1], torch.tensor([0]), torch.tensor([0]), reference[token : token + 1],
            tokens={"advantages": none},
        )  # fmt: skip
        total = total + probabilities[token] * method.loss(batch).total
    (found,) = torch.autograd.grad(total, logits, retain_graph=True)
    forward = (logprobs.exp() * (logprobs - reference)).sum()
    backward = (reference.exp() * (reference - logprobs)).sum()
    (expected,) = torch.autograd.grad(forward if estimator == "k2" else backward, logits)
    assert torch.allclose(found, expected, atol=1e-12)
