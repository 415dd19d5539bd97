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

from tutelage.data.render import Rendered, RenderedAnswers, render_answers, render_conversation
from tutelage.engine.tree import Tokens, Tree
from tutelage.errors import DataError
from tutelage.methods.registry import Reading
from tutelage.models.template import end_of_turn_id
from tutelage.store.sources import readable
from tutelage.train.config import TrainConfig
from tutelage.types import Conversation, Message, Source

Item = list[Tree]
"""The trees of one record; a conversation is one unless later turns do not meet earlier ones as they were."""


@dataclass(frozen=True)
class TokenizerRenderer:
    """Renders messages with one tokenizer (`tutelage.methods.registry.Renderer`)."""

    tokenizer: Any
    end_of_turn: int

    def conversation(self, record: Conversation) -> list[Rendered]:
        return render_conversation(self.tokenizer, record, self.end_of_turn)

    def answers(
        self, messages: Sequence[Message], answers: Sequence[Sequence[Message]], source: Source | None
    ) -> RenderedAnswers:
        return render_answers(self.tokenizer, messages, answers, self.end_of_turn, source)


@dataclass(frozen=True)
class Dataset:
    """The records of a run, rendered and split."""

    train: list[Item]
    val: list[Item]
    val_records: list[Any]
    """The record of each validation item."""
    places: list[str]
    """Where each training item came from, e.g. `pairs.jsonl:3`, for messages."""
    num_left_out: int
    fingerprint: str
    """sha256 of every token id, mask and value, so that a resumed run can tell that its data changed."""

    @property
    def trees(self) -> list[Tree]:
        """Every tree, training first, in order."""
        return [tree for item in (*self.train, *self.val) for tree in item]


def _place(record: Any) -> dict[str, Any]:
    source = getattr(record, "source", None)
    return {"file": source.file, "line": source.line} if source else {}


def _cut(tree: Tree, limit: int) -> Tree | None:
    """The tree with the ends of its branches cut off.

    None when a branch has nothing trained left, or when branches that differed are the same now.
    """
    room = max(limit - len(tree.trunk), 0)
    branches = tuple(Tokens(branch.ids[:room], branch.mask[:room]) for branch in tree.branches)
    is_good = all(any(branch.mask) for branch in branches) and len(set(branches)) == len(set(tree.branches))
    return Tree(tree.trunk, branches, tree.values) if is_good else None


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

    def __init__(self, method: Any, tokenizer: Any, limit: Limit, config: TrainConfig) -> None:
        self.method, self.limit, self.too_long, self.bad_records = method, limit, config.too_long, config.bad_records
        self.num_left_out = self.num_cut = self.num_empty = 0
        self.bad: list[DataError] = []
        self.render = TokenizerRenderer(tokenizer, end_of_turn_id(tokenizer))

    def items(self, records: Sequence[Any]) -> tuple[list[Item], list[Any]]:
        """(items, the record of each); raises DataError for a long record unless it may be dropped or cut."""
        items, kept = [], []
        for record in records:
            if item := self._item(record):
                items.append(item)
                kept.append(record)
        return items, kept

    def _item(self, record: Any) -> Item:
        try:
            trees: Item = self.method.trees(record, self.render)
        except DataError as error:  # a text that this tokenizer cannot render, a control token in it for one
            if self.bad_records == "error":
                raise
            self.bad.append(error)
            return []
        limit = self.limit.num_tokens
        self.num_empty += not trees
        longest = max(map(_longest_path, trees), default=0)
        if longest <= limit:
            return trees
        if self.too_long == "error":
            raise DataError(
                f"has {longest} tokens and the limit is {limit}; {self.limit.remedy}, or give --too-long drop or "
                "--too-long cut",
                **_place(record),
            )
        kept = []
        if self.too_long == "cut":
            kept = [cut for tree in trees if (cut := tree if _longest_path(tree) <= limit else _cut(tree, limit))]
        self.num_cut += bool(kept)
        self.num_left_out += not kept
        return kept

    def pair_up(self, items: list[Item]) -> list[Item]:
        """The items with what the method pairs from one and another, where it does; its trees are cut to the limit."""
        if not hasattr(self.method, "pair_up") or not items:
            return items
        limit = self.limit.num_tokens
        paired = self.method.pair_up(items)
        return [[cut for tree in item if (cut := _cut(tree, limit))] for item in paired]

    def say_what_happened(self, num_records: int, say: Callable[[str], None]) -> None:
        longer = f"of {num_records} records are longer than {self.limit.num_tokens} tokens"
        if self.num_cut:
            say(f"{self.num_cut} {longer} and were cut")
        if self.num_left_out:
            say(f"{self.num_left_out} {longer} and were left out")
        if self.bad:
            say(f"{len(self.bad)} of {num_records} records cannot be rendered; left out; the first: {self.bad[0]}")
        if self.num_empty:
            say(f"{self.num_empty} of {num_records} records have nothing that the method learns from; left out")

    def why_nothing_is_left(self, num_records: int) -> str:
        if self.num_empty == num_records:
            return f"none of the {num_records} records has anything that the method learns from"
        if self.bad:
            return f"{len(self.bad)} of {num_records} records cannot be rendered; the first: {self.bad[0]}"
        return f"all {num_records} records are longer than {self.limit.num_tokens} tokens"


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
    maker = _Trees(method, tokenizer, limit, config)
    items, kept = maker.items(records)
    maker.say_what_happened(len(records), say)
    if not items:
        raise DataError(f"nothing is left to train on: {maker.why_nothing_is_left(len(records))}")
    if config.val_data:
        train = list(range(len(items)))
        val, val_records = _validation_items(config, method, tokenizer, limit, say)
    else:
        seed = config.seed if config.split_seed is None else config.split_seed
        held_out, train = _split(len(items), config.val_frac, seed)
        val, val_records = [items[index] for index in held_out], [kept[index] for index in held_out]
    numbers = {id(record): number for number, record in enumerate(records, start=1)}
    names = [str(getattr(kept[i], "source", None) or f"record {numbers[id(kept[i])]}") for i in train]
    chosen, val = maker.pair_up([items[index] for index in train]), maker.pair_up(val)
    fingerprint = _fingerprint([*chosen, [], *val])
    return Dataset(chosen, val, val_records, names, maker.num_left_out + maker.num_empty, fingerprint)


def _validation_items(
    config: TrainConfig, method: Any, tokenizer: Any, limit: Limit, say: Callable[[str], None]
) -> tuple[list[Item], list[Any]]:
    def say_where(line: str) -> None:
        say(f"{config.val_data}: {line}")

    maker = _Trees(method, tokenizer, limit, config)
    data = readable(config.workspace, str(config.val_data))
    records = method.read(data, Reading(config.bad_records, say_where))
    items, kept = maker.items(records)
    maker.say_what_happened(len(records), say_where)
    if not items:
        why = maker.why_nothing_is_left(len(records))
        raise DataError(f"nothing is left to validate on: {why}", file=config.val_data)
    return items, kept


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
            for name in sorted(tree.values):
                digest.update(name.encode() + np.array(tree.values[name], dtype="<f8").tobytes())
    return digest.hexdigest()


class StepPlan:
    """Which records each step trains on; steps are counted from 1."""

    def __init__(self, num_records: int, config: TrainConfig) -> None:
        self.num_records, self.batch_size, self.seed = num_records, config.batch_size, config.seed
        self.steps_per_epoch = -(-num_records // config.batch_size)
        whole = self.steps_per_epoch * (1 if config.epochs is None else config.epochs)
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
