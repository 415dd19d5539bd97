"""What an import brings, whatever tool wrote the file: pairs, verdicts, prompts, and what had to be left out.

A reader of this room turns opened files into these records and nothing else: it writes no database. Each thing a reader
yields counts as one thing read, so that what was read is what was added, was there already, or was left out.

Leaves out: the readers (`tutelage.data.foreign_plain` and its neighbours) and telling them apart
(`tutelage.data.foreign_open`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from tutelage.data.formats import parse_conversations, parse_prompts
from tutelage.data.raw import Problem, RawFile, RawRecord, one_line
from tutelage.types import Message, Source

IncomingKind = Literal["pairs", "labels", "prompts"]
KINDS: tuple[IncomingKind, ...] = ("pairs", "labels", "prompts")
PROMPT_KEYS = ("prompt", "instruction", "question", "query", "input", "context", "dialogue", "conversation", "chat")
NEEDLESS = frozenset([
    "cancelled", "deleted", "spam", "turned-down", "stopped-tree", "discarded", "draft", "pending", "not-annotated",
    "no-response", "empty-annotation", "empty-response", "other-kind",
])  # fmt: skip
"""Codes of what is left out although nothing is wrong with it."""
REWRITE_KEYS = ("rewrite", "rewritten", "edit", "edited", "correct", "corrected", "correction", "improved", "ideal")
CRITIQUE_KEYS = (
    "critique", "comment", "feedback", "reason", "rationale", "explanation", "justification", "note", "why",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something in the file that cannot be taken, or need not be, and why."""

    source: Source
    code: str
    problem: str
    field: str | None = None
    record: int = 0
    """Which record of the file it is, from 1: where a JSON file is one long line, the line says little."""


@dataclass(frozen=True, slots=True)
class IncomingPair:
    """A conversation to learn from."""

    messages: tuple[Message, ...]
    source: Source
    meta: Mapping[str, Any] = field(default_factory=dict)
    author: str = ""
    licence: str = ""
    tags: tuple[str, ...] = ()
    state: str = ""
    origin: str = ""
    """Where it came from before this file, where the file says so."""


@dataclass(frozen=True, slots=True)
class IncomingAnswer:
    """One of the answers that were judged."""

    text: str
    model: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    author: str = ""


@dataclass(frozen=True, slots=True)
class IncomingLabel:
    """A verdict: `value` is as in `tutelage.store.labels`, and counts `answers` in the order they stand here."""

    kind: str
    prompt: tuple[Message, ...]
    answers: tuple[IncomingAnswer, ...]
    value: Mapping[str, Any]
    source: Source
    rater: str = ""
    displayed: tuple[int, ...] = ()
    """Places of the answers in the order they were shown; empty where nobody says."""
    reasons: tuple[str, ...] = ()
    critique: str = ""
    rewrite: str = ""
    seconds: float | None = None
    guideline_version: int | None = None
    is_gold: bool = False
    request_key: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    reference: str | None = None
    created_ms: int | None = None


@dataclass(frozen=True, slots=True)
class IncomingPrompt:
    """A question that waits for answers."""

    messages: tuple[Message, ...]
    source: Source
    reference: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


Incoming = IncomingPair | IncomingLabel | IncomingPrompt | LeftOut
KIND_OF: Mapping[type, IncomingKind] = {IncomingPair: "pairs", IncomingLabel: "labels", IncomingPrompt: "prompts"}
Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader is in a file."""

    file: RawFile
    line: int
    record: int

    @property
    def source(self) -> Source:
        """The place as every record carries it."""
        return Source(self.file.name, self.line)

    def left_out(self, code: str, problem: str, field: str | None = None) -> LeftOut:
        """Something at this place that is not taken."""
        return LeftOut(self.source, code, one_line(problem), one_line(field) if field else None, self.record)

    def problems(self, found: Sequence[Problem]) -> LeftOut:
        """All that is wrong with one record, as one thing left out."""
        first, *others = found
        more = "; ".join(f"also field '{each.field}': {each.message}" for each in others[:3])
        problem = f"{first.message}; {more}" if more else first.message
        source = Source(self.file.name, first.line or self.line)
        return LeftOut(source, first.code, one_line(problem), first.field, self.record)

    def conversation(
        self, messages: Any, meta: Mapping[str, Any] | None = None, author: str = ""
    ) -> IncomingPair | LeftOut:
        """A pair of these turns, held to the rules of every other data file."""
        found = parse_one(parse_conversations, self.file, RawRecord(self.line, {"messages": messages}))
        if isinstance(found, list):
            return self.problems(found)
        return IncomingPair(found.conversation.messages, self.source, dict(meta or {}), author)

    def prompt(self, asked: Any) -> tuple[Message, ...] | LeftOut:
        """The turns of a prompt, given as a text or as a list of messages."""
        key = "prompt" if isinstance(asked, str) else "messages"
        found = parse_one(parse_prompts, self.file, RawRecord(self.line, {key: asked}))
        return self.problems(found) if isinstance(found, list) else found.messages


def parse_one(
    parse: Callable[[RawFile], Iterable[Parsed | Problem]], file: RawFile, record: RawRecord
) -> Parsed | list[Problem]:
    """What one record becomes, or everything that is wrong with it."""
    found = list(parse(replace(file, items=[record])))
    problems = [each for each in found if isinstance(each, Problem)]
    return problems or next(each for each in found if not isinstance(each, Problem))


def named_like(name: str, words: Sequence[str]) -> bool:
    """Whether a field's or question's name begins with one of `words`, whatever its case and separators."""
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    return any(plain == word or plain.startswith(f"{word}_") or plain.endswith(f"_{word}") for word in words)
