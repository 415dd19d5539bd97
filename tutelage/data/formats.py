"""From raw records to conversations and prompts: the shape of a file, and what its records become.

Leaves out: files and encodings (`tutelage.data.readers`), and whether the content is any good (`tutelage.data.check`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from tutelage.data.raw import Problem, RawFile, RawRecord
from tutelage.data.record import Record
from tutelage.data.shapes import Shape, shape_of
from tutelage.types import Conversation, Prompt, Source


@dataclass(frozen=True, slots=True)
class Parsed:
    """A conversation, the field of each of its messages as the file names it, and how its record was written.

    An answer that was judged begins after `num_context` messages, which are not learned from; the first `num_seen`
    of them were looked at with another answer of the same record.
    """

    conversation: Conversation
    fields: tuple[str, ...]
    shape: str
    unit: str = "line"
    num_context: int = 0
    num_seen: int = 0


Result = TypeVar("Result")
TellShape = Callable[[RawRecord, Shape | None], Shape | Problem]


def parse_conversations(raw_file: RawFile) -> Iterator[Parsed | Problem]:
    """The conversations of a file, and a problem for everything that is not one."""
    return parse_records(raw_file, _conversation)


def parse_prompts(raw_file: RawFile) -> Iterator[Prompt | Problem]:
    """The prompts of a file, with the last answer of each as its reference."""
    return parse_records(raw_file, _prompt)


def parse_records(
    raw_file: RawFile, read: Callable[[Record, RawFile], Result], tell_shape: TellShape = shape_of
) -> Iterator[Result | Problem]:
    """The first record decides the shape of the file; the first record of another shape is a problem."""
    first: tuple[Shape, int] | None = None
    is_mixed, is_empty = False, True
    for item in raw_file:
        is_empty = False
        if isinstance(item, Problem):
            yield item
            continue
        shape = tell_shape(item, first[0] if first else None)
        if isinstance(shape, Problem):
            yield shape
            continue
        first = first or (shape, item.line)
        if shape != first[0] and not is_mixed:
            is_mixed = True
            yield _two_formats(item.line, shape, first, raw_file.unit)
        record = Record(item, shape)
        result = read(record, raw_file)
        if record.problems:
            yield from record.problems
        else:
            yield result
    if is_empty:
        yield Problem("empty-file", "the file holds no records; write at least one into it", whole_file=True)


def _two_formats(line: int, shape: Shape, first: tuple[Shape, int], unit: str) -> Problem:
    this, before = f"{unit} {line} is {shape.name}", f"{unit} {first[1]} is {first[0].name}"
    message = f"two formats in one file: {before}, {this}; split the file by format"
    return Problem("two-formats", message, line, whole_file=True)


def _conversation(record: Record, raw_file: RawFile) -> Parsed:
    turns = record.turns(needs_answer=True)
    record.check_order(turns)
    record.check_end(turns)
    meta = record.rest()
    messages = tuple(message for _, message in turns)
    conversation = Conversation(messages, Source(raw_file.name, record.line), meta)
    return Parsed(conversation, tuple(field for field, _ in turns), record.shape.name, raw_file.unit)


def _prompt(record: Record, raw_file: RawFile) -> Prompt:
    turns = record.turns(needs_answer=False)
    reference = record.text("reference") or None
    checks, name = record.checks(), record.identifier()
    if turns and turns[-1][1].role == "assistant":
        last = turns.pop()[1].content
        reference = reference or last or None
    record.check_order(turns)
    if turns and not record.problems and not turns[-1][1].content.strip():
        record.note("empty-prompt", "the prompt is empty, so there is nothing to answer", turns[-1][0])
    messages = tuple(message for _, message in turns)
    return Prompt(messages, name, reference, checks, Source(raw_file.name, record.line), record.rest())
