"""The prompt and the answers of a verdict: each side as a whole conversation, then parted where the sides differ.

Leaves out: who won (`tutelage.data.verdicts`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tutelage.data.raw import type_name
from tutelage.data.record import Record, Turn, from_json
from tutelage.data.similarity import snippet
from tutelage.types import Message, Role

_transcript = re.compile(r"\n\n(?:Human|Assistant):|\s*Human:.*?\n\nAssistant:", re.DOTALL)
_mark = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_SPEAKERS: Mapping[str, Role] = {"Human": "user", "Assistant": "assistant"}
TEXT_KEYS = ("text", "content", "response", "completion", "answer", "output", "value")


class Given(NamedTuple):
    """An answer as the file holds it, and the field where it stands."""

    field: str
    value: Any


class Sides(NamedTuple):
    """The turns all answers share, and those of each answer."""

    prompt: list[Turn]
    answers: list[list[Turn]]


def read_sides(record: Record, given: Sequence[Given]) -> Sides:
    """Prompt and answers of a record; what is wrong with them is noted in it."""
    prompt, trims = _prompt(record)
    return part(record, [_joined(record, prompt, _answer(record, each, trims)) for each in given])


def unpack_cells(record: Record) -> None:
    """A cell of a CSV file holds a list of messages as JSON."""
    for key, value in record.values.items():
        items = from_json(value) if isinstance(value, str) and value.lstrip().startswith(("[{", "{")) else None
        turns = [items] if isinstance(items, Mapping) else items
        if turns and all(isinstance(turn, Mapping) and turn.keys() & {"role", "from"} for turn in turns):
            record.values[key] = items


def transcript(text: str, field: str) -> list[Turn]:
    """The turns of a text such as "\\n\\nHuman: …\\n\\nAssistant: …"; two in a row of one speaker become one."""
    parts = _mark.split(text)
    turns: list[Turn] = []
    for speaker, part in zip(parts[1::2], parts[2::2], strict=True):
        role, content = _SPEAKERS[speaker], part.strip()
        if turns and turns[-1][1].role == role:
            content = "\n\n".join(filter(None, (turns.pop()[1].content, content)))
        turns.append((field, Message(role, content)))
    return turns


def _prompt(record: Record) -> tuple[list[Turn], bool]:
    """What was asked, and whether it is a transcript, whose answers begin with the space after "Assistant:"."""
    if not record.shape.question:
        return record.system_turns(), False
    turns = record.question_turns()
    field, message = turns[-1] if turns else ("", Message("user", ""))
    if field not in record.values or not _transcript.match(message.content):
        return turns, False
    turns[-1:] = transcript(message.content, field)
    if turns[-1][1] == Message("assistant", ""):
        turns.pop()
    return turns, True


def _answer(record: Record, given: Given, trims: bool) -> list[Turn]:
    field, value = given
    if isinstance(value, Mapping) and not value.keys() & {"role", "from"}:
        key = next((name for name in TEXT_KEYS if name in value), None)
        if key is None:
            record.missing("text", map(str, value), f"{field}.text")
            return []
        field, value = f"{field}.{key}", value[key]
    if isinstance(value, Mapping):
        turn = record.turn(value, field)
        return [turn] if turn else []
    if isinstance(value, (list, tuple)):
        return record.turns_of(value, field)
    text = record.checked_text(value, field)
    if _transcript.match(text):
        return transcript(text, field)
    return [(field, Message("assistant", text.strip() if trims else text))]


def _joined(record: Record, prompt: list[Turn], answer: list[Turn]) -> list[Turn]:
    """Prompt and answer as one conversation; an answer that repeats the prompt has to repeat it whole."""
    if record.problems or not answer:
        return answer
    if answer[0][1].role == "assistant":
        if not record.shape.question:
            record.note("missing-field", f"missing; '{answer[0][0]}' holds an answer and not what was asked", "prompt")
        return prompt + answer
    system, asked = _apart(prompt)
    own_system, spoken = _apart(answer)
    pairs = [*zip(system, own_system, strict=False), *zip(asked, spoken, strict=False)]
    differing = next((pair for pair in pairs if not _same(*pair)), None)
    if differing:
        (there, expected), (here, found) = differing
        told = f"“{snippet(found.content)}” here, “{snippet(expected.content)}” in '{there}'"
        record.note("prompt-differs", f"the prompt differs: {told}; make them equal", here)
    elif len(spoken) < len(asked):
        message = f"the prompt differs: it ends before '{asked[len(spoken)][0]}' does; repeat it whole or not at all"
        record.note("prompt-differs", message, answer[-1][0])
    return [*(system or own_system), *asked, *spoken[len(asked) :]]


def _apart(turns: list[Turn]) -> tuple[list[Turn], list[Turn]]:
    """The system message, if any, and the rest."""
    has_system = bool(turns) and turns[0][1].role == "system"
    return (turns[:1], turns[1:]) if has_system else ([], turns)


def _same(one: Turn, other: Turn) -> bool:
    """Blank space around a turn makes no other turn of it."""
    return one[1].role == other[1].role and one[1].content.strip() == other[1].content.strip()


def part(record: Record, sides: Sequence[list[Turn]]) -> Sides:
    """The longest shared beginning that ends before an assistant's turn, and what follows it on each side."""
    for side in sides:
        record.check_order(side)
    for side in sides:
        record.check_end(side)
    if record.problems or not sides:
        return Sides([], [])
    shortest = min(map(len, sides))
    shared = next((at for at in range(shortest) if not _all_same([side[at] for side in sides])), shortest)
    heads = [side[shared] for side in sides if shared < len(side)]
    if shared < shortest and any(message.role != "assistant" for _, message in heads):
        texts = " and ".join(f"“{snippet(message.content)}”" for _, message in heads[:2])
        message = f"the prompt differs: the sides part at a {heads[0][1].role}'s turn, {texts}; both have to answer one"
        record.note("prompt-differs", f"{message} prompt", next(t[0] for t in heads if not _same(t, heads[0])))
        return Sides([], [])
    while shared == shortest or sides[0][shared][1].role != "assistant":
        shared -= 1
    return Sides(sides[0][:shared], [side[shared:] for side in sides])


def _all_same(turns: Sequence[Turn]) -> bool:
    return all(_same(turn, turns[0]) for turn in turns[1:])


def given_items(record: Record, key: str) -> list[Given]:
    """The answers of a list, each with its own field."""
    value = from_json(record.values[key]) if isinstance(record.values[key], str) else record.values[key]
    if not isinstance(value, (list, tuple)):
        record.note("wrong-type", f"expected a list of answers, found {type_name(value)}", key)
        return []
    if len(value) < 2:
        record.note("missing-field", f"a comparison needs two answers or more; this list has {len(value)}", key)
    return [Given(f"{key}[{index}]", item) for index, item in enumerate(value)]
