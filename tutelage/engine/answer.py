"""Prompts in, answers out: rendering, sampling and decoding in one call, and what a text costs a model in nats.

Leaves out judging the answers (`evaluate`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tutelage.data.render import render_conversation, render_prompt
from tutelage.engine.forward import TreeEngine
from tutelage.engine.generate import Completion, Engine, Sampling, decode, generate, room_in_context, stream
from tutelage.engine.rows import pack, split_by_budget
from tutelage.engine.tree import Tokens, Tree
from tutelage.errors import ConfigError, DataError
from tutelage.models.template import end_of_turn_id
from tutelage.types import Answer, Conversation, Message, Prompt

ROW_TOKENS = 2048
AT_ONCE = 64
"""Answers sampled at once, unless told otherwise."""


def stop_ids(tokenizer: Any) -> list[int]:
    """The tokens that end an answer: the template's end of turn, and the model's own end of text."""
    return sorted({end_of_turn_id(tokenizer), tokenizer.eos_token_id} - {None})


def decode_answer(tokenizer: Any, ids: Sequence[int], stop: Sequence[str] = ()) -> str:
    """The text of an answer, cut before the first stop text in it."""
    text = decode(tokenizer, ids)
    ends = [place for one in stop if (place := text.find(one)) >= 0]
    return text[: min(ends, default=None)].strip()


def ends_with_text(tokenizer: Any, stop: Sequence[str]) -> Callable[[Sequence[int]], bool] | None:
    """What says of sampled ids whether their newest token has completed a stop text; None where there are none."""
    if not stop:
        return None
    # A text of n characters has at most 4n tokens, since a character has at most four bytes.
    tail = 4 * max(map(len, stop)) + 4

    def ends(ids: Sequence[int]) -> bool:
        text = decode(tokenizer, ids[-tail:])
        return any(one in text for one in stop)

    return ends


@dataclass(frozen=True)
class OwnEngine:
    """Our own sampler, which uses the model itself: there is nothing to keep in step."""

    model: Any
    tokenizer: Any
    batch_size: int = AT_ONCE

    def sync(self) -> None:
        pass

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        keys: Sequence[int] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        return generate(
            self.model, prompts, sampling, stop_ids=stop_ids(self.tokenizer), pad_id=pad_id(self.tokenizer),
            batch_size=self.batch_size, keys=keys, ends_text=ends_with_text(self.tokenizer, sampling.stop),
            progress=progress,
        )  # fmt: skip


def answer_prompts(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    *,
    name: str = "",
    num_samples: int = 1,
    batch_size: int = AT_ONCE,
    progress: Callable[[int], None] | None = None,
    engine: Engine | None = None,
) -> list[Answer]:
    """Answers to each prompt, `num_samples` of them one after the other, in the prompts' order.

    Our own sampler samples them unless another `engine` is given. Control tokens a model writes stay visible in the
    text.
    """
    engine = engine or OwnEngine(model, tokenizer, batch_size)
    end = end_of_turn_id(tokenizer)
    rendered = [render_prompt(tokenizer, prompt.messages, end) for prompt in prompts]
    asked = [prompt for prompt in prompts for _ in range(num_samples)]
    completions = engine.sample(
        [ids for ids in rendered for _ in range(num_samples)], sampling, progress=progress
    )  # fmt: skip
    return [
        Answer(
            prompt, decode_answer(tokenizer, completion.ids, sampling.stop), len(completion.ids), completion.stopped,
            name,
        )
        for prompt, completion in zip(asked, completions, strict=True)
    ]  # fmt: skip


def can_read(model: Any, tokenizer: Any, prompt: Prompt) -> bool:
    """Whether a model can be asked this at all: it fits into the context and holds no control token."""
    try:
        room_in_context(model, [render_prompt(tokenizer, prompt.messages, end_of_turn_id(tokenizer))])
    except (ConfigError, DataError):
        return False
    return True


def answer_each(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    keys: Sequence[int],
    sampling: Sampling,
    done: Callable[[int, Answer], None],
    *,
    name: str = "",
    batch_size: int = AT_ONCE,
) -> None:
    """An answer to each prompt, handed to `done` with the prompt's place as soon as it has ended.

    What is drawn for a prompt depends on the seed and its key alone, so that a job which is stopped and gone on with
    samples what it would have sampled.
    """
    end = end_of_turn_id(tokenizer)

    def ended(place: int, completion: Completion) -> None:
        text = decode_answer(tokenizer, completion.ids, sampling.stop)
        done(place, Answer(prompts[place], text, len(completion.ids), completion.stopped, name))

    generate(
        model, [render_prompt(tokenizer, prompt.messages, end) for prompt in prompts], sampling,
        stop_ids=stop_ids(tokenizer), pad_id=pad_id(tokenizer), batch_size=batch_size, keys=keys,
        ends_text=ends_with_text(tokenizer, sampling.stop), each=ended,
    )  # fmt: skip


def stream_answer(
    model: Any, tokenizer: Any, messages: Sequence[Message], sampling: Sampling, emit: Callable[[str], None]
) -> Answer:
    """Answer one conversation, its text handed to `emit` as it comes."""
    ids = render_prompt(tokenizer, messages, end_of_turn_id(tokenizer))
    completion = stream(
        model, tokenizer, ids, sampling, stop_ids=stop_ids(tokenizer), pad_id=pad_id(tokenizer), emit=emit
    )
    return Answer(
        Prompt(tuple(messages)), decode_answer(tokenizer, completion.ids), len(completion.ids), completion.stopped
    )


def pad_id(tokenizer: Any) -> int:
    """The token that fills rows up."""
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else stop_ids(tokenizer)[0]


def _tree_nll(engine: TreeEngine, trees: Sequence[Tree]) -> list[tuple[float, int]]:
    """(sum of -logp, number of trained tokens) of each single-branch tree, in order."""
    results: dict[int, tuple[float, int]] = {}
    place = {id(tree): index for index, tree in enumerate(trees)}
    with torch.no_grad():
        for row in split_by_budget(trees, ROW_TOKENS):
            batch = pack(row).to(next(engine.model.parameters()).device)
            logprobs = engine.logprobs(batch).logprobs.double()
            sums = logprobs.new_zeros(batch.num_sequences).index_add(0, batch.sequence_index, logprobs)
            counts = torch.bincount(batch.sequence_index, minlength=batch.num_sequences)
            for tree, total, count in zip(row, sums.tolist(), counts.tolist(), strict=True):
                results[place[id(tree)]] = (-total, count)
    return [results[index] for index in range(len(trees))]


def nll_of_references(engine: TreeEngine, tokenizer: Any, prompts: Sequence[Prompt]) -> list[tuple[float, int]]:
    """What each prompt's reference answer costs the model: (nats, tokens), end of turn included."""
    end = end_of_turn_id(tokenizer)
    trees = []
    for prompt in prompts:
        conversation = Conversation((*prompt.messages, Message("assistant", prompt.reference or "")))
        ids, mask = render_conversation(tokenizer, conversation, end)[-1]
        # Only the reference counts, not earlier turns of the prompt.
        start = len(mask) - mask[::-1].index(False)
        trees.append(Tree(Tokens.prompt(ids[:start]), (Tokens.completion(ids[start:]),)))
    return _tree_nll(engine, trees)


