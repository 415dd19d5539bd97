"""What all methods share that learn from answers they sample themselves: options, the step's data, and the loss.

A method that learns from rewards is a class with one or two functions. `advantages` turns the rewards of a whole step
into a number a token; `token_losses` turns these and the ratio of new to old probability into losses. Sampling,
scoring, the reference, the teacher, the critic and the order of minibatches are the loop's. Leaves out: arithmetic of
advantages (`advantages`), and what makes a method differ from the next (a file each).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from tutelage.data.load import load_prompts
from tutelage.data.starter import SEALED
from tutelage.errors import ConfigError, DataError
from tutelage.methods.options import check_not_negative, check_positive, check_unused
from tutelage.methods.registry import Loss, LossBatch, Reading
from tutelage.types import Prompt

Aggregation = Literal["token-mean", "sequence-mean", "sequence-sum", "constant"]


@dataclass(frozen=True, eq=False)
class Rollouts:
    """All answers of a step that could be scored, as `advantages` sees them."""

    rewards: Tensor
    """`(num_sequences,)` fp32, shaped (`PolicyMethod.shape`)."""
    group_index: Tensor
    """`(num_sequences,)` which prompt an answer is to."""
    sequence_index: Tensor
    """`(num_tokens,)` which answer a token is of; non-decreasing."""
    k1: Tensor
    """`(num_tokens,)` log π_old − log π_ref; zeros where the method has no reference."""
    kl_coef: float
    """The coefficient now: an adaptive one moves."""
    values: Tensor | None = None
    """`(num_tokens,)` the critic's, where the method has one."""

    @property
    def num_sequences(self) -> int:
        return len(self.rewards)

    def sum_by_sequence(self, values: Tensor) -> Tensor:
        """`(num_tokens,)` → `(num_sequences,)` sums."""
        return values.new_zeros(self.num_sequences).index_add(0, self.sequence_index, values)


@dataclass(frozen=True)
class SampledMethod(ABC):
    """A method that learns from answers it samples itself. The options that every one of them has."""

    online: ClassVar[bool] = True
    sees: ClassVar[Literal["logprobs", "scores"]] = "logprobs"
    save_every: ClassVar[int] = 20
    has_critic: ClassVar[bool] = False
    has_teacher: ClassVar[bool] = False
    """True: a teacher's distribution is what each token is compared with. False: rewards say what is good."""
    counts_idle: ClassVar[bool] = True
    """Whether answers without any gradient count in what the loss is divided by."""
    refills: ClassVar[bool] = False
    """Whether groups of equal rewards are replaced by other prompts' before learning."""
    unused: ClassVar[tuple[str, ...]] = ()
    """Options inherited that the method does nothing with; to give one is an error."""

    prompts: str = ""
    """Data file with the prompts to practise on, or `compare`; a column `answer` serves rewards that need one."""
    prompts_per_step: int = 8
    """Prompts answered in each step."""
    group_size: int = 8
    """Answers sampled to each prompt."""
    max_new_tokens: int = 128
    """Longest answer, in tokens."""
    temperature: float = 1.0
    """Of sampling; the logprobs that are learned on are taken at the same one."""
    aggregation: Aggregation = "token-mean"
    """How token losses are put together: over all tokens of the step, over each answer first, or over a constant."""
    inner_epochs: int = 1
    """Passes over the answers of a step."""
    minibatches: int = 1
    """Updates a pass."""
    sampling_batch: int = 64
    """Answers sampled at once."""
    sampler: Literal["own", "vllm"] = "own"
    """What samples: our own sampler, or vLLM, which `pip install 'tutelage[vllm]'` brings."""
    answer_every: int = 10
    """Answer the same few prompts every so many steps, into samples.jsonl; 0 = only at the end."""
    stop_on: tuple[str, ...] = ()
    """Warnings that end the run and keep the last good checkpoint: kl-runaway, length-explains-reward, … or `any`."""

    def __post_init__(self) -> None:
        check_unused(self, self.unused)
        for name, lowest in _LOWEST.items():
            if getattr(self, name) < lowest:
                raise ConfigError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be at least {lowest}")
        check_positive(temperature=self.temperature)
        if self.minibatches > self.prompts_per_step:
            raise ConfigError(
                f"--minibatches is {self.minibatches} and --prompts-per-step {self.prompts_per_step}; a minibatch "
                "needs at least one prompt"
            )

    @property
    def kl_coef(self) -> float:
        """The β before a KL divergence to a reference; 0 where the method has no such option."""
        return 0.0

    @property
    def has_kl_loss(self) -> bool:
        return False

    @property
    def loss_temperature(self) -> float:
        """What logits are divided by where they are learned on."""
        return self.temperature

    @property
    def num_updates(self) -> int:
        """Optimiser steps in one step of the run."""
        return self.inner_epochs * self.minibatches

    def read(self, source: Any, reading: Reading) -> Sequence[Prompt]:
        if source == SEALED:
            raise DataError(
                "'sealed' names the sealed prompts, which nothing is ever trained on; 'compare' names others"
            )
        return load_prompts(source)

    def shape(self, rewards: Tensor, num_tokens: Tensor, stopped: Tensor) -> Tensor:
        """`(num_sequences,)` rewards with the method's penalties."""
        return rewards

    @abstractmethod
    def advantages(self, rollouts: Rollouts) -> Mapping[str, Tensor]:
        """`advantages` `(num_tokens,)`, and what else the loss needs of each token. Sees the whole step at once."""

    def weight(self, num_sequences: float, num_tokens: float) -> float:
        """What the summed losses of so many answers are divided by."""
        return float(num_tokens if self.aggregation == "token-mean" else num_sequences)

    @abstractmethod
    def loss(self, batch: LossBatch) -> Loss:
        """Pure: what the model says in, sum and weight out."""


