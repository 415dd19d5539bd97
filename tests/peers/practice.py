"""One step's answers to three prompts, and what our policy-gradient methods make of them.

All numbers are fp64, so that formulas are compared and not rounding. Four answers a prompt, of one to five tokens; the
policy has moved far enough for clips on both sides, and the third prompt's answers are all of the same reward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from tutelage.methods.policy import Rollouts
from tutelage.methods.registry import LossBatch, find_method

LENGTHS = (3, 1, 4, 2, 2, 5, 1, 3, 4, 2, 3, 1)
REWARDS = (1.0, 0.0, 0.5, -0.3, 0.2, 0.2, 1.5, -1.0, 0.75, 0.75, 0.75, 0.75)
GROUPS = (0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2)


def numbers(seed: int, scale: float) -> Tensor:
    """`(num_tokens,)` normal, fp64."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(sum(LENGTHS), generator=generator, dtype=torch.float64)


@dataclass(frozen=True)
class Practice:
    """A step as everyone sees it: flat tensors `(num_tokens,)`, and a reward and a prompt for each answer."""

    old: Tensor
    logprobs: Tensor
    ref: Tensor
    sampler: Tensor
    values: Tensor
    new_values: Tensor
    rewards: tuple[float, ...] = REWARDS
    groups: tuple[int, ...] = GROUPS
    lengths: tuple[int, ...] = LENGTHS

    @property
    def sequence_index(self) -> Tensor:
        return torch.arange(len(self.lengths)).repeat_interleave(torch.tensor(self.lengths))

    def rows(self, values: Tensor) -> list[list[float]]:
        """`(num_tokens,)` as a list an answer."""
        return [row.tolist() for row in values.split(self.lengths)]

    def told(self) -> dict[str, Any]:
        """What a job tells the other library."""
        names = ("old", "logprobs", "ref", "sampler", "values", "new_values")
        tokens = {name: self.rows(getattr(self, name)) for name in names}
        return tokens | {"rewards": self.rewards, "groups": self.groups}


OLD = -numbers(0, 1.0).abs() - 0.05
STEP = Practice(
    OLD, OLD + numbers(21, 0.4), OLD + numbers(2, 0.5), OLD + numbers(3, 0.4), numbers(4, 1.0), numbers(5, 1.0)
)


class Found(NamedTuple):
    """What a library makes of a step: for each token, but for the loss and the metrics."""

    advantages: list[float]
    loss: float
    gradient: list[float]
    metrics: dict[str, float]


def advantages(name: str, step: Practice = STEP, **options: Any) -> dict[str, Tensor]:
    """What one of our methods makes of a step's rewards, `(num_tokens,)` each."""
    method = find_method(name)(**options)
    rewards, groups = torch.tensor(step.rewards, dtype=torch.float64), torch.tensor(step.groups)
    rollouts = Rollouts(rewards, groups, step.sequence_index, step.old - step.ref, method.kl_coef, step.values)
    return dict(method.advantages(rollouts))


def ours(name: str, step: Practice = STEP, *, on_policy: bool = False, **options: Any) -> Found:
    """Advantages, loss and gradient of one of our methods."""
    tokens = {"rollout_logprobs": step.sampler, **advantages(name, step, **options)}
    if not on_policy:
        tokens["old_logprobs"] = step.old
    logprobs = step.logprobs.clone().requires_grad_()
    batch = LossBatch(logprobs, step.sequence_index, torch.tensor(step.groups), step.ref, tokens=tokens)
    loss = find_method(name)(**options).loss(batch)
    (loss.total / loss.weight).backward()
    assert logprobs.grad is not None
    metrics = {key: total / weight for key, (total, weight) in loss.metrics.items()}
    value = float(loss.total.detach()) / loss.weight
    return Found(tokens["advantages"].tolist(), value, logprobs.grad.tolist(), metrics)


def same(found: Any) -> Any:
    """Close enough for two ways of writing the same arithmetic; 1e-8 beside a count or a deviation is let pass."""
    return pytest.approx(found, rel=1e-6, abs=1e-9)


def assert_agree(mine: Found, theirs: dict[str, Any], what: str) -> None:
    assert mine.advantages == same(theirs["advantages"]), f"{what}: advantages"
    assert mine.loss == same(theirs["loss"]), f"{what}: loss"
    assert mine.gradient == same(theirs["gradient"]), f"{what}: gradient"
