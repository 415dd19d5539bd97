"""Trees into rows: which trees share a row, and how a row is laid out.

What the trees of a row begin with alike (a system prompt, a template's opening, a question with many answers) is stored
and computed once, as the trunk that they all hang from; its gradient is the sum over them, as it would be anyway.
Leaves out: attention over the layout (`attention`), and which trees make up a step (`tutelage.train.dataset`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage.engine.prefix import WORTH_SHARING, num_common
from tutelage.engine.tree import Segment, Tokens, Tree, TreeBatch, TreeLayout

ROW_MULTIPLE = 32
"""What training rounds the length of a row up to."""
MOST_FORKS = 32
"""How many forks may follow one another: a layout costs attention a span of keys for each."""


def opening_of(tree: Tree) -> tuple[int, ...]:
    """What other trees may share with this one: the ids its trunk begins with that are not trained on."""
    trunk = tree.trunk
    untrained = trunk.mask.index(True) if any(trunk.mask) else len(trunk)
    # Every branch keeps a token of its own, since a sequence ends with one.
    return trunk.ids[: untrained if all(len(branch) for branch in tree.branches) else min(untrained, len(trunk) - 1)]


class _Row:
    """The lists a batch is built from."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.segments: list[Segment] = []
        self.sources: list[int] = []
        self.targets: list[int] = []
        self.sequences: list[int] = []
        self.tree_of_sequence: list[int] = []
        self.ends: list[int] = []
        self.values: dict[str, list[float]] = {}

    def add_segment(self, tokens: Tokens, parent: int) -> int:
        start, sequence = len(self.ids), len(self.tree_of_sequence)
        position = 0 if parent < 0 else self.segments[parent].position + _length(self.segments[parent])
        before_first = None if parent < 0 else self.segments[parent].end - 1
        for offset, (token, trained) in enumerate(zip(tokens.ids, tokens.mask, strict=True)):
            source = start + offset - 1 if offset else before_first
            if trained and source is not None:
                self.sources.append(source)
                self.targets.append(token)
                self.sequences.append(sequence)
        self.ids.extend(tokens.ids)
        self.positions.extend(range(position, position + len(tokens)))
        self.segments.append(Segment(start, len(self.ids), parent, position))
        return len(self.segments) - 1

    def add_trees(self, trees: Sequence[Tree]) -> None:
        openings = [opening_of(tree) for tree in trees]
        common = [num_common(*pair) for pair in pairwise(openings)]
        self._add_alike(trees, range(len(trees)), common, 0, -1, 0)

    def _add_alike(
        self, trees: Sequence[Tree], places: range, common: Sequence[int], depth: int, parent: int, forks: int
    ) -> None:
        """Trees that agree in their first `depth` tokens, which end with segment `parent`.

        `common[i]` is what the openings of trees i and i + 1 have in common."""
        start = places.start
        while start < places.stop:
            stop = start + 1
            while stop < places.stop and forks < MOST_FORKS and common[stop - 1] >= depth + WORTH_SHARING:
                stop += 1
            if stop - start == 1:
                self._add_tree(trees[start], start, depth, parent)
            else:
                agreed = min(common[start : stop - 1])
                trunk = self.add_segment(Tokens.prompt(trees[start].trunk.ids[depth:agreed]), parent)
                self._add_alike(trees, range(start, stop), common, agreed, trunk, forks + 1)
            start = stop

    def _add_tree(self, tree: Tree, index: int, depth: int, parent: int) -> None:
        trunk = Tokens(tree.trunk.ids[depth:], tree.trunk.mask[depth:])
        if len(tree.branches) == 1:
            # One path needs no fork: a single segment is one causal attention instead of two.
            self._add_leaf(trunk + tree.branches[0], parent, index)
        else:
            if len(trunk):
                parent = self.add_segment(trunk, parent)
            for branch in tree.branches:
                self._add_leaf(branch, parent, index)
        for name, numbers in tree.values.items():
            self.values.setdefault(name, []).extend(numbers)

    def _add_leaf(self, tokens: Tokens, parent: int, tree: int) -> None:
        self.add_segment(tokens, parent)
        self.tree_of_sequence.append(tree)
        self.ends.append(len(self.ids) - 1)


def _length(segment: Segment) -> int:
    return segment.end - segment.start


