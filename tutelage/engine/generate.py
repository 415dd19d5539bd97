"""Answers from a model: many prompts at once, or one streamed piece by piece.

Many go to our own sampler; a model whose attention is not pluggable is sampled by transformers' `generate`, left-padded
and slower, with the same options. Leaves out: text and prompts (`answer`), and vLLM (`vllm`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch

from tutelage.engine.draw import restricted_logprobs
from tutelage.engine.forward import base_causal_lm, ordinary_attention
from tutelage.engine.merged import merged_adapters, packed_layers
from tutelage.engine.sampler import Growing, Sampler, slot_attention, why_not
from tutelage.errors import ConfigError

logger = logging.getLogger("tutelage")


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
    min_p: float = 0.0
    """Draw only tokens at least this many times as probable as the most probable one; 0 = all."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer; they are left out of it."""
    ignore_eos: bool = False
    """Go on to the limit whatever the model says."""

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ConfigError(f"--max-new-tokens is {self.max_new_tokens}; it must be at least 1")
        if not 0 <= self.temperature < float("inf"):
            raise ConfigError(f"--temperature is {self.temperature}; it must be 0 or more")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"--top-p is {self.top_p}; it must be above 0 and at most 1")
        if self.top_k < 0:
            raise ConfigError(f"--top-k is {self.top_k}; it must be 0 or more")
        if not 0 <= self.min_p < 1:
            raise ConfigError(f"--min-p is {self.min_p}; it must be at least 0 and below 1")
        if "" in self.stop:
            raise ConfigError("--stop is empty; give the text that ends an answer, or leave it out")


class Completion(NamedTuple):
    ids: tuple[int, ...]
    """Sampled ids, the stop token left out."""
    stopped: bool
    """True when the model ended by itself or wrote a stop text, False when the limit cut it off."""
    end: tuple[int, ...] = ()
    """The stop token, where one ended it."""
    logprobs: tuple[float, ...] = ()
    """Of `ids` and `end`, under the distribution they were drawn from (at temperature 0: the model's own)."""

    @property
    def sampled(self) -> tuple[int, ...]:
        """Everything the model chose: what a policy is trained on."""
        return self.ids + self.end


class Engine(Protocol):
    """What samples: our own sampler (`answer.OwnEngine`) or vLLM (`vllm.VllmEngine`)."""

    def sync(self) -> None:
        """Take the model's weights as they are now."""

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        keys: Sequence[int] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """A completion for each prompt of token ids, in the order given; arguments as of `generate`."""


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of sampled ids as it is: control tokens visible, no blank tidied away."""
    return tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)


def room_in_context(model: Any, prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that still fit into the context after the longest prompt. Raises ConfigError when there are none."""
    context = getattr(base_causal_lm(model).config, "max_position_embeddings", None) or sys.maxsize
    longest = max(map(len, prompts), default=0)
    if longest + 1 > context:
        raise ConfigError(f"a prompt has {longest} tokens and the model's context is {context}; shorten the prompt")
    return context - longest


