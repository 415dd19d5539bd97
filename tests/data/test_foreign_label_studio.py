"""Label Studio's exports, in the two forms that its documentation shows, with what people do in them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tutelage.data.foreign import Incoming, IncomingLabel, IncomingPair, LeftOut
from tutelage.data.foreign_open import open_foreign

DATA = {"prompt": "Name a fruit.", "answer1": "Plum.", "answer2": "It depends.", "topic": "food"}


def read(folder: Path, records: Any) -> list[Incoming]:
    file = folder / "export.json"
    file.write_text(json.dumps(records), encoding="utf-8")
    opened = open_foreign(file)
    assert opened.format == "label-studio"
    return list(opened.incoming())


def task(*results: dict[str, Any], data: dict[str, Any] | None = None, **annotation: Any) -> dict[str, Any]:
    made = {"id": 31, "completed_by": 4, "lead_time": 12.5, "was_cancelled": False, "result": list(results)}
    return {"id": 7, "data": data or DATA, "annotations": [made | annotation], "predictions": []}


def result(type: str, name: str = "it", **value: Any) -> dict[str, Any]:
    return {"id": "x1", "from_name": name, "to_name": "answer1,answer2", "type": type, "value": value}


def one(folder: Path, record: dict[str, Any]) -> Incoming:
    (found,) = read(folder, [record])
    return found


def label(folder: Path, record: dict[str, Any]) -> IncomingLabel:
    found = one(folder, record)
    assert isinstance(found, IncomingLabel), found
    return found


def test_a_pairwise_choice_keeps_rater_time_and_what_else_was_said(tmp_path: Path) -> None:
    found = label(tmp_path, task(
        result("pairwise", selected="right"), result("choices", "strength", choices=["slightly better"]),
        result("choices", "why", choices=["too vague"]), result("textarea", "critique", text=["Says nothing."]),
        result("textarea", "rewrite", text=["A plum."]),
    ))  # fmt: skip
    assert (found.kind, found.value) == ("comparison", {"outcome": "second", "strength": 2})
    assert [answer.text for answer in found.answers] == ["Plum.", "It depends."]
    assert (found.rater, found.seconds, found.reasons) == ("label-studio:4", 12.5, ("too vague",))
    assert (found.critique, found.rewrite) == ("Says nothing.", "A plum.")
    assert found.meta["data"] == {"topic": "food"}
    assert (found.meta["task_id"], found.meta["annotation_id"]) == (7, 31)


def test_a_rater_with_an_address_is_called_by_it(tmp_path: Path) -> None:
    who = {"id": 4, "email": "kim@example.org", "first_name": "", "last_name": ""}
    assert label(tmp_path, task(result("pairwise", selected="left"), completed_by=who)).rater == "kim@example.org"


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("Response A", {"outcome": "first", "strength": 3}),
        ("Answer 2 is better", {"outcome": "second", "strength": 3}),
        ("tie", {"outcome": "tie"}),
        ("Both bad", {"outcome": "both_bad"}),
        ("Can't judge", {"outcome": "cannot_judge"}),
    ],
)
def test_choices_may_be_the_verdict(tmp_path: Path, said: str, value: dict[str, Any]) -> None:
    assert label(tmp_path, task(result("choices", choices=[said]))).value == value


ITEMS = [{"id": "x", "body": "Plum."}, {"id": "y", "body": "It depends."}, {"id": "z", "body": "Pear."}]


def test_a_ranked_list_is_a_ranking_and_what_was_not_moved_comes_last(tmp_path: Path) -> None:
    data = {"prompt": "Name a fruit.", "items": ITEMS}
    whole = label(tmp_path, task(result("ranker", ranker={"rank": ["z", "x", "y"]}), data=data))
    assert (whole.kind, whole.value) == ("ranking", {"ranks": [1, 2, 0]})
    assert [answer.text for answer in whole.answers] == ["Plum.", "It depends.", "Pear."]
    part = label(tmp_path, task(result("ranker", ranker={"best": ["z"], "_": ["x", "y"]}), data=data))
    assert part.value == {"ranks": [1, 1, 0]}


def test_groups_without_an_order_are_left_out(tmp_path: Path) -> None:
    data = {"prompt": "Name a fruit.", "items": ITEMS}
    found = one(tmp_path, task(result("ranker", ranker={"relevant": ["z"], "biased": ["x"]}), data=data))
    assert isinstance(found, LeftOut)
    assert (found.code, found.field) == ("groups", "annotations[0].result[0].value.ranker")
    assert "relevant, biased" in found.problem


def test_numbers_about_one_answer_are_a_rating_and_good_or_bad_a_thumb(tmp_path: Path) -> None:
    data = {"prompt": "Name a fruit.", "response": "Plum."}
    rated = label(tmp_path, task(
        result("rating", "helpful", rating=4), result("rating", "correct", rating=5), data=data
    ))  # fmt: skip
    assert (rated.kind, rated.value) == ("rating", {"scores": {"helpful": 4, "correct": 5}})
    assert label(tmp_path, task(result("choices", choices=["Good"]), data=data)).value == {"good": True}


def test_a_text_written_to_a_prompt_is_a_pair(tmp_path: Path) -> None:
    found = one(tmp_path, task(result("textarea", "response", text=["Plum."]), data={"prompt": "Name a fruit."}))
    assert isinstance(found, IncomingPair)
    assert [turn.content for turn in found.messages] == ["Name a fruit.", "Plum."]
    assert found.author == "label-studio:4"


def test_a_dialogue_with_authors_is_a_prompt_of_several_turns(tmp_path: Path) -> None:
    dialogue = [{"author": "User", "text": "Hi"}, {"author": "AI", "text": "Hello"}, {"author": "User", "text": "Bye"}]
    data = {"dialogue": dialogue, "answer1": "Bye!", "answer2": "No."}
    found = label(tmp_path, task(result("pairwise", selected="left"), data=data))
    assert [turn.role for turn in found.prompt] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("record", "code", "field"),
    [
        (task(result("pairwise", selected="left"), was_cancelled=True), "cancelled", "annotations[0].was_cancelled"),
        (task(), "empty-annotation", "annotations[0].result"),
        ({"id": 1, "data": DATA, "annotations": []}, "not-annotated", "annotations"),
        ({"id": 1, "data": DATA, "annotations": 3}, "wrong-type", "annotations"),
        (task("nonsense"), "wrong-type", "annotations[0].result[0]"),  # type: ignore[arg-type]
        (task(result("rectanglelabels", x=1)), "no-verdict", "annotations[0]"),
        (task(result("pairwise", selected="left"), data={"text1": "", "text2": "b"}), "no-prompt", "annotations[0]"),
    ],
)  # fmt: skip
def test_what_says_nothing_is_left_out_with_its_place(
    tmp_path: Path, record: dict[str, Any], code: str, field: str
) -> None:
    good = task(result("pairwise", selected="left"))
    first, second = read(tmp_path, [good, record])
    assert isinstance(first, IncomingLabel)
    assert isinstance(second, LeftOut)
    assert (second.code, second.field, second.record) == (code, field, 2)


def test_each_annotation_of_a_task_is_one_thing(tmp_path: Path) -> None:
    record = task(result("pairwise", selected="left"))
    record["annotations"] += [
        {"id": 32, "completed_by": 5, "result": [result("pairwise", selected="right")]},
        {"id": 33, "completed_by": 6, "was_cancelled": True, "result": []},
    ]
    found = read(tmp_path, [record])
    assert [type(each) for each in found] == [IncomingLabel, IncomingLabel, LeftOut]


def test_json_min_says_the_same_on_one_row(tmp_path: Path) -> None:
    rows = [
        {"id": 7, **DATA, "pw": [{"selected": "left"}], "critique": "Short.", "annotator": 4, "annotation_id": 31,
         "created_at": "2026-01-01", "lead_time": 3.5},
        {"id": 8, **DATA, "choice": "tie", "annotator": "kim@example.org", "annotation_id": 32, "lead_time": 2},
        {"id": 9, **DATA, "annotator": 4, "annotation_id": 33, "lead_time": 2},
    ]  # fmt: skip
    first, second, third = read(tmp_path, rows)
    assert isinstance(first, IncomingLabel)
    assert isinstance(second, IncomingLabel)
    assert isinstance(third, LeftOut)
    assert (first.value, first.rater, first.seconds) == ({"outcome": "first", "strength": 3}, "label-studio:4", 3.5)
    assert first.critique == "Short."
    assert (second.value, second.rater) == ({"outcome": "tie"}, "kim@example.org")
    assert third.code == "empty-annotation"


def test_a_task_alone_in_its_file_is_read_as_a_task(tmp_path: Path) -> None:
    found = read(tmp_path, task(result("pairwise", selected="left")))
    assert [type(each) for each in found] == [IncomingLabel]


def test_csv_and_tsv_say_the_same_with_json_in_their_cells(tmp_path: Path) -> None:
    names = ["annotation_id", "annotator", *DATA, "id", "lead_time", "pw", "critique"]
    said = [('[{"selected": "right"}]', ""), ("left", "Short."), ("not sure what this is", "")]
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        file = tmp_path / f"export{suffix}"
        with file.open("w", newline="", encoding="utf-8") as stream:
            rows = csv.writer(stream, delimiter=delimiter)
            rows.writerow(names)
            rows.writerows([31, 4, *DATA.values(), 7, "3.5", each, note] for each, note in said)
        opened = open_foreign(file)
        assert opened.format == "label-studio"
        first, second, third = opened.incoming()
        assert isinstance(first, IncomingLabel)
        assert isinstance(second, IncomingLabel)
        assert (first.value["outcome"], first.rater, first.seconds) == ("second", "label-studio:4", 3.5)
        assert (second.value["outcome"], second.critique) == ("first", "Short.")
        assert isinstance(third, LeftOut)
        assert "names that say nothing (topic, pw); export as JSON" in third.problem
