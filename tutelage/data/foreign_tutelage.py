"""Reads what `tutelage export --format tutelage` wrote: JSON Lines that keep every field.

Each line says which version of the format it has and what it is: `{"tutelage": 1, "record": "pair", …}`. Besides the
fields of the record it holds those by which the other loaders know a conversation, a comparison or a rating. CSV and
Parquet hold the same as columns, with JSON in the cells of lists and objects.

Leaves out: writing (`tutelage.store.export_formats`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tutelage.data.foreign import (
    Incoming,
    IncomingAnswer,
    IncomingKind,
    IncomingLabel,
    IncomingPair,
    IncomingPrompt,
    LeftOut,
    Place,
)
from tutelage.data.raw import Problem, RawFile, type_name
from tutelage.data.record import from_json
from tutelage.types import ROLES, Message

MARK = "tutelage"
VERSION = 1
UNFINISHED = ("draft", "returned")
"""States of a pair in which its answer may be missing."""


def is_own(record: Any) -> bool:
    """Whether a record was written by `tutelage export`."""
    return isinstance(record, Mapping) and MARK in record and "record" in record


def read_own(file: RawFile, kind: IncomingKind | None = None) -> Iterator[Incoming]:
    """The records of a file; with `kind`, those of another kind are left out."""
    for number, item in enumerate(file, start=1):
        if isinstance(item, Problem):
            yield Place(file, item.line or 0, number).problems([item])
        else:
            yield _record(Place(file, item.line, number), item.value, kind)


def _record(place: Place, value: Any, kind: IncomingKind | None) -> Incoming:
    if not is_own(value):
        problem = f"no line of this format: found {type_name(value)} without 'tutelage' and 'record'"
        return place.left_out("other-format", problem, MARK)
    if str(value[MARK]) != str(VERSION):
        problem = f"written by another version ({value[MARK]!r}, and this program reads {VERSION}); use that Tutelage"
        return place.left_out("other-version", problem, MARK)
    if value["record"] not in _READ:
        return place.left_out("wrong-type", f"{value['record']!r} is none of {', '.join(_READ)}", "record")
    if kind and f"{value['record']}s" != kind:
        return place.left_out("other-kind", f"a {value['record']}, and only {kind} were asked for", "record")
    try:
        return _READ[value["record"]](place, _Fields(value))
    except _Wrong as wrong:
        return place.left_out("wrong-type", wrong.problem, wrong.field)


class _Wrong(Exception):
    """A field that is not as it must be."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field, self.problem = field, problem


class _Fields:
    """The fields of a line, each checked as it is read."""

    def __init__(self, values: Mapping[str, Any], prefix: str = "") -> None:
        self.values, self.prefix = values, prefix

    def get(self, name: str, kind: type | tuple[type, ...], default: Any) -> Any:
        value = self.values.get(name)
        if isinstance(value, str) and kind is not str:  # a cell of a CSV file
            value = from_json(value) if value else None
        if value is None:
            return default
        is_bool = isinstance(value, bool) and kind is not bool
        if is_bool or not isinstance(value, kind):
            names = {str: "text", Mapping: "an object", list: "a list", bool: "true or false"}
            wanted = names.get(kind, "a number") if isinstance(kind, type) else "a number"
            raise _Wrong(self.prefix + name, f"expected {wanted}, found {type_name(value)}")
        return value

    def text(self, name: str) -> str:
        return str(self.get(name, str, ""))

    def mapping(self, name: str) -> dict[str, Any]:
        return dict(self.get(name, Mapping, {}))

    def items(self, name: str) -> list[Any]:
        return list(self.get(name, list, []))

    def texts(self, name: str) -> tuple[str, ...]:
        items = self.items(name)
        if not all(isinstance(item, str) for item in items):
            raise _Wrong(self.prefix + name, "expected a list of texts")
        return tuple(items)

    def number(self, name: str) -> float | None:
        value = self.get(name, (int, float), None)
        if value is not None and not math.isfinite(value):
            raise _Wrong(self.prefix + name, f"{value} is no number to keep")
        return value

    def whole(self, name: str) -> int | None:
        value = self.get(name, int, None)
        return None if value is None else int(value)


def _pair(place: Place, fields: _Fields) -> Incoming:
    found: IncomingPair | LeftOut
    if fields.text("state") in UNFINISHED:
        found = IncomingPair(_turns(fields), place.source, fields.mapping("meta"), fields.text("author"))
    else:
        found = place.conversation(fields.items("messages"), fields.mapping("meta"), fields.text("author"))
    if isinstance(found, LeftOut):
        return found
    return replace(
        found, licence=fields.text("licence"), tags=fields.texts("tags"), state=fields.text("state"),
        origin=fields.text("source"),
    )  # fmt: skip


def _turns(fields: _Fields) -> tuple[Message, ...]:
    """The turns of a pair that its author is still at; the store checks what they must be."""
    turns = []
    for at, item in enumerate(fields.items("messages")):
        if not isinstance(item, Mapping) or item.get("role") not in ROLES or not isinstance(item.get("content"), str):
            raise _Wrong(f"messages[{at}]", f"expected a role ({', '.join(ROLES)}) and content")
        turns.append(Message(item["role"], item["content"]))
    return tuple(turns)


def _prompt(place: Place, fields: _Fields) -> Incoming:
    messages = place.prompt(fields.items("messages"))
    if isinstance(messages, LeftOut):
        return messages
    return IncomingPrompt(messages, place.source, fields.text("reference") or None, fields.mapping("meta"))


def _label(place: Place, fields: _Fields) -> Incoming:
    prompt = place.prompt(fields.items("prompt"))
    if isinstance(prompt, LeftOut):
        return prompt
    answers = _answers(fields)
    return IncomingLabel(
        fields.text("kind"), prompt, answers, fields.mapping("value"), place.source, fields.text("rater"),
        _displayed(fields, len(answers)), fields.texts("reasons"), fields.text("critique"), fields.text("rewrite"),
        fields.number("seconds"), fields.whole("guideline_version"), bool(fields.get("is_gold", bool, False)),
        fields.text("request_key"), fields.mapping("meta"), fields.text("reference") or None,
        fields.whole("created_ms"),
    )  # fmt: skip


def _answers(fields: _Fields) -> tuple[IncomingAnswer, ...]:
    items = fields.items("completions")
    if not items and (one := fields.mapping("completion")):  # a message, as the other loaders know it
        items = [{**one, "text": one.get("content")}]
    for at, item in enumerate(items):
        if not isinstance(item, Mapping) or not isinstance(item.get("text"), str):
            raise _Wrong(f"completions[{at}]", "expected an object with the answer as 'text'")
    read = [_Fields(item, f"completions[{at}].") for at, item in enumerate(items)]
    return tuple(
        IncomingAnswer(each.text("text"), each.text("model"), each.mapping("sampling"), each.text("author"))
        for each in read
    )


def _displayed(fields: _Fields, num_answers: int) -> tuple[int, ...]:
    shown: Sequence[Any] = fields.items("displayed")
    if shown and sorted(map(str, shown)) != sorted(map(str, range(num_answers))):
        raise _Wrong("displayed", f"expected the places 0 to {num_answers - 1}, each once, in the order shown")
    return tuple(int(place) for place in shown)


_READ = {"pair": _pair, "label": _label, "prompt": _prompt}
