"""Token trees and the batches that pack them: the one shape every method trains on.

A tree is a prompt (trunk) with one or more completions (branches). A batch packs many trees into one row, trunk before
branches, nothing padded, the prompt stored once. Positions restart so that each root-to-leaf path is exactly the
sequence a chat would see. Leaves out: attention over the layout (`attention`), and text (`tutelage.data.render`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids with their completion mask: True means "trained on"."""

    ids: tuple[int, ...]
    mask: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.mask):
            raise ValueError(f"{len(self.ids)} token ids but {len(self.mask)} mask values")

    @classmethod
    def prompt(cls, ids: Sequence[int]) -> Tokens:
        """Tokens that are read, not trained on."""
        return cls(tuple(ids), (False,) * len(ids))

    @classmethod
    def completion(cls, ids: Sequence[int]) -> Tokens:
        """Tokens that are all trained on."""
        return cls(tuple(ids), (True,) * len(ids))

    def __len__(self) -> int:
        return len(self.ids)

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.ids + other.ids, self.mask + other.mask)


@dataclass(frozen=True, slots=True)
class Tree:
    """A trunk and its branches: one branch for SFT, two for a comparison, K for a ranking, G for a rollout group.

    With several branches the trunk must not be trained on, since its tokens would belong to every branch.
    """

    trunk: Tokens
    branches: tuple[Tokens, ...]
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict, hash=False)
    """What a method knows of the branches besides their tokens (rank, strength, label), by name: one number a branch.

    Trees of one run have the same names."""
    token_values: Mapping[str, Tensor] = field(default_factory=dict, hash=False, compare=False)
    """What is known of each trained token (an advantage, an older logprob), by name: `(num_trained_tokens,)` each."""

    def __post_init__(self) -> None:
        if not self.branches:
            raise ValueError("a tree needs at least one branch")
        for name, numbers in self.values.items():
            if len(numbers) != len(self.branches):
                raise ValueError(f"{len(self.branches)} branches but {len(numbers)} values of '{name}'")
        for name, tensor in self.token_values.items():
            if tensor.shape != (self.num_trained_tokens,):
                raise ValueError(
                    f"{self.num_trained_tokens} trained tokens but values of '{name}' in shape {tuple(tensor.shape)}"
                )
        if len(self.branches) > 1 and any(self.trunk.mask):
            raise ValueError("a trunk shared by several branches cannot be trained on")
        if not self.trunk.ids:
            raise ValueError("a tree needs at least one trunk token: the first token has nothing to predict it")

    @property
    def num_tokens(self) -> int:
        """Tokens stored: the trunk once, and every branch."""
        return len(self.trunk) + sum(len(branch) for branch in self.branches)

    @property
    def num_trained_tokens(self) -> int:
        """Tokens that get a logprob: masked in and preceded by another token."""
        return sum(sum(branch.mask) for branch in self.branches) + sum(self.trunk.mask[1:])

    def paths(self) -> Iterator[Tokens]:
        """Each root-to-leaf sequence, as a chat would see it."""
        return (self.trunk + branch for branch in self.branches)


class Segment(NamedTuple):
    """A run of tokens [start, end) of the packed row that attends to its ancestors and causally to itself."""

    start: int
    end: int
    parent: int
    """Index of the parent segment, or -1 for a root."""
    position: int
    """Position of the first token along its path."""


@dataclass(frozen=True, slots=True, eq=False)
class TreeLayout:
    """What attention needs to know of a packed row. Segments stand in depth-first order."""

    segments: tuple[Segment, ...]
    num_tokens: int
    cache: dict[Any, Any] = field(default_factory=dict)
    """Per-batch scratch of the attention kernels (block masks, key ranges), keyed by window and device."""

    def ancestors(self, index: int) -> list[Segment]:
        """The segments on the path to segment `index`, root first, itself left out."""
        chain: list[Segment] = []
        parent = self.segments[index].parent
        while parent >= 0:
            chain.append(self.segments[parent])
            parent = self.segments[parent].parent
        return chain[::-1]

    def subtree_end(self) -> Tensor:
        """For each token, where the subtree of its segment ends, `(num_tokens,)`.

        In depth-first order token k is visible to token q exactly when `k <= q < subtree_end[k]`.
        """
        ends = [segment.end for segment in self.segments]
        for index in range(len(self.segments) - 1, -1, -1):
            parent = self.segments[index].parent
            if parent >= 0:
                ends[parent] = max(ends[parent], ends[index])
        lengths = torch.tensor([segment.end - segment.start for segment in self.segments])
        return torch.repeat_interleave(torch.tensor(ends), lengths)


@dataclass(frozen=True, slots=True, eq=False)
class TreeBatch:
    """Many trees in one row, and where their trained tokens are predicted from."""

    input_ids: Tensor
    """`(num_tokens,)`"""
    position_ids: Tensor
    """`(num_tokens,)` position of each token along its own path."""
    layout: TreeLayout
    source_index: Tensor
    """`(num_targets,)` row index of the token that predicts the target: the one before it on its path."""
    target_ids: Tensor
    """`(num_targets,)` the trained tokens."""
    sequence_index: Tensor
    """`(num_targets,)` which root-to-leaf sequence the target belongs to; non-decreasing."""
    tree_index: Tensor
    """`(num_sequences,)` which tree a sequence is a branch of."""
    end_index: Tensor
    """`(num_sequences,)` row index of a sequence's last token."""
    values: Mapping[str, Tensor]
    """What the trees know of their branches, `(num_sequences,)` fp32 each."""
    token_values: Mapping[str, Tensor]
    """What the trees know of their trained tokens, `(num_targets,)` fp32 each."""
    trees: tuple[Tree, ...]

    @property
    def num_tokens(self) -> int:
        """Tokens of the trees; what rounds the row's length up is not counted."""
        return sum(tree.num_tokens for tree in self.trees)

    @property
    def num_targets(self) -> int:
        return int(self.target_ids.numel())

    @property
    def num_sequences(self) -> int:
        return int(self.tree_index.numel())

    def to(self, device: torch.device | str) -> TreeBatch:
        """The same batch with its tensors on `device`."""
        tensors = {item.name: getattr(self, item.name) for item in fields(self)}
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True) for name, value in tensors.items() if isinstance(value, Tensor)
        }
        values = {name: value.to(device, non_blocking=True) for name, value in self.values.items()}
        tokens = {name: value.to(device, non_blocking=True) for name, value in self.token_values.items()}
        return replace(self, **moved, values=values, token_values=tokens)
