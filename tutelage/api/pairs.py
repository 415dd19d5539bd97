"""Question/answer pairs: written, read, edited, reviewed, tagged.

A rater finds their own pairs and those that are accepted; any other pair does not exist for them.

Leaves out: the rules (`tutelage.store.pairs`), files of pairs (`tutelage.api.files`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import Connection

from tutelage.api.caller import Rater, Record, Reviewer
from tutelage.api.wire import After, Asked, IdempotencyKey, IdPath, Limit, Page, Search, messages_of
from tutelage.api.wire_pairs import (
    Accept,
    ChangeTags,
    CheckTurns,
    Comment,
    DescribePair,
    EditPair,
    FindNear,
    Found,
    NearPair,
    NearPairs,
    NewPair,
    Reopen,
    Review,
    TextChange,
)
from tutelage.data.check_one import check_conversation
from tutelage.store import pairs, similar
from tutelage.store.database import Store
from tutelage.store.idempotency import once
from tutelage.store.pairs import History, Pair, State
from tutelage.store.people import Person

router = APIRouter(prefix="/api/pairs", tags=["pairs"])
Number = Annotated[int, Query(ge=1, le=2**31 - 1)]


@router.get("")
def list_pairs(
    person: Rater,
    store: Record,
    state: State | None = None,
    tag: Search = None,
    author: Search = None,
    text: Search = None,
    after: After = "",
    limit: Limit = 50,
    oldest_first: bool = False,
) -> Page[Pair]:
    """Pairs, the newest first. `author` is a name; `text` is looked for in the words of a pair.

    A page of a search may be short or empty though there are more behind its `next`: it looks through 40,000 pairs.
    """
    with store.read() as connection:
        found, behind = pairs.page(
            connection, person, state=state, tag=tag, author=author, text=text, after=after or None,
            limit=min(limit, 500), oldest_first=oldest_first,
        )  # fmt: skip
        return Page(records=found, next=behind)


@router.post("", status_code=201)
def draft_pair(body: NewPair, person: Rater, store: Record, idempotency_key: IdempotencyKey = None) -> Pair:
    """A new pair of one's own: a draft, or handed in for review at once."""

    def work(connection: Connection) -> Pair:
        asked = {"draft_pair": body.model_dump(mode="json")}
        pair_id = once(connection, person, idempotency_key, asked, lambda: _draft(connection, person, body))
        return pairs.get(connection, person, pair_id)

    return store.run(work)


def _draft(connection: Connection, person: Person, body: NewPair) -> str:
    pair_id = pairs.draft(
        connection, person, messages_of(body.messages), source=body.source, licence=body.licence, tags=body.tags,
        meta=body.meta,
    )  # fmt: skip
    if body.submit:
        pairs.submit(connection, person, pair_id)
    return pair_id


@router.get("/counts")
def count_pairs(person: Rater, store: Record, mine: bool = False) -> dict[str, int]:
    """How many pairs one may read in each state, or with `mine` has written."""
    with store.read() as connection:
        return {str(state): count for state, count in pairs.count_by_state(connection, person, mine=mine).items()}


