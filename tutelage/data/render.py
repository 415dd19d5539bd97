"""Conversations to token ids and completion masks, through the tokenizer's own chat template.

Text is cut where a chat would cut it: the generation prompt is tokenised on its own and the answer on its own,
so training ids are always "generation-prompt ids + answer ids", and a prompt rendered for sampling is a prefix
of the same conversation rendered for training. Every assistant turn is trained on, its end-of-turn token
included, and nothing else. Leaves out: what is done with a conversation that is too long (`tutelage.methods`),
and adding a template (`tutelage.models.template`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import TemplateError

from tutelage.errors import DataError
from tutelage.types import Conversation, Message


class Rendered(NamedTuple):
    """Token ids and, for each, whether it is trained on."""

    ids: tuple[int, ...]
    mask: tuple[bool, ...]


class _Turn(NamedTuple):
    """One assistant turn: the text since the turn before (or the start), and the answer with what closes it."""

    prompt: str
    answer: str


class _UnstableTemplateError(Exception):
    """The template rewrites earlier turns, so a conversation is not one growing text."""


def _render_text(tokenizer: Any, messages: Sequence[Message], *, generation_prompt: bool) -> str:
    turns = [{"role": message.role, "content": message.content} for message in messages]
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generation_prompt)


def _turns(tokenizer: Any, messages: Sequence[Message]) -> Iterator[_Turn]:
    done = ""
    for index, message in enumerate(messages):
        if message.role != "assistant":
            continue
        prompt = _render_text(tokenizer, messages[:index], generation_prompt=True)
        whole = _render_text(tokenizer, messages[: index + 1], generation_prompt=False)
        if not prompt.startswith(done) or not whole.startswith(prompt):
            raise _UnstableTemplateError
        yield _Turn(prompt[len(done) :], whole[len(prompt) :])
        done = whole


def _encode(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _answer_ids(tokenizer: Any, answer: str, end_of_turn: int) -> tuple[list[int], list[int]]:
    """(trained ids up to the end-of-turn token, what the template writes after it)."""
    ids = _encode(tokenizer, answer)
    if end_of_turn not in ids:
        return [*ids, end_of_turn], []
    last = len(ids) - 1 - ids[::-1].index(end_of_turn)
    return ids[: last + 1], ids[last + 1 :]


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


def _whole(tokenizer: Any, messages: Sequence[Message], end_of_turn: int) -> Rendered:
    ids: list[int] = []
    mask: list[bool] = []
    for turn in _turns(tokenizer, messages):
        prompt = _encode(tokenizer, turn.prompt)
        trained, after = _answer_ids(tokenizer, turn.answer, end_of_turn)
        ids += prompt + trained + after
        mask += [False] * len(prompt) + [True] * len(trained) + [False] * len(after)
    last = len(mask) - mask[::-1].index(True)
    return Rendered(tuple(ids[:last]), tuple(mask[:last]))


def _turn_by_turn(tokenizer: Any, messages: Sequence[Message], end_of_turn: int) -> Iterator[Rendered]:
    """Each assistant turn with its own history, for templates that rewrite earlier turns (hidden thoughts, say)."""
    for index, message in enumerate(messages):
        if message.role == "assistant":
            start = _render_text(tokenizer, messages[:index], generation_prompt=True)
            whole = _render_text(tokenizer, messages[: index + 1], generation_prompt=False)
            answer = whole[len(start) :] if whole.startswith(start) else message.content
            prompt, (trained, _) = _encode(tokenizer, start), _answer_ids(tokenizer, answer, end_of_turn)
            yield Rendered((*prompt, *trained), (False,) * len(prompt) + (True,) * len(trained))


def _sequences(tokenizer: Any, messages: Sequence[Message], end_of_turn: int) -> list[Rendered]:
    try:
        return [_whole(tokenizer, messages, end_of_turn)]
    except _UnstableTemplateError:
        return list(_turn_by_turn(tokenizer, messages, end_of_turn))


def render_conversation(tokenizer: Any, conversation: Conversation, end_of_turn: int) -> list[Rendered]:
    """A conversation as one rendered sequence, or one a turn where the template rewrites earlier turns.

    `end_of_turn` is the token that closes an answer (`tutelage.models.template.end_of_turn_id`).
    Raises DataError when a message holds a control token, so was rendered before, or when the template refuses it.
    """
    _refuse_control_tokens(tokenizer, conversation, end_of_turn)
    try:
        return _sequences(tokenizer, conversation.messages, end_of_turn)
    except TemplateError as error:
        raise DataError(
            f"the model's chat template refuses this conversation ({error}); change the conversation, or use a model "
            "whose template takes it",
            **_place(conversation),
        ) from error


def render_prompt(tokenizer: Any, messages: Sequence[Message], end_of_turn: int) -> tuple[int, ...]:
    """Ids to sample an answer from: exactly the ids before that answer in `render_conversation`."""
    probe = Conversation((*messages, Message("assistant", "x")))
    rendered = render_conversation(tokenizer, probe, end_of_turn)[-1]
    trained = len(rendered.mask) - rendered.mask[::-1].index(False) if False in rendered.mask else 0
    return rendered.ids[:trained]
