"""What is said about answers in a chat becomes labels and draft pairs, once each, whatever is sent twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from record import BO, CY
from sqlalchemy import select

from tutelage.errors import ConflictError, DataError, NotFoundError
from tutelage.feedback.items import NewAnswer
from tutelage.serve.verdicts import Said, Written, write_down
from tutelage.store import pairs, schema
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.types import Message

QUESTION = (Message("system", "Be brief."), Message("user", "What is a leap year?"))
ANSWER = NewAnswer("A year.", "sft", {"temperature": 0.7, "seed": 5})
THUMB = Said("k1", "thumbs", QUESTION, [ANSWER], {"good": False}, ["wrong"], rewrite="A year of 366 days.")


def write(store: Store, said: Said, person: Person = CY) -> Written:
    return store.run(lambda connection: write_down(connection, person, said))


def labels(store: Store) -> list[tuple[str, dict[str, object], bool]]:
    table = schema.labels
    with store.read() as connection:
        rows = connection.execute(select(table).order_by(table.c.id)).all()
    return [(row.id, row.value, row.superseded_ms is None) for row in rows]


def test_a_thumb_with_better_words_is_a_label_and_a_draft_pair(any_store: Store) -> None:
    written = write(any_store, THUMB)
    assert labels(any_store) == [(written.label_id, {"good": False}, True)]
    assert written.pair_id is not None
    with any_store.read() as connection:
        pair = pairs.get(connection, CY, written.pair_id)
        row = connection.execute(select(schema.labels)).one()
        answer = connection.execute(select(schema.answers)).one()
    assert (pair.state, pair.source) == ("draft", "chat with sft")
    assert pair.messages[-1] == Message("assistant", "A year of 366 days.")
    assert (row.rewrite, row.reasons, row.source) == ("A year of 366 days.", ["wrong"], "chat")
    assert (answer.model, answer.text, answer.sampling) == ("sft", "A year.", {"temperature": 0.7, "seed": 5})


def test_the_same_request_is_written_down_once(any_store: Store) -> None:
    written = write(any_store, THUMB)
    assert write(any_store, THUMB) == written
    assert len(labels(any_store)) == 1
    with any_store.read() as connection:
        assert len(pairs.listing(connection, CY)) == 1
    with pytest.raises(ConflictError):
        write(any_store, replace(THUMB, verdict={"good": True}))


def test_a_change_of_mind_corrects_and_keeps_the_draft(store: Store) -> None:
    first = write(store, THUMB)
    second = write(store, replace(THUMB, request_key="k2", corrects="k1", verdict={"good": True}, rewrite=""))
    assert second.pair_id == first.pair_id
    third = write(store, replace(THUMB, request_key="k3", corrects="k2", rewrite="366 days."))
    assert write(store, replace(THUMB, request_key="k3", corrects="k2", rewrite="366 days.")) == third
    assert third.pair_id == first.pair_id
    assert [current for _, _, current in labels(store)] == [False, False, True]
    assert first.pair_id is not None
    with store.read() as connection:
        pair = pairs.get(connection, CY, first.pair_id)
    assert (pair.messages[-1].content, pair.revision) == ("366 days.", 2)


def test_a_draft_that_was_handed_in_is_left_alone(store: Store) -> None:
    first = write(store, THUMB)
    assert first.pair_id is not None
    with store.write() as connection:
        pairs.submit(connection, CY, first.pair_id)
    second = write(store, replace(THUMB, request_key="k2", corrects="k1", rewrite="366 days."))
    assert second.pair_id not in (None, first.pair_id)
    third = write(store, replace(THUMB, request_key="k3", corrects="k2", rewrite="366 days!"))
    assert third.pair_id == second.pair_id


def test_a_comparison_keeps_the_order_and_the_models(store: Store) -> None:
    other = NewAnswer("366 days.", "rlhf", {"temperature": 0.7})
    said = Said("v", "comparison", QUESTION, [ANSWER, other], {"winner": 1, "strength": 3}, meta={"blind": True})
    written = write(store, said)
    assert labels(store) == [(written.label_id, {"outcome": "second", "strength": 3}, True)]
    assert written.pair_id is None
    with store.read() as connection:
        row = connection.execute(select(schema.labels)).one()
        models = dict(connection.execute(select(schema.answers.c.id, schema.answers.c.model)).all())
    assert [models[each] for each in row.answer_ids] == ["sft", "rlhf"]
    assert (row.displayed, row.meta) == (row.answer_ids, {"blind": True})
    tie = write(store, replace(said, request_key="w", corrects="v", verdict={"outcome": "tie"}))
    assert labels(store)[-1] == (tie.label_id, {"outcome": "tie"}, True)


def test_only_ones_own_verdicts_are_corrected(store: Store) -> None:
    write(store, THUMB)
    with pytest.raises(NotFoundError, match="no verdict of yours has the key 'k1'"):
        write(store, replace(THUMB, request_key="k2", corrects="k1"), BO)
    with pytest.raises(ConflictError, match="another kind"):
        write(store, Said("k2", "comparison", QUESTION, [ANSWER, ANSWER], {"outcome": "tie"}, corrects="k1"))


def test_nothing_is_kept_of_what_is_refused(store: Store) -> None:
    with pytest.raises(DataError):
        write(store, replace(THUMB, verdict={"good": "very"}))
    with pytest.raises(DataError):
        write(store, replace(THUMB, messages=QUESTION[:1]))
    assert labels(store) == []
    with store.read() as connection:
        assert pairs.listing(connection, CY) == []