_LOWEST = {
    "prompts_per_step": 1, "group_size": 1, "max_new_tokens": 1, "inner_epochs": 1, "minibatches": 1,
    "sampling_batch": 1, "answer_every": 0,
}  # fmt: skip


@dataclass(frozen=True)
class PolicyMethod(SampledMethod):
    """Sample, score, learn. The options that every method has that learns from rewards."""

    learns_from: ClassVar[str] = "rewards"
    kl_in_reward: ClassVar[bool] = False
    """True: −β·k1 is part of the token rewards. False: β times an estimate of KL is part of the loss."""

    old_logprobs: Literal["trainer", "sampler"] = "trainer"
    """The denominator of the ratio: computed by the trainer before it learns, or what the sampler recorded."""
    reward: tuple[str, ...] = ()
    """What is good: a reward model, a check by name, a judge or ./reward.py:function; several are a weighted sum."""
    kl_coef: float = 0.0
    """How firmly the policy is held to the reference: the β before the KL divergence."""
    kl_estimator: Literal["k2", "k3"] = "k2"
    """Where KL is part of the loss: k2's gradient is that of KL(π‖ref), k3's that of KL(ref‖π)."""
    measure_kl: bool = False
    """Compute the reference's logprobs even where --kl-coef is 0, to see how far the policy has moved."""
    ref_model: str | None = None
    """The reference; the model that training starts from, if not given."""
    clip_low: float = 0.2
    """Ratios below 1 − this gain nothing more."""
    clip_high: float = 0.2
    """Ratios above 1 + this gain nothing more."""
    missing_end_penalty: float = 0.0
    """Taken off the reward of an answer that the limit cut off."""
    ensemble_penalty: float = 0.0
    """Reward of an ensemble: its members' mean, less this times their variance."""
    mismatch: Literal["ignore", "truncate", "mask"] = "ignore"
    """Weigh tokens by trainer over sampler probability: cut at --mismatch-cap, or 0 outside of it."""
    mismatch_cap: float = 2.0
    """Largest weight; with `mask` the smallest is its inverse."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mismatch_cap < 1:
            raise ConfigError(f"--mismatch-cap is {self.mismatch_cap}; it must be at least 1")
        check_positive(mismatch_cap=self.mismatch_cap)
        check_not_negative(
            kl_coef=self.kl_coef, clip_low=self.clip_low, clip_high=self.clip_high,
            ensemble_penalty=self.ensemble_penalty, missing_end_penalty=self.missing_end_penalty,
        )  # fmt: skip

    @property
    def needs_reference(self) -> bool:
        return self.kl_coef > 0 or self.measure_kl

    @property
    def has_kl_loss(self) -> bool:
        return self.kl_coef > 0 and not self.kl_in_reward

    # Rewards ---------------------------------------------------------------------------------------------------------
    def shape(self, rewards: Tensor, num_tokens: Tensor, stopped: Tensor) -> Tensor:
        """`(num_sequences,)` rewards with the method's penalties."""
        return rewards - self.missing_end_penalty * (~stopped).to(rewards)

    # The loss --------------------------------------------------------------------------------------------------------
    def token_losses(self, log_ratio: Tensor, batch: LossBatch) -> Tensor:
        """`(num_targets,)` losses; here the clipped surrogate of PPO (Schulman et al. 2017, equation 7)."""
        return clipped(log_ratio, batch.tokens["advantages"], self.clip_low, self.clip_high)

    def loss(self, batch: LossBatch) -> Loss:
        old = batch.tokens.get("old_logprobs", batch.logprobs.detach())
        log_ratio = batch.logprobs - old
        losses = self.token_losses(log_ratio, batch)
        metrics = {"clip_frac": summed(self.clipped_tokens(log_ratio, batch)), "update_kl": summed(k3(log_ratio))}
        if self.mismatch != "ignore":
            weights = mismatch_weights(old - batch.tokens["rollout_logprobs"], self.mismatch, self.mismatch_cap)
            losses = losses * weights
            metrics["mismatch_weight"] = summed(weights)
        if self.has_kl_loss:
            assert batch.ref_logprobs is not None
            moved = batch.logprobs - batch.ref_logprobs
            losses = losses + self.kl_coef * (k2(moved) if self.kl_estimator == "k2" else k3(-moved))
        total = aggregate(losses, batch, self.aggregation, self.max_new_tokens)
        return Loss(total, self.weight(len(batch.tree_index), batch.logprobs.numel()), metrics)

    def clipped_tokens(self, log_ratio: Tensor, batch: LossBatch) -> Tensor:
        """`(num_targets,)` 1.0 where the clip decides and the gradient is 0."""
        advantages = batch.tokens["advantages"]
        high = (log_ratio > math.log1p(self.clip_high)) & (advantages > 0)
        low = (log_ratio < log_or_lowest(1 - self.clip_low)) & (advantages < 0)
        return (high | low).float()


