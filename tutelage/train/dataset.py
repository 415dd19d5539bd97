"""Records to trees: rendering, what to do with long ones, the validation split, and the order of steps.

The order is a pure function of seed and step, so a resumed run needs no cursor but the step. Leaves out reading files
(`tutelage.data`) and packing (`tutelage.engine.tree`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tutelage.data.render import render_conversation
from tutelage.engine.tree import Tokens, Tree
from tutelage.errors import DataError
from tutelage.models.template import end_of_turn_id
from tutelage.train.config import TrainConfig

Item = list[Tree]
"""The trees of one record; a conversation is one unless later turns do not meet earlier ones as they were."""


@dataclass(frozen=True)
class Dataset:
    """The records of a run, rendered and split."""

    train: list[Item]
    val: list[Item]
    places: list[str]
    """Where each training item came from, e.g. `pairs.jsonl:3`, for messages."""
    num_left_out: int
    fingerprint: str
    """sha256 of every token id and mask, so that a resumed run can tell that its data changed."""


def _place(record: Any) -> dict[str, Any]:
    source = getattr(record, "source", None)
    return {"file": source.file, "line": source.line} if source else {}


def _cut(tree: Tree, limit: int) -> Tree | None:
    """The tree with the ends of its branches cut off, or None when a branch has nothing trained left."""
    room = max(limit - len(tree.trunk), 0)
    branches = tuple(Tokens(branch.ids[:room], branch.mask[:room]) for branch in tree.branches)
    return Tree(tree.trunk, branches) if all(any(branch.mask) for branch in branches) else None


def _longest_path(tree: Tree) -> int:
    return len(tree.trunk) + max(len(branch) for branch in tree.branches)


class Limit(NamedTuple):
    """The longest conversation that is allowed."""

    num_tokens: int
    remedy: str
    """What can be done about it, for messages."""


def token_limit(config: TrainConfig, model: Any) -> Limit:
    """The longest conversation allowed: the option, or the model's context where that is shorter."""
    context = getattr(model.config, "max_position_embeddings", None)
    if context and context < config.max_tokens:
        return Limit(context, "that is the model's whole context: shorten it")
    return Limit(config.max_tokens, "raise --max-tokens, shorten it")


class _Trees:
    """Makes items of records and applies the rule for long ones, counting what it left out and what it cut."""

    def __init__(self, method: Any, tokenizer: Any, limit: Limit, too_long: str) -> None:
        self.method, self.limit, self.too_long = method, limit, too_long
        self.num_left_out = self.num_cut = 0
        end_of_turn = end_of_turn_id(tokenizer)
        self.render = lambda record: render_conversation(tokenizer, record, end_of_turn)

    def items(self, records: Sequence[Any]) -> tuple[list[Item], list[str]]:
        """(items, where each came from); raises DataError for a long record unless it may be dropped or cut."""
        items, places = [], []
        for number, record in enumerate(records, start=1):
            item = self._item(record)
            if item:
                items.append(item)
                places.append(str(getattr(record, "source", None) or f"record {number}"))
            else:
                self.num_left_out += 1
        return items, places

    def _item(self, record: Any) -> Item:
        trees: Item = self.method.trees(record, self.render)
        limit = self.limit.num_tokens
        longest = max(map(_longest_path, trees))
        if longest <= limit:
            return trees
        if self.too_long == "error":
            raise DataError(
                f"has {longest} tokens and the limit is {limit}; {self.limit.remedy}, or give --too-long drop or "
                "--too-long cut",
                **_place(record),
            )
        if self.too_long == "drop":
            return []
        kept = [cut for tree in trees if (cut := tree if _longest_path(tree) <= limit else _cut(tree, limit))]
        self.num_cut += bool(kept)
        return kept

    def say_what_happened(self, num_records: int, say: Callable[[str], None]) -> None:
        longer = f"of {num_records} records are longer than {self.limit.num_tokens} tokens"
        if self.num_cut:
            say(f"{self.num_cut} {longer} and were cut")
        if self.num_left_out:
            say(f"{self.num_left_out} {longer} and were left out")


def make_dataset(
    config: TrainConfig,
    method: Any,
    tokenizer: Any,
    limit: Limit,
    records: Sequence[Any],
    say: Callable[[str], None] = lambda _: None,
) -> Dataset:
    """Render and split the records of a run, and read its validation data.

    Raises DataError for bad data, and when nothing is left to train on or to validate on.
    """
    maker = _Trees(method, tokenizer, limit, config.too_long)
    items, places = maker.items(records)
    maker.say_what_happened(len(records), say)
    if not items:
        raise DataError(
            f"nothing is left to train on: all {len(records)} records are longer than {limit.num_tokens} tokens"
        )
    if config.val_data:
        train = list(range(len(items)))
        val = _validation_items(config, method, tokenizer, limit, say)
    else:
        held_out, train = _split(len(items), config.val_frac, config.seed)
        val = [items[index] for index in held_out]
    chosen, names = [items[index] for index in train], [places[index] for index in train]
    return Dataset(chosen, val, names, maker.num_left_out, _fingerprint([*chosen, [], *val]))


def _validation_items(
    config: TrainConfig, method: Any, tokenizer: Any, limit: Limit, say: Callable[[str], None]
) -> list[Item]:
    maker = _Trees(method, tokenizer, limit, config.too_long)
    records = method.read(config.val_data)
    items, _ = maker.items(records)
    maker.say_what_happened(len(records), lambda line: say(f"{config.val_data}: {line}"))
    if not items:
        raise DataError(
            f"nothing is left to validate on: all {len(records)} records are longer than {limit.num_tokens} tokens",
            file=config.val_data,
        )
    return items


def _split(num_items: int, frac: float, seed: int) -> tuple[list[int], list[int]]:
    """(validation, training) indices, both in file order; at least one of each where a share is asked for."""
    if not frac:
        return [], list(range(num_items))
    if num_items < 2:
        raise DataError(f"--val-frac {frac} needs at least 2 records and there is 1; give --val-data, or more records")
    num_val = min(max(round(num_items * frac), 1), num_items - 1)
    chosen = set(np.random.default_rng([seed, 1]).permutation(num_items)[:num_val].tolist())
    return sorted(chosen), [index for index in range(num_items) if index not in chosen]


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
        """Indices of the records of a step; each epoch's order depends on the seed and the epoch alone."""
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, 2, epoch]).permutation(self.num_records).tolist()
        return self._order[place * self.batch_size : (place + 1) * self.batch_size]

    def ends_epoch(self, step: int) -> bool:
        return step % self.steps_per_epoch == 0
