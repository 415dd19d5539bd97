"""A model kept ready to be talked to: answers piece by piece, several to one prompt at once, that can be cut off.

What makes sampling fast (packed weights, merged adapters) is prepared once and kept from answer to answer. The pieces
of an answer add up to its text: without the blanks around it, cut before a stop text, and with no character that a
database cannot store. A model that our sampler cannot run is sampled by transformers, one answer after the other.

Leaves out: who asks (`tutelage.serve`), and keeping a conversation's keys and values from one turn to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from tutelage.data.render import render_prompt
from tutelage.engine.answer import ends_with_text, pad_id, stop_ids
from tutelage.engine.generate import Sampling, decode, room_in_context, stream
from tutelage.engine.merged import merged_adapters, packed_layers
from tutelage.engine.sampler import Growing, Sampler, slot_attention, why_not
from tutelage.errors import DataError
from tutelage.models.template import end_of_turn_id
from tutelage.types import Message

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_NEXT_SEED = 1_000_003
Emit = Callable[[int, str], None]
GoesOn = Callable[[], bool]


class Spoken(NamedTuple):
    """One answer."""

    text: str
    num_tokens: int
    stopped: bool
    """True when the model ended by itself or wrote a stop text."""


class Pieces:
    """The text of one answer while it grows; `take` gives what is new and will not change any more."""

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self.tokenizer, self.stop = tokenizer, stop
        self.text = ""
        self._num_shown = 0

    def take(self, ids: Sequence[int], *, last: bool = False) -> str:
        """What `ids`, all of the answer so far, add to the text; `last` when no more will come."""
        whole = decode(self.tokenizer, ids)
        text = whole if last else whole.rstrip(REPLACEMENT)
        ends = [place for one in self.stop if (place := text.find(one)) >= 0]
        text = text[: min(ends)] if ends else text if last else self._without_beginning_of_stop(text)
        self.text = text.strip().replace("\x00", REPLACEMENT)
        new = self.text[self._num_shown :]
        self._num_shown += len(new)
        return new

    def _without_beginning_of_stop(self, text: str) -> str:
        """The text without an end that may become a stop text."""
        longest = max((len(one) for one in self.stop), default=0)
        for size in range(min(longest - 1, len(text)), 0, -1):
            if any(one.startswith(text[-size:]) for one in self.stop):
                return text[:-size]
        return text


class LiveModel:
    """A loaded model between `with`'s begin and end, ready to answer one request after another."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.stop_ids = stop_ids(tokenizer)
        self._stack = ExitStack()
        self._sampler: Sampler | None = None

    def __enter__(self) -> LiveModel:
        self.model.eval()
        self._stack.enter_context(torch.inference_mode())
        if not why_not(self.model):
            for prepare in (slot_attention, merged_adapters, packed_layers):
                self._stack.enter_context(prepare(self.model))
            self._sampler = Sampler(self.model, Sampling(), self.stop_ids, 1)
        return self

    def __exit__(self, *error: Any) -> None:
        self._sampler = None
        self._stack.close()

    def render(self, messages: Sequence[Message], most_tokens: int) -> tuple[int, ...]:
        """The prompt's ids. Raises `DataError` when they are more than `most_tokens` or fill the context."""
        ids = render_prompt(self.tokenizer, messages, end_of_turn_id(self.tokenizer))
        if len(ids) > most_tokens:
            raise DataError(
                f"the conversation has {len(ids):,} tokens, and at most {most_tokens:,} are read here; begin a new one",
                field="messages",
            )
        room_in_context(self.model, [ids])
        return ids

    def answer(self, prompt: Sequence[int], sampling: Sampling, num: int, emit: Emit, goes_on: GoesOn) -> list[Spoken]:
        """`num` answers to a rendered prompt; answer 0 is what the same seed gives alone.

        `emit` gets the number of the answer and the next piece of its text. All are cut off once `goes_on` says no.
        """
        if self._sampler is None:
            return [self._elsewhere(prompt, sampling, index, emit, goes_on) for index in range(num)]
        return self._sampled(self._sampler, prompt, sampling, num, emit, goes_on)

    def _sampled(
        self, sampler: Sampler, prompt: Sequence[int], sampling: Sampling, num: int, emit: Emit, goes_on: GoesOn
    ) -> list[Spoken]:
        pieces = [Pieces(self.tokenizer, sampling.stop) for _ in range(num)]
        spoken: dict[int, Spoken] = {}

        def text_ids(one: Growing) -> list[int]:
            return one.ids[:-1] if one.ended and one.ids[-1] in sampler.stop_ids else one.ids

        def grew(one: Growing) -> bool:
            if new := pieces[one.index].take(text_ids(one)):
                emit(one.index, new)
            return goes_on()

        def done(one: Growing) -> None:
            if new := pieces[one.index].take(text_ids(one), last=True):
                emit(one.index, new)
            spoken[one.index] = Spoken(pieces[one.index].text, len(text_ids(one)), one.ended)

        limit = min(sampling.max_new_tokens, room_in_context(self.model, [prompt]))
        sampler.sampling, sampler.batch_size, sampler.goes_on = sampling, num, grew
        sampler.ends_text = ends_with_text(self.tokenizer, sampling.stop)
        sampler.stop_ids = frozenset(() if sampling.ignore_eos else self.stop_ids)
        sampler.prompts = {}
        sampler.run([(prompt, key, limit) for key in range(num)], done)
        return [spoken[index] for index in range(num)]

    def _elsewhere(self, prompt: Sequence[int], sampling: Sampling, index: int, emit: Emit, goes_on: GoesOn) -> Spoken:
        pieces, ended = Pieces(self.tokenizer, sampling.stop), False
        ends_text = ends_with_text(self.tokenizer, sampling.stop)

        def grew(ids: Sequence[int]) -> bool:
            nonlocal ended
            if new := pieces.take([token for token in ids if token not in self.stop_ids]):
                emit(index, new)
            ended = ends_text is not None and ends_text(ids)
            return not ended and goes_on()

        completion = stream(
            self.model, self.tokenizer, prompt, replace(sampling, seed=sampling.seed + index * _NEXT_SEED),
            stop_ids=self.stop_ids, pad_id=pad_id(self.tokenizer), emit=lambda _: None, goes_on=grew,
        )  # fmt: skip
        if new := pieces.take(completion.ids, last=True):
            emit(index, new)
        return Spoken(pieces.text, len(completion.ids), completion.stopped or ended)
