"""Progress: counts, agreement, oneself, gold, time, by rater; a rater sees their own line and nobody else's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from labelling import START, given, item, make, row_of, say, take
from record import BO, CY, DEE

from tutelage.feedback import items, projects, queue, submit
from tutelage.feedback.measures import measure, right, same
from tutelage.feedback.progress import progress
from tutelage.store import schema
from tutelage.store.database import Store
from tutelage.store.imports import import_file

A, B, TIE, UNSURE = (
    {"outcome": "first", "strength": 3}, {"outcome": "second", "strength": 1}, {"outcome": "tie"},
    {"outcome": "cannot_judge"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "one", "other", "credit"),
    [
        ("comparison", A, {"outcome": "first", "strength": 1}, 1),
        ("comparison", A, B, 0),
        ("comparison", A, TIE, 0),
        ("comparison", A, UNSURE, None),
        ("thumbs", {"good": True}, {"good": False}, 0),
        # Of the pairs 01, 02, 12 the first and the last are in the same order.
        ("ranking", {"ranks": [0, 1, 2]}, {"ranks": [0, 2, 0]}, 1 / 3),
        ("ranking", {"ranks": [0, 1, 2]}, {"cannot_judge": True}, None),
        ("rating", {"scores": {"x": 1, "y": 2}}, {"scores": {"x": 1, "y": 3}}, 0.5),
    ],
)
def test_how_far_two_verdicts_are_the_same(kind: str, one: Any, other: Any, credit: float | None):
    assert same(kind, one, other) == same(kind, other, one) == (None if credit is None else pytest.approx(credit))


def test_how_far_a_verdict_is_right():
    attributes = [{"name": "x", "low": 0, "high": 4}, {"name": "y", "low": 0, "high": 1}]
    assert right("rating", {"scores": {"x": 2, "y": 0}}, {"scores": {"x": 3, "y": 1}}, attributes) == 0.5
    # The gold order puts 0 before 1 and 0 before 2, and says nothing of 1 and 2.
    assert right("ranking", {"ranks": [0, 2, 1]}, {"ranks": [0, 1, 1]}) == 1
    assert right("ranking", {"ranks": [1, 0, 2]}, {"ranks": [0, 1, 1]}) == 0.5
    assert right("comparison", UNSURE, A) is None


def test_strength_is_a_scale_from_one_answer_to_the_other():
    items_ = {"1": [A, A], "2": [B, B], "3": [TIE, TIE], "4": [A, {"outcome": "first", "strength": 4}]}
    outcome, strength = measure("comparison", items_)
    assert (outcome.name, outcome.level, strength.name, strength.level) == ("outcome", "nominal", "strength", "ordinal")
    assert outcome.raw is not None
    assert strength.raw is not None
    assert outcome.raw.share.estimate == 1
    assert strength.raw.share.estimate == 0.75
    assert strength.alpha is not None
    assert 0.8 < strength.alpha.alpha.estimate < 1


def test_the_units_of_a_ranking_are_its_pairs():
    [found] = measure("ranking", {"1": [{"ranks": [0, 1, 2]}, {"ranks": [0, 2, 1]}], "2": [{"cannot_judge": True}]})
    assert found.raw is not None
    assert (found.raw.num_units, found.raw.share.estimate) == (3, pytest.approx(2 / 3))


def test_a_project_and_its_raters(any_store: Store):
    project = make(any_store, 4, overlap=2, guideline="one")
    with any_store.write() as connection:
        items.add_gold(connection, BO, project, item(50, priority=9), {"outcome": "first", "strength": 4})
    for person, outcomes in ((CY, [A, A, B, TIE]), (DEE, [A, B, UNSURE])):
        for number, value in enumerate(outcomes):
            task = given(any_store, person, project)
            say(any_store, person, task, _as_shown(any_store, task, value), seconds=10.0 + number)
    with any_store.write() as connection:
        queue.skip(connection, DEE, _held(connection, DEE, project), "tired")
        projects.add_guideline(connection, BO, project, "two")
    with any_store.read() as connection:
        found = progress(connection, BO, project)
    assert found.num_items == {"open": 1, "done": 3, "withdrawn": 0, "gold": 1}
    assert (found.num_wanted, found.num_done, found.num_labels, found.num_skipped) == (8, 7, 7, 1)
    assert found.median_seconds == 11.0  # 10, 10, 11, 11, 12, 12, 13
    assert found.by_guideline == {"1": 7}
    cy, dee = found.raters
    assert (cy.name, cy.num_labels, cy.num_skipped, cy.num_cannot_judge, cy.median_seconds) == ("cy", 4, 0, 0, 11.5)
    assert (dee.num_labels, dee.num_skipped, dee.num_cannot_judge) == (3, 1, 1)
    # Both judged items 0, 1 and 2: the same, another, and no opinion.
    for line in (cy, dee):
        assert line.with_others is not None
        assert (line.with_others.share.estimate, line.with_others.num_pairs) == (0.5, 2)
    outcome = found.agreement[0]
    assert outcome.raw is not None
    assert (outcome.raw.share.estimate, outcome.raw.num_units) == (0.5, 2)
    assert (found.gold, found.with_self, found.num_adjudicated) == (None, None, 0)


def _held(connection: Any, person: Any, project: Any) -> str:
    task = queue.next_item(connection, person, project, now_ms=START)
    assert task is not None
    return task.assignment_id


def _as_shown(store: Store, task: queue.Task, value: dict[str, Any]) -> dict[str, Any]:
    """The verdict that means this value, whatever the order on the screen."""
    if value["outcome"] not in ("first", "second"):
        return value
    with store.read() as connection:
        answer_ids = row_of(connection, schema.items, task.item_id).answer_ids
    return {"winner": answer_ids[value["outcome"] == "second"], "strength": value["strength"]}


def test_gold_oneself_and_decisions(store: Store):
    project = make(store, 1, gold_frac=0.5)
    with store.write() as connection:
        for number in (50, 51):
            items.add_gold(connection, BO, project, item(number), {"outcome": "first", "strength": 4})
        gold = [each.id for each in items.listing(connection, BO, project) if each.gold_value is not None]
        ordinary = next(each.id for each in items.listing(connection, BO, project) if each.gold_value is None)
        for number, (item_id, round_) in enumerate([(gold[0], 0), (gold[1], 0), (ordinary, 0), (ordinary, 1)]):
            row = row_of(connection, schema.items, item_id)
            connection.execute(schema.assignments.insert().values(
                id=f"{number:032x}", project_id=project.id, item_id=item_id, person_id=CY.id, round=round_,
                state="leased", displayed=row.answer_ids, leased_ms=START, expires_ms=START,
            ))  # fmt: skip
    for number, winner in enumerate([0, 1, 0, 0]):
        with store.write() as connection:
            verdict = {"winner": winner, "strength": 2}
            submit.submit(connection, CY, f"{number:032x}", f"k{number}", verdict, now_ms=START)
    with store.write() as connection:
        submit.adjudicate(connection, BO, ordinary, "d", {"outcome": "tie"})
        found = progress(connection, BO, project)
    [cy] = found.raters
    for share in (found.gold, cy.gold):
        assert share is not None
        assert (share.share.estimate, share.num_pairs) == (0.5, 2)
    for share in (found.with_self, cy.with_self):
        assert share is not None
        assert (share.share.estimate, share.num_pairs) == (1.0, 1)
    assert (found.num_done, found.num_labels, found.num_adjudicated) == (1, 4, 1)
    assert take(store, CY, project) is None


def test_a_rater_sees_their_own_line_only(store: Store):
    project = make(store, 2, overlap=2)
    for person in (CY, DEE):
        say(store, person, given(store, person, project))
    with store.read() as connection:
        found = progress(connection, CY, project)
    assert [line.name for line in found.raters] == ["cy"]
    assert (found.num_labels, found.num_wanted) == (2, 4)
    assert set(found.num_items) == {"open", "done"}
    assert "dee" not in repr(found)


def test_verdicts_of_a_file_count_and_agree_as_those_of_the_queue_do(store: Store, tmp_path: Any):
    lines = [
        {"prompt": "p?", "chosen": "a", "rejected": "b", "rater": "eve"},
        {"prompt": "p?", "chosen": "b", "rejected": "a", "rater": "finn"},
        {"prompt": "q?", "chosen": "a", "rejected": "b", "rater": "eve"},
    ]
    file = tmp_path / "old.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    import_file(store, BO, file)
    with store.read() as connection:
        found = progress(connection, BO, projects.get(connection, "old"))
    assert (found.num_done, found.num_labels, found.num_adjudicated) == (3, 3, 0)
    assert [(each.name, each.num_labels) for each in found.raters] == [("eve", 2), ("finn", 1)]
    assert found.agreement[0].raw is not None
    assert (found.agreement[0].raw.share.estimate, found.agreement[0].raw.num_units) == (0, 1)
