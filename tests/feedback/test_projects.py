"""Projects and their items: what a project can be, guidelines by version, items once each, gold items, item files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from labelling import HELPFUL, given, item, make, rows, say
from record import ADA, BO, CY, DEE
from sqlalchemy import select

from tutelage.errors import ConflictError, DataError, NotAllowedError, NotFoundError
from tutelage.feedback import items, projects
from tutelage.feedback.item_files import read_items
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.store import schema
from tutelage.store.database import Store
from tutelage.types import Message


def test_a_project_keeps_its_facts_and_its_models_from_raters(any_store: Store):
    with any_store.write() as connection:
        made = projects.create(
            connection, BO, "scores", "rating", attributes=HELPFUL, reasons=["a", "b", "a"], overlap=3, gold_frac=0.1,
            repeat_frac=0.05, lease_seconds=60, models=["sft"], sampling={"temperature": 1.0}, guideline="Be fair.",
        )  # fmt: skip
        assert projects.get(connection, "scores") == projects.get(connection, made.id) == made
        assert (made.reasons, made.question) == (("a", "b"), "How good is this answer?")
        assert projects.guideline(connection, made) == (
            1,
            "Be fair.",
            projects.guidelines(connection, made)[0].created_ms,
            "",
            "bo",
        )
    seen = projects.seen_by(made, CY)
    assert (seen.models, seen.sampling, seen.gold_frac, seen.repeat_frac) == ((), {}, 0.0, 0.0)
    assert projects.seen_by(made, BO) == made


@pytest.mark.parametrize(
    ("name", "kind", "more", "field"),
    [
        ("a/b", "comparison", {}, "name"),
        ("", "comparison", {}, "name"),
        ("x" * 101, "comparison", {}, "name"),
        ("p", "essay", {}, "kind"),
        ("p", "comparison", {"overlap": 0}, "overlap"),
        ("p", "comparison", {"gold_frac": 0.6}, "gold_frac"),
        ("p", "comparison", {"repeat_frac": float("nan")}, "repeat_frac"),
        ("p", "comparison", {"lease_seconds": 5}, "lease_seconds"),
        ("p", "comparison", {"attributes": HELPFUL}, "attributes"),
        ("p", "comparison", {"reasons": [" "]}, "reasons"),
        ("p", "rating", {}, "attributes"),
        ("p", "rating", {"attributes": [{"name": "x", "low": 4, "high": 0}]}, "attributes[0].high"),
        ("p", "rating", {"attributes": [{"name": "x", "low": "0", "high": 4}]}, "attributes[0].low"),
        ("p", "rating", {"attributes": HELPFUL * 2}, "attributes"),
    ],
)
def test_what_cannot_be_is_refused_by_field(store: Store, name: str, kind: str, more: dict[str, Any], field: str):
    with store.write() as connection, pytest.raises(DataError) as caught:
        projects.create(connection, BO, name, kind, **more)
    assert caught.value.field == field


def test_only_reviewers_and_admins_make_and_change_projects(store: Store):
    project = make(store)
    for act in (
        lambda connection: projects.create(connection, CY, "mine", "thumbs"),
        lambda connection: projects.set_state(connection, CY, project, "closed"),
        lambda connection: projects.add_guideline(connection, CY, project, "x"),
        lambda connection: items.add_items(connection, CY, project, [item(9)]),
        lambda connection: items.add_gold(connection, CY, project, item(9), {"outcome": "tie"}),
        lambda connection: items.listing(connection, CY, project),
        lambda connection: items.withdraw(connection, CY, project, "0" * 32),
    ):
        with store.write() as connection, pytest.raises(NotAllowedError):
            act(connection)


def test_names_are_taken_once_and_listed_by_page(any_store: Store):
    with any_store.write() as connection:
        for name in ("c", "a", "b"):
            projects.create(connection, BO, name, "comparison")
        with pytest.raises(ConflictError, match="there is a project 'a' already"):
            projects.create(connection, ADA, "a", "thumbs")
        with pytest.raises(NotFoundError, match="no project 'd'"):
            projects.get(connection, "d")
        assert [each.name for each in projects.listing(connection, after="a", limit=1)] == ["b"]
        assert [each.name for each in projects.everything(connection)] == ["a", "b", "c"]


def test_guidelines_are_kept_by_version_and_labels_carry_theirs(any_store: Store):
    project = make(any_store, 2, guideline="one")
    task = given(any_store, CY, project)
    with any_store.write() as connection:
        assert projects.add_guideline(connection, BO, project, "two", " kinder ") == 2
        assert projects.add_guideline(connection, BO, project, "two") == 2
        assert [each.note for each in projects.guidelines(connection, project)] == ["kinder", ""]
        found = projects.guideline(connection, project, 1)
        assert found is not None
        assert found.text == "one"
        with pytest.raises(NotFoundError, match="no version 3"):
            projects.guideline(connection, project, 3)
    say(any_store, CY, task)
    say(any_store, CY, given(any_store, CY, project))
    assert rows(any_store, select(schema.labels.c.guideline_version).order_by(schema.labels.c.id)) == [(1,), (2,)]


def test_an_item_is_there_once_whatever_the_order_of_its_answers(any_store: Store):
    project = make(any_store, 2)
    turned = NewItem(item(0).messages, list(reversed(item(0).answers)))
    equal = NewItem((Message("user", "new?"),), [NewAnswer("same"), NewAnswer("same")])
    fresh = NewItem(item(0).messages, [NewAnswer("another"), item(0).answers[1]])
    with any_store.write() as connection:
        added = items.add_items(connection, BO, project, [item(1), turned, equal, fresh, fresh])
    assert (len(added.ids), added.num_there, added.num_equal) == (1, 3, 1)
    assert len(rows(any_store, schema.items.select())) == 3
    assert len(rows(any_store, schema.prompts.select())) == 2


def test_many_items_keep_their_order_over_batches(store: Store):
    project = make(store, 2 * items.AT_ONCE + 7)
    with store.read() as connection:
        found = items.listing(connection, BO, project, limit=1000)
        rest = items.listing(connection, BO, project, after=found[-1].id, limit=1000)
    numbers = [each.messages[0].content for each in (*found, *rest)]
    assert numbers == [f"question {number}?" for number in range(1007)]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (NewItem((), [NewAnswer("a"), NewAnswer("b")]), "2 field 'messages': a prompt ends with the user"),
        (NewItem((Message("user", "q"),), [NewAnswer("a")]), "2 field 'answers': a comparison is of 2 answers"),
        (NewItem((Message("user", "q\x00"),), [NewAnswer("a"), NewAnswer("b")]), "2 field 'messages': .* U\\+0000"),
        (NewItem((Message("user", "q"),), [NewAnswer("a"), NewAnswer("\ud800")]), "2 field 'answers': .* U\\+D800"),
        (replace(item(5), priority=float("nan")), "2 field 'priority'"),
        (replace(item(5), gold_value={"outcome": "first"}), "2 field 'value.strength'"),
        (replace(item(5), meta={"x": float("inf")}), "2 field 'meta'"),
    ],
)
def test_a_bad_item_is_named_and_none_is_added(store: Store, bad: NewItem, message: str):
    project = make(store, 0)
    with pytest.raises(DataError, match=message), store.write() as connection:
        items.add_items(connection, BO, project, [item(0), bad])
    assert rows(store, schema.items.select()) == []


def test_an_item_that_was_given_to_nobody_can_become_gold(any_store: Store):
    project = make(any_store, 2)
    task = given(any_store, CY, project)
    with any_store.write() as connection:
        first, second = (each.id for each in items.listing(connection, BO, project))
        assert first == task.item_id
        with pytest.raises(ConflictError, match="was given to raters already"):
            items.add_gold(connection, BO, project, first, {"outcome": "tie"})
        assert items.add_gold(connection, BO, project, second, {"outcome": "tie"}) == second
        assert items.num_by_state(connection, project) == {"open": 1, "done": 0, "withdrawn": 0, "gold": 1}
        with pytest.raises(NotFoundError):
            items.add_gold(connection, BO, project, "0" * 32, {"outcome": "tie"})


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_a_file_of_items_in_every_shape(store: Store, tmp_path: Path):
    project = make(store, 0)
    file = write(
        tmp_path / "items.jsonl",
        {"prompt": "one?", "answers": ["a", {"text": "b", "model": "m", "author": "dee"}], "priority": 2},
        {"prompt": "two?", "response_a": "a", "response_b": "b"},
        {"messages": [{"role": "user", "content": "three?"}], "answer": "a", "model": "m", "num_tokens": 3},
        {"prompt": "four?", "answers": ["a", "b"], "gold": {"winner": 1, "strength": 2}},
        {"messages": [{"role": "user", "content": "three?"}], "answer": "b", "model": "n", "stopped": True},
    )
    found = read_items(file, project, {"dee": DEE.id})
    assert [each.messages[-1].content for each in found] == ["one?", "two?", "four?", "three?"]
    assert found[0].priority == 2
    assert found[0].answers[1] == NewAnswer("b", "m", {}, DEE.id)
    assert found[2].gold_value == {"outcome": "second", "strength": 2}
    assert [(each.model, each.sampling) for each in found[3].answers] == [
        ("m", {"num_tokens": 3}),
        ("n", {"stopped": True}),
    ]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prompt": "q?"}, "items.jsonl:2: there are no answers"),
        ({"answers": ["a", "b"]}, "items.jsonl:2"),
        ({"prompt": "q?", "answers": ["a", 3]}, r"items.jsonl:2 field 'answers\[1\]': an answer is a text"),
        ({"prompt": "q?", "answers": ["a", "b"], "gold": {"winner": 3}}, "items.jsonl:2 field 'verdict.winner'"),
        ({"prompt": "q?", "answers": [{"text": "a", "author": "eve"}, "b"]}, "nobody here is called 'eve'"),
        ({"prompt": "q?", "answer": "alone"}, "items.jsonl:2: a comparison is of 2 answers"),
        ([1], "items.jsonl:2: a record is an object"),
    ],
)
def test_a_bad_record_of_a_file_is_named(store: Store, tmp_path: Path, record: Any, message: str):
    file = write(tmp_path / "items.jsonl", {"prompt": "one?", "answers": ["a", "b"]}, record)
    with pytest.raises(DataError, match=message):
        read_items(file, make(store, 0), {})
