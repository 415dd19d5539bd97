"""Reading pairs: one, a page of them, the history of one, and what changed between two revisions.

A rater reads their own pairs and those that are accepted; for them no other pair exists. Reviewers read all. Pages go
by key: the last id of one page is the `after` of the next, so that a page costs the same wherever it is.

Leaves out: changing pairs (`tutelage.store.pairs`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Column, ColumnElement, Connection, Row, Select, func, select, union

from tutelage.data.similarity import normalise
from tutelage.errors import ConflictError, DataError, NotFoundError
from tutelage.store import schema
from tutelage.store.contents import as_messages
from tutelage.store.pair_rules import may_review
from tutelage.store.people import Person, person_named, require
from tutelage.store.word_diff import Change, conversation_diff
from tutelage.types import Message

State = Literal["draft", "submitted", "returned", "accepted", "rejected"]
STATES: tuple[State, ...] = ("draft", "submitted", "returned", "accepted", "rejected")
MAX_PAGE = 500
MOST_SEARCHED = 40_000
"""Pairs whose words one page looks through. PostgreSQL as it comes and SQLite share no index of parts of words."""
ID_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair with its newest revision."""

    id: str
    state: State
    revision: int
    messages: tuple[Message, ...]
    author: str
    author_id: str
    editor: str
    """Who wrote the newest revision."""
    source: str
    licence: str
    tags: tuple[str, ...]
    meta: Mapping[str, Any]
    created_ms: int
    changed_ms: int
    withdrawn_ms: int | None
    said: str = ""
    """The comment of the decision by which the pair is in its state, e.g. why it was sent back."""
    said_by: str = ""


@dataclass(frozen=True, slots=True)
class Revision:
    """The words of a pair at one time."""

    number: int
    messages: tuple[Message, ...]
    editor: str
    note: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was done to a pair."""

    action: str
    revision: int
    person: str
    comment: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class History:
    """All that happened to a pair, the oldest first."""

    revisions: tuple[Revision, ...]
    events: tuple[Event, ...]


def visible(connection: Connection, person: Person, pair_id: str) -> Row[Any]:
    """The row of a pair; `NotFoundError` when there is none, or none that `person` may know of."""
    require(person, "rater")
    row = connection.execute(select(schema.pairs).where(schema.pairs.c.id == pair_id)).first()
    may_read = row is not None and (
        may_review(person) or row.author_id == person.id or (row.state == "accepted" and row.withdrawn_ms is None)
    )
    if row is None or not may_read:
        raise NotFoundError(f"no pair {pair_id}; `tutelage pairs list` shows those there are")
    return row


def get(connection: Connection, person: Person, pair_id: str) -> Pair:
    """One pair; `NotFoundError` when there is none, or none that `person` may know of."""
    visible(connection, person, pair_id)
    return _pairs(connection, [pair_id])[0]


def find_id(connection: Connection, person: Person, text: str) -> str:
    """The id that begins with `text`, among pairs that `person` may read.

    Raises `NotFoundError` when there is none, `ConflictError` when there are several.
    """
    if len(text) == ID_LENGTH or not text.isalnum():
        return text
    pairs = schema.pairs
    query = select(pairs.c.id).where(pairs.c.id >= text, pairs.c.id < text + "g")  # after all hexadecimal digits
    if not may_review(person):
        query = query.where((pairs.c.author_id == person.id) | (pairs.c.state == "accepted"))
    found = connection.execute(query.order_by(pairs.c.id).limit(2)).scalars().all()
    if not found:
        raise NotFoundError(f"no pair {text}; `tutelage pairs list` shows those there are")
    if len(found) > 1:
        raise ConflictError(f"several pairs have ids that begin with {text}; give more of it")
    return found[0]


def newest_messages(connection: Connection, pair: Row[Any]) -> tuple[Message, ...]:
    """The turns of a pair's newest revision."""
    table = schema.pair_revisions
    query = select(table.c.messages).where(table.c.pair_id == pair.id, table.c.number == pair.revision)
    return as_messages(connection.execute(query).scalar_one())


def listing(
    connection: Connection,
    person: Person,
    *,
    state: State | None = None,
    tag: str | None = None,
    author: str | None = None,
    text: str | None = None,
    after: str | None = None,
    limit: int = 50,
    oldest_first: bool = False,
) -> list[Pair]:
    """A page of the pairs that `person` may read, the newest first; withdrawn ones are left out.

    `author` is a name. `text` is looked for in the beginning of the newest revision, whatever the case. Raises
    `DataError` for a limit that is no page, `NotFoundError` for an author whom nobody knows.
    """
    found: list[Pair] = []
    while True:
        more, after = page(
            connection, person, state=state, tag=tag, author=author, text=text, after=after, limit=limit - len(found),
            oldest_first=oldest_first,
        )  # fmt: skip
        found += more
        if len(found) == limit or after is None:
            return found


