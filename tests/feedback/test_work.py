"""What waits for whom, one's own labels, and disputed items, on both databases."""

from __future__ import annotations

import pytest
from labelling import MINUTE, START, given, item, make, say
from record import ADA, BO, CY, DEE

from tutelage.errors import NotAllowedError
from tutelage.feedback import disagreements, items, own, projects, work
from tutelage.feedback.projects import Project
from tutelage.feedback.verdicts import as_said
from tutelage.store import datasets, lineage
from tutelage.store.database import Store
from tutelage.store.people import Person


def test_an_item_waits_for_those_who_may_have_it_now(any_store: Store) -> None:
    project = make(any_store, 3)
    task = given(any_store, CY, project)
    with any_store.read() as connection:
        mine, theirs = (work.work_of(connection, each, project, now_ms=START) for each in (CY, DEE))
        later = work.work_of(connection, DEE, project, now_ms=START + 60 * MINUTE)
    assert (mine.num_waiting, theirs.num_waiting, later.num_waiting) == (
        3,
        2,
        3,
    )  # the lease on one has run out by then
    say(any_store, CY, task)
    with any_store.read() as connection:
        since = [work.work_of(connection, CY, project, ms, now_ms=START).num_since for ms in (START, START + 1)]
        (listed,) = work.work_in_all(connection, CY)
    assert since == [1, 0]
    assert (listed.project, listed.num_waiting, listed.num_given) == ("helpful", 2, 1)


def test_it_is_said_why_nothing_waits(any_store: Store) -> None:
    def why(project: Project, person: Person = CY, at: int = START) -> str:
        with any_store.read() as connection:
            return work.work_of(connection, person, project, now_ms=at).why_nothing

    with any_store.write() as connection:
        empty = projects.create(connection, BO, "empty", "comparison")
        written = projects.create(connection, BO, "written", "comparison")
        items.add_items(connection, BO, written, [item(1, author_id=CY.id)])
    assert (why(empty), why(written), why(written, DEE)) == ("empty", "written", "")
    project = make(any_store, 1, overlap=2)
    task = given(any_store, CY, project)
    say(any_store, CY, task)
    assert (why(project), why(project, DEE)) == ("yours", "")  # one label of two
    task = given(any_store, DEE, project)
    assert (why(project, BO), why(project, BO, START + 60 * MINUTE)) == ("held", "")
    say(any_store, DEE, task)
    assert {why(project, each) for each in (BO, CY, DEE)} == {"done"}
    with any_store.write() as connection:
        projects.set_state(connection, BO, empty, "paused")
    with any_store.read() as connection:
        assert work.work_of(connection, CY, projects.get(connection, "empty")).why_nothing == ""


def test_more_than_a_thousand_are_not_counted(any_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make(any_store, 4)
    monkeypatch.setattr(work, "COUNTED", 3)
    with any_store.read() as connection:
        told = work.work_of(connection, CY, project, now_ms=START)
    assert (told.num_waiting, told.has_more) == (3, True)


def test_disputed_items_are_found_beyond_the_first_look(any_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disagreements, "AT_ONCE", 2)
    monkeypatch.setattr(disagreements, "MOST_LOOKED_AT", 4)
    project = make(any_store, 6, overlap=2)
    for person in (CY, DEE):
        for number in range(6):
            task = given(any_store, person, project)
            first = min(range(2), key=lambda place: task.answers[place][1])
            say(any_store, person, task, {"winner": first if person is CY or number != 5 else 1 - first, "strength": 1})
    with any_store.read() as connection:
        none, looked_to = disagreements.disagreements(connection, BO, project)
        (item,), end = disagreements.disagreements(connection, BO, project, after=looked_to)
        with pytest.raises(NotAllowedError):
            disagreements.disagreements(connection, CY, project)
    assert (none, end) == ([], "")
    assert item.messages[-1].content == "question 5?"
    assert sorted(each.verdict["winner"] for each in item.opinions) == [0, 1]


def test_a_verdict_comes_back_as_it_was_said() -> None:
    canonical, displayed = ["a", "b", "c"], ["c", "a", "b"]
    assert as_said("ranking", {"ranks": [1, 0, 1]}, canonical, displayed) == {"order": [[2], [0, 1]]}
    assert as_said("comparison", {"outcome": "second", "strength": 4}, ["a", "b"], ["b", "a"]) == {
        "winner": 0, "strength": 4
    }  # fmt: skip
    assert as_said("thumbs", {"good": False}, ["a"], ["a"]) == {"good": False}


def test_what_came_of_somebodys_labels(any_store: Store) -> None:
    project = make(any_store, 2)
    say(any_store, CY, given(any_store, CY, project))
    say(any_store, DEE, given(any_store, DEE, project))
    for _ in range(2):
        with any_store.write() as connection:
            datasets.make_snapshot(connection, ADA, "labels:helpful", why=f"time {_}")
    with any_store.read() as connection:
        found, number = lineage.forward_of_person(connection, CY.id, "labels")
        labels = own.newest_first(connection, CY, project)
    assert number == 1
    assert [each.num_held for each in found.held] == [1] * len(found.held)
    assert found.held
    assert len(labels) == 1