def nll_of_texts(engine: TreeEngine, tokenizer: Any, texts: Sequence[str]) -> list[tuple[float, int]]:
    """What plain text costs the model, without any chat template: (nats, tokens) from the second token on."""
    ids = [tokenizer(text)["input_ids"][:ROW_TOKENS] for text in texts]
    long_enough = [index for index, text_ids in enumerate(ids) if len(text_ids) > 1]
    trees = [Tree(Tokens.prompt(ids[index][:1]), (Tokens.completion(ids[index][1:]),)) for index in long_enough]
    found = dict(zip(long_enough, _tree_nll(engine, trees), strict=True))
    return [found.get(index, (0.0, 0)) for index in range(len(texts))]


def kl_of_samples(
    policy: TreeEngine,
    origin: TreeEngine,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    progress: Callable[[int], None] | None = None,
) -> list[float]:
    """log π − log π_origin in nats, summed over one sampled answer to each prompt, stop token included.

    Both are taken at temperature 1 whatever the answers were sampled with; their mean estimates KL(π ‖ π_origin) where
    that was 1 too.
    """
    end = end_of_turn_id(tokenizer)
    rendered = [render_prompt(tokenizer, prompt.messages, end) for prompt in prompts]
    completions = generate(
        policy.model, rendered, sampling, stop_ids=stop_ids(tokenizer), pad_id=pad_id(tokenizer),
        batch_size=AT_ONCE, progress=progress,
    )  # fmt: skip
    trees = [
        Tree(Tokens.prompt(ids), (Tokens.completion(completion.sampled),))
        for ids, completion in zip(rendered, completions, strict=True)
    ]
    costs = zip(_tree_nll(policy, trees), _tree_nll(origin, trees), strict=True)
    return [cost_of_origin - cost for (cost, _), (cost_of_origin, _) in costs]
