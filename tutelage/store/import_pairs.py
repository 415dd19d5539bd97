"""Pairs of an import, a batch at a time.

A pair comes as its first revision with the event `imported`, as it does when it is written here: content hash, words to
find it by, near-duplicate bands. Text that any revision of any pair holds is there already.

Leaves out: reading files (`tutelage.data.foreign_open`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from tutelage.data.foreign import IncomingPair
from tutelage.data.foreign_tutelage import UNFINISHED
from tutelage.errors import DataError
from tutelage.store import schema
from tutelage.store.contents import as_json, content_hash
from tutelage.store.ids import now_ms
from tutelage.store.import_rows import (
    Outcome,
    Run,
    check_storable,
    ids_of_people,
    in_parts,
    ordered_ids,
    refused,
    write_all,
)
from tutelage.store.pair_rules import check_messages, check_origin, check_tags
from tutelage.store.pair_views import STATES
from tutelage.store.pairs import searched_text
from tutelage.store.similar import remember
from tutelage.store.turns import take_turn
from tutelage.types import Message

REVIEWED = ("accepted", "returned", "rejected")
"""States that a reviewer gives; whoever imports a pair in one of them is that reviewer."""


class _Checked(NamedTuple):
    """A pair that can be kept."""

    pair: IncomingPair
    messages: tuple[Message, ...]
    hash: str
    source: str
    licence: str
    tags: list[str]
    state: str


def add_pairs(connection: Connection, run: Run, incoming: Sequence[IncomingPair]) -> Outcome:
    """Add the pairs that are not there yet; the outcome counts every one of them."""
    if not run.options.dry_run:
        take_turn(connection, "import", "pairs")
    outcome, checked = Outcome(), list[_Checked]()
    for pair in incoming:
        try:
            checked.append(_checked(run, pair))
        except DataError as error:
            outcome.left_out.append(refused(pair, error))
    there = _there(connection, [each.hash for each in checked])
    new = dict[str, _Checked]()
    for each in checked:
        if each.hash not in there and each.hash not in run.seen:
            new.setdefault(each.hash, each)
    outcome.added, outcome.already = len(new), len(checked) - len(new)
    if run.options.dry_run:
        run.seen |= new.keys()
    elif new:
        _write(connection, run, list(new.values()))
    return outcome


def _checked(run: Run, pair: IncomingPair) -> _Checked:
    state = run.options.state or pair.state or "submitted"
    messages = check_messages(pair.messages, complete=state not in UNFINISHED)
    source, licence = run.source_of(pair, pair.origin), run.options.licence or pair.licence
    check_origin(source, licence)
    check_storable(dict(pair.meta), "meta")
    if state not in STATES:
        raise DataError(f"'{state}' is none of {', '.join(STATES)}", field="state")
    tags = check_tags((*run.options.tags, *pair.tags))
    return _Checked(pair, messages, content_hash(as_json(messages)), source, licence, tags, state)


def _there(connection: Connection, hashes: Sequence[str]) -> set[str]:
    table, found = schema.pair_revisions, set[str]()
    for part in in_parts(sorted(set(hashes))):
        query = select(table.c.content_hash).where(table.c.content_hash.in_(part)).distinct()
        found |= set(connection.execute(query).scalars())
    return found


def _write(connection: Connection, run: Run, new: Sequence[_Checked]) -> None:
    authors = ids_of_people(connection, run, [each.pair.author for each in new if each.pair.author])
    now, by_id = now_ms(), dict(zip(ordered_ids(len(new)), new, strict=True))
    rows, revisions, events = [], [], []
    for (id, each), revision_id in zip(by_id.items(), ordered_ids(len(new)), strict=True):
        author = authors.get(each.pair.author, run.person.id)
        rows.append({
            "id": id, "state": each.state, "revision": 1, "author_id": author, "source": each.source,
            "licence": each.licence, "meta": dict(each.pair.meta), "import_id": run.import_id,
            "search": searched_text(each.messages), "created_ms": now, "changed_ms": now,
        })  # fmt: skip
        revisions.append({
            "id": revision_id, "pair_id": id, "number": 1, "messages": as_json(each.messages),
            "content_hash": each.hash, "editor_id": author, "note": "", "created_ms": now,
        })  # fmt: skip
        events += _events(run, id, each, now)
    tags = [{"pair_id": id, "tag": tag} for id, each in by_id.items() for tag in each.tags]
    for event, id in zip(events, ordered_ids(len(events)), strict=True):
        event["id"] = id
    write_all(
        connection, (schema.pairs, rows), (schema.pair_revisions, revisions), (schema.pair_events, events),
        (schema.pair_tags, tags),
    )  # fmt: skip
    remember(connection, {id: each.messages for id, each in by_id.items()}, new=True)


def _events(run: Run, pair_id: str, each: _Checked, now: int) -> list[dict[str, Any]]:
    event = {"pair_id": pair_id, "revision": 1, "person_id": run.person.id, "at_ms": now}
    events = [{**event, "action": "imported", "comment": ""}]
    if each.state in REVIEWED:
        events.append({**event, "action": each.state, "comment": f"{each.state} as it was imported"})
    return events
