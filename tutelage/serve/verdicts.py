"""What people say about answers in a chat, written down: thumbs and comparisons as labels, better words as draft pairs.

Whoever changes their mind corrects: the new label takes the old one's place, and new words go into the same draft as
long as its author has not handed it in. Requests carry a key each, and a correction names the key of what it corrects,
so that they may be kept by a browser without a network, and sent twice.

Leaves out: verdicts in the queue of a project (`tutelage.feedback.submit`), whose functions do the work here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Row

from tutelage.errors import ConflictError, NotFoundError
from tutelage.feedback import submit
from tutelage.feedback.items import NewAnswer
from tutelage.store import pairs
from tutelage.store.labels import find_request
from tutelage.store.people import Person
from tutelage.store.turns import take_turn
from tutelage.types import Message

CHAT = "chat"
PAIR = "pair_id"
"""Where a label's meta names the pair that its rewrite became."""


@dataclass(frozen=True, slots=True)
class Said:
    """A verdict on one or two answers to a conversation."""

    request_key: str
    kind: Literal["thumbs", "comparison"]
    messages: Sequence[Message]
    answers: Sequence[NewAnswer]
    """In the order they were shown."""
    verdict: Mapping[str, Any]
    """{"good": true}, or of two answers {"winner": 0, "strength": 3} or {"outcome": "tie"}."""
    reasons: Sequence[str] = ()
    critique: str = ""
    rewrite: str = ""
    corrects: str | None = None
    """The key of the verdict whose place it takes."""
    source: str = CHAT
    meta: Mapping[str, Any] = field(default_factory=dict)


class Written(NamedTuple):
    """What was written down."""

    label_id: str
    pair_id: str | None
    """The draft pair that holds the better words."""


def write_down(connection: Connection, person: Person, said: Said) -> Written:
    """Keep a verdict and, where it has better words, a draft pair; the same again gives what is there.

    Raises `ConflictError` where the key was used for something else or what it corrects was corrected already,
    `NotFoundError` where nothing of the person has the key that is to be corrected.
    """
    take_turn(connection, "request", person.id, said.request_key)
    there = find_request(connection, person.id, said.request_key)
    old = _corrected(connection, person, said)
    rewrite = said.rewrite if said.rewrite.strip() else ""
    pair_id = there.meta.get(PAIR) if there is not None else _better_words(connection, person, said, old)
    meta = {**said.meta, **({PAIR: pair_id} if pair_id else {})}
    if old is not None:
        label_id = submit.correct(
            connection, person, old.id, said.request_key, said.verdict, said.reasons, said.critique, rewrite,
            meta=meta,
        )  # fmt: skip
    else:
        label_id = submit.free_label(
            connection, person, said.request_key, said.kind, said.messages, said.answers, said.verdict, said.reasons,
            said.critique, rewrite, source=said.source, meta=meta,
        )  # fmt: skip
    return Written(label_id, pair_id)


def _corrected(connection: Connection, person: Person, said: Said) -> Row[Any] | None:
    if said.corrects is None:
        return None
    old = find_request(connection, person.id, said.corrects)
    if old is None:
        raise NotFoundError(f"no verdict of yours has the key '{said.corrects}'; give it anew, without `corrects`")
    if old.kind != said.kind:
        raise ConflictError(f"'{said.corrects}' is a verdict of another kind; give this one without `corrects`")
    return old


def _better_words(connection: Connection, person: Person, said: Said, old: Row[Any] | None) -> str | None:
    """The pair for the rewrite: the draft of before with the new words, or a new one."""
    earlier = str(old.meta[PAIR]) if old is not None and PAIR in old.meta else None
    if not said.rewrite.strip():
        return earlier
    messages = [*said.messages, Message("assistant", said.rewrite)]
    if earlier is not None and (draft := _open_draft(connection, person, earlier)) is not None:
        pairs.edit(connection, person, earlier, messages, base_revision=draft.revision)
        return earlier
    names = " and ".join(dict.fromkeys(each.model for each in said.answers if each.model)) or "a model"
    return pairs.draft(connection, person, messages, source=f"chat with {names}")


def _open_draft(connection: Connection, person: Person, pair_id: str) -> Row[Any] | None:
    """The pair, while it is the person's own and not handed in."""
    try:
        pair = pairs.visible(connection, person, pair_id)
    except NotFoundError:
        return None
    is_open = pair.author_id == person.id and pair.state in ("draft", "returned") and pair.withdrawn_ms is None
    return pair if is_open else None
