"""Pairs that ask nearly the same, found while somebody types.

Of every pair's newest question a MinHash is kept in bands (Broder 1997): two questions that share a band are
candidates, and the exact Jaccard similarity of their word triples decides. A pair whose whole text is the same is found
by its hash as well. 12 bands of 4 rows find a pair of similarity .8 with probability 1 - (1 - .8^4)^12 = .998 and
one of .6 with probability .81.

Leaves out: paraphrases, which share few words, and repeats within one file (`tutelage.data.duplicates`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Subquery, delete, func, insert, literal, select, union_all

from tutelage.data.similarity import jaccard, normalise, shingles
from tutelage.store import schema
from tutelage.store.contents import as_json, as_messages, content_hash
from tutelage.store.pair_rules import may_review
from tutelage.store.people import Person
from tutelage.types import Message

NUM_BANDS, BAND_ROWS = 12, 4
MIN_SIMILARITY = 0.5
"""Less alike than this is not shown."""
MAX_IN_BAND = 100
"""Pairs looked at of those that share one band, so that a template with 100,000 fillings costs no more than others."""
MAX_COMPARED = 40
"""Likeliest candidates whose texts are compared."""


class Near(NamedTuple):
    """A pair that asks nearly the same."""

    pair_id: str
    similarity: float
    """1 = the same words; the Jaccard similarity of the word triples."""
    text: str
    """Its question."""


class Seen(NamedTuple):
    """The near pairs that somebody may read, and how many more there are."""

    pairs: list[Near]
    num_hidden: int


def question_of(messages: Sequence[Message]) -> str:
    """All that the user asks, a line a turn."""
    return "\n".join(turn.content for turn in messages if turn.role == "user")


def signatures(question: str) -> list[str]:
    """A key for each band; none for a text without words."""
    return _signatures([question])[0]


def _signatures(questions: Sequence[str]) -> list[list[str]]:
    from rensa import RMinHash

    runs = [sorted(shingles(question)) for question in questions]
    sketches = RMinHash.from_token_sets(runs, num_perm=NUM_BANDS * BAND_ROWS, seed=0)
    return [_bands(sketch.digest()) if run else [] for run, sketch in zip(runs, sketches, strict=True)]


def _bands(digest: Sequence[int]) -> list[str]:
    """The number of the band is part of its key, so that one index finds it."""
    rows = [digest[band * BAND_ROWS : (band + 1) * BAND_ROWS] for band in range(NUM_BANDS)]
    packed = (b"".join(value.to_bytes(8, "little") for value in row) for row in rows)
    return [f"{band:02x}{hashlib.blake2b(row, digest_size=8).hexdigest()}" for band, row in enumerate(packed)]


def remember(connection: Connection, questions: Mapping[str, Sequence[Message]], *, new: bool = False) -> None:
    """Keep the bands of these pairs' turns, by pair id, in place of earlier ones; `new` pairs have none yet."""
    table = schema.pair_signatures
    if not new:
        connection.execute(delete(table).where(table.c.pair_id.in_(list(questions))))
    keys = _signatures([question_of(messages) for messages in questions.values()]) if questions else []
    rows = [
        {"pair_id": pair_id, "band": band, "signature": key}
        for pair_id, bands in zip(questions, keys, strict=True)
        for band, key in enumerate(bands)
    ]
    if rows:
        connection.execute(insert(table), rows)


def rebuild(connection: Connection) -> int:
    """Compute the bands of every pair again, after the hash has changed; gives how many pairs there are."""
    pairs, revisions = schema.pairs, schema.pair_revisions
    connection.execute(delete(schema.pair_signatures))
    newest = (revisions.c.pair_id == pairs.c.id) & (revisions.c.number == pairs.c.revision)
    query = select(pairs.c.id, revisions.c.messages).join(revisions, newest).order_by(pairs.c.id).limit(1000)
    after, num_pairs = "", 0
    while rows := connection.execute(query.where(pairs.c.id > after)).all():
        remember(connection, {row.id: as_messages(row.messages) for row in rows}, new=True)
        after, num_pairs = rows[-1].id, num_pairs + len(rows)
    return num_pairs


def near(
    connection: Connection,
    messages: Sequence[Message],
    *,
    limit: int = 5,
    except_pair: str | None = None,
    min_similarity: float = MIN_SIMILARITY,
) -> list[Near]:
    """The pairs whose question is most like that of `messages`, the likest first; withdrawn ones are left out.

    For somebody's eyes take `near_for`, which hides what they may not read.
    """
    found = _compared(connection, messages, except_pair, min_similarity)
    return [each for each, _ in found[:limit]]


def near_for(
    connection: Connection,
    person: Person,
    messages: Sequence[Message],
    *,
    limit: int = 5,
    except_pair: str | None = None,
) -> Seen:
    """What `near` gives, as far as `person` may read it: reviewers all, others their own and accepted pairs."""
    found = _compared(connection, messages, except_pair, MIN_SIMILARITY)[:limit]
    seen = [each for each, owner in found if may_review(person) or owner in (person.id, ACCEPTED)]
    return Seen(seen, len(found) - len(seen))


ACCEPTED = "accepted"
"""Stands for the author of a pair that everyone may read."""


def _compared(
    connection: Connection, messages: Sequence[Message], except_pair: str | None, min_similarity: float
) -> list[tuple[Near, str]]:
    """Near pairs, each with who may read it besides reviewers."""
    question = question_of(messages)
    keys = signatures(question)
    if not keys:
        return []
    run, plain = shingles(question), normalise(question)
    found = []
    for row in _texts(connection, _candidates(connection, keys, messages), except_pair):
        text = question_of(as_messages(row.messages))
        similarity = 1.0 if normalise(text) == plain else jaccard(run, shingles(text))
        if similarity >= min_similarity:
            owner = ACCEPTED if row.state == ACCEPTED else row.author_id
            found.append((Near(row.id, similarity, text), owner))
    return sorted(found, key=lambda each: (-each[0].similarity, each[0].pair_id))


def _candidates(connection: Connection, keys: Sequence[str], messages: Sequence[Message]) -> list[str]:
    """Ids of the pairs that share most bands, and of those with the same text."""
    revisions = schema.pair_revisions
    shared = union_all(*(select(_in_band(key).c.pair_id) for key in keys)).subquery()
    count = func.count(literal(1))
    likely = select(shared.c.pair_id).group_by(shared.c.pair_id).order_by(count.desc(), shared.c.pair_id)
    same = select(revisions.c.pair_id).where(revisions.c.content_hash == content_hash(as_json(messages)))
    by_hash = connection.execute(same.limit(MAX_COMPARED)).scalars()
    return list(dict.fromkeys([*by_hash, *connection.execute(likely.limit(MAX_COMPARED)).scalars()]))


def _in_band(key: str) -> Subquery:
    table = schema.pair_signatures
    return select(table.c.pair_id).where(table.c.signature == key).limit(MAX_IN_BAND).subquery()


def _texts(connection: Connection, ids: Iterable[str], except_pair: str | None) -> Sequence[Any]:
    """Newest turns, author and state of these pairs."""
    pairs, revisions = schema.pairs, schema.pair_revisions
    newest = (revisions.c.pair_id == pairs.c.id) & (revisions.c.number == pairs.c.revision)
    wanted = [pair_id for pair_id in ids if pair_id != except_pair]
    query = select(pairs.c.id, pairs.c.state, pairs.c.author_id, revisions.c.messages).join(revisions, newest)
    return connection.execute(query.where(pairs.c.id.in_(wanted), pairs.c.withdrawn_ms.is_(None))).all()