@router.get("/tags")
def list_pair_tags(
    person: Rater, store: Record, beginning: Search = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> list[str]:  # fmt: skip
    """Tags that begin so, of pairs that one may read."""
    with store.read() as connection:
        return pairs.known_tags(connection, person, beginning or "", limit=limit)


@router.post("/check")
def check_turns(body: CheckTurns, _: Rater) -> list[Found]:
    """What is wrong with these turns, or suspicious. Nothing is kept."""
    found = check_conversation(messages_of(body.messages))
    return [Found(severity=each.severity, code=each.code, field=each.field, message=each.message) for each in found]


@router.post("/near")
def find_near_pairs(body: FindNear, person: Rater, store: Record) -> NearPairs:
    """Pairs that ask nearly the same as these turns, the likest first."""
    with store.read() as connection:
        seen = similar.near_for(
            connection, person, messages_of(body.messages), limit=body.limit, except_pair=body.except_pair
        )
    return NearPairs(pairs=[NearPair(**each._asdict()) for each in seen.pairs], num_hidden=seen.num_hidden)


@router.get("/{pair_id}")
def get_pair(pair_id: IdPath, person: Rater, store: Record) -> Pair:
    """One pair with its newest words."""
    with store.read() as connection:
        return pairs.get(connection, person, pair_id)


@router.get("/{pair_id}/history")
def get_pair_history(pair_id: IdPath, person: Rater, store: Record) -> History:
    """Every revision of a pair, and all that was done to it."""
    with store.read() as connection:
        return pairs.history(connection, person, pair_id)


@router.get("/{pair_id}/diff")
def diff_pair(pair_id: IdPath, old: Number, new: Number, person: Rater, store: Record) -> list[TextChange]:
    """What changed between two revisions, word by word."""
    with store.read() as connection:
        return [TextChange(**each._asdict()) for each in pairs.diff(connection, person, pair_id, old, new)]


@router.put("/{pair_id}/messages")
def edit_pair(
    pair_id: IdPath, body: EditPair, person: Rater, store: Record, idempotency_key: IdempotencyKey = None
) -> Pair:
    """New words for a pair; 409 when somebody was quicker."""
    return _step(store, person, pair_id, idempotency_key, body, lambda connection: pairs.edit(
        connection, person, pair_id, messages_of(body.messages), note=body.note, base_revision=body.base_revision
    ))  # fmt: skip


@router.patch("/{pair_id}")
def describe_pair(pair_id: IdPath, body: DescribePair, person: Rater, store: Record) -> Pair:
    """Say where a pair comes from and under which licence it stands."""
    return _step(store, person, pair_id, None, body, lambda connection: pairs.describe(
        connection, person, pair_id, source=body.source, licence=body.licence
    ))  # fmt: skip


@router.post("/{pair_id}/tags")
def change_pair_tags(
    pair_id: IdPath, body: ChangeTags, person: Rater, store: Record, idempotency_key: IdempotencyKey = None
) -> Pair:
    """Put tags on a pair and take tags off it."""

    def change(connection: Connection) -> None:
        pairs.tag(connection, person, pair_id, *body.add)
        pairs.untag(connection, person, pair_id, *body.remove)

    return _step(store, person, pair_id, idempotency_key, body, change)


@router.post("/{pair_id}/submit")
def submit_pair(
    pair_id: IdPath, body: Comment, person: Rater, store: Record, idempotency_key: IdempotencyKey = None
) -> Pair:
    """Hand a draft or returned pair in for review."""
    return _step(store, person, pair_id, idempotency_key, body, lambda connection: pairs.submit(
        connection, person, pair_id, comment=body.comment
    ))  # fmt: skip


@router.post("/{pair_id}/withdraw")
def withdraw_pair(
    pair_id: IdPath, body: Comment, person: Rater, store: Record, idempotency_key: IdempotencyKey = None
) -> Pair:
    """Take a pair out of every list and every later snapshot."""
    return _step(store, person, pair_id, idempotency_key, body, lambda connection: pairs.withdraw(
        connection, person, pair_id, comment=body.comment
    ))  # fmt: skip


@router.post("/{pair_id}/accept")
def accept_pair(
    pair_id: IdPath, body: Accept, person: Reviewer, store: Record, idempotency_key: IdempotencyKey = None
) -> Pair:
    """Accept a submitted pair."""
    return _step(store, person, pair_id, idempotency_key, body, lambda connection: pairs.accept(
        connection, person, pair_id, comment=body.comment, base_revision=body.base_revision, allow_own=body.allow_own
    ))  # fmt: skip


@router.post("/{pair_id}/return")
def return_pair(
    pair_id: IdPath, body: Review, person: Reviewer, store: Record, idempotency_key: IdempotencyKey = None
) -> Pair:
    """Send a pair back to its author; the comment says what is to be done."""
    return _step(store, person, pair_id, idempotency_key, body, lambda connection: pairs.send_back(
        connection, person, pair_id, comment=body.comment, base_revision=body.base_revision
    ))  # fmt: skip


@router.post("/{pair_id}/reject")
def reject_pair(
    pair_id: IdPath, body: Review, person: Reviewer, store: Record, idempotency_key: IdempotencyKey = None
) -> Pair:
    """Turn a pair down; the comment says why."""
    return _step(store, person, pair_id, idempotency_key, body, lambda connection: pairs.reject(
        connection, person, pair_id, comment=body.comment, base_revision=body.base_revision
    ))  # fmt: skip


@router.post("/{pair_id}/reopen")
def reopen_pair(
    pair_id: IdPath, body: Reopen, person: Reviewer, store: Record, idempotency_key: IdempotencyKey = None
) -> Pair:
    """Take one's own decision about a pair back, so that it waits for review again."""
    return _step(store, person, pair_id, idempotency_key, body, lambda connection: pairs.reopen(
        connection, person, pair_id, base_revision=body.base_revision
    ))  # fmt: skip


def _step(
    store: Store, person: Person, pair_id: str, key: str | None, body: Asked, step: Callable[[Connection], int | None]
) -> Pair:
    """The pair after a step in its life, which is done once for each key."""

    def work(connection: Connection) -> Pair:
        asked = [pair_id, type(body).__name__, body.model_dump(mode="json")]
        once(connection, person, key, asked, lambda: step(connection))
        return pairs.get(connection, person, pair_id)

    return store.run(work)
