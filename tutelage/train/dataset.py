"""Records to trees: rendering, what to do with long ones, the validation split, and the order of steps.

The order is a pure function of seed and step, so a resumed run needs no cursor but the step. Leaves out reading files
(`tutelage.data`) and packing (`tutelage.engine.tree`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.data.render import render_conversation
from tutelage.engine.tree import Tokens, Tree
from tutelage.errors import DataError
from tutelage.models.template import end_of_turn_id
from tutelage.train.config import TrainConfig

Item = list[Tree]
"""The trees of one record; a conversation is one tree unless its template rewrites earlier turns."""


@dataclass(frozen=True)
class Dataset:
    train: list[Item]
    val: list[Item]
    num_left_out: int
    fingerprint: str
    """sha256 of every token id and mask, so that a resumed run can tell that its data changed."""


def _place(record: Any) -> dict[str, Any]:
    source = getattr(record, "source", None)
    return {"file": source.file, "line": source.line} if source else {}


def _cut(tree: Tree, limit: int) -> Tree | None:
    """The tree with the ends of its branches cut off, or None when nothing trained is left."""
    room = limit - len(tree.trunk)
    branches = tuple(Tokens(branch.ids[: max(room, 0)], branch.mask[: max(room, 0)]) for branch in tree.branches)
    return Tree(tree.trunk, branches) if all(any(branch.mask) for branch in branches) else None


def _longest_path(tree: Tree) -> int:
    return len(tree.trunk) + max(len(branch) for branch in tree.branches)


class _Trees:
    """Makes items of records and applies the rule for long ones."""

    def __init__(self, method: Any, tokenizer: Any, limit: int, too_long: str) -> None:
        self.method, self.limit, self.too_long = method, limit, too_long
        end_of_turn = end_of_turn_id(tokenizer)
        self.render = lambda record: render_conversation(tokenizer, record, end_of_turn)

    def item(self, record: Any) -> Item | None:
        trees = self.method.trees(record, self.render)
        longest = max(map(_longest_path, trees))
        if longest <= self.limit:
            return trees
        if self.too_long == "error":
            raise DataError(
                f"has {longest} tokens and the limit is {self.limit}; raise --max-tokens, shorten it, or give "
                "--too-long drop or --too-long cut",
                **_place(record),
            )
        if self.too_long == "drop":
            return None
        cut = [_cut(tree, self.limit) for tree in trees]
        return None if None in cut else [tree for tree in cut if tree is not None]


def token_limit(config: TrainConfig, model: Any) -> int:
    """The longest conversation allowed: the option, or the model's context where that is shorter."""
    context = getattr(model.config, "max_position_embeddings", None) or config.max_tokens
    return min(config.max_tokens, context)


def make_dataset(
    config: TrainConfig,
    method: Any,
    tokenizer: Any,
    limit: int,
    records: Sequence[Any],
    say: Callable[[str], None] = lambda _: None,
) -> Dataset:
    """Render and split the records of a run, and read its validation data. Raises DataError for bad data or when nothing is left to train on."""
    maker = _Trees(method, tokenizer, limit, config.too_long)
    made = [maker.item(record) for record in records]
    items = [item for item in made if item is not None]
    left_out = len(made) - len(items)
    if config.val_data:
        val = [item for item in map(maker.item, method.read(config.val_data)) if item is not None]
        train = items
    else:
        val, train = _split(items, config.val_frac, config.seed)
    if not train:
        raise DataError(f"nothing is left to train on: all {len(made)} records are longer than {limit} tokens")
    if left_out:
        say(f"{left_out} of {len(made)} records are longer than {limit} tokens and were left out")
    return Dataset(train, val, left_out, _fingerprint([*train, [], *val]))


def _split(items: list[Item], frac: float, seed: int) -> tuple[list[Item], list[Item]]:
    """(validation, training), both in file order; at least one record is trained on."""
    num_val = min(round(len(items) * frac), len(items) - 1) if frac else 0
    chosen = set(np.random.default_rng([seed, 1]).permutation(len(items))[:num_val].tolist())
    val = [item for index, item in enumerate(items) if index in chosen]
    return val, [item for index, item in enumerate(items) if index not in chosen]


def _fingerprint(items: Sequence[Item]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(b"item")
        for tree in item:
            for tokens in (tree.trunk, *tree.branches):
                digest.update(np.array(tokens.ids, dtype="<i8").tobytes() + bytes(tokens.mask))
    return digest.hexdigest()


class StepPlan:
    """Which records each step trains on; steps are counted from 1."""

    def __init__(self, num_records: int, config: TrainConfig) -> None:
        self.num_records, self.batch_size, self.seed = num_records, config.batch_size, config.seed
        self.steps_per_epoch = -(-num_records // config.batch_size)
        whole = self.steps_per_epoch * config.epochs
        self.num_steps = min(whole, config.max_steps) if config.max_steps else whole
        self._epoch = -1
        self._order: list[int] = []

    def records(self, step: int) -> list[int]:
        """Indices of the records of a step; each epoch has a fresh order that depends on the seed and the epoch alone."""
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, 2, epoch]).permutation(self.num_records).tolist()
        return self._order[place * self.batch_size : (place + 1) * self.batch_size]

    def ends_epoch(self, step: int) -> bool:
        return step % self.steps_per_epoch == 0
