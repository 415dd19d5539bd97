"""Answers from a model: batches of prompts with a left-padded cache, or one prompt streamed piece by piece.

Sampling is transformers' own `generate`; this decides batches, seeds, stop tokens and what came of each prompt.
Leaves out logprobs of what was sampled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from tutelage.engine.forward import ordinary_attention
from tutelage.errors import ConfigError


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn; temperature 0 takes the most probable token each time."""

    max_new_tokens: int = 256
    """Longest answer, in tokens."""
    temperature: float = 0.0
    """0 = always the most probable token; 1 = the model's own distribution."""
    top_p: float = 1.0
    """Draw only from the most probable tokens that together have this probability."""
    top_k: int = 0
    """Draw only from this many most probable tokens; 0 = all."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ConfigError(f"--max-new-tokens is {self.max_new_tokens}; it must be at least 1")
        if not 0 <= self.temperature < float("inf"):
            raise ConfigError(f"--temperature is {self.temperature}; it must be 0 or more")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"--top-p is {self.top_p}; it must be above 0 and at most 1")
        if self.top_k < 0:
            raise ConfigError(f"--top-k is {self.top_k}; it must be 0 or more")


class Completion(NamedTuple):
    ids: tuple[int, ...]
    """Sampled ids, the stop token left out."""
    stopped: bool
    """True when the model ended by itself, False when the limit cut it off."""


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of sampled ids as it is: control tokens visible, no blank tidied away."""
    return tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _arguments(sampling: Sampling, stop_ids: Sequence[int], pad_id: int, room: int) -> dict[str, Any]:
    drawn = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    greedy = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {
        **(drawn if sampling.temperature > 0 else greedy),
        "max_new_tokens": min(sampling.max_new_tokens, room),
        "eos_token_id": list(stop_ids),
        "pad_token_id": pad_id,
        "use_cache": True,
    }


def _room(model: Any, prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that still fit into the context after the longest prompt. Raises ConfigError when there are none."""
    context = getattr(model.config, "max_position_embeddings", None) or sys.maxsize
    longest = max(map(len, prompts), default=0)
    if longest + 1 > context:
        raise ConfigError(f"a prompt has {longest} tokens and the model's context is {context}; shorten the prompt")
    return context - longest


@contextmanager
def _ready(model: Any, seed: int) -> Iterator[None]:
    """Evaluation mode, ordinary attention, no gradients, and draws of the seed; all put back afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.random.fork_rng(), torch.inference_mode(), ordinary_attention(model):
            torch.manual_seed(seed)
            yield
    finally:
        model.train(was_training)


def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    stop_ids: Sequence[int],
    pad_id: int,
    batch_size: int = 16,
    progress: Callable[[int], None] | None = None,
) -> list[Completion]:
    """A completion for each prompt of token ids, in the order given.

    Prompts of like length share a batch. `progress` is told how many more are done. The global random state is left
    as it was; the same seed, batch size and prompts give the same draws. Raises ConfigError for a prompt that fills
    the context.
    """
    _room(model, prompts)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    results: dict[int, Completion] = {}
    with _ready(model, sampling.seed):
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = _generate_batch(model, [prompts[index] for index in chosen], sampling, stop_ids, pad_id)
            results |= dict(zip(chosen, batch, strict=True))
            if progress is not None:
                progress(len(chosen))
    return [results[index] for index in range(len(prompts))]


def _generate_batch(
    model: Any, prompts: list[Sequence[int]], sampling: Sampling, stop_ids: Sequence[int], pad_id: int
) -> list[Completion]:
    longest = max(map(len, prompts))
    ids = torch.full((len(prompts), longest), pad_id)
    mask = torch.zeros(len(prompts), longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(list(prompt))
        mask[row, longest - len(prompt) :] = 1
    output = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        **_arguments(sampling, stop_ids, pad_id, _room(model, prompts)),
    )
    return [_completion(row, stop_ids) for row in output[:, longest:].tolist()]


def _completion(row: list[int], stop_ids: Sequence[int]) -> Completion:
    end = next((index for index, token in enumerate(row) if token in stop_ids), None)
    return Completion(tuple(row if end is None else row[:end]), end is not None)


class _Pieces:
    """transformers' streamer protocol: decodes what is new and hands it on as soon as it is whole characters."""

    def __init__(self, tokenizer: Any, stop_ids: Sequence[int], emit: Callable[[str], None]) -> None:
        self.tokenizer, self.stop_ids, self.emit = tokenizer, set(stop_ids), emit
        self.ids: list[int] = []
        self.shown = 0
        self.prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        if not self.prompt_seen:
            self.prompt_seen = True
            return
        self.ids += [token for token in value.flatten().tolist() if token not in self.stop_ids]
        text = decode(self.tokenizer, self.ids)
        if not text.endswith("\ufffd"):  # the rest of a character is still to come
            self.emit(text[self.shown :])
            self.shown = len(text)

    def end(self) -> None:
        text = decode(self.tokenizer, self.ids)
        if len(text) > self.shown:
            self.emit(text[self.shown :])


def stream(
    model: Any,
    tokenizer: Any,
    prompt: Sequence[int],
    sampling: Sampling,
    *,
    stop_ids: Sequence[int],
    pad_id: int,
    emit: Callable[[str], None],
) -> Completion:
    """One answer, its text handed to `emit` piece by piece as it is sampled."""
    room = _room(model, [prompt])
    pieces = _Pieces(tokenizer, stop_ids, emit)
    ids = torch.tensor([list(prompt)], device=model.device)
    with _ready(model, sampling.seed):
        output = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), streamer=pieces,
            **_arguments(sampling, stop_ids, pad_id, room),
        )  # fmt: skip
    return _completion(output[0, len(prompt) :].tolist(), stop_ids)
