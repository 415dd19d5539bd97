"""The enumerable bandit: with every comparison weighted by its probability, methods must reach the theory's optimum.

Two prompts with five answers each, and answers of two tokens out of three. The reference is not uniform. Sign, mask,
normalisation and KL direction cannot be wrong in any of them and still pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tutelage.methods.registry import LossBatch, find_method

BETA = 0.5
REWARDS = torch.tensor([[1.0, 0.2, -0.7, 0.0, 0.5], [-1.0, 0.3, 0.9, 0.1, -0.2]], dtype=torch.float64)
REFERENCE = torch.tensor([[0.4, 0.1, 0.2, 0.25, 0.05], [0.1, 0.3, 0.15, 0.05, 0.4]], dtype=torch.float64).log()


def comparisons(rewards: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(prompt, chosen, rejected, probability) of every ordered pair, under Bradley–Terry."""
    prompts, answers = rewards.shape
    found = [
        (x, i, j, torch.sigmoid(rewards[x, i] - rewards[x, j]).item())
        for x in range(prompts)
        for i in range(answers)
        for j in range(answers)
        if i != j
    ]
    prompt, chosen, rejected, probability = zip(*found, strict=True)
    return torch.tensor(prompt), torch.tensor(chosen), torch.tensor(rejected), torch.tensor(probability).double()


def population_batch(logprobs: Tensor, reference: Tensor, rewards: Tensor) -> LossBatch:
    """A tree of two answers for each comparison, with its probability as the strength; `(…, num_tokens)` logprobs."""
    prompt, chosen, rejected, probability = comparisons(rewards)
    answer = torch.stack([chosen, rejected], 1).flatten()
    number, length = len(answer), logprobs.shape[-1]
    which = prompt.repeat_interleave(2)
    rank = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat(len(prompt))
    return LossBatch(
        logprobs[which, answer].flatten(),
        torch.arange(number).repeat_interleave(length),
        torch.arange(len(prompt)).repeat_interleave(2),
        reference[which, answer].flatten(),
        values={"rank": rank, "strength": probability.repeat_interleave(2)},
    )


