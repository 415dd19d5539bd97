"""Rows of unequal length, as padded tensors and back. Needs nothing but PyTorch: both environments import it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Rows = Sequence[Sequence[float]]


def padded(rows: Rows) -> Tensor:
    """`(num_rows, longest)` fp64, zeros after the end."""
    return torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row, dtype=torch.float64) for row in rows], batch_first=True, padding_value=0.0
    )


def mask_of(rows: Rows) -> Tensor:
    """`(num_rows, longest)` int64, 1 where a row has something."""
    return padded([[1.0] * len(row) for row in rows]).long()


def flat(values: Tensor, rows: Rows) -> list[float]:
    """What stands where `rows` has something, row after row."""
    return values.detach()[mask_of(rows).bool()].tolist()
