"""Ratings: one answer, and whether it is good; from records of one answer and from comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tutelage.data import load_ratings
from tutelage.errors import DataError
from tutelage.types import Message, Rating, Source

ASKED = Message("user", "Name a fruit.")
PLUM = (Message("assistant", "Plum."),)
PEAR = (Message("assistant", "Pear."),)
FIG = (Message("assistant", "Fig."),)
TALK = [{"role": "user", "content": "Name a fruit."}, {"role": "assistant", "content": "Plum."}]
FLAT = {"prompt": "Name a fruit.", "completion": "Plum."}


def problem(*records: Any) -> tuple[str, str | None]:
    """(message without its place, field) of the first problem."""
    with pytest.raises(DataError) as caught:
        load_ratings(list(records))
    return caught.value.problem, caught.value.field


@pytest.mark.parametrize(
    "record",
    [
        FLAT,
        {"question": "Name a fruit.", "answer": "Plum."},
        {"instruction": "Name a fruit.", "input": "", "output": "Plum."},
        {"messages": TALK},
        {"conversations": [{"from": "human", "value": "Name a fruit."}, {"from": "gpt", "value": "Plum."}]},
        {"prompt": TALK[:1], "completion": TALK[1:]},
        {"prompt": "Name a fruit.", "completion": TALK},
    ],
)
def test_each_way_to_write_an_answer(record: Mapping[str, Any]) -> None:
    assert load_ratings([{**record, "label": True}]) == [Rating((ASKED,), PLUM, True, "", Source("records", 1))]


@pytest.mark.parametrize("good", [True, 1, 1.0, "true", "1", "Good", "up", "thumbs_up", "Thumbs up", "yes", "positive"])
@pytest.mark.parametrize("field", ["label", "thumbs"])
def test_good(field: str, good: Any) -> None:
    (rating,) = load_ratings([{**FLAT, field: good}])
    assert rating.value is True


@pytest.mark.parametrize("bad", [False, 0, 0.0, -1, "False", "0", "bad", "DOWN", "thumbs-down", "no", "negative"])
def test_bad(bad: Any) -> None:
    (rating,) = load_ratings([{**FLAT, "label": bad}])
    assert rating.value is False


@pytest.mark.parametrize("field", ["rating", "score", "stars"])
def test_a_number(field: str) -> None:
    ratings = load_ratings([{**FLAT, field: 4}, {**FLAT, field: "2.5"}, {**FLAT, field: -1}])
    assert [rating.value for rating in ratings] == [4.0, 2.5, -1.0]
    assert all(type(rating.value) is float for rating in ratings)


def test_the_answer_is_what_follows_the_last_user_turn() -> None:
    talk = [*TALK, {"role": "user", "content": "Another?"}, {"role": "assistant", "content": "Fig."}]
    (rating,) = load_ratings([{"messages": talk, "label": "bad", "rater": 3, "day": 1}])
    assert (rating.messages, rating.answer) == ((ASKED, *PLUM, Message("user", "Another?")), FIG)
    assert (rating.rater, rating.meta) == ("3", {"day": 1})


def test_labels_that_cannot_be_read() -> None:
    expected = "expected good or bad (true or false, 1 or 0, up or down), found "
    assert problem({**FLAT, "label": "maybe"}) == (f"{expected}'maybe'", "label")
    assert problem({**FLAT, "label": 4}) == (f"{expected}'4'; a number belongs in 'rating'", "label")
    assert problem({**FLAT, "label": [True]}) == (f"{expected}a list", "label")
    assert problem({**FLAT, "rating": "good"}) == ("expected a number, found text", "rating")
    assert problem({**FLAT, "rating": True}) == ("expected a number, found true or false", "rating")
    assert problem({**FLAT, "label": True}, {**FLAT, "lable": True}) == (
        "missing; the nearest field here is 'lable'",
        "label",
    )


def test_answers_that_cannot_be_learned_from() -> None:
    empty = "the assistant's answer is empty, so there is nothing to learn from"
    assert problem({**FLAT, "completion": " ", "label": True}) == (empty, "completion")
    assert problem({"messages": TALK[:1], "label": True}) == (
        "the conversation ends with the user; add the assistant's answer or remove this turn",
        "messages[0].content",
    )
    assert problem({"completion": "Plum.", "label": True}) == (
        "missing; this record has 'completion', 'label'",
        "prompt",
    )


def test_labels_and_numbers_do_not_mix() -> None:
    assert problem({**FLAT, "label": True}, {**FLAT, "rating": 4})[0] == (
        "two formats in one file: record 1 is prompt/completion + label, record 2 is prompt/completion + rating; "
        "split the file by format"
    )


# ---- from comparisons


def values(record: Mapping[str, Any]) -> dict[tuple[Message, ...], bool | float]:
    return {rating.answer: rating.value for rating in load_ratings([record])}


def test_the_chosen_answer_is_good_and_the_rejected_one_bad() -> None:
    record = {"prompt": "Name a fruit.", "chosen": "Plum.", "rejected": "Pear."}
    assert values(record) == {PLUM: True, PEAR: False}
    assert values({**record, "edited": "Fig."}) == {FIG: True, PLUM: False, PEAR: False}


def test_the_best_of_a_ranking_are_good() -> None:
    record = {"prompt": "Name a fruit.", "completions": ["Plum.", "Pear.", "Fig."], "ranks": [1, 2, 1]}
    assert values(record) == {PLUM: True, PEAR: False, FIG: True}


def test_a_tie_says_neither() -> None:
    tie = {"prompt": "Name a fruit.", "response_a": "Plum.", "response_b": "Pear.", "winner": "tie"}
    assert len(load_ratings([tie, {**tie, "winner": "a"}])) == 2
    assert problem(tie, tie) == (
        "every comparison (2) is a tie, so no answer is good or bad; add comparisons with a winner",
        None,
    )


# ---- files


def test_ratings_from_a_csv_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,completion,label,rater\nName a fruit.,Plum.,true,anna\nName a fruit.,Pear.,0,\n")
    good, bad = load_ratings(path)
    assert (good.answer, good.value, good.rater) == (PLUM, True, "anna")
    assert (bad.answer, bad.value, bad.rater, bad.source) == (PEAR, False, "", Source(str(path), 3))


def test_bad_records_can_be_left_out() -> None:
    dropped: list[DataError] = []
    ratings = load_ratings([{**FLAT, "label": "x"}, {**FLAT, "label": 1}], on_bad="drop", dropped=dropped)
    # The first record shows a label, whatever it says, so both are ratings.
    assert [rating.value for rating in ratings] == [True]
    assert [error.line for error in dropped] == [1]


def test_the_shipped_pairs_hold_no_verdicts() -> None:
    with pytest.raises(DataError, match="'starter' names shipped pairs, which hold no verdicts"):
        load_ratings("starter")
