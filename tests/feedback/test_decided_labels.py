"""What raters disagreed on is trained on as a reviewer decided it, and the snapshot says what it left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from labelling import HELPFUL, crowd, given, make, say
from record import ADA, BO
from sqlalchemy import select, update

from tutelage.errors import StoreError
from tutelage.feedback import submit
from tutelage.feedback.projects import Project
from tutelage.store import schema
from tutelage.store.database import Store
from tutelage.store.datasets import Snapshot, make_snapshot, records, snapshot_of
from tutelage.store.labels import says_other
from tutelage.store.people import Person

OVERRULED = "a reviewer decided otherwise"


def judged(store: Store, project: Project, verdicts: Sequence[Mapping[str, Any]]) -> tuple[list[str], str]:
    """The labels of raters who judge the one item, and its id."""
    raters, labels, item_id = crowd(store, len(verdicts)), [], ""
    for rater, verdict in zip(raters, verdicts, strict=True):
        task = given(store, rater, project)
        item_id = task.item_id
        labels.append(say(store, rater, task, verdict))
    return labels, item_id


def decide(store: Store, item_id: str, verdict: Mapping[str, Any], reviewer: Person = BO, key: str = "d") -> str:
    with store.write() as connection:
        return submit.adjudicate(connection, reviewer, item_id, key, verdict)


def taken(store: Store, name: str = "labels:helpful") -> tuple[dict[str, Any], Snapshot]:
    """The lines of a new snapshot by label."""
    with store.write() as connection:
        snapshot = make_snapshot(connection, None, name)
        return {line["id"]: line for line in records(connection, snapshot)}, snapshot


def answers_of(store: Store, item_id: str) -> list[str]:
    with store.read() as connection:
        return list(connection.execute(select(schema.items.c.answer_ids).where(schema.items.c.id == item_id)).scalar())


def test_a_decision_stands_instead_of_the_labels_that_say_something_else(any_store: Store) -> None:
    project = make(any_store, 1, overlap=4)
    raters = crowd(any_store, 4)
    tasks = [given(any_store, rater, project) for rater in raters]
    first, second = answers_of(any_store, tasks[0].item_id)
    said = [{"winner": first, "strength": 4}, {"winner": second, "strength": 2}, {"outcome": "tie"},
            {"outcome": "cannot_judge"}]  # fmt: skip
    labels = [say(any_store, *each[:2], each[2]) for each in zip(raters, tasks, said, strict=True)]
    before, _ = taken(any_store)
    assert set(before) == set(labels[:3])
    decision = decide(any_store, tasks[0].item_id, {"winner": first, "strength": 1})
    found, snapshot = taken(any_store)
    assert set(found) == {labels[0], decision}
    assert snapshot.chosen_by["left_out"] == {OVERRULED: 2, "nobody could judge": 1}
    assert [found[id]["meta"].get("decision") for id in (labels[0], decision)] == [None, True]
    assert found[labels[0]]["strength"] == 4  # the rater's own
    with any_store.read() as connection:  # what was taken before says what it said
        assert len(list(records(connection, snapshot_of(connection, "labels:helpful@1")))) == 3


def test_what_no_reviewer_decided_is_as_it_was(store: Store) -> None:
    project = make(store, 2, overlap=1)
    [rater] = crowd(store, 1)
    other = given(store, rater, project)
    kept = say(store, rater, other, {"winner": 0, "strength": 1})
    task = given(store, rater, project)
    say(store, rater, task, {"outcome": "both_bad"})
    decided = decide(store, task.item_id, {"outcome": "tie"})
    found, _ = taken(store)
    assert set(found) == {kept, decided}


def test_that_nobody_can_judge_is_a_decision_too(store: Store) -> None:
    project = make(store, 1, overlap=2)
    _, item_id = judged(store, project, [{"outcome": "tie"}, {"outcome": "both_bad"}])
    decide(store, item_id, {"outcome": "cannot_judge"})
    with pytest.raises(StoreError, match=f"2 left out: {OVERRULED}; 1 left out: nobody could judge"):
        taken(store)


def test_of_several_decisions_the_newest_counts_and_that_of_a_removed_person_does_not(any_store: Store) -> None:
    project = make(any_store, 1, overlap=2)
    [tie, bad], item_id = judged(any_store, project, [{"outcome": "tie"}, {"outcome": "both_bad"}])
    earlier = decide(any_store, item_id, {"outcome": "tie"}, BO)
    assert set(taken(any_store)[0]) == {tie, earlier}
    later = decide(any_store, item_id, {"outcome": "both_bad"}, ADA)
    found, snapshot = taken(any_store)
    assert set(found) == {bad, later}
    assert snapshot.chosen_by["left_out"] == {OVERRULED: 2}
    with any_store.write() as connection:
        connection.execute(update(schema.people).where(schema.people.c.id == ADA.id).values(withdrawn_ms=1))
    assert set(taken(any_store)[0]) == {tie, earlier}
    with any_store.write() as connection:
        connection.execute(update(schema.labels).where(schema.labels.c.id == earlier).values(withdrawn_ms=1))
    assert set(taken(any_store)[0]) == {tie, bad}


def test_ratings_are_held_against_the_decision_by_attribute(store: Store) -> None:
    attributes = (*HELPFUL, {"name": "kind", "low": 0, "high": 4, "help": ""})
    project = make(store, 1, "rating", overlap=2, attributes=attributes)
    said = [{"scores": {"helpful": 3, "kind": 1}}, {"scores": {"helpful": 1, "kind": 1}}]
    [one, other], item_id = judged(store, project, said)
    decision = decide(store, item_id, {"scores": {"helpful": 3, "kind": 2}})
    assert set(taken(store)[0]) == {decision}
    assert set(taken(store, "labels:helpful/helpful")[0]) == {one, decision}
    assert other not in taken(store, "labels:helpful/helpful")[0]


@pytest.mark.parametrize(
    ("kind", "value", "decided", "other"),
    [
        ("ranking", {"ranks": [0, 1, 1]}, {"ranks": [0, 1, 1]}, False),
        ("ranking", {"ranks": [0, 1, 2]}, {"ranks": [0, 1, 1]}, True),
        ("ranking", {"ranks": [0, 1, 2]}, {"cannot_judge": True}, True),
        ("thumbs", {"good": True}, {"good": True}, False),
        ("thumbs", {"good": True}, {"good": False}, True),
    ],
)
def test_which_verdict_says_something_else(kind: str, value: Any, decided: Any, other: bool) -> None:
    assert says_other(kind, value, decided) is other