def page(
    connection: Connection,
    person: Person,
    *,
    state: State | None,
    tag: str | None,
    author: str | None,
    text: str | None,
    after: str | None,
    limit: int,
    oldest_first: bool,
) -> tuple[list[Pair], str | None]:
    """What `listing` gives, and the id behind which there may be more; None at the end.

    A search ends its page after `MOST_SEARCHED` pairs, however few of them hold the text: there may be more behind.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise DataError(f"{limit} is no length of a page; give 1 to {MAX_PAGE}", field="limit")
    author_id = person_named(connection, author).id if author else None
    asked: dict[str, Any] = {"state": state, "tag": tag, "author_id": author_id, "after": after}
    asked["oldest_first"] = oldest_first
    until = _searched_to(connection, person, **asked) if text else None
    query = listing_query(person, **asked, text=text, limit=limit, until=until)
    ids = [row.id for row in connection.execute(query)]
    return _pairs(connection, ids), ids[-1] if len(ids) == limit else until


def _searched_to(
    connection: Connection, person: Person, *, state: str | None, tag: str | None, author_id: str | None,
    after: str | None, oldest_first: bool,
) -> str | None:  # fmt: skip
    """The id of the last pair that one search looks at; None where that is all of them. Asked of indexes alone."""
    pairs, tags = schema.pairs, schema.pair_tags
    if tag is not None:
        ways = [(tags.c.pair_id, [tags.c.tag == tag])]
    elif author_id:
        ways = [(pairs.c.id, [pairs.c.author_id == author_id])]
    else:
        ways = [(pairs.c.id, allowed) for allowed in _ways(person, state, None, by_index=True)]
    found: list[str] = []
    for key, conditions in ways:
        query = select(key).where(*conditions)
        if after is not None:
            query = query.where(key > after if oldest_first else key < after)
        query = query.order_by(key if oldest_first else key.desc()).offset(MOST_SEARCHED - 1).limit(1)
        found += connection.execute(query).scalars()
    return (min(found) if oldest_first else max(found)) if found else None


def listing_query(
    person: Person,
    *,
    state: str | None,
    tag: str | None,
    author_id: str | None,
    text: str | None,
    after: str | None,
    limit: int,
    oldest_first: bool,
    until: str | None = None,
) -> Select[tuple[str]]:
    """The ids of a page, none of them beyond `until`.

    Each way to be allowed to read a pair is a query of its own, which an index answers.
    """
    pairs, tags = schema.pairs, schema.pair_tags
    key = pairs.c.id if tag is None else tags.c.pair_id
    ways = []
    for allowed in _ways(person, state, author_id, by_index=tag is None):
        query = select(key.label("id")).where(pairs.c.withdrawn_ms.is_(None), *allowed)
        if tag is not None:
            query = query.join(pairs, pairs.c.id == tags.c.pair_id).where(tags.c.tag == tag)
        if text:
            query = query.where(pairs.c.search.contains(normalise(text), autoescape=True))
        if after is not None:
            query = query.where(key > after if oldest_first else key < after)
        if until is not None:
            query = query.where(key <= until if oldest_first else key >= until)
        ways.append(query.order_by(key if oldest_first else key.desc()).limit(limit))
    if len(ways) == 1:
        return ways[0]
    found = union(*(select(way.subquery()) for way in ways)).subquery()
    return select(found.c.id).order_by(found.c.id if oldest_first else found.c.id.desc()).limit(limit)


def _ways(
    person: Person, state: str | None, author_id: str | None, *, by_index: bool
) -> list[list[ColumnElement[bool]]]:
    """Conditions, any of which lets `person` read a pair that is asked for.

    Where a tag is asked for, its index finds the pairs; without `by_index` no other one is tempting.
    """
    require(person, "rater")

    def equals(column: Column[str], value: str) -> ColumnElement[bool]:
        return column == value if by_index else func.coalesce(column, "") == value

    pairs = schema.pairs
    asked = [equals(pairs.c.state, state)] if state else []
    asked += [equals(pairs.c.author_id, author_id)] if author_id else []
    if may_review(person) or state == "accepted" or author_id == person.id:
        return [asked]
    own, accepted = [*asked, equals(pairs.c.author_id, person.id)], [*asked, equals(pairs.c.state, "accepted")]
    if author_id:
        return [accepted]
    return [own] if state else [own, accepted]


def _pairs(connection: Connection, ids: Sequence[str]) -> list[Pair]:
    """These pairs, in this order."""
    pairs, revisions, people = schema.pairs, schema.pair_revisions, schema.people
    editors = people.alias("editors")
    query = (
        select(pairs, revisions.c.messages, people.c.name.label("author"), editors.c.name.label("editor"))
        .join(revisions, (revisions.c.pair_id == pairs.c.id) & (revisions.c.number == pairs.c.revision))
        .join(people, people.c.id == pairs.c.author_id)
        .join(editors, editors.c.id == revisions.c.editor_id)
        .where(pairs.c.id.in_(ids))
    )
    tags, said = tags_of(connection, ids), _said(connection, ids)
    found = {
        row.id: _pair(row, tags.get(row.id, ()), said.get((row.id, row.state), ("", "")))
        for row in connection.execute(query)
    }
    return [found[pair_id] for pair_id in ids]


def _pair(row: Row[Any], tags: Sequence[str], said: tuple[str, str]) -> Pair:
    return Pair(
        row.id, row.state, row.revision, as_messages(row.messages), row.author, row.author_id, row.editor, row.source,
        row.licence, tuple(tags), row.meta, row.created_ms, row.changed_ms, row.withdrawn_ms, *said,
    )  # fmt: skip


def _said(connection: Connection, ids: Sequence[str]) -> dict[tuple[str, str], tuple[str, str]]:
    """The newest decision of each kind about each of these pairs: its comment, and whose it is."""
    events, people = schema.pair_events, schema.people
    decided = events.c.pair_id.in_(ids) & events.c.action.in_(("accepted", "returned", "rejected"))
    query = select(events.c.pair_id, events.c.action, events.c.comment, people.c.name)
    query = query.join(people, people.c.id == events.c.person_id).where(decided).order_by(events.c.at_ms, events.c.id)
    return {(row.pair_id, row.action): (row.comment, row.name) for row in connection.execute(query)}


def known_tags(connection: Connection, person: Person, beginning: str = "", *, limit: int = 20) -> list[str]:
    """Tags in alphabetical order that begin so, of pairs that `person` may read."""
    require(person, "rater")
    pairs, tags = schema.pairs, schema.pair_tags
    query = select(tags.c.tag).distinct().where(tags.c.tag.startswith(beginning, autoescape=True))
    query = query.join(pairs, pairs.c.id == tags.c.pair_id).where(pairs.c.withdrawn_ms.is_(None))
    if not may_review(person):
        query = query.where((pairs.c.author_id == person.id) | (pairs.c.state == "accepted"))
    return list(connection.execute(query.order_by(tags.c.tag).limit(limit)).scalars())


def tags_of(connection: Connection, ids: Sequence[str]) -> dict[str, list[str]]:
    """The tags of each of these pairs that has any, in alphabetical order."""
    table = schema.pair_tags
    query = select(table).where(table.c.pair_id.in_(ids)).order_by(table.c.pair_id, table.c.tag)
    found: dict[str, list[str]] = {}
    for row in connection.execute(query):
        found.setdefault(row.pair_id, []).append(row.tag)
    return found


_ORDER = ("drafted", "imported", "edited", "submitted", "returned", "accepted", "rejected", "withdrawn")
"""Of what happens to one revision within a millisecond."""


def history(connection: Connection, person: Person, pair_id: str) -> History:
    """All revisions and events of a pair, with names."""
    visible(connection, person, pair_id)
    revisions, events, people = schema.pair_revisions, schema.pair_events, schema.people
    written = (
        select(revisions, people.c.name)
        .join(people, people.c.id == revisions.c.editor_id)
        .where(revisions.c.pair_id == pair_id)
        .order_by(revisions.c.number)
    )
    done = (
        select(events, people.c.name).join(people, people.c.id == events.c.person_id).where(events.c.pair_id == pair_id)
    )
    found = [Event(row.action, row.revision, row.name, row.comment, row.at_ms) for row in connection.execute(done)]
    return History(
        tuple(
            Revision(row.number, as_messages(row.messages), row.name, row.note, row.created_ms)
            for row in connection.execute(written)
        ),
        tuple(sorted(found, key=lambda each: (each.at_ms, each.revision, _ORDER.index(each.action)))),
    )


def diff(connection: Connection, person: Person, pair_id: str, old: int, new: int) -> list[Change]:
    """What changed from revision `old` to `new`, word by word within each turn."""
    visible(connection, person, pair_id)
    table = schema.pair_revisions
    query = select(table.c.number, table.c.messages).where(table.c.pair_id == pair_id, table.c.number.in_([old, new]))
    found = {row.number: as_messages(row.messages) for row in connection.execute(query)}
    for number in (old, new):
        if number not in found:
            raise NotFoundError(f"pair {pair_id} has no revision {number}")
    return conversation_diff(found[old], found[new])


def count_by_state(connection: Connection, person: Person, *, mine: bool = False) -> dict[State, int]:
    """How many pairs `person` may read in each state, or with `mine` has written; withdrawn ones are left out."""
    table = schema.pairs
    query = select(table.c.state, func.count()).where(table.c.withdrawn_ms.is_(None)).group_by(table.c.state)
    if mine:
        query = query.where(table.c.author_id == person.id)
    elif not may_review(person):
        query = query.where((table.c.author_id == person.id) | (table.c.state == "accepted"))
    found = {row[0]: row[1] for row in connection.execute(query)}
    return {state: found.get(state, 0) for state in STATES}
