"""Conversations to token ids and completion masks, through the tokenizer's own chat template.

A model is trained on exactly what it meets in a chat: the ids of the whole conversation so far with its generation
prompt, tokenised as one text as every server does, then the answer's ids and the end-of-turn token. The answer's ids
are those it has in that text. On its own it would begin with a space that nobody wrote, wherever a tokenizer puts one
before any text (SentencePiece, Llama 2). Turns share a sequence as long as that rule holds for each. Every assistant
turn is trained on, its end-of-turn token included, and nothing else. Leaves out: what is done with a conversation that
is too long (`tutelage.train.dataset`), and adding a template (`tutelage.models.template`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import TemplateError

from tutelage.errors import DataError
from tutelage.types import Conversation, Message, Source


class Rendered(NamedTuple):
    """Token ids and, for each, whether it is trained on."""

    ids: tuple[int, ...]
    mask: tuple[bool, ...]


class RenderedAnswers(NamedTuple):
    """The ids of a prompt, and for each answer those that follow them."""

    prompt: tuple[int, ...]
    answers: tuple[Rendered, ...]


class _Turn(NamedTuple):
    """One assistant turn: everything before it, and what is trained, up to the end-of-turn token."""

    prompt: list[int]
    trained: list[int]


def _render_text(tokenizer: Any, messages: Sequence[Message], *, generation_prompt: bool) -> str:
    turns = [{"role": message.role, "content": message.content} for message in messages]
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generation_prompt)


def _encode(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _turns(tokenizer: Any, messages: Sequence[Message], end_of_turn: int, first: int = 0) -> Iterator[_Turn]:
    """The assistant's turns from message `first` on."""
    for index, message in enumerate(messages):
        if message.role != "assistant" or index < first:
            continue
        start = _render_text(tokenizer, messages[:index], generation_prompt=True)
        whole = _render_text(tokenizer, messages[: index + 1], generation_prompt=False)
        answer = whole[len(start) :] if whole.startswith(start) else message.content
        prompt = _encode(tokenizer, start)
        yield _Turn(prompt, _until(end_of_turn, _answer_ids(tokenizer, start, answer, prompt)))


def _answer_ids(tokenizer: Any, start: str, answer: str, prompt: list[int]) -> list[int]:
    """The answer's ids as they follow those of the prompt.

    Where a token would span the border, the answer is tokenised on its own: the prompt's ids stand when it is sampled.
    """
    both = _encode(tokenizer, start + answer)
    return both[len(prompt) :] if both[: len(prompt)] == prompt else _encode(tokenizer, answer)


def _until(end_of_turn: int, ids: list[int]) -> list[int]:
    """`ids` up to the last end-of-turn token, which is added where the template writes none."""
    if end_of_turn not in ids:
        return [*ids, end_of_turn]
    return ids[: len(ids) - ids[::-1].index(end_of_turn)]


@lru_cache(maxsize=8)
def _control_tokens(tokenizer: Any, template: str, named: frozenset[str | None]) -> tuple[str, ...]:
    """The tokens that steer a chat: those with a name of their own, and the special ones that the template writes.

    Other special tokens stay plain words to a user: `<filename>` is one of SmolLM2's.
    """
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return tuple(sorted({token for token in special if token in template} | {token for token in named if token}))


def _refuse_control_tokens(tokenizer: Any, conversation: Conversation, end_of_turn: int) -> None:
    """A control token inside a message would end the turn or begin another: the text was rendered before."""
    end = tokenizer.convert_ids_to_tokens(end_of_turn)
    named = frozenset({tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, end})
    controls = _control_tokens(tokenizer, str(tokenizer.chat_template), named)
    for index, message in enumerate(conversation.messages):
        found = next((token for token in controls if token in message.content), None)
        if found is not None:
            raise DataError(
                f"holds the control token '{found}', as text that was rendered already does; give the plain text",
                **_place(conversation),
                field=f"messages[{index}].content",
            )


