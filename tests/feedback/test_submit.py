"""Verdicts: said as the rater sees the answers, kept in canonical order, once each, corrected, decided, seen."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from labelling import HELPFUL, MINUTE, START, VERDICTS, crowd, given, make, row_of, rows, say, take
from record import BO, CY, DEE
from sqlalchemy import event, select

from tutelage.errors import ConflictError, DataError, NotAllowedError, NotFoundError
from tutelage.feedback import items, queue, seen, submit
from tutelage.feedback.items import NewAnswer
from tutelage.feedback.verdicts import as_value
from tutelage.store import schema
from tutelage.store.database import Store
from tutelage.types import Message

SHOWN = ["q", "p"]  # canonical order: p, q


@pytest.mark.parametrize(
    ("verdict", "value"),
    [
        ({"winner": 0, "strength": 4}, {"outcome": "second", "strength": 4}),
        ({"winner": 1, "strength": 1}, {"outcome": "first", "strength": 1}),
        ({"winner": "p", "strength": 2}, {"outcome": "first", "strength": 2}),
        ({"winner": None, "outcome": "tie"}, {"outcome": "tie"}),
        ({"outcome": "both_bad"}, {"outcome": "both_bad"}),
        ({"outcome": "cannot_judge"}, {"outcome": "cannot_judge"}),
    ],
)
def test_a_comparison_is_turned_into_canonical_order(verdict: dict[str, Any], value: dict[str, Any]):
    assert as_value("comparison", verdict, ["p", "q"], SHOWN) == value


@pytest.mark.parametrize(
    ("order", "ranks"),
    [
        (["c", "a", "b"], [1, 2, 0]),
        ([0, 1, 2], [2, 1, 0]),  # shown as c, b, a
        ([["a", "b"], "c"], [0, 0, 1]),
        ([["a", "b", "c"]], [0, 0, 0]),
    ],
)
def test_a_ranking_is_turned_into_ranks(order: list[Any], ranks: list[int]):
    assert as_value("ranking", {"order": order}, ["a", "b", "c"], ["c", "b", "a"]) == {"ranks": ranks}


def test_thumbs_ratings_and_no_opinion():
    assert as_value("ranking", {"cannot_judge": True}, ["a", "b"], ["a", "b"]) == {"cannot_judge": True}
    assert as_value("thumbs", {"good": False}, ["a"], ["a"]) == {"good": False}
    assert as_value("rating", {"scores": {"helpful": 4}}, ["a"], ["a"], HELPFUL) == {"scores": {"helpful": 4}}


@pytest.mark.parametrize(
    ("kind", "verdict", "message"),
    [
        (
            "comparison",
            {"winner": 2, "strength": 1},
            "field 'verdict.winner': 2 names no answer; give an id, or 0 to 1",
        ),
        ("comparison", {"winner": "r", "strength": 1}, "field 'verdict.winner': 'r' names no answer"),
        ("comparison", {"winner": True, "strength": 1}, "field 'verdict.winner': True names no answer"),
        ("comparison", {"winner": 0}, "field 'value.strength': None is none of 1, 2, 3, 4"),
        ("comparison", {"winner": 0, "strength": 5}, "field 'value.strength': 5 is none of"),
        ("comparison", {"winner": 0, "strength": 1, "outcome": "tie"}, "field 'verdict.outcome'"),
        ("comparison", {"outcome": "tie", "strength": 2}, "field 'value.strength': 'tie' has no strength"),
        ("comparison", {}, "field 'verdict.winner': name the winner, or one of tie"),
        ("comparison", {"outcome": "first"}, "field 'verdict.winner': name the winner"),
        ("comparison", {"winner": 0, "strength": 1, "sure": 1}, "field 'verdict.sure'"),
        ("comparison", [], "field 'verdict': a verdict is an object"),
        ("ranking", {"order": [0]}, "field 'verdict.order': 1 of 2 answers are named"),
        ("ranking", {"order": [0, 0]}, r"field 'verdict.order\[1\]': answer 0 is named twice"),
        ("ranking", {"order": [[], [0, 1]]}, r"field 'verdict.order\[0\]': an empty list"),
        ("ranking", {"order": "pq"}, "field 'verdict.order': give a list"),
        ("ranking", {}, "field 'value.ranks'"),
    ],
)
def test_what_is_no_verdict_is_refused_by_field(kind: str, verdict: Any, message: str):
    with pytest.raises(DataError, match=message):
        as_value(kind, verdict, ["p", "q"], SHOWN)


@pytest.mark.parametrize("kind", ["comparison", "ranking", "thumbs", "rating"])
def test_a_label_carries_all_that_was_known(any_store: Store, kind: str):
    project = make(any_store, 1, kind, reasons=["true", "clear"], guideline="g")
    task = given(any_store, CY, project)
    label_id = say(any_store, CY, task, reasons=["clear"], critique="too long", rewrite="Short.", seconds=12.5)
    with any_store.read() as connection:
        label = row_of(connection, schema.labels, label_id)
        assignment = row_of(connection, schema.assignments, task.assignment_id)
        done = row_of(connection, schema.items, task.item_id)
    assert (label.kind, label.person_id, label.project_id, label.item_id) == (kind, CY.id, project.id, task.item_id)
    assert label.displayed == [answer for answer, _ in task.answers]
    assert label.answer_ids == done.answer_ids
    assert (label.reasons, label.critique, label.rewrite, label.seconds) == (["clear"], "too long", "Short.", 12.5)
    assert (label.guideline_version, label.round, label.is_gold) == (1, 0, False)
    assert (assignment.state, assignment.finished_ms, assignment.draft) == ("done", START, None)
    assert (done.num_done, done.state) == (1, "done")


def test_the_same_request_is_one_label_also_long_after(any_store: Store):
    project = make(any_store, 3)
    task = given(any_store, CY, project)
    first = say(any_store, CY, task, request_key="k")
    assert say(any_store, CY, task, request_key="k", now_ms=START + 60 * MINUTE) == first
    assert rows(any_store, select(schema.items.c.num_done).order_by(schema.items.c.id)) == [(1,), (0,), (0,)]
    with pytest.raises(ConflictError, match="was used for another verdict"):
        say(any_store, CY, task, {"outcome": "tie"}, request_key="k")
    with pytest.raises(ConflictError, match="is submitted already; correct its label instead"):
        say(any_store, CY, task, request_key="other")
    other = given(any_store, CY, project)
    with pytest.raises(ConflictError, match="was used for another task"):
        say(any_store, CY, other, request_key="k")
    say(any_store, DEE, given(any_store, DEE, project), request_key="k")  # a key is one's own


def test_many_retries_at_once_make_one_label(any_store: Store):
    project, ids, problems = make(any_store, 2), list[str](), list[str]()
    task = given(any_store, CY, project)
    barrier = threading.Barrier(8)

    def send() -> None:
        barrier.wait(timeout=60)
        try:
            with any_store.write() as connection:
                label, following = submit.submit_next(
                    connection, CY, task.assignment_id, "k", VERDICTS["comparison"], now_ms=START
                )
            ids.append(f"{label} {following and following.assignment_id}")
        except Exception as error:
            problems.append(repr(error))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert problems == []
    assert (len(ids), len(set(ids))) == (8, 1)
    assert len(rows(any_store, schema.labels.select())) == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"reasons": ["rude"]}, "field 'reasons': 'rude' is no reason here; the project offers true"),
        ({"critique": "a\x00b"}, "field 'critique': it holds the character U\\+0000"),
        ({"rewrite": "a\ud800"}, "field 'rewrite': it holds U\\+D800, half a character"),
        ({"critique": "x" * 100_001}, "field 'critique': it has 100,001 characters, and at most 100,000"),
        ({"seconds": -1.0}, "field 'seconds'"),
        ({"seconds": float("nan")}, "field 'seconds'"),
        ({"request_key": ""}, "field 'request_key'"),
        ({"request_key": "k" * 101}, "field 'request_key'"),
    ],
)
def test_what_goes_with_a_verdict_is_checked_and_then_nothing_is_written(
    any_store: Store, more: dict[str, Any], message: str
):
    task = given(any_store, CY, make(any_store, 1, reasons=["true"]))
    with pytest.raises(DataError, match=message):
        say(any_store, CY, task, **more)
    assert rows(any_store, schema.labels.select()) == []
    assert rows(any_store, select(schema.assignments.c.state)) == [("leased",)]
    assert say(any_store, CY, task, reasons=["true", "true"])


def test_a_correction_takes_the_labels_place_and_keeps_the_old_one(any_store: Store):
    project = make(any_store, 1, guideline="one")
    task = given(any_store, CY, project)
    old = say(any_store, CY, task, {"winner": 0, "strength": 4})

    def correct(label: str, key: str, verdict: dict[str, Any]) -> str:
        with any_store.write() as connection:
            return submit.correct(connection, CY, label, key, verdict, critique="I misread it")

    new = correct(old, "c1", {"winner": 1, "strength": 1})
    assert correct(old, "c1", {"winner": 1, "strength": 1}) == new
    with pytest.raises(ConflictError, match="has been corrected already"):
        correct(old, "c2", {"outcome": "tie"})
    newest = correct(new, "c3", {"outcome": "tie"})
    with any_store.read() as connection:
        chain = [row_of(connection, schema.labels, each) for each in (old, new, newest)]
        current = seen.current_labels(connection, task.item_id)
    assert [each.supersedes for each in chain] == [None, old, new]
    assert [each.superseded_ms is None for each in chain] == [False, False, True]
    assert chain[0].value["strength"] == 4
    assert chain[2].displayed == chain[0].displayed
    assert [each.id for each in current] == [newest]
    assert rows(any_store, select(schema.items.c.num_done)) == [(1,)], "a correction is no further label"
    with any_store.write() as connection, pytest.raises(NotFoundError):
        submit.correct(connection, DEE, newest, "k", {"outcome": "tie"})


def test_others_verdicts_are_hidden_until_one_has_given_ones_own(any_store: Store):
    project = make(any_store, 1, overlap=2)
    mine, theirs = given(any_store, CY, project), given(any_store, DEE, project)
    say(any_store, DEE, theirs, seconds=9.0)
    with any_store.read() as connection:
        with pytest.raises(NotAllowedError, match="once you have submitted yours"):
            seen.labels_of_item(connection, CY, mine.item_id)
        with pytest.raises(NotFoundError):
            seen.labels_of_item(connection, CY, "0" * 32)
        assert [each.person for each in seen.labels_of_item(connection, BO, mine.item_id)] == ["dee"]
    say(any_store, CY, mine)
    with any_store.read() as connection:
        found = seen.labels_of_item(connection, CY, mine.item_id)
    assert [(each.person, each.is_mine, each.seconds) for each in found] == [("", False, None), ("cy", True, None)]
    assert {(each.round, each.is_gold) for each in found} == {(None, None)}


def test_who_was_never_given_the_item_or_skipped_it_sees_nothing_of_it(any_store: Store):
    project, (outsider, skipper) = make(any_store, 1, overlap=2), crowd(any_store, 2)
    say(any_store, CY, given(any_store, CY, project))
    task = given(any_store, skipper, project)
    with any_store.write() as connection:
        queue.skip(connection, skipper, task.assignment_id, "tired")
    with any_store.read() as connection:
        with pytest.raises(NotFoundError):
            seen.labels_of_item(connection, outsider, task.item_id)
        with pytest.raises(NotAllowedError):
            seen.labels_of_item(connection, skipper, task.item_id)


def test_a_reviewer_decides_and_names_what_was_decided(any_store: Store):
    project = make(any_store, 1, overlap=2)
    labels = [say(any_store, who, given(any_store, who, project)) for who in (CY, DEE)]
    with any_store.read() as connection:
        item_id = connection.execute(select(schema.items.c.id)).scalar_one()
        answer = connection.execute(select(schema.items.c.answer_ids)).scalar_one()[1]

    def decide(who: Any, key: str, verdict: dict[str, Any]) -> str:
        with any_store.write() as connection:
            return submit.adjudicate(connection, who, item_id, key, verdict)

    with pytest.raises(NotAllowedError):
        decide(CY, "d", {"outcome": "tie"})
    first = decide(BO, "d1", {"outcome": "tie"})
    assert decide(BO, "d1", {"outcome": "tie"}) == first
    second = decide(BO, "d2", {"winner": answer, "strength": 2})
    with any_store.read() as connection:
        label = row_of(connection, schema.labels, second)
        assert (label.value, label.supersedes) == ({"outcome": "second", "strength": 2}, first)
        assert sorted(label.meta["adjudicates"]) == sorted(labels)
        assert row_of(connection, schema.items, item_id).num_done == 2
        assert [each.adjudicates != () for each in seen.labels_of_item(connection, CY, item_id)] == [False, False, True]


def test_there_is_nothing_to_decide_where_nobody_has_judged(any_store: Store):
    project = make(any_store, 1)
    with any_store.write() as connection:
        item_id = items.listing(connection, BO, project)[0].id
        with pytest.raises(ConflictError, match="nobody has judged item"):
            submit.adjudicate(connection, BO, item_id, "k", {"outcome": "tie"})
        with pytest.raises(NotFoundError):
            submit.adjudicate(connection, BO, "0" * 32, "k", {"outcome": "tie"})


def test_a_thumb_outside_the_queue_is_kept_once_with_prompt_and_answer(any_store: Store):
    asked = [Message("system", "Be brief."), Message("user", "Hello?")]
    answer = NewAnswer("Hi!", "sft-2", {"temperature": 0.7})

    def thumb(key: str, good: bool, text: str = "Hi!") -> str:
        with any_store.write() as connection:
            given_answer = NewAnswer(text, answer.model, answer.sampling)
            return submit.free_label(
                connection, CY, key, "thumbs", asked, [given_answer], {"good": good}, ["kind"], source="chat"
            )

    first = thumb("k", True)
    assert thumb("k", True) == first
    for good, text in ((False, "Hi!"), (True, "Hullo!")):
        with pytest.raises(ConflictError, match="was used for another verdict"):
            thumb("k", good, text)
    assert thumb("k2", False) != first
    [kept, _] = rows(any_store, schema.labels.select().order_by(schema.labels.c.id))
    assert (kept.value, kept.project_id, kept.source, kept.reasons) == ({"good": True}, None, "chat", ["kind"])
    assert len(rows(any_store, schema.prompts.select())) == 1
    assert set(rows(any_store, select(schema.answers.c.model))) == {("sft-2",)}
    with any_store.write() as connection:
        assert submit.correct(connection, CY, first, "k3", {"good": False})


def test_a_repeat_is_kept_apart_and_does_not_count(store: Store):
    project = make(store, 1, overlap=1)
    task = given(store, CY, project)
    say(store, CY, task)
    with store.write() as connection:
        first = row_of(connection, schema.assignments, task.assignment_id)._mapping
        again = dict(first) | {"id": "f" * 32, "round": 1, "state": "leased", "expires_ms": START + MINUTE}
        connection.execute(schema.assignments.insert().values(**again))
    repeat = given(store, CY, project)
    assert repeat.item_id == task.item_id
    with store.read() as connection, pytest.raises(NotAllowedError):
        seen.labels_of_item(connection, CY, task.item_id)
    say(store, CY, repeat)
    assert rows(store, select(schema.items.c.num_done)) == [(1,)]
    assert sorted(rows(store, select(schema.labels.c.round))) == [(0,), (1,)]
    assert take(store, CY, project) is None


def test_a_verdict_and_the_next_task_are_few_statements(any_store: Store) -> None:
    """Each is a way to the database and back, on PostgreSQL through the network, while others wait for their turn."""
    project = make(any_store, 3, guideline="Be kind.")
    task = given(any_store, CY, project)
    asked: list[str] = []
    event.listen(any_store.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    with any_store.write() as connection:
        _, following = submit.submit_next(connection, CY, task.assignment_id, "k", {"winner": 0, "strength": 1})
    assert following is not None
    assert following.guideline == "Be kind."
    assert len([each for each in asked if not each.startswith("BEGIN")]) <= 14
    words = [" ".join(each.split()).partition(" FROM ")[2].split() for each in asked if each.startswith("SELECT")]
    tables = [each[0] for each in words if each]
    assert tables.count("labels") == tables.count("projects") == tables.count("guidelines") == 1