def pack(trees: Sequence[Tree], *, multiple: int = 1) -> TreeBatch:
    """Pack trees into one row, in the order given; neighbours that begin alike share what they begin with.

    The row's length is rounded up to a multiple, since the matrix libraries prepare a kernel for each length they meet
    and keep it. The tokens that fill it up are a tree of their own: nothing attends to them and nothing is trained on.
    Raises ValueError when there is nothing to train on in any of them, or when they know different values.
    """
    row = _Row()
    row.add_trees(trees)
    for name, numbers in row.values.items():
        if len(numbers) != len(row.tree_of_sequence):
            raise ValueError(f"only some of the trees have a value '{name}'")
    if filling := -len(row.ids) % multiple:
        row.add_segment(Tokens.prompt([0] * filling), -1)
    if not row.targets:
        raise ValueError("nothing to train on: every token of the batch is masked out")
    return TreeBatch(
        input_ids=torch.tensor(row.ids),
        position_ids=torch.tensor(row.positions),
        layout=TreeLayout(tuple(row.segments), len(row.ids)),
        source_index=torch.tensor(row.sources),
        target_ids=torch.tensor(row.targets),
        sequence_index=torch.tensor(row.sequences),
        tree_index=torch.tensor(row.tree_of_sequence),
        end_index=torch.tensor(row.ends),
        values={name: torch.tensor(numbers, dtype=torch.float32) for name, numbers in row.values.items()},
        token_values=_token_values(trees),
        trees=tuple(trees),
    )


def _token_values(trees: Sequence[Tree]) -> dict[str, Tensor]:
    names = trees[0].token_values.keys() if trees else ()
    for tree in trees:
        if tree.token_values.keys() != names:
            odd = sorted(tree.token_values.keys() ^ names)[0]
            raise ValueError(f"only some of the trees have token values '{odd}'")
    return {name: torch.cat([tree.token_values[name] for tree in trees]).float() for name in names}


# Which trees share a row ---------------------------------------------------------------------------------------------
class _Member(NamedTuple):
    """A tree, and what it shares with others of its step."""

    tree: Tree
    opening: tuple[int, ...]
    family: tuple[int, ...]
    """What all trees of its family begin with; empty when it has none."""

    @property
    def num_own(self) -> int:
        """Tokens stored for this tree when another one of its family has brought the opening."""
        return self.tree.num_tokens - len(self.family)


def _members(trees: Iterable[Tree]) -> list[_Member]:
    """The trees, longest first, each with its family: those whose openings agree in at least `WORTH_SHARING` tokens."""
    ordered = [(tree, opening_of(tree)) for tree in sorted(trees, key=lambda tree: -tree.num_tokens)]
    families: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for _, opening in ordered:
        families.setdefault(opening[:WORTH_SHARING], []).append(opening)
    common = {
        start: openings[0][: num_common(min(openings), max(openings))]  # the extremes of a sorted family agree least
        for start, openings in families.items() if len(openings) > 1 and len(start) == WORTH_SHARING
    }  # fmt: skip
    return [_Member(tree, opening, common.get(opening[:WORTH_SHARING], ())) for tree, opening in ordered]


class _Filling:
    """A row while it is filled."""

    def __init__(self) -> None:
        self.members: list[_Member] = []
        self.families: set[tuple[int, ...]] = set()
        self.size = 0
        """Tokens stored, but for the longest opening, which comes on top of the budget."""

    def size_with(self, member: _Member) -> int:
        openings = [len(family) for family in self.families | {member.family}]
        return sum(one.num_own for one in self.members) + member.num_own + sum(openings) - max(openings)

    def add(self, member: _Member) -> None:
        self.size = self.size_with(member)
        self.members.append(member)
        self.families.add(member.family)

    def trees(self) -> list[Tree]:
        """Those that begin alike next to one another, as `pack` wants them."""
        if len(self.members) > 1 and any(self.families):
            return [member.tree for member in sorted(self.members, key=lambda member: member.opening)]
        return [member.tree for member in self.members]


def split_by_budget(trees: Iterable[Tree], max_tokens: int) -> list[list[Tree]]:
    """Split trees into rows of at most `max_tokens` tokens, evenly filled; a longer tree gets a row of its own.

    Longest first into the emptiest row that has room, so rows differ little in cost; deterministic. An opening that
    several trees share comes on top: once a row, and where it is longer than the budget, a row may hold as many other
    tokens as the opening has.
    """
    members = _members(trees)
    long = dict.fromkeys(member.family for member in members if len(member.family) > max_tokens)
    rows = [row for family in long for row in _fill([one for one in members if one.family == family], len(family))]
    return rows + _fill([one for one in members if one.family not in long], max_tokens)


def _fill(members: Sequence[_Member], max_tokens: int) -> list[list[Tree]]:
    too_long = [[member.tree] for member in members if member.num_own > max_tokens]
    fitting = [member for member in members if member.num_own <= max_tokens]
    rows = [_Filling() for _ in range(-(-_size_together(fitting) // max_tokens))]
    for member in fitting:
        row = min(rows, key=lambda one: one.size, default=None)
        if row is None or (row.members and row.size_with(member) > max_tokens):
            rows.append(row := _Filling())
        row.add(member)
    return too_long + [row.trees() for row in rows if row.members]


def _size_together(members: Sequence[_Member]) -> int:
    openings = [len(family) for family in {member.family for member in members}]
    return sum(member.num_own for member in members) + sum(openings) - max(openings, default=0)
