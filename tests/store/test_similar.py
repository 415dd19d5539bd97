"""Pairs that ask nearly the same are found by a few index look-ups, and shown to those who may read them."""

from __future__ import annotations

from collections.abc import Sequence

from record import BO, CY, DEE
from sqlalchemy import func, select

from tutelage.store import pairs, schema, similar
from tutelage.store.database import Store
from tutelage.types import Message

ASKED = "How many legs does a grown spider have, and how many does an ant have?"
ALIKE = "How many legs does a grown spider have, and how many does an ant have when young?"


def talk(question: str, answer: str = "Eight, and six.") -> list[Message]:
    return [Message("user", question), Message("assistant", answer)]


def ids(found: Sequence[similar.Near]) -> list[str]:
    return [each.pair_id for each in found]


def test_a_near_question_is_found_whatever_the_answer(any_store: Store) -> None:
    with any_store.write() as connection:
        first = pairs.draft(connection, CY, talk(ASKED))
        pairs.draft(connection, CY, talk("Why is the sea salty, and are lakes salty as well?"))
        (found,) = similar.near(connection, talk(ALIKE, "It depends."))
        # ASKED has 15 words, so 13 triples; ALIKE has 2 words more at its end, so the same 13 and 2 others.
        assert (found.pair_id, found.text, found.similarity) == (first, ASKED, 13 / 15)
        (same,) = similar.near(connection, talk(ASKED.upper().rstrip("?"), "Other."))
        assert (same.pair_id, same.similarity) == (first, 1.0)
        assert similar.near(connection, talk(ALIKE), except_pair=first) == []
        assert similar.near(connection, talk("?!")) == similar.near(connection, []) == []


def test_only_the_newest_question_counts(store: Store) -> None:
    with store.write() as connection:
        pair_id = pairs.draft(connection, CY, talk(ASKED))
        pairs.edit(connection, CY, pair_id, talk("Why is the sea salty, and the lake is not?"), base_revision=1)
        assert similar.near(connection, talk(ASKED)) == []
        assert ids(similar.near(connection, talk("Why is the sea salty, and the lake is not?"))) == [pair_id]
        pairs.withdraw(connection, CY, pair_id)
        assert similar.near(connection, talk("Why is the sea salty, and the lake is not?")) == []


def test_the_likest_come_first(store: Store) -> None:
    with store.write() as connection:
        less, more = (pairs.draft(connection, CY, talk(question)) for question in (ALIKE + " Say why.", ALIKE))
        assert ids(similar.near(connection, talk(ASKED))) == [more, less]
        assert ids(similar.near(connection, talk(ASKED), limit=1)) == [more]


def test_others_drafts_are_counted_and_not_shown(store: Store) -> None:
    with store.write() as connection:
        draft = pairs.draft(connection, DEE, talk(ASKED, "Secret."))
        accepted = pairs.add_pairs(connection, BO, [pairs.NewPair(talk(ASKED))], state="accepted")[0]
        own = pairs.draft(connection, CY, talk(ASKED))
        seen = similar.near_for(connection, CY, talk(ASKED), except_pair=own)
        assert (ids(seen.pairs), seen.num_hidden) == ([accepted], 1)
        seen = similar.near_for(connection, BO, talk(ASKED))
        assert (set(ids(seen.pairs)), seen.num_hidden) == ({draft, accepted, own}, 0)


def test_a_template_with_many_fillings_stays_bounded(store: Store) -> None:
    with store.write() as connection:
        new = [pairs.NewPair(talk(f"{ASKED} {number}")) for number in range(400)]
        made = pairs.add_pairs(connection, CY, new)
        found = similar.near(connection, talk(f"{ASKED} 399"), limit=500)
        assert len(found) <= 2 * similar.MAX_COMPARED
        assert found[0].pair_id == made[399]  # its text is the same, so its hash is found


def test_bands_are_what_they_were_when_they_were_stored() -> None:
    """Stored bands are compared with new ones, so another hash needs `similar.rebuild` in a migration."""
    assert similar.signatures(ASKED)[::11] == ["0062b1462ddb01e5b0", "0bd05ed114df64c053"]
    assert len(similar.signatures(ASKED)) == similar.NUM_BANDS


def test_rebuilding_gives_the_same_bands(store: Store) -> None:
    table = schema.pair_signatures
    with store.write() as connection:
        pairs.add_pairs(connection, CY, [pairs.NewPair(talk(f"Question {number}?")) for number in range(3)])
        before = connection.execute(select(table).order_by(*table.primary_key)).all()
        connection.execute(table.delete())
        assert similar.rebuild(connection) == 3
        assert connection.execute(select(table).order_by(*table.primary_key)).all() == before
        assert connection.execute(select(func.count()).select_from(table)).scalar() == 3 * similar.NUM_BANDS
