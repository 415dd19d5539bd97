"""The life of a question/answer pair: drafted, submitted, reviewed, edited, tagged, withdrawn. Nothing is overwritten.

    draft ──submit──▶ submitted ──accept──▶ accepted
                       │  ▲  └────reject───▶ rejected
              send back│  │submit
                       ▼  │
                      returned

- The author edits their own draft or returned pair; a reviewer may edit any. An edit is a new revision. A submitted
  pair stays submitted; an accepted or rejected one is submitted again. Snapshots keep the revision they hold.
- Nobody accepts what they wrote: neither the author nor whoever edited the newest revision may. Where no other active
  reviewer could, `allow_own` lets them, so that a workspace of one person is not stuck.
- Others' pairs that are not accepted do not exist for a rater (`NotFoundError`); reviewers read all.

Leaves out: how reading them works (`tutelage.store.pair_views`, whose functions stand here too), and pairs that are
nearly the same (`tutelage.store.similar`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from tutelage.data.similarity import normalise
from tutelage.errors import ConflictError, DataError, NotAllowedError, NotFoundError
from tutelage.store import schema
from tutelage.store.contents import as_json, content_hash
from tutelage.store.ids import new_id, now_ms
from tutelage.store.pair_rules import (
    MAX_TAGS,
    check_messages,
    check_no_nul,
    check_origin,
    check_tag,
    check_tags,
    may_review,
)
from tutelage.store.pair_views import (
    STATES,
    Event,
    History,
    Pair,
    Revision,
    State,
    count_by_state,
    diff,
    find_id,
    get,
    history,
    known_tags,
    listing,
    newest_messages,
    page,
    visible,
)
from tutelage.store.people import Person, require
from tutelage.store.similar import remember
from tutelage.types import Message

__all__ = [
    "STATES", "Event", "History", "NewPair", "Pair", "Revision", "State", "accept", "add_pairs", "count_by_state",
    "describe", "diff", "draft", "edit", "find_id", "get", "history", "known_tags", "listing", "page", "reject",
    "reopen", "searched_text", "send_back", "submit", "tag", "untag", "visible", "withdraw",
]  # fmt: skip
WRITTEN_HERE = "written here"
MAX_SEARCHED_CHARACTERS = 2000
"""So much of a pair's beginning can be found by its words."""
ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class NewPair:
    """A pair that is to be written down."""

    messages: Sequence[Message]
    source: str = WRITTEN_HERE
    licence: str = ""
    tags: Sequence[str] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)


def draft(
    connection: Connection,
    person: Person,
    messages: Sequence[Message],
    *,
    source: str = WRITTEN_HERE,
    licence: str = "",
    tags: Sequence[str] = (),
    meta: Mapping[str, Any] | None = None,
) -> str:
    """A new pair of `person`, perhaps without its answer yet; gives its id. `DataError` for what cannot be kept."""
    pair = NewPair(messages, source, licence, tags, meta or {})
    return add_pairs(connection, person, [pair], state="draft", action="drafted")[0]


