"""From rewards to advantages: pure functions on flat tensors, shared by the policy-gradient methods.

Tokens of all sequences stand one after the other; `sequence_index` `(num_tokens,)`, non-decreasing, says whose a token
is, and every sequence has at least one. Leaves out: which of them a method puts together (a file each).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Spread = Literal["sample", "population"]


def last_tokens(sequence_index: Tensor) -> Tensor:
    """`(num_sequences,)` where each sequence's last token stands."""
    return torch.bincount(sequence_index).cumsum(0) - 1


def _pad(flat: Tensor, sequence_index: Tensor) -> tuple[Tensor, Tensor]:
    """(`(num_sequences, longest)` with zeros after the end, mask of what is real)."""
    lengths = torch.bincount(sequence_index)
    mask = torch.arange(int(lengths.max()), device=flat.device) < lengths[:, None]
    padded = flat.new_zeros(mask.shape)
    padded[mask] = flat
    return padded, mask


def token_rewards(scores: Tensor, k1: Tensor, sequence_index: Tensor, kl_coef: float) -> Tensor:
    """−β·k1 at every token, and the score at the last generated one (Ouyang et al. 2022, equation 2), `(num_tokens,)`.

    The last generated token is the end of turn where there is one, else the one that the limit cut at.
    """
    rewards = -kl_coef * k1
    return rewards.index_add(0, last_tokens(sequence_index), scores.to(rewards))


def rewards_to_go(rewards: Tensor, sequence_index: Tensor, gamma: float = 1.0) -> Tensor:
    """Discounted sum of the rewards from each token to its sequence's end, `(num_tokens,)`."""
    padded, mask = _pad(rewards, sequence_index)
    running = padded.new_zeros(len(padded))
    for column in range(padded.shape[1] - 1, -1, -1):
        running = padded[:, column] + gamma * running
        padded[:, column] = running
    return padded[mask]


def gae(
    rewards: Tensor, values: Tensor, sequence_index: Tensor, *, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """(advantages, returns), `(num_tokens,)` each (Schulman et al. 2016, equation 16; returns = advantages + values).

    `values[t]` is of the state before token t; after the last token there is nothing more to come.
    """
    padded, mask = _pad(rewards, sequence_index)
    before, _ = _pad(values, sequence_index)
    advantages = torch.zeros_like(padded)
    running, after = padded.new_zeros(len(padded)), padded.new_zeros(len(padded))
    for column in range(padded.shape[1] - 1, -1, -1):
        # Past a sequence's end everything is 0, so what runs back from there is 0 as well.
        delta = padded[:, column] + gamma * after - before[:, column]
        running = delta + gamma * lam * running
        advantages[:, column], after = running, before[:, column]
    flat = advantages[mask]
    return flat, flat + values


def whiten(values: Tensor, *, shift_mean: bool = True, eps: float = 1e-8) -> Tensor:
    """Divide by the standard deviation (Bessel's); the mean becomes 0, or stays. Equal values have no deviation."""
    # The mean of equal numbers is not always that number, and what it is off by must not be blown up to a deviation.
    if values.numel() < 2 or bool((values == values[0]).all()):
        return torch.zeros_like(values) if shift_mean else values
    mean = values.mean()
    scaled = (values - mean) * torch.rsqrt(values.var() + eps)
    return scaled if shift_mean else scaled + mean


def _group_mean(rewards: Tensor, group_index: Tensor) -> tuple[Tensor, Tensor]:
    """(mean of each answer's group, size of each answer's group)."""
    counts = torch.bincount(group_index).to(rewards)
    sums = rewards.new_zeros(len(counts)).index_add(0, group_index, rewards)
    return (sums / counts)[group_index], counts[group_index]


def less_group_mean(rewards: Tensor, group_index: Tensor) -> Tensor:
    """r − mean of its group, `(num_sequences,)`; exactly 0 where all of a group are equal."""
    mean, _ = _group_mean(rewards, group_index)
    return torch.where(has_spread(rewards, group_index), rewards - mean, 0.0)


def less_mean_of_others(rewards: Tensor, group_index: Tensor) -> Tensor:
    """r − mean of the others of its group (leave-one-out, Kool et al. 2019); 0 for an answer that is alone."""
    mean, count = _group_mean(rewards, group_index)
    others = (mean * count - rewards) / (count - 1).clamp(min=1)
    return torch.where(has_spread(rewards, group_index), rewards - others, 0.0)


def over_group_std(advantages: Tensor, group_index: Tensor, spread: Spread, eps: float) -> Tensor:
    """Advantages (of mean 0 in each group) over the group's standard deviation plus `eps`; 0 stays 0, for eps 0 too."""
    variance, count = _group_mean(advantages.square(), group_index)
    if spread == "sample":
        variance = variance * count / (count - 1).clamp(min=1)
    return torch.where(advantages == 0, 0.0, advantages / (variance.sqrt() + eps))


def has_spread(rewards: Tensor, group_index: Tensor) -> Tensor:
    """Whether an answer's group has answers of different reward, `(num_sequences,)` bool."""
    size = int(group_index.max()) + 1 if len(group_index) else 0
    highest = rewards.new_full((size,), -torch.inf).scatter_reduce(0, group_index, rewards, "amax")
    lowest = rewards.new_full((size,), torch.inf).scatter_reduce(0, group_index, rewards, "amin")
    return (highest > lowest)[group_index]