@contextmanager
def _ready(model: Any, seed: int) -> Iterator[None]:
    """Evaluation mode, no gradients, and draws of the seed; all put back afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.random.fork_rng(), torch.inference_mode():
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
    batch_size: int = 64,
    keys: Sequence[int] | None = None,
    ends_text: Callable[[Sequence[int]], bool] | None = None,
    progress: Callable[[int], None] | None = None,
    each: Callable[[int, Completion], None] | None = None,
) -> list[Completion]:
    """A completion for each prompt of token ids, in the order given.

    A prompt that occurs several times is computed once. The draws of a completion depend on the seed and its key (its
    place, if no keys are given), not on the batch size. `ends_text` says whether the ids so far end with a stop text.
    `progress` is told how many more are done, `each` is given every completion with its place as soon as it has ended.
    The global random state is left as it was. Raises ConfigError for a prompt that fills the context, or that is empty.
    """
    room_in_context(model, prompts)  # before anything is sampled
    if any(not prompt for prompt in prompts):
        raise ConfigError("a prompt has no tokens; give it at least one")
    keys = range(len(prompts)) if keys is None else keys
    told, given = progress or (lambda _: None), each or (lambda _, __: None)
    reason = why_not(model)
    if reason:
        logger.warning("sampling by transformers (slower): %s", reason)
        return _generate_elsewhere(model, prompts, sampling, stop_ids, pad_id, batch_size, keys, ends_text, told, given)
    limits = [min(sampling.max_new_tokens, room_in_context(model, [prompt])) for prompt in prompts]
    found: dict[int, Completion] = {}

    def done(one: Growing) -> None:
        found[one.index] = completion_of(one.ids, one.logprobs, stop_ids, sampling.ignore_eos, ended=one.ended)
        given(one.index, found[one.index])
        told(1)

    with _ready(model, sampling.seed), slot_attention(model), merged_adapters(model), packed_layers(model):
        sampler = Sampler(model, sampling, stop_ids, batch_size, ends_text)
        sampler.run(list(zip(prompts, keys, limits, strict=True)), done)
    return [found[index] for index in range(len(prompts))]


def completion_of(
    ids: Sequence[int], logprobs: Sequence[float], stop_ids: Sequence[int], ignore_eos: bool, *, ended: bool
) -> Completion:
    """Everything that was sampled, the stop token told apart."""
    by_token = ended and not ignore_eos and ids[-1] in stop_ids
    kept = ids[:-1] if by_token else ids
    return Completion(tuple(kept), ended, tuple(ids[-1:]) if by_token else (), tuple(logprobs))


# transformers' own sampling -----------------------------------------------------------------------------------------


def _arguments(sampling: Sampling, stop_ids: Sequence[int], pad_id: int, room: int) -> dict[str, Any]:
    drawn = {
        "do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k,
        "min_p": sampling.min_p or None,
    }  # fmt: skip
    greedy = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, "min_p": None}
    return {
        **(drawn if sampling.temperature > 0 else greedy),
        "max_new_tokens": min(sampling.max_new_tokens, room),
        "eos_token_id": None if sampling.ignore_eos else list(stop_ids),
        "pad_token_id": pad_id,
        "use_cache": True,
    }


class _Watch:
    """Two hooks of transformers' `generate`: logprobs of what was drawn, and stop texts."""

    def __init__(self, sampling: Sampling, prompt_length: int, ends_text: Callable[[Sequence[int]], bool] | None):
        self.sampling, self.prompt_length, self.ends_text = sampling, prompt_length, ends_text
        self.before: torch.Tensor | None = None
        self.columns: list[torch.Tensor] = []

    def take(self, ids: torch.Tensor) -> None:
        """Read off the logprob of the newest token of each row."""
        if self.before is not None:
            self.columns.append(self.before.gather(1, ids[:, -1:]).squeeze(1))

    def process(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.take(ids)
        self.before = restricted_logprobs(scores, self.sampling)
        return scores

    def stop(self, ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        ends = [self.ends_text is not None and self.ends_text(row[self.prompt_length :]) for row in ids.tolist()]
        return torch.tensor(ends, device=ids.device)


def _generate_elsewhere(
    model: Any, prompts: Sequence[Sequence[int]], sampling: Sampling, stop_ids: Sequence[int], pad_id: int,
    batch_size: int, keys: Sequence[int], ends_text: Callable[[Sequence[int]], bool] | None,
    told: Callable[[int], None], given: Callable[[int, Completion], None],
) -> list[Completion]:  # fmt: skip
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    found: dict[int, Completion] = {}
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        seed = (sampling.seed * 1_000_003 + keys[chosen[0]]) % 2**63
        with _ready(model, seed), ordinary_attention(model):
            batch = _generate_batch(model, [prompts[i] for i in chosen], sampling, stop_ids, pad_id, ends_text)
        for index, completion in zip(chosen, batch, strict=True):
            found[index] = completion
            given(index, completion)
        told(len(chosen))
    return [found[index] for index in range(len(prompts))]


def _generate_batch(
    model: Any, prompts: list[Sequence[int]], sampling: Sampling, stop_ids: Sequence[int], pad_id: int,
    ends_text: Callable[[Sequence[int]], bool] | None,
) -> list[Completion]:  # fmt: skip
    longest = max(map(len, prompts))
    ids = torch.full((len(prompts), longest), pad_id)
    mask = torch.zeros(len(prompts), longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(list(prompt))
        mask[row, longest - len(prompt) :] = 1
    watch = _Watch(sampling, longest, ends_text)
    output = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        logits_processor=[watch.process],
        stopping_criteria=[watch.stop] if ends_text else None,
        **_arguments(sampling, stop_ids, pad_id, room_in_context(model, prompts)),
    )
    watch.take(output)
    logprobs = torch.stack(watch.columns, 1).tolist()
    rows = zip(output[:, longest:].tolist(), logprobs, strict=True)
    return [_cut_at_the_end(row, found, sampling, stop_ids, ends_text) for row, found in rows]


def _cut_at_the_end(
    row: list[int], logprobs: list[float], sampling: Sampling, stop_ids: Sequence[int],
    ends_text: Callable[[Sequence[int]], bool] | None,
) -> Completion:  # fmt: skip
    """A row without what `generate` filled it up with."""
    for end in range(1, len(row) + 1):
        by_token = not sampling.ignore_eos and row[end - 1] in stop_ids
        if by_token or (ends_text is not None and ends_text(row[:end])):
            return completion_of(row[:end], logprobs[:end], stop_ids, sampling.ignore_eos, ended=True)
    return completion_of(row, logprobs, stop_ids, sampling.ignore_eos, ended=False)


# One answer, streamed -----------------------------------------------------------------------------------------------


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
    goes_on: Callable[[Sequence[int]], bool] | None = None,
) -> Completion:
    """One answer, its text handed to `emit` piece by piece as it is sampled, until `goes_on` says no to its ids."""
    room = room_in_context(model, [prompt])
    pieces = _Pieces(tokenizer, stop_ids, emit)
    ids = torch.tensor([list(prompt)], device=model.device)

    def cut(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        ends = [goes_on is not None and not goes_on(row[len(prompt) :]) for row in ids.tolist()]
        return torch.tensor(ends, device=ids.device)

    with _ready(model, sampling.seed), ordinary_attention(model):
        output = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), streamer=pieces,
            stopping_criteria=[cut] if goes_on is not None else None, **_arguments(sampling, stop_ids, pad_id, room),
        )  # fmt: skip
    row = output[0, len(prompt) :].tolist()
    ended = bool(row) and row[-1] in stop_ids
    return completion_of(row, (), stop_ids, sampling.ignore_eos, ended=ended)