class GroupMethod(PolicyMethod):
    """A method whose baseline is the other answers to the same prompt."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group_size < 2:
            raise ConfigError(
                f"--group-size is {self.group_size}; answers are compared with each other, so give 2 or more"
            )


def log_or_lowest(x: float) -> float:
    """log x; −inf for what is not above 0."""
    return math.log(x) if x > 0 else -math.inf


def clipped(log_ratio: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """max(−A·ρ, −A·clip(ρ, 1 − low, 1 + high)), elementwise."""
    # Far above the upper clip nothing changes but the ratio, and an infinite one times a gradient of 0 would be NaN.
    far = math.log1p(high) + 1
    ratio = torch.where(advantages < 0, log_ratio, log_ratio.clamp(max=far)).exp()
    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - low, 1 + high))


def aggregate(losses: Tensor, batch: LossBatch, how: Aggregation, constant: int) -> Tensor:
    """The sum that goes with `PolicyMethod.weight`: 0-dim."""
    if how == "sequence-mean":
        return (batch.sum_by_sequence(losses) / batch.tokens_by_sequence().clamp(min=1)).sum()
    return losses.sum() / constant if how == "constant" else losses.sum()


def mismatch_weights(log_weight: Tensor, how: str, cap: float) -> Tensor:
    """π_trainer / π_sampler of each token, truncated at `cap`, or 0 outside [1/cap, cap]; without gradient.

    TIS of arXiv:2510.18927's discussion and the masking of IcePop; both leave the PPO ratio as it is.
    """
    weights = log_weight.detach().exp()
    if how == "truncate":
        return weights.clamp(max=cap)
    return torch.where((weights <= cap) & (weights >= 1 / cap), weights, 0.0)


def k1(log_ratio: Tensor) -> Tensor:
    """x = log π − log π_ref: unbiased for KL(π‖ref) on samples of π, of either sign."""
    return log_ratio


def k2(log_ratio: Tensor) -> Tensor:
    """x²/2: biased as a value; as a loss on samples of π its gradient is that of KL(π‖ref)."""
    return log_ratio.square() / 2


def k3(log_ratio: Tensor) -> Tensor:
    """e^{−x} − 1 + x with x = −`log_ratio`, that is e^{r} − 1 − r: unbiased, never negative.

    The KL estimate on samples of π of x = log π − log π_ref is `k3(−x)`.
    """
    return torch.expm1(log_ratio) - log_ratio


def summed(values: Tensor) -> tuple[float, float]:
    """A metric of the mean over tokens, as its sum and weight."""
    return float(values.detach().sum()), float(values.numel())
