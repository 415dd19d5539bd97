"""Comparisons: every way to write one gives the same record, and what cannot be one is refused word for word."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tutelage.data import load_comparisons
from tutelage.errors import DataError
from tutelage.types import Comparison, Message, Source

ASKED = Message("user", "Name a fruit.")
PLUM = (Message("assistant", "Plum."),)
PEAR = (Message("assistant", "Pear."),)
FIG = (Message("assistant", "Fig."),)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def one(record: Mapping[str, Any]) -> Comparison:
    (comparison,) = load_comparisons([record])
    return comparison


def problem(*records: Any) -> tuple[str, str | None]:
    """(message without its place, field) of the first problem."""
    with pytest.raises(DataError) as caught:
        load_comparisons(list(records))
    return caught.value.problem, caught.value.field


TALK = [user("Name a fruit."), assistant("Plum.")]
OTHER_TALK = [user("Name a fruit."), assistant("Pear.")]
QUESTION = {"prompt": "Name a fruit."}


# ---- chosen and rejected

PAIRS: list[dict[str, Any]] = [
    {"prompt": "Name a fruit.", "chosen": "Plum.", "rejected": "Pear."},
    {"question": "Name a fruit.", "Chosen ": "Plum.", "REJECTED": "Pear."},
    {"instruction": "Name a fruit.", "input": "", "chosen_response": "Plum.", "rejected_response": "Pear."},
    {"prompt": [user("Name a fruit.")], "chosen": [assistant("Plum.")], "rejected": [assistant("Pear.")]},
    {"prompt": "Name a fruit.", "chosen": TALK, "rejected": OTHER_TALK},
    {"prompt": "Name a fruit. ", "chosen": TALK, "rejected": "Pear."},
    {"prompt": [user("Name a fruit.")], "chosen": TALK, "rejected": OTHER_TALK},
    {"context": [user("Name a fruit.")], "chosen": "Plum.", "rejected": "Pear."},
    {"conversations": [{"from": "human", "value": "Name a fruit."}], "chosen": {"from": "gpt", "value": "Plum."}}
    | {"rejected": {"from": "gpt", "value": "Pear."}},
    {"chosen": TALK, "rejected": OTHER_TALK},
    {
        "chosen": "\n\nHuman: Name a fruit.\n\nAssistant: Plum.",
        "rejected": "\n\nHuman: Name a fruit.\n\nAssistant: Pear.",
    },
    {"prompt": "\n\nHuman: Name a fruit.\n\nAssistant:", "chosen": " Plum.", "rejected": " Pear."},
]


@pytest.mark.parametrize("record", PAIRS)
def test_each_way_to_write_a_pair(record: dict[str, Any]) -> None:
    comparison = one(record)
    assert [message.content.strip() for message in comparison.messages] == ["Name a fruit."]
    assert (comparison.answers, comparison.ranks, comparison.strength) == ((PLUM, PEAR), (0, 1), None)
    assert (comparison.source, comparison.rater) == (Source("records", 1), "")


def test_messages_beside_whole_conversations_are_kept_aside() -> None:
    record = {"prompt_id": "7", "messages": TALK, "chosen": TALK, "rejected": OTHER_TALK}
    assert one(record).messages == (ASKED,)
    assert one({**record, "prompt": "Name a fruit."}).meta == {"prompt_id": "7", "messages": TALK}


def test_a_system_message_from_any_place() -> None:
    system = {"role": "system", "content": "Be brief."}
    expected = (Message("system", "Be brief."), ASKED)
    assert one({**PAIRS[0], "system": "Be brief."}).messages == expected
    assert one({**QUESTION, "chosen": [system, *TALK], "rejected": [system, *OTHER_TALK]}).messages == expected
    assert one({"chosen": [system, *TALK], "rejected": [system, *OTHER_TALK]}).messages == expected
    assert one({"system": "Be brief.", "chosen": TALK, "rejected": OTHER_TALK}).messages == expected


def test_the_prompt_is_all_that_the_sides_share_before_an_answer() -> None:
    chosen, rejected = [*TALK, user("Another?"), assistant("Fig.")], [*TALK, user("Another?"), assistant("Pear.")]
    expected = (ASKED, *PLUM, Message("user", "Another?"))
    for record in ({}, QUESTION):
        comparison = one({**record, "chosen": chosen, "rejected": rejected})
        assert (comparison.messages, comparison.answers) == (expected, (FIG, PEAR))


def test_talk_that_parts_early_gives_answers_of_several_turns() -> None:
    rest = [user("Thanks."), assistant("Welcome.")]
    comparison = one({"chosen": [*TALK, *rest], "rejected": [*OTHER_TALK, *rest]})
    assert comparison.messages == (ASKED,)
    welcome = (Message("user", "Thanks."), Message("assistant", "Welcome."))
    assert comparison.answers == ((*PLUM, *welcome), (*PEAR, *welcome))


def test_a_transcript_joins_what_one_speaker_says_twice() -> None:
    asked = "\n\nHuman: Name a fruit.\n\nAssistant: "
    comparison = one({"chosen": f"{asked}Let me think.\n\nAssistant:  Plum.", "rejected": f"{asked}Pear."})
    assert comparison.messages == (ASKED,)
    assert comparison.answers == ((Message("assistant", "Let me think.\n\nPlum."),), PEAR)


def test_a_transcript_must_end_with_an_answer() -> None:
    good = "\n\nHuman: Name a fruit.\n\nAssistant: Plum."
    empty = ("the assistant's answer is empty, so there is nothing to learn from", "rejected")
    assert problem({"chosen": good, "rejected": "\n\nHuman: Name a fruit.\n\nAssistant: "}) == empty
    assert problem({"chosen": good, "rejected": f"{good}\n\nHuman: Another?"}) == (
        "the conversation ends with the user; add the assistant's answer or remove this turn",
        "rejected",
    )


# ---- prompts that differ


def test_a_repeated_prompt_that_differs() -> None:
    asks = [user("Name a herb."), assistant("Dill.")]
    assert problem({**QUESTION, "chosen": TALK, "rejected": asks}) == (
        "the prompt differs: “Name a herb.” here, “Name a fruit.” in 'prompt'; make them equal",
        "rejected[0].content",
    )


def test_a_prompt_that_is_repeated_in_part() -> None:
    prompt = [*TALK, user("Another?")]
    assert problem({"prompt": prompt, "chosen": TALK, "rejected": "Pear."}) == (
        "the prompt differs: it ends before 'prompt[2].content' does; repeat it whole or not at all",
        "chosen[1].content",
    )


def test_sides_that_part_at_a_user_turn() -> None:
    chosen, rejected = [*TALK, user("Another?"), assistant("Fig.")], [*TALK, user("A herb?"), assistant("Dill.")]
    assert problem({"chosen": chosen, "rejected": rejected}) == (
        "the prompt differs: the sides part at a user's turn, “Another?” and “A herb?”; both have to answer one prompt",
        "rejected[2].content",
    )


def test_answers_without_a_prompt() -> None:
    assert problem({"chosen": "Plum.", "rejected": "Pear."}) == (
        "missing; 'chosen' holds an answer and not what was asked",
        "prompt",
    )


# ---- rankings


@pytest.mark.parametrize(
    ("fields", "ranks"),
    [
        ({"ranks": [1, 2, 3]}, (0, 1, 2)),
        ({"ranks": [0, 5, 0]}, (0, 1, 0)),  # the distinct ranks 0 and 5 become 0 and 1
        ({"ranking": [3, 1, 2]}, (2, 0, 1)),
        ({"ranking": "a word", "ratings": [9.5, 1, 4]}, (0, 2, 1)),  # the highest first
        ({"scores": [2, 2, 7]}, (1, 1, 0)),
        ({"ratings": "[1, 2, 3]", "score": 4}, (2, 1, 0)),
    ],
)
@pytest.mark.parametrize("name", ["completions", "responses", "answers", "generations"])
def test_a_ranking_beside_its_answers(name: str, fields: dict[str, Any], ranks: tuple[int, ...]) -> None:
    comparison = one({**QUESTION, name: ["Plum.", [assistant("Pear.")], {"text": "Fig."}], **fields})
    assert (comparison.answers, comparison.ranks) == ((PLUM, PEAR, FIG), ranks)


def test_a_ranking_inside_its_answers() -> None:
    items = [{"response": "Plum.", "overall_score": 2}, {"response": "Pear.", "overall_score": 3.5}]
    comparison = one({"instruction": "Name a fruit.", "completions": items})
    assert (comparison.answers, comparison.ranks, comparison.strength) == ((PLUM, PEAR), (1, 0), 1.5)
    assert one({**QUESTION, "responses": [{"text": "Plum.", "rank": 2}, {"text": "Pear.", "rank": 1}]}).ranks == (1, 0)


def test_rankings_that_cannot_be_read() -> None:
    record = {**QUESTION, "completions": ["Plum.", "Pear."]}
    assert problem(record) == (
        "nothing says which answer is better; add 'ranks', a number for each answer, where 1 is the best",
        "ranks",
    )
    assert problem({**record, "ranks": [1]}) == ("1 numbers for 2 answers; give one for each", "ranks")
    assert problem({**record, "ranks": [1, None]}) == ("expected a number, found nothing (null)", "ranks[1]")
    assert problem({**record, "completions": ["Plum."], "ranks": [1]}) == (
        "a comparison needs two answers or more; this list has 1",
        "completions",
    )
    assert problem({**record, "completions": ["Plum.", {"test": "Pear."}], "ranks": [1, 2]}) == (
        "missing; the nearest field here is 'test'",
        "completions[1].text",
    )


# ---- two answers and a winner


@pytest.mark.parametrize("names", [("response_a", "response_b"), ("answer_a", "answer_b"), ("response1", "response2")])
@pytest.mark.parametrize(
    ("winner", "ranks"),
    [
        ("a", (0, 1)),
        ("B", (1, 0)),
        (1, (0, 1)),
        ("2", (1, 0)),
        (2.0, (1, 0)),
        ("model_a", (0, 1)),
        ("Model B", (1, 0)),
        ("response_b", (1, 0)),
        ("tie", (0, 0)),
        ("tie (bothbad)", (0, 0)),
        ("both bad", (0, 0)),
        ("equal", (0, 0)),
    ],
)
def test_a_winner(names: tuple[str, str], winner: Any, ranks: tuple[int, int]) -> None:
    record = {**QUESTION, names[0]: "Plum.", names[1]: "Pear."}
    for field in ("winner", "preference", "label"):
        comparison = one({**record, field: winner})
        assert (comparison.answers, comparison.ranks) == ((PLUM, PEAR), ranks)


def test_a_winner_among_two_conversations() -> None:
    record = {"conversation_a": TALK, "conversation_b": OTHER_TALK, "winner": "model_b", "judge": "j-1", "turn": 1}
    comparison = one(record)
    assert (comparison.messages, comparison.answers, comparison.ranks) == ((ASKED,), (PLUM, PEAR), (1, 0))
    assert (comparison.rater, comparison.meta) == ("j-1", {"turn": 1})


def test_answers_counted_from_0_have_winners_counted_from_0() -> None:
    record = {**QUESTION, "response_0": "Plum.", "response_1": "Pear."}
    assert one({**record, "better_response_id": 0}).ranks == (0, 1)
    assert one({**record, "better_response_id": 1}).ranks == (1, 0)
    assert problem({**record, "better_response_id": 2}) == (
        "expected 'response_0' (also 0), 'response_1' (also 1) or 'tie', found '2'",
        "better_response_id",
    )


@pytest.mark.parametrize(("value", "ranks", "strength"), [(-3, (0, 1), 3), (0, (0, 0), 0), (1, (1, 0), 1)])
def test_a_preference_on_a_scale(value: int, ranks: tuple[int, int], strength: float) -> None:
    record = {"context": [user("Name a fruit.")], "response1": "Plum.", "response2": "Pear."}
    comparison = one({**record, "overall_preference": value})
    assert (comparison.messages, comparison.answers) == ((ASKED,), (PLUM, PEAR))
    assert (comparison.ranks, comparison.strength) == (ranks, strength)


def test_winners_that_cannot_be_read() -> None:
    record = {**QUESTION, "response_a": "Plum.", "response_b": "Pear."}
    expected = "expected 'response_a' (also a, 1), 'response_b' (also b, 2) or 'tie', found "
    assert problem({**record, "winner": "c"}) == (f"{expected}'c'", "winner")
    assert problem({**record, "label": 0}) == (f"{expected}'0'", "label")
    assert problem({**record, "label": True}) == (f"{expected}true or false", "label")
    assert problem({**record, "winer": "a"}) == ("missing; the nearest field here is 'winer'", "winner")
    assert problem({**record, "overall_preference": 4}) == (
        "expected a number between -3 (the first is better) and 3 (the second is), found 4",
        "overall_preference",
    )


# ---- rewrites and ties


@pytest.mark.parametrize("name", ["edited", "edit", "rewrite"])
def test_a_rewrite_ranks_above_both(name: str) -> None:
    comparison = one({**PAIRS[0], name: "Fig."})
    assert (comparison.answers, comparison.ranks) == ((FIG, PLUM, PEAR), (0, 1, 2))


def test_a_rewrite_of_one_answer() -> None:
    for record in ({"original": "Pear."}, {"chosen": "Pear."}, {"chosen": "Pear.", "rejected": None}):
        comparison = one({**QUESTION, **record, "edited": "Fig."})
        assert (comparison.answers, comparison.ranks) == ((FIG, PEAR), (0, 1))


def test_a_tie_beside_chosen_and_rejected() -> None:
    assert one({**PAIRS[0], "tie": True}).ranks == (0, 0)
    assert one({**PAIRS[0], "tie": "false"}).ranks == (0, 1)
    assert one({**PAIRS[0], "edited": "Fig.", "tie": True}).ranks == (0, 1, 1)
    assert problem({**PAIRS[0], "tie": "x"}) == ("expected true or false, found 'x'", "tie")


def test_equal_answers_of_which_one_won() -> None:
    message = "the same answer as 'chosen', yet one is ranked above the other; correct or remove it"
    assert problem({**QUESTION, "chosen": "Plum.", "rejected": "Plum. "}) == (message, "rejected")
    assert one({**QUESTION, "chosen": "Plum.", "rejected": "Plum.", "tie": True}).ranks == (0, 0)


def test_a_missing_side() -> None:
    assert problem({**QUESTION, "chosen": "Plum.", "rejeted": "Pear."}) == (
        "missing; the nearest field here is 'rejeted'",
        "rejected",
    )
    assert problem({**QUESTION, "chosen": "Plum.", "rejected": ""})[1] == "rejected"


# ---- strength and rater


@pytest.mark.parametrize(
    ("fields", "strength"),
    [
        ({"strength": 2}, 2.0),
        ({"margin": "0.5"}, 0.5),
        ({"strength": "significantly better"}, 3.0),
        ({"strength": "Better"}, 2.0),
        ({"strength": "slightly-better"}, 1.0),
        ({"strength": "SLIGHTLY"}, 1.0),
        ({"strength": "negligibly_better"}, 0.0),
        ({"strength": "negligibly better / unsure"}, 0.0),
        ({"strength": "unsure"}, 0.0),
        ({"score_chosen": 8.5, "score_rejected": 6}, 2.5),
        ({"chosen_score": 8, "rejected_score": 8}, 0.0),
        ({"chosen-rating": 5, "rejected-rating": "4"}, 1.0),
        ({"strength": "", "score_chosen": 3}, None),
    ],
)
def test_strength(fields: dict[str, Any], strength: float | None) -> None:
    assert one({**PAIRS[0], **fields}).strength == strength


def test_strengths_that_cannot_be_read() -> None:
    known = "significantly better, better, slightly better, negligibly better or unsure"
    assert problem({**PAIRS[0], "strength": "very"}) == (f"expected a number or {known}, found 'very'", "strength")
    assert problem({**PAIRS[0], "margin": -1}) == (
        "found -1; a strength is 0 or more; if the other answer is better, swap the two",
        "margin",
    )
    assert problem({**PAIRS[0], "margin": float("nan")}) == (
        "expected a finite number, found nan; correct it or leave it out",
        "margin",
    )
    assert problem({**PAIRS[0], "score_chosen": 1, "score_rejected": 2.5}) == (
        "the chosen answer has 1 and the rejected one 2.5, so the sides seem reversed; "
        "swap the answers or correct the scores",
        "score_chosen",
    )


@pytest.mark.parametrize("name", ["rater", "rater_id", "annotator", "annotator_id", "worker_id", "user", "judge"])
def test_the_rater(name: str) -> None:
    assert one({**PAIRS[0], name: "anna"}).rater == "anna"
    assert one({**PAIRS[0], name: 7.0}).rater == "7"
    comparison = one({**PAIRS[0], name: {"id": 7}})
    assert (comparison.rater, comparison.meta) == ("", {name: {"id": 7}})


# ---- from ratings


def rated(prompt: str, answer: str, rating: float) -> dict[str, Any]:
    return {"prompt": prompt, "completion": answer, "rating": rating}


def test_ratings_of_one_prompt_become_one_comparison() -> None:
    # Plum has the mean of 5 and 2, which is 3.5, below Pear's 4; the herb has one answer only and is left out.
    records = [rated("Name a fruit.", "Plum.", 5), rated("Name a herb.", "Dill.", 1)]
    records += [rated("Name a fruit.", "Pear.", 4), rated("Name a fruit.", "Plum.", 2)]
    (comparison,) = load_comparisons(records)
    assert (comparison.messages, comparison.answers, comparison.ranks) == ((ASKED,), (PLUM, PEAR), (1, 0))
    assert (comparison.source, comparison.meta) == (Source("records", 1), {"lines": [1, 3, 4]})


def test_ratings_that_leave_nothing_to_compare() -> None:
    assert problem(rated("Name a fruit.", "Plum.", 5), rated("Name a herb.", "Dill.", 1)) == (
        "no two of the rated answers (2) share a prompt, so none can be compared; rate two answers to each prompt",
        None,
    )


# ---- sources


def test_records_without_a_verdict() -> None:
    assert problem({"prompt": "a", "completion": "b"}) == (
        "an answer without a verdict: add 'label' (true or false) or 'rating', or write chosen and rejected",
        "label",
    )
    assert problem({"prompt": "a"}) == (
        "no verdict on an answer: found 'prompt'; expected chosen + rejected, completions + ranks, "
        "response_a + response_b + winner, or completion + label",
        None,
    )
    assert problem({"prompt": "a", "choosen": "b"}) == ("missing; the nearest field here is 'choosen'", "chosen")
    assert problem([1]) == ("a record is an object with named fields, not a list", None)


def test_two_formats_in_one_file() -> None:
    record = {**QUESTION, "response_a": "Plum.", "response_b": "Pear.", "winner": "a"}
    assert problem(PAIRS[0], record)[0] == (
        "two formats in one file: record 1 is prompt + chosen/rejected, record 2 is prompt + response_a/response_b; "
        "split the file by format"
    )


def test_the_shipped_files_hold_no_verdicts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'starter' names shipped pairs, which hold no verdicts; name a file of"):
        load_comparisons("starter")
    with pytest.raises(DataError, match="'sealed' names shipped prompts, which hold no verdicts"):
        load_comparisons("sealed")
    (tmp_path / "a.txt").write_text("Name a fruit.\n")
    with pytest.raises(DataError, match="plain text holds one prompt a line and no answers; save verdicts as"):
        load_comparisons(tmp_path / "a.txt")


def test_a_csv_cell_may_hold_messages(tmp_path: Path) -> None:
    cells = ['"' + json.dumps(talk).replace('"', '""') + '"' for talk in (TALK, OTHER_TALK)]
    path = tmp_path / "a.csv"
    path.write_text(f"chosen,rejected,edited,strength\n{','.join(cells)},,\n")
    comparison = load_comparisons(path)[0]
    assert (comparison.messages, comparison.answers, comparison.ranks) == ((ASKED,), (PLUM, PEAR), (0, 1))


def test_an_empty_csv_cell_is_an_empty_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,chosen,rejected,edited\na,b,,\n")
    with pytest.raises(DataError, match="field 'rejected': the assistant's answer is empty"):
        load_comparisons(path)
    path.write_text("prompt,chosen,rejected,edited\na,b,,c\n")  # a rewrite of one answer
    assert load_comparisons(path)[0].ranks == (0, 1)


def test_a_parquet_row_has_every_column(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [
        {**PAIRS[3], "edited": None, "strength": 1.0},
        {**PAIRS[3], "edited": [assistant("Fig.")], "strength": None},
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    first, second = load_comparisons(tmp_path / "a.parquet")
    assert (first.ranks, first.strength, second.ranks, second.strength) == ((0, 1), 1.0, (0, 1, 2), None)


def test_a_single_record_written_over_several_lines(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"chosen": TALK, "rejected": OTHER_TALK}, indent=1))
    assert load_comparisons(tmp_path / "a.json")[0].answers == (PLUM, PEAR)


# ---- bad records left out


def test_bad_records_can_be_left_out_and_are_handed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    rows = [json.dumps(PAIRS[0]), "{oops", json.dumps({**PAIRS[0], "rejected": " "}), json.dumps(PAIRS[0])]
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    dropped: list[DataError] = []
    comparisons = load_comparisons(path, on_bad="drop", dropped=dropped)
    assert [one.source.line for one in comparisons if one.source] == [1, 4]
    assert [(error.line, error.field) for error in dropped] == [(2, None), (3, "rejected")]
    with pytest.raises(DataError, match=r"a\.jsonl\.gz:2: invalid JSON"):
        load_comparisons(path)


def test_a_bad_record_is_handed_over_once_whatever_its_number_of_problems() -> None:
    dropped: list[DataError] = []
    load_comparisons([PAIRS[0], {"prompt": 1, "chosen": 2, "rejected": 3}], on_bad="drop", dropped=dropped)
    assert len(dropped) == 1


def test_what_spoils_the_whole_file_is_never_left_out(tmp_path: Path) -> None:
    other = {**QUESTION, "response_a": "Plum.", "response_b": "Pear.", "winner": "a"}
    with pytest.raises(DataError, match="two formats in one file"):
        load_comparisons([PAIRS[0], other], on_bad="drop")
    path = tmp_path / "a.csv"
    path.write_text('prompt,chosen,rejected\na,b,c\nd,"e"x,f\ng,h,i\n')  # the reader cannot go on after this row
    with pytest.raises(DataError, match="cells that cannot be told apart"):
        load_comparisons(path, on_bad="drop")
    path.write_bytes(gzip.compress(path.read_bytes())[:-9])
    with pytest.raises(DataError, match="damaged or cut short"):
        load_comparisons(path, on_bad="drop")


def test_a_source_of_bad_records_only() -> None:
    with pytest.raises(DataError) as caught:
        load_comparisons([{**PAIRS[0], "rejected": ""}], on_bad="drop")
    assert caught.value.problem == (
        "every record (1) is bad; the first: record 1 field 'rejected': "
        "the assistant's answer is empty, so there is nothing to learn from"
    )