def _place(conversation: Conversation) -> dict[str, Any]:
    source = conversation.source
    return {"file": source.file, "line": source.line} if source else {}


def _sequences(turns: Iterable[_Turn]) -> Iterator[Rendered]:
    """Turns joined where one's prompt begins with all that stands before, else with their own history.

    They part where a template rewrites earlier turns (hidden thoughts, say) or writes no end-of-turn token, and where
    the history is tokenised otherwise than the answer was sampled.
    """
    ids: list[int] = []
    mask: list[bool] = []
    for prompt, trained in turns:
        if prompt[: len(ids)] != ids:
            yield Rendered(tuple(ids), tuple(mask))
            ids, mask = [], []
        mask += [False] * (len(prompt) - len(ids)) + [True] * len(trained)
        ids = prompt + trained
    yield Rendered(tuple(ids), tuple(mask))


@contextmanager
def _refusals(conversation: Conversation) -> Iterator[None]:
    """What the template refuses is a mistake in the data."""
    try:
        yield
    except TemplateError as error:
        raise DataError(
            f"the model's chat template refuses this conversation ({error}); change the conversation, or use a model "
            "whose template takes it",
            **_place(conversation),
        ) from error


def render_conversation(tokenizer: Any, conversation: Conversation, end_of_turn: int) -> list[Rendered]:
    """A conversation as one rendered sequence, or several where later turns do not meet earlier ones as they were.

    `end_of_turn` is the token that closes an answer (`tutelage.models.template.end_of_turn_id`).
    Raises DataError when a message holds a control token, so was rendered before, or when the template refuses it.
    """
    _refuse_control_tokens(tokenizer, conversation, end_of_turn)
    with _refusals(conversation):
        return list(_sequences(_turns(tokenizer, conversation.messages, end_of_turn)))


def render_answers(
    tokenizer: Any,
    messages: Sequence[Message],
    answers: Sequence[Sequence[Message]],
    end_of_turn: int,
    source: Source | None = None,
) -> RenderedAnswers:
    """A prompt's ids once, and each answer as a chat goes on with them; user turns inside an answer are not trained.

    Raises DataError as `render_conversation` does, and for an answer of several turns when the chat template rewrites
    the earlier ones, since then no one sequence holds them all.
    """
    prompt = render_prompt(tokenizer, messages, end_of_turn, source)
    return RenderedAnswers(
        prompt, tuple(_rendered_answer(tokenizer, messages, answer, end_of_turn, source, prompt) for answer in answers)
    )


def _rendered_answer(
    tokenizer: Any, messages: Sequence[Message], answer: Sequence[Message], end_of_turn: int, source: Source | None,
    prompt: tuple[int, ...],
) -> Rendered:  # fmt: skip
    whole = Conversation((*messages, *answer), source)
    _refuse_control_tokens(tokenizer, whole, end_of_turn)
    with _refusals(whole):
        sequences = list(_sequences(_turns(tokenizer, whole.messages, end_of_turn, first=len(messages))))
    (ids, mask), *others = sequences
    if others or ids[: len(prompt)] != prompt:
        raise DataError(
            "the model's chat template rewrites earlier turns, so an answer of several turns is no one sequence; keep "
            "only its last turn",
            **_place(whole),
        )
    return Rendered(ids[len(prompt) :], mask[len(prompt) :])


def render_prompt(
    tokenizer: Any, messages: Sequence[Message], end_of_turn: int, source: Source | None = None
) -> tuple[int, ...]:
    """Ids to sample an answer from: exactly the ids before that answer in `render_conversation`."""
    conversation = Conversation(tuple(messages), source)
    _refuse_control_tokens(tokenizer, conversation, end_of_turn)
    with _refusals(conversation):
        return tuple(_encode(tokenizer, _render_text(tokenizer, messages, generation_prompt=True)))
