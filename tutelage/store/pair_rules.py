"""What a pair's turns must be like: the rules that data files are read by, and limits on size.

Leaves out: whether the words are any good, which reviewers say, and `tutelage check` helps with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tutelage.data.raw import RawRecord
from tutelage.data.record import Record, Turn
from tutelage.data.shapes import SHAPES
from tutelage.errors import DataError
from tutelage.store.contents import as_json
from tutelage.store.people import ROLES, Person
from tutelage.types import Message

MAX_TURNS = 200
MAX_CHARACTERS = 200_000
MAX_TAGS = 50
MAX_TAG_CHARACTERS = 100
MAX_LICENCE_CHARACTERS = 100
_MESSAGES = next(shape for shape in SHAPES if shape.name == "messages")


def may_review(person: Person) -> bool:
    """Whether `person` may read and judge what others wrote."""
    return person.active and ROLES.index(person.role) >= ROLES.index("reviewer")


def check_messages(messages: Sequence[Message], *, complete: bool) -> tuple[Message, ...]:
    """The turns as they are kept; a draft need not be `complete`: it may end with the user and hold empty turns.

    Raises `DataError`, naming the field, for turns that break the rules of `tutelage.data`, hold what no database
    keeps, or are too many or too long.
    """
    if len(messages) > MAX_TURNS:
        raise DataError(f"{len(messages)} turns, and a pair has at most {MAX_TURNS}; split it", field="messages")
    record = Record(RawRecord(1, {"messages": as_json(messages)}), _MESSAGES)
    turns = record.turns(needs_answer=True)
    if complete or any(message.role != "system" for _, message in turns):
        record.check_order(turns)
    if complete:
        record.check_end(turns)
        _check_questions(record, turns)
    for problem in record.problems:
        raise DataError(problem.message, field=problem.field)
    _check_text(turns)
    return tuple(message for _, message in turns)


def is_complete(messages: Sequence[Message]) -> bool:
    """Whether the turns can be learned from."""
    try:
        check_messages(messages, complete=True)
    except DataError:
        return False
    return True


def _check_questions(record: Record, turns: Iterable[Turn]) -> None:
    for field, message in turns:
        if message.role == "user" and not message.content.strip() and not record.about(field):
            record.note("empty-prompt", "the question is empty, so there is nothing to answer", field)


def _check_text(turns: Iterable[Turn]) -> None:
    num_characters = 0
    for field, message in turns:
        check_no_nul(message.content, field)
        num_characters += len(message.content)
        if num_characters > MAX_CHARACTERS:
            problem = f"more than {MAX_CHARACTERS:,} characters up to here, and a pair has at most so many; shorten it"
            raise DataError(problem, field=field)


def check_no_nul(text: str, field: str) -> None:
    """Raise `DataError` for text that PostgreSQL cannot keep."""
    if "\0" in text:
        raise DataError("holds a NUL character (U+0000), which a database does not keep; remove it", field=field)
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise DataError("holds half a character (a lone surrogate); write the text again", field=field)


def check_tag(tag: str) -> str:
    """The tag without blank space around it; `DataError` when nothing is left, or too much, or it has control codes."""
    tag = " ".join(tag.split())
    if not tag or not tag.isprintable():
        raise DataError(f"{tag!r} is no tag; give a few printable characters", field="tag")
    if len(tag) > MAX_TAG_CHARACTERS:
        raise DataError(f"{len(tag)} characters, and a tag has at most {MAX_TAG_CHARACTERS}; shorten it", field="tag")
    return tag


def check_tags(tags: Iterable[str]) -> list[str]:
    """Each tag once, in order; `DataError` for a bad one, or too many."""
    checked = sorted({check_tag(tag) for tag in tags})
    if len(checked) > MAX_TAGS:
        raise DataError(f"{len(checked)} tags, and a pair has at most {MAX_TAGS}; leave some out", field="tags")
    return checked


def check_origin(source: str, licence: str) -> None:
    """Raise `DataError` for a source or licence that the record cannot keep."""
    check_no_nul(source, "source")
    check_no_nul(licence, "licence")
    if len(licence) > MAX_LICENCE_CHARACTERS:
        problem = f"{len(licence)} characters, and a licence's name has at most {MAX_LICENCE_CHARACTERS}; shorten it"
        raise DataError(problem, field="licence")