def minimise(loss: Callable[[], Tensor], parameters: list[Tensor]) -> None:
    optimizer = torch.optim.LBFGS(parameters, max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return float(value.detach())

    optimizer.step(closure)


def trained_policy(name: str, sign: float = 1.0, **options: Any) -> Tensor:
    """log π `(prompts, answers)` after minimising the population loss from the reference."""
    logits = REFERENCE.clone().requires_grad_(True)
    method = find_method(name)(strength="weight", **options)

    def loss() -> Tensor:
        logprobs = logits.log_softmax(-1)[..., None]
        found = method.loss(population_batch(logprobs, REFERENCE[..., None], sign * REWARDS))
        return found.total / found.weight

    minimise(loss, [logits])
    return logits.detach().log_softmax(-1)


def kl(policy: Tensor, optimum: Tensor) -> float:
    """KL(π‖π*), the mean over prompts, in nats."""
    return float((policy.exp() * (policy - optimum)).sum(-1).mean())


def tilted(rewards: Tensor) -> Tensor:
    """log of π_ref · exp(rewards), normalised."""
    return (REFERENCE + rewards).log_softmax(-1)


def test_dpo_reaches_the_optimum_of_rlhf() -> None:
    """π* ∝ π_ref · exp(r/β), Rafailov et al. 2023, equation 4."""
    policy = trained_policy("dpo", beta=BETA)
    assert kl(policy, tilted(REWARDS / BETA)) < 1e-6
    assert kl(REFERENCE, tilted(REWARDS / BETA)) > 0.1  # where it began


def test_a_wrong_sign_is_far_away() -> None:
    """What keeps the test above from passing by chance."""
    policy = trained_policy("dpo", sign=-1.0, beta=BETA)
    assert kl(policy, tilted(REWARDS / BETA)) > 0.5


def test_ipo_reaches_its_own_optimum() -> None:
    """The population loss is Σ p_ij (h_i − h_j − c)² over ordered pairs, c = 1/(2β), h = log π − log π_ref.

    For each unordered pair that is (h_i − h_j − c(2p_ij − 1))² and a constant: least squares on a complete graph, whose
    solution is h_i = c · (1/n) Σ_j (2p_ij − 1) up to a constant.
    """
    preference = torch.sigmoid(REWARDS[:, :, None] - REWARDS[:, None, :])
    h = (2 * preference - 1).mean(-1) / (2 * BETA)
    policy = trained_policy("ipo", beta=BETA)
    assert kl(policy, tilted(h)) < 1e-6
    assert kl(REFERENCE, tilted(h)) > 0.01
    assert kl(trained_policy("ipo", sign=-1.0, beta=BETA), tilted(h)) > 0.05


@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_robust_dpo_sees_through_flipped_labels(noise: float) -> None:
    """With a share ε of the comparisons flipped, the optimum is still that of the labels without noise."""
    logits = REFERENCE.clone().requires_grad_(True)
    method = find_method("robust-dpo")(strength="weight", beta=BETA, label_smoothing=noise)

    def loss() -> Tensor:
        logprobs = logits.log_softmax(-1)[..., None]
        right = method.loss(population_batch(logprobs, REFERENCE[..., None], REWARDS))
        wrong = method.loss(population_batch(logprobs, REFERENCE[..., None], -REWARDS))
        return (1 - noise) * right.total + noise * wrong.total

    minimise(loss, [logits])
    assert kl(logits.detach().log_softmax(-1), tilted(REWARDS / BETA)) < 1e-6


def test_the_reward_model_finds_the_rewards_up_to_a_constant() -> None:
    scores = torch.zeros_like(REWARDS, requires_grad=True)
    method = find_method("reward")(strength="weight")
    prompt, chosen, rejected, _ = comparisons(REWARDS)

    def loss() -> Tensor:
        batch = population_batch(scores[..., None], scores.detach()[..., None], REWARDS)
        pairs = torch.stack([scores[prompt, chosen], scores[prompt, rejected]], 1).flatten()
        seen = LossBatch(pairs[:0], batch.sequence_index[:0], batch.tree_index, scores=pairs, values=batch.values)
        found = method.loss(seen)
        return found.total / found.weight

    minimise(loss, [scores])
    learned = scores.detach() - scores.detach().mean(-1, keepdim=True)
    torch.testing.assert_close(learned, REWARDS - REWARDS.mean(-1, keepdim=True), atol=1e-4, rtol=0)
    assert kl(tilted(scores.detach() / BETA), tilted(REWARDS / BETA)) < 1e-6


def test_dpo_on_answers_of_two_tokens() -> None:
    """Nine answers of two tokens out of three, whose policy is a first token and one after each: sums, not averages."""
    generator = torch.Generator().manual_seed(0)
    draw = [torch.randn(3, 3, generator=generator, dtype=torch.float64) for _ in range(2)]
    reference = token_logprobs(draw[0][:1], draw[1])
    rewards = torch.randn(1, 9, generator=generator, dtype=torch.float64)
    first, second = draw[0][:1].clone().requires_grad_(True), draw[1].clone().requires_grad_(True)
    method = find_method("dpo")(strength="weight", beta=BETA)

    def loss() -> Tensor:
        found = method.loss(population_batch(token_logprobs(first, second), reference, rewards))
        return found.total / found.weight

    minimise(loss, [first, second])
    policy = token_logprobs(first, second).detach().sum(-1)
    optimum = (reference.sum(-1) + rewards / BETA).log_softmax(-1)
    assert kl(policy, optimum) < 1e-6


def token_logprobs(first: Tensor, second: Tensor) -> Tensor:
    """`(1, 9, 2)` logprobs of both tokens of each answer."""
    of_first = first.log_softmax(-1)[0].repeat_interleave(3)
    of_second = second.log_softmax(-1).flatten()
    return torch.stack([of_first, of_second], -1)[None]
