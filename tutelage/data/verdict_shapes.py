"""The ways to write a verdict down, and telling them apart by their keys.

Leaves out: reading the prompt and the answers (`tutelage.data.sides`) and the verdict (`tutelage.data.verdict_values`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tutelage.data.raw import Problem, RawRecord, type_name
from tutelage.data.shapes import SHAPES, Shape, listed

VerdictKind = Literal["pair", "choice", "ranking", "rating"]


@dataclass(frozen=True, slots=True)
class VerdictShape(Shape):
    """One way to write a verdict; without question keys, each answer is a whole conversation."""

    kind: VerdictKind = "pair"


CHOSEN = ("chosen", "chosen_response")
REJECTED = ("rejected", "rejected_response")
EDITED = ("edited", "edit", "rewrite")
ORIGINAL = ("original",)
CHOICES = (
    ("response_a", "response_b"),
    ("answer_a", "answer_b"),
    ("response1", "response2"),
    ("response_0", "response_1"),
    ("response_1", "response_2"),
    ("conversation_a", "conversation_b"),
)
LISTS = ("completions", "responses", "answers", "generations")
RANKS = ("ranks", "ranking")
SCORES = ("ratings", "scores", "rating", "score")
LABELS = ("label", "thumbs")
NUMBERS = ("rating", "score", "stars")

# An object with one of these is a record, and not a wrapper around a list of records.
VERDICT_KEYS = frozenset([*CHOSEN, *REJECTED, *(key for keys in CHOICES for key in keys)])

_BY_NAME = {shape.name: shape for shape in SHAPES}
PROMPTS = (
    *(_BY_NAME[name] for name in ("prompt/completion", "Alpaca", "question/answer", "messages", "ShareGPT")),
    Shape("context", ("context",)),
)
_ANSWER_KEYS = {key for shape in SHAPES for key in shape.answer} | {"messages", "conversations"}


def shape_of_verdict(raw: RawRecord, expected: Shape | None) -> Shape | Problem:
    """The shape of a record that holds a verdict; one that shows none is read as the records before it."""
    if not isinstance(raw.value, Mapping):
        return Problem("wrong-type", f"a record is an object with named fields, not {type_name(raw.value)}", raw.line)
    found = find_verdict(raw.value)
    if isinstance(expected, VerdictShape) and (found is None or _lacks_prompt(found, expected)):
        return expected
    return found or _no_verdict(raw)


def _lacks_prompt(found: VerdictShape, expected: VerdictShape) -> bool:
    return found.kind == expected.kind and not found.question and bool(expected.question)


def find_verdict(record: Mapping[Any, Any]) -> VerdictShape | None:
    """The shape of a record by its keys, or None when it holds no verdict."""
    values = {str(key).strip().lower(): value for key, value in record.items() if value is not None}
    keys = values.keys()
    if keys & {*CHOSEN, *REJECTED} or (keys & set(EDITED) and keys & set(ORIGINAL)):
        answers = [values[key] for key in (*CHOSEN, *REJECTED, *ORIGINAL) if key in keys]
        return _with_prompt("chosen/rejected", (*CHOSEN, *REJECTED, *EDITED, *ORIGINAL), values, answers, "pair")
    sides = next((names for names in CHOICES if keys >= set(names)), None)
    if sides:
        return _with_prompt("/".join(sides), sides, values, [values[key] for key in sides], "choice")
    items = next((key for key in LISTS if is_list(values.get(key))), None)
    if items and (keys & {*RANKS, *SCORES} or not keys & _ANSWER_KEYS):
        return _with_prompt(f"{items} in order", (items,), values, [], "ranking")
    return _rating_shape(values)


def is_list(value: Any) -> bool:
    """Whether a value is a list; a cell of a CSV file holds it as JSON."""
    return isinstance(value, (list, tuple)) or (isinstance(value, str) and value.lstrip().startswith("["))


def _with_prompt(
    name: str, answer: tuple[str, ...], values: Mapping[str, Any], answers: list[Any], kind: VerdictKind
) -> VerdictShape:
    prompt = next((shape for shape in PROMPTS if values.keys() & set(shape.question)), None)
    if prompt is None or (prompt.name in ("messages", "ShareGPT") and any(map(begins_with_user, answers))):
        return VerdictShape(name, (), answer, (), kind)
    return VerdictShape(f"{prompt.question[0]} + {name}", prompt.question, answer, prompt.context, kind)


def begins_with_user(answer: Any) -> bool:
    """Whether an answer given as messages repeats its prompt, so that it is a whole conversation."""
    first = answer[0] if isinstance(answer, (list, tuple)) and answer else None
    role = (first.get("role") or first.get("from")) if isinstance(first, Mapping) else None
    return str(role).lower() in ("system", "user", "human")


def _rating_shape(values: Mapping[str, Any]) -> VerdictShape | None:
    keys = values.keys()
    verdict = next((key for key in (*LABELS, *NUMBERS) if key in keys), None)
    shape = next((shape for shape in SHAPES if keys & set(shape.question)), None)
    shape = shape or next((shape for shape in SHAPES if keys & set(shape.answer)), None)
    if verdict is None or shape is None or (shape.answer and not keys & set(shape.answer)):
        return None
    name = "label" if verdict in LABELS else "rating"
    return VerdictShape(f"{shape.name} + {name}", shape.question, shape.answer, shape.context, "rating")


def _no_verdict(raw: RawRecord) -> Problem:
    keys = [str(key) for key in raw.value]
    for name in ("chosen", "rejected", "completions", "winner", "label", "rating"):
        nearest = difflib.get_close_matches(name, set(keys) - _ANSWER_KEYS, n=1, cutoff=0.75)
        if nearest and nearest[0] != name:
            return Problem("missing-field", f"missing; the nearest field here is '{nearest[0]}'", raw.line, name)
    if {key.strip().lower() for key in keys} & _ANSWER_KEYS:
        message = "an answer without a verdict: add 'label' (true or false) or 'rating', or write chosen and rejected"
        return Problem("missing-field", message, raw.line, "label")
    known = "chosen + rejected, completions + ranks, response_a + response_b + winner, or completion + label"
    return Problem("missing-field", f"no verdict on an answer: found {listed(keys)}; expected {known}", raw.line)
