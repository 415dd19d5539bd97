"""Prompts in, scored answers out, and token trees of them: the first two phases of a step that samples.

The ids that are learned on are the prompt's and the sampled ones, stop token included; text is only made for rewards
and people. Leaves out learning (`online`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tutelage.data.render import render_prompt
from tutelage.engine.answer import OwnEngine, decode_answer
from tutelage.engine.generate import Completion, Engine, Sampling
from tutelage.engine.tree import Tokens, Tree
from tutelage.errors import ConfigError, DataError
from tutelage.models.template import end_of_turn_id
from tutelage.rewards.base import Judgement, RewardSum
from tutelage.train.config import TrainConfig
from tutelage.train.dataset import Limit
from tutelage.types import Answer, Prompt


class PromptItem(NamedTuple):
    prompt: Prompt
    ids: tuple[int, ...]


@dataclass(frozen=True)
class PromptSet:
    """The prompts of a run, rendered; what a `Dataset` is to methods that do not sample."""

    train: list[PromptItem]
    places: list[str]
    num_left_out: int
    fingerprint: str
    val: list[Any] = field(default_factory=list)
    val_records: list[Any] = field(default_factory=list)


def make_prompts(
    config: TrainConfig, method: Any, tokenizer: Any, limit: Limit, records: Sequence[Prompt],
    say: Callable[[str], None] = lambda _: None,
) -> PromptSet:  # fmt: skip
    """Render the prompts of a run. Raises DataError for one that leaves no room for an answer, unless it is dropped."""
    if config.val_data or config.val_frac:
        given = "--val-data" if config.val_data else "--val-frac"
        raise ConfigError(f"{given}: methods that sample have no validation loss; leave it out")
    end = end_of_turn_id(tokenizer)
    items: list[PromptItem] = []
    digest = hashlib.sha256()
    for record in records:
        ids = render_prompt(tokenizer, record.messages, end, record.source)
        if len(ids) + method.max_new_tokens > limit.num_tokens:
            if config.too_long == "drop":
                continue
            raise DataError(
                f"the prompt has {len(ids)} tokens, an answer may have {method.max_new_tokens}, and the limit is "
                f"{limit.num_tokens} together; {limit.remedy}, lower --max-new-tokens, or give --too-long drop",
                file=record.source.file if record.source else None, line=record.source.line if record.source else None,
            )  # fmt: skip
        items.append(PromptItem(record, ids))
        digest.update(repr((ids, record.reference, sorted(map(str, record.checks)))).encode())
    if num_dropped := len(records) - len(items):
        say(f"{num_dropped} of {len(records)} prompts leave no room for an answer and were left out")
    if not items:
        raise DataError(f"nothing is left to practise on: of {len(records)} prompts none leaves room for an answer")
    places = [str(item.prompt.source or f"prompt {number}") for number, item in enumerate(items, start=1)]
    return PromptSet(items, places, num_dropped, digest.hexdigest())


@dataclass(frozen=True)
class Scored:
    """One sampled answer and what it was found worth."""

    completion: Completion
    answer: Answer
    judgement: Judgement


@dataclass
class Group:
    """All answers to one prompt; those that could not be scored are only counted."""

    item: PromptItem
    scored: list[Scored]
    num_unscored: int = 0

    @property
    def has_spread(self) -> bool:
        return len({one.judgement.total for one in self.scored}) > 1

    def tree(self) -> Tree:
        """The prompt and its answers, with the sampler's logprobs of each token."""
        branches = tuple(Tokens.completion(one.completion.sampled) for one in self.scored)
        logprobs = [logprob for one in self.scored for logprob in one.completion.logprobs]
        return Tree(Tokens.prompt(self.item.ids), branches, token_values={"rollout_logprobs": torch.tensor(logprobs)})


@dataclass
class Clock:
    """Seconds and tokens by phase of a step."""

    seconds: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)

    def add(self, phase: str, begun: float, num_tokens: int = 0) -> None:
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - begun
        self.tokens[phase] = self.tokens.get(phase, 0) + num_tokens

    def metrics(self) -> dict[str, float]:
        found = {f"{phase}_seconds": seconds for phase, seconds in self.seconds.items()}
        for phase, num_tokens in self.tokens.items():
            if num_tokens and self.seconds[phase] > 0:
                found[f"{phase}_tokens_per_second"] = num_tokens / self.seconds[phase]
        return found


@dataclass
class Actor:
    """Samples answers with the policy as it is now, and has them scored."""

    model: Any
    tokenizer: Any
    method: Any
    reward: RewardSum
    seed: int
    on_progress: Callable[[int], None] = lambda _: None
    engine: Engine = None  # type: ignore[assignment]
    """Our own sampler, unless another one is given."""

    def __post_init__(self) -> None:
        self.engine = self.engine or OwnEngine(self.model, self.tokenizer, self.method.sampling_batch)

    def rollout(self, items: Sequence[PromptItem], step: int, clock: Clock, first: int = 0) -> list[Group]:
        """A group for each prompt. `first` numbers the step's answers on, where more are sampled.

        Between the first rollout of a step and the next ones nothing is learned, so the engine is synced once.
        """
        method, size = self.method, self.method.group_size
        sampling = Sampling(method.max_new_tokens, method.temperature, seed=self.seed)
        prompts = [item.ids for item in items for _ in range(size)]
        # The draws depend on the run's seed, the step and an answer's number in it: nothing to save, all to repeat.
        keys = [(step << 32) + first + number for number in range(len(prompts))]
        if not first:
            begun = time.perf_counter()
            self.engine.sync()
            clock.add("syncing", begun)
        begun = time.perf_counter()
        completions = self.engine.sample(prompts, sampling, keys=keys, progress=self.on_progress)
        num_sampled = sum(len(one.sampled) for one in completions)
        clock.add("sampling", begun, num_sampled)
        begun = time.perf_counter()
        answers = [
            Answer(item.prompt, decode_answer(self.tokenizer, completion.ids), len(completion.ids), completion.stopped)
            for item, completion in zip(_repeated(items, size), completions, strict=True)
        ]
        judgements = self.reward.judge(answers)
        clock.add("scoring", begun, num_sampled)
        everything = [Scored(*one) for one in zip(completions, answers, judgements, strict=True)]
        return [_group(item, everything[i * size : (i + 1) * size]) for i, item in enumerate(items)]


def _repeated(items: Sequence[PromptItem], times: int) -> list[PromptItem]:
    return [item for item in items for _ in range(times)]


def _group(item: PromptItem, answers: list[Scored]) -> Group:
    scored = [one for one in answers if one.judgement.total is not None]
    return Group(item, scored, len(answers) - len(scored))


def flat_index(trees: Sequence[Tree]) -> tuple[Tensor, Tensor]:
    """(`(num_tokens,)` the sequence of each trained token, `(num_sequences,)` the tree of each sequence)."""
    lengths = [len(branch) for tree in trees for branch in tree.branches]
    groups = [index for index, tree in enumerate(trees) for _ in tree.branches]
    return torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)), torch.tensor(groups)
