"""The loop in numbers: what counts, for whom, and what does not count any more."""

from __future__ import annotations

from labelling import given, make, say
from record import ADA, BO, CY, DEE
from sqlalchemy import insert

from tutelage.feedback import submit
from tutelage.feedback.loop import Loop, loop
from tutelage.store import lineage, pairs, schema
from tutelage.store.database import Store
from tutelage.store.ids import now_ms
from tutelage.store.people import Person
from tutelage.types import Message

PAIR = [Message("user", "What is a leap year?"), Message("assistant", "A year of 366 days.")]


def seen(store: Store, person: Person) -> Loop:
    with store.read() as connection:
        return loop(connection, person)


def test_an_empty_workspace_has_people_and_nothing_else(any_store: Store) -> None:
    now = seen(any_store, CY)
    assert (now.num_people, now.num_accepted, now.num_items, now.num_labels, now.queues) == (4, 0, 0, 0, ())
    assert not now.has_projects


def test_pairs_wait_for_who_may_do_something_with_them(any_store: Store) -> None:
    with any_store.write() as connection:
        mine = pairs.draft(connection, CY, PAIR)
        other = pairs.draft(connection, CY, PAIR)
        own_of_reviewer = pairs.draft(connection, BO, PAIR)
        for each, by in ((mine, CY), (other, CY), (own_of_reviewer, BO)):
            pairs.submit(connection, by, each)
        pairs.send_back(connection, BO, other, comment="say more", base_revision=1)
    now = seen(any_store, CY)
    assert (now.num_own_pairs, now.num_returned, now.num_drafts, now.num_to_review) == (2, 1, 0, 0)
    assert seen(any_store, BO).num_to_review == 1  # not the own one
    assert seen(any_store, ADA).num_to_review == 2
    assert now.num_submitted == 2


def test_verdicts_count_once_and_not_when_they_were_taken_out(any_store: Store) -> None:
    project = make(any_store, 3, overlap=2)
    for person in (CY, DEE):
        label = say(any_store, person, given(any_store, person, project))
    with any_store.write() as connection:
        submit.correct(connection, DEE, label, "again", {"winner": 1, "strength": 1})
    now = seen(any_store, CY)
    assert (now.num_items, now.num_labels) == (3, 2)
    queue = now.queues[0]
    assert (queue.project, queue.num_waiting, queue.num_given, queue.num_labels) == ("helpful", 2, 1, 2)
    assert queue.asks_twice
    with any_store.write() as connection:
        lineage.remove_person(connection, ADA, DEE, dry_run=False)
    assert seen(any_store, CY).num_labels == 1


def test_verdicts_since_the_newest_reward_model(any_store: Store) -> None:
    project = make(any_store, 3)
    say(any_store, CY, given(any_store, CY, project))
    with any_store.write() as connection:
        row = {"name": "rm", "method": "reward", "origin": {}, "run": "rm"}
        connection.execute(insert(schema.models).values(id="m", created_ms=now_ms() + 1, **row))
    assert seen(any_store, CY).num_labels_since == 0
    assert seen(any_store, CY).models["reward"].name == "rm"
