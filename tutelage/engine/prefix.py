"""Prompts that begin alike as one tree: a system prompt or a template's opening is computed once for all of them.

Leaves out: branches of training data, whose trunk is known (`tree`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from tutelage.engine.tree import Segment

WORTH_SHARING = 8
"""Fewer equal tokens are not worth a fork, which costs each layer one more product a branch."""


class Shared(NamedTuple):
    """A packed row of prompts, each stored token once."""

    ids: list[int]
    positions: list[int]
    """Of each token along its own prompt."""
    segments: list[Segment]
    leaves: list[int]
    """For each prompt, in the order given, the segment it ends with."""


def share_prefixes(prompts: Sequence[tuple[int, ...]], *, sharing: bool = True) -> Shared:
    """Lay out prompts (none empty) so that what at least two of them begin with is stored once.

    Without `sharing` each prompt is a segment of its own.
    """
    row = Shared([], [], [], [0] * len(prompts))
    if sharing:
        _place(row, prompts, sorted(range(len(prompts)), key=lambda index: prompts[index]), 0, -1)
    else:
        row.leaves[:] = [_add(row, prompt, 0, -1) for prompt in prompts]
    return row


def num_common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both begin with."""
    unequal = (place for place, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    return next(unequal, min(len(first), len(second)))


def _place(row: Shared, prompts: Sequence[tuple[int, ...]], order: list[int], depth: int, parent: int) -> None:
    """Lay out the prompts of `order`, which are sorted and agree in their first `depth` tokens."""
    for group in _families(prompts, order, depth):
        end = _agree_until(prompts, group) if len(group) > 1 else len(prompts[group[0]])
        segment = _add(row, prompts[group[0]][depth:end], depth, parent)
        longer = []
        for index in group:
            if len(prompts[index]) == end:
                row.leaves[index] = segment
            else:
                longer.append(index)
        if longer:
            _place(row, prompts, longer, end, segment)


def _families(prompts: Sequence[tuple[int, ...]], order: list[int], depth: int) -> Iterator[list[int]]:
    """Neighbours that agree in enough more tokens to be worth a trunk; every other prompt alone."""
    for _, group in groupby(order, key=lambda index: prompts[index][depth : depth + WORTH_SHARING]):
        family = list(group)
        if len(prompts[family[0]]) - depth < WORTH_SHARING:  # equal, but too short
            yield from ([index] for index in family)
        else:
            yield family


def _agree_until(prompts: Sequence[tuple[int, ...]], group: list[int]) -> int:
    return num_common(prompts[group[0]], prompts[group[-1]])  # the extremes of a sorted family


def _add(row: Shared, ids: tuple[int, ...], depth: int, parent: int) -> int:
    start = len(row.ids)
    row.ids.extend(ids)
    row.positions.extend(range(depth, depth + len(ids)))
    row.segments.append(Segment(start, len(row.ids), parent, depth))
    return len(row.segments) - 1
