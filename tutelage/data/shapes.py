"""The shapes a record may have, and telling them apart by their keys.

Leaves out: reading the fields of a shape (`tutelage.data.record`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from tutelage.data.raw import Problem, RawRecord, type_name


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to write a record: keys of the question, of the answer and of text to add to the question.

    A shape without answer keys holds a list of turns under its question key.
    """

    name: str
    question: tuple[str, ...]
    answer: tuple[str, ...] = ()
    context: tuple[str, ...] = ()


SHAPES = (
    Shape("messages", ("messages",)),
    Shape("ShareGPT", ("conversations",)),
    Shape("Alpaca", ("instruction",), ("output", "response"), ("input", "context")),
    Shape("prompt/completion", ("prompt",), ("completion", "response", "answer", "output")),
    Shape("question/answer", ("question", "query", "q"), ("answer", "response", "a")),
)
QUESTION_KEYS = frozenset(key for shape in SHAPES for key in shape.question)


def shape_of(raw: RawRecord, expected: Shape | None) -> Shape | Problem:
    if not isinstance(raw.value, Mapping):
        return Problem("wrong-type", f"a record is an object with named fields, not {type_name(raw.value)}", raw.line)
    keys = {str(key).strip().lower() for key, value in raw.value.items() if value is not None}
    by_question = next((shape for shape in SHAPES if keys & set(shape.question)), None)
    if by_question or expected:
        return cast(Shape, by_question or expected)
    by_answer = next((shape for shape in SHAPES if keys & set(shape.answer)), None)
    return by_answer or _no_shape(raw)


def _no_shape(raw: RawRecord) -> Problem:
    keys = [str(key) for key in raw.value]
    for name in ("messages", "conversations", "instruction", "prompt", "question"):
        nearest = difflib.get_close_matches(name, keys, n=1, cutoff=0.75)
        if nearest:
            return Problem("missing-field", f"missing; the nearest field here is '{nearest[0]}'", raw.line, name)
    known = "messages, conversations, prompt + completion, instruction + output or question + answer"
    return Problem("missing-field", f"no field to learn from: found {listed(keys)}; expected {known}", raw.line)


def listed(keys: Iterable[str]) -> str:
    return ", ".join(f"'{key}'" for key in keys) or "no fields"
