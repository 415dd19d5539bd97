"""Argilla's exports: records of version 2 in each of its forms, and the FeedbackDataset of version 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tutelage.data.foreign import Incoming, IncomingLabel, IncomingPair, LeftOut
from tutelage.data.foreign_open import open_foreign

FIELDS = {"prompt": "Name a fruit.", "response-1": "Plum.", "response-2": "It depends."}
ONE = {"instruction": "Name a fruit.", "response": "Plum."}


def read(folder: Path, records: Any) -> list[Incoming]:
    file = folder / "export.json"
    file.write_text(json.dumps(records), encoding="utf-8")
    opened = open_foreign(file)
    assert opened.format == "argilla"
    return list(opened.incoming())


def record(responses: Any, fields: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "id": "r1", "fields": fields or FIELDS, "metadata": {"split": "train"}, "vectors": {}, "_server_id": "s",
        "suggestions": {"better": {"value": "response-2", "score": None, "agent": "m"}}, "responses": responses,
    }  # fmt: skip


def said(user: str = "u1", **values: Any) -> dict[str, Any]:
    return {question: [{"value": value, "user_id": user}] for question, value in values.items()}


def label(folder: Path, one: dict[str, Any]) -> IncomingLabel:
    (found,) = read(folder, [one])
    assert isinstance(found, IncomingLabel), found
    return found


def test_every_person_of_a_record_has_a_verdict_of_their_own(tmp_path: Path) -> None:
    responses = {
        "better": [{"value": "response-1", "user_id": "u1"}, {"value": "tie", "user_id": "u2"}],
        "reasons": [{"value": ["too vague"], "user_id": "u1"}],
        "critique": [{"value": "Says nothing.", "user_id": "u1"}],
    }
    first, second = read(tmp_path, [record(responses)])
    assert isinstance(first, IncomingLabel)
    assert isinstance(second, IncomingLabel)
    assert (first.rater, first.value) == ("argilla:u1", {"outcome": "first", "strength": 3})
    assert (first.reasons, first.critique) == (("too vague",), "Says nothing.")
    assert (second.rater, second.value) == ("argilla:u2", {"outcome": "tie"})
    assert first.meta["metadata"] == {"split": "train"}


@pytest.mark.parametrize(
    "ranking",
    [
        ["response-2", "response-1", "response-3"],
        [{"value": "response-2", "rank": 1}, {"value": "response-1", "rank": 2}, {"value": "response-3", "rank": 3}],
        {"value": ["reply-2", "reply-1", "reply-3"], "rank": [1, 2, 3]},
    ],
)
def test_rankings_come_in_three_forms(tmp_path: Path, ranking: Any) -> None:
    found = label(tmp_path, record(said(order=ranking), FIELDS | {"response-3": "Pear."}))
    assert (found.kind, found.value) == ("ranking", {"ranks": [1, 0, 2]})


def test_a_ranking_of_two_is_a_comparison_and_equal_ranks_a_tie(tmp_path: Path) -> None:
    ranks = [{"value": "response-1", "rank": 1}, {"value": "response-2", "rank": 1}]
    assert label(tmp_path, record(said(order=ranks))).value == {"outcome": "tie"}
    assert label(tmp_path, record(said(order=["response-2", "response-1"]))).value["outcome"] == "second"


def test_ratings_labels_and_texts_about_one_answer(tmp_path: Path) -> None:
    assert label(tmp_path, record(said(helpful=4, correct=2), ONE)).value == {"scores": {"helpful": 4, "correct": 2}}
    assert label(tmp_path, record(said(quality="good"), ONE)).value == {"good": True}
    better = label(tmp_path, record(said(corrected="A plum."), ONE))
    assert (better.kind, better.value["outcome"]) == ("comparison", "first")
    assert [answer.text for answer in better.answers] == ["A plum.", "Plum."]
    (pair,) = read(tmp_path, [record(said(answer="A plum."), {"instruction": "Name a fruit."})])
    assert isinstance(pair, IncomingPair)
    assert (pair.messages[-1].content, pair.author) == ("A plum.", "argilla:u1")


def test_a_chat_field_is_a_prompt_of_several_turns(tmp_path: Path) -> None:
    chat = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "x"},
    ]
    found = label(tmp_path, record(said(better="response-1"), FIELDS | {"prompt": chat}))
    assert len(found.prompt) == 3


V1 = {
    "fields": FIELDS, "metadata": {}, "external_id": "e1", "suggestions": [{"question_name": "better", "value": "x"}],
    "responses": [
        {"user_id": "u1", "status": "submitted", "values": {"better": {"value": "response-2"}}},
        {"user_id": "u2", "status": "discarded", "values": {"better": {"value": "response-1"}}},
        {"user_id": "u3", "status": "draft", "values": {}},
    ],
}  # fmt: skip
HUB_V1 = {
    **FIELDS, "external_id": None, "metadata": "{}", "better-suggestion": None,
    "better": [{"user_id": "u1", "value": "response-2", "status": "submitted"},
               {"user_id": "u2", "value": "response-1", "status": "discarded"}],
}  # fmt: skip
HUB_V2 = {
    **FIELDS, "id": "r1", "status": "completed", "_server_id": "s", "better.responses": ["response-2", "response-1"],
    "better.responses.users": ["u1", "u2"], "better.responses.status": ["submitted", "discarded"],
    "better.suggestion": "response-1", "better.suggestion.agent": None, "better.suggestion.score": None,
}  # fmt: skip


@pytest.mark.parametrize("one", [V1, HUB_V1, HUB_V2], ids=["v1", "hub-v1", "hub-v2"])
def test_the_other_forms_say_the_same(tmp_path: Path, one: dict[str, Any]) -> None:
    first, second, *others = read(tmp_path, [one])
    assert isinstance(first, IncomingLabel)
    assert isinstance(second, LeftOut)
    assert (first.rater, first.value) == ("argilla:u1", {"outcome": "second", "strength": 3})
    assert second.code == "discarded"
    assert [each.code for each in others if isinstance(each, LeftOut)] == (["draft"] if one is V1 else [])


def test_columns_and_records_by_id_are_unrolled(tmp_path: Path) -> None:
    one, other = record(said(better="response-1")), record(said(better="response-2"))
    columns = {key: [one[key], other[key]] for key in one}
    for whole in (columns, {"r1": one, "r2": other}):
        found = read(tmp_path, whole)
        assert [each.value["outcome"] for each in found if isinstance(each, IncomingLabel)] == ["first", "second"]


@pytest.mark.parametrize(
    ("one", "code"),
    [
        (record({}), "no-response"),
        (record(said(better=None)), "empty-response"),
        (record(said(better="response-1"), {"response-1": "a", "response-2": "b"}), "no-prompt"),
        (record(said(critique="Hm."), ONE), "no-verdict"),
    ],
)
def test_what_says_nothing_is_left_out(tmp_path: Path, one: dict[str, Any], code: str) -> None:
    (found,) = read(tmp_path, [one])
    assert isinstance(found, LeftOut)
    assert found.code == code


def test_a_suggestion_is_no_verdict(tmp_path: Path) -> None:
    found = label(tmp_path, record(said(better="response-1")))
    assert found.value["outcome"] == "first"  # the suggestion says response-2