def add_pairs(
    connection: Connection,
    person: Person,
    pairs: Sequence[NewPair],
    *,
    state: State = "submitted",
    action: str = "imported",
    import_id: str | None = None,
) -> list[str]:
    """Many new pairs of `person` at once, in order; gives their ids.

    Raises `DataError` for the first that cannot be kept; unless they are drafts, all must be complete. Only a reviewer
    may bring in pairs that are accepted or rejected already.
    """
    require(person, "reviewer" if state in ("accepted", "rejected") else "rater")
    ids = sorted(new_id() for _ in pairs)  # drawn within a millisecond they would be in no order
    for start in range(0, len(pairs), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        _insert(connection, person, dict(zip(ids[part], pairs[part], strict=True)), state, action, import_id)
    return ids


def _insert(
    connection: Connection,
    person: Person,
    new: Mapping[str, NewPair],
    state: State,
    action: str,
    import_id: str | None,
) -> None:
    turns = {id: check_messages(pair.messages, complete=state != "draft") for id, pair in new.items()}
    now, rows, tags = now_ms(), [], []
    for pair_id, pair in new.items():
        check_origin(pair.source, pair.licence)
        rows.append({
            "id": pair_id, "state": state, "revision": 1, "author_id": person.id, "source": pair.source,
            "licence": pair.licence, "meta": dict(pair.meta), "import_id": import_id,
            "search": searched_text(turns[pair_id]), "created_ms": now, "changed_ms": now,
        })  # fmt: skip
        tags += [{"pair_id": pair_id, "tag": tag} for tag in check_tags(pair.tags)]
    if not rows:
        return
    connection.execute(insert(schema.pairs), rows)
    revisions = [_revision(pair_id, 1, messages, person, "", now) for pair_id, messages in turns.items()]
    connection.execute(insert(schema.pair_revisions), revisions)
    connection.execute(insert(schema.pair_events), [_event(pair_id, 1, person, action, "", now) for pair_id in new])
    if tags:
        connection.execute(insert(schema.pair_tags), tags)
    remember(connection, turns, new=True)


def searched_text(messages: Sequence[Message]) -> str:
    """The words by which a pair is found."""
    text = "\n".join(turn.content for turn in messages)[: 2 * MAX_SEARCHED_CHARACTERS]
    return normalise(text)[:MAX_SEARCHED_CHARACTERS]


def _revision(
    pair_id: str, number: int, messages: Sequence[Message], person: Person, note: str, now: int
) -> dict[str, Any]:
    stored = as_json(messages)
    return {
        "id": new_id(), "pair_id": pair_id, "number": number, "messages": stored,
        "content_hash": content_hash(stored), "editor_id": person.id, "note": note, "created_ms": now,
    }  # fmt: skip


def _event(pair_id: str, revision: int, person: Person, action: str, comment: str, now: int) -> dict[str, Any]:
    return {
        "id": new_id(), "pair_id": pair_id, "revision": revision, "person_id": person.id, "action": action,
        "comment": comment, "at_ms": now,
    }  # fmt: skip


def edit(
    connection: Connection,
    person: Person,
    pair_id: str,
    messages: Sequence[Message],
    *,
    note: str = "",
    base_revision: int,
) -> int:
    """Write a new revision on top of `base_revision` and give its number; the same words again give the same number.

    Raises `ConflictError`, and writes nothing, when somebody has written a newer one since.
    """
    pair = visible(connection, person, pair_id)
    _may_edit(person, pair)
    complete = pair.state not in ("draft", "returned")
    turns = check_messages(messages, complete=complete)
    check_no_nul(note, "note")
    if pair.revision != base_revision:
        raise _newer(pair, base_revision)
    if content_hash(as_json(turns)) == _hash_of(connection, pair):
        return base_revision
    state, now = "submitted" if complete else pair.state, now_ms()
    _change(
        connection, pair, revision=base_revision + 1, state=state, search=searched_text(turns), changed_ms=now
    )  # fmt: skip
    row = _revision(pair_id, base_revision + 1, turns, person, note, now)
    connection.execute(insert(schema.pair_revisions).values(**row))
    event = _event(pair_id, base_revision + 1, person, "edited", note, now)
    connection.execute(insert(schema.pair_events).values(**event))
    remember(connection, {pair_id: turns})
    return base_revision + 1


def _may_edit(person: Person, pair: Row[Any]) -> None:
    _alive(pair)
    if not may_review(person) and pair.state not in ("draft", "returned"):
        raise NotAllowedError(f"the pair is {pair.state}; a reviewer can edit it, or send it back to you")
    if not may_review(person) and pair.author_id != person.id:
        raise NotAllowedError("the pair is another person's; write your own, or ask a reviewer")


def _hash_of(connection: Connection, pair: Row[Any]) -> str:
    table = schema.pair_revisions
    query = select(table.c.content_hash).where(table.c.pair_id == pair.id, table.c.number == pair.revision)
    return str(connection.execute(query).scalar_one())


def submit(connection: Connection, person: Person, pair_id: str, *, comment: str = "") -> None:
    """Hand a draft or returned pair in for review. Raises `DataError` when it cannot be learned from yet."""
    pair = visible(connection, person, pair_id)
    if pair.author_id != person.id and not may_review(person):
        raise NotAllowedError("the pair is another person's; its author submits it")
    check_messages(newest_messages(connection, pair), complete=True)
    _move(connection, person, pair, ("draft", "returned"), "submitted", "submitted", comment)


def accept(
    connection: Connection,
    person: Person,
    pair_id: str,
    *,
    comment: str = "",
    base_revision: int | None = None,
    allow_own: bool = False,
) -> None:
    """Accept a submitted pair, as it was read in `base_revision` where that is given.

    Raises `NotAllowedError` for one's own words, unless `allow_own` and no other active reviewer could accept them.
    """
    pair = _reviewed(connection, person, pair_id, base_revision)
    writers = {pair.author_id, _editor_of(connection, pair)}
    if person.id in writers:
        _may_accept_own(connection, person, writers, allow_own)
    _move(connection, person, pair, ("submitted",), "accepted", "accepted", comment)


def _may_accept_own(connection: Connection, person: Person, writers: set[str], allow_own: bool) -> None:
    table = schema.people
    able = table.c.active & table.c.role.in_(("reviewer", "admin")) & table.c.id.not_in(writers)
    others = connection.execute(select(table.c.name).where(able).order_by(table.c.name).limit(3)).scalars().all()
    if others:
        raise NotAllowedError(f"{person.name} wrote this or edited it last; ask {' or '.join(others)} to accept it")
    if not allow_own:
        raise NotAllowedError(f"{person.name} wrote this, and nobody else can review it; accept it with --own")


def _editor_of(connection: Connection, pair: Row[Any]) -> str:
    table = schema.pair_revisions
    query = select(table.c.editor_id).where(table.c.pair_id == pair.id, table.c.number == pair.revision)
    return str(connection.execute(query).scalar_one())


def send_back(
    connection: Connection, person: Person, pair_id: str, *, comment: str, base_revision: int | None = None
) -> None:
    """Ask the author of a submitted or accepted pair to work on it again; the comment says what."""
    pair = _reviewed(connection, person, pair_id, base_revision)
    _move(connection, person, pair, ("submitted", "accepted"), "returned", "returned", _said(comment))


def reject(
    connection: Connection, person: Person, pair_id: str, *, comment: str, base_revision: int | None = None
) -> None:
    """Turn a submitted or accepted pair down; the comment says why."""
    pair = _reviewed(connection, person, pair_id, base_revision)
    _move(connection, person, pair, ("submitted", "accepted"), "rejected", "rejected", _said(comment))


def reopen(connection: Connection, person: Person, pair_id: str, *, base_revision: int | None = None) -> None:
    """Take one's own decision back: the pair waits for review again. Snapshots taken meanwhile stay as they are.

    Raises `NotAllowedError` for another's decision, `ConflictError` where nothing was decided or the pair has been
    edited since.
    """
    pair = _reviewed(connection, person, pair_id, base_revision)
    table = schema.pair_events
    decided = select(table.c.person_id, table.c.revision).where(
        table.c.pair_id == pair.id, table.c.action == pair.state
    )
    last = connection.execute(decided.order_by(table.c.at_ms.desc(), table.c.id.desc()).limit(1)).first()
    if pair.state not in ("accepted", "returned", "rejected") or last is None:
        raise ConflictError(f"pair {pair.id} is {pair.state}; there is no decision to take back")
    if last.person_id != person.id:
        raise NotAllowedError("somebody else made that decision; ask them, or decide anew")
    if last.revision != pair.revision:
        raise ConflictError(f"pair {pair.id} has been edited since; read it again")
    _move(connection, person, pair, (pair.state,), "submitted", "submitted", "the decision was taken back")


def _reviewed(connection: Connection, person: Person, pair_id: str, base_revision: int | None) -> Row[Any]:
    pair = visible(connection, person, pair_id)
    require(person, "reviewer")
    if base_revision is not None and base_revision != pair.revision:
        raise _newer(pair, base_revision)
    return pair


def _said(comment: str) -> str:
    if not comment.strip():
        raise DataError("empty; say in a few words what is to be done, or why", field="comment")
    return comment.strip()


def withdraw(connection: Connection, person: Person, pair_id: str, *, comment: str = "") -> None:
    """Take a pair out of every list and every later snapshot; its author or a reviewer may. The record keeps it."""
    pair = visible(connection, person, pair_id)
    _own_or_review(person, pair)
    _alive(pair)
    now = now_ms()
    _change(connection, pair, withdrawn_ms=now, changed_ms=now)
    _log(connection, person, pair, "withdrawn", comment)


def tag(connection: Connection, person: Person, pair_id: str, *tags: str) -> None:
    """Put tags on a pair; one that is there already stays."""
    pair = visible(connection, person, pair_id)
    _own_or_review(person, pair)
    _alive(pair)
    table = schema.pair_tags
    there = set(connection.execute(select(table.c.tag).where(table.c.pair_id == pair_id)).scalars())
    new = sorted({check_tag(each) for each in tags} - there)
    if len(there) + len(new) > MAX_TAGS:
        raise DataError(f"{len(there) + len(new)} tags, and a pair has at most {MAX_TAGS}; untag some", field="tags")
    if new:
        connection.execute(insert(table), [{"pair_id": pair_id, "tag": each} for each in new])


def untag(connection: Connection, person: Person, pair_id: str, *tags: str) -> None:
    """Take tags off a pair. Raises `NotFoundError` for one that is not on it."""
    pair = visible(connection, person, pair_id)
    _own_or_review(person, pair)
    table = schema.pair_tags
    for each in tags:
        gone = connection.execute(delete(table).where(table.c.pair_id == pair_id, table.c.tag == check_tag(each)))
        if not gone.rowcount:
            raise NotFoundError(f"the pair has no tag '{each}'")


def describe(
    connection: Connection, person: Person, pair_id: str, *, source: str | None = None, licence: str | None = None
) -> None:
    """Say where a pair comes from and under which licence it stands; None leaves what there is."""
    pair = visible(connection, person, pair_id)
    _own_or_review(person, pair)
    _alive(pair)
    given = {"source": source, "licence": licence}
    values = {name: value for name, value in given.items() if value is not None}
    check_origin(source or "", licence or "")
    if values:
        _change(connection, pair, changed_ms=now_ms(), **values)


def _own_or_review(person: Person, pair: Row[Any]) -> None:
    if pair.author_id != person.id and not may_review(person):
        raise NotAllowedError("the pair is another person's; its author or a reviewer can do that")


def _alive(pair: Row[Any]) -> None:
    if pair.withdrawn_ms is not None:
        raise ConflictError(f"pair {pair.id} was withdrawn; write a new one")


def _newer(pair: Row[Any], base_revision: int) -> ConflictError:
    return ConflictError(
        f"pair {pair.id} is at revision {pair.revision}, and this was made from revision {base_revision}; "
        "read the newest one and put your change on top of it"
    )


def _move(
    connection: Connection, person: Person, pair: Row[Any], before: Sequence[State], after: State, action: str,
    comment: str,
) -> None:  # fmt: skip
    _alive(pair)
    if pair.state not in before:
        raise ConflictError(
            f"pair {pair.id} is {pair.state}; only a pair that is {' or '.join(before)} can be {action}"
        )
    _change(connection, pair, state=after, changed_ms=now_ms())
    _log(connection, person, pair, action, comment)


def _change(connection: Connection, pair: Row[Any], **values: Any) -> None:
    """Change the row, unless somebody else has changed it since it was read."""
    table = schema.pairs
    unchanged = (
        (table.c.id == pair.id) & (table.c.revision == pair.revision) & (table.c.state == pair.state)
        & table.c.withdrawn_ms.is_not_distinct_from(pair.withdrawn_ms)
    )  # fmt: skip
    if connection.execute(update(table).where(unchanged).values(**values)).rowcount != 1:
        raise ConflictError(f"somebody else has changed pair {pair.id} just now; read it again")


def _log(connection: Connection, person: Person, pair: Row[Any], action: str, comment: str) -> None:
    check_no_nul(comment, "comment")
    row = _event(pair.id, pair.revision, person, action, comment, now_ms())
    connection.execute(insert(schema.pair_events).values(**row))
