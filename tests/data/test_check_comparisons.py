"""Checking verdicts: the kind of a file, the text of each side, and what is suspicious about the verdicts."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tutelage.data import Finding, check_file
from tutelage.types import Message, Prompt

KINDS = "plum pear onion carrot radish lentil barley walnut almond ginger fennel turnip".split()  # noqa: SIM905


def pair(prompt: str, chosen: str, rejected: str, **other: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **other}


def rated(prompt: str, answer: str, label: Any, **other: Any) -> dict[str, Any]:
    return {"prompt": prompt, "completion": answer, "label": label, **other}


def findings(records: Sequence[dict[str, Any]], code: str, **options: Any) -> list[Finding]:
    options.setdefault("sealed", [])
    return [finding for finding in check_file(list(records), **options).findings if finding.code == code]


def varied(count: int) -> list[dict[str, Any]]:
    """Pairs of unlike words and like lengths, so that nothing but the planted record stands out."""
    rng = random.Random(1)

    def answer(number: int) -> str:
        return f"Wash the {rng.choice(KINDS)} first, and then cook it with {number} spoons of {rng.choice(KINDS)}."

    return [
        pair(f"What should I do with {at} bags of {rng.choice(KINDS)}?", answer(2 * at), answer(2 * at + 1))
        for at in range(count)
    ]


FRUIT = pair("Name a fruit.", "Plum.", "Pear.")
TALK = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}
CHOICE = {"question": "a", "answer_a": "b", "answer_b": "c", "winner": "a"}


# ---- which kind of file it is


@pytest.mark.parametrize(
    ("record", "kind", "shape"),
    [
        (FRUIT, "comparisons", "prompt + chosen/rejected"),
        (TALK, "comparisons", "chosen/rejected"),
        ({"prompt": "a", "completions": ["b", "c"], "ranks": [1, 2]}, "comparisons", "prompt + completions in order"),
        (CHOICE, "comparisons", "question + answer_a/answer_b"),
        (rated("a", "b", True), "ratings", "prompt/completion + label"),
        ({"question": "a", "answer": "b", "stars": 4}, "ratings", "question/answer + rating"),
        ({"prompt": "a", "completion": "b"}, "conversations", "prompt/completion"),
        ({"prompt": "a", "completion": "b", "label": "cooking"}, "conversations", "prompt/completion"),
    ],
)
def test_the_first_record_tells_the_kind(record: dict[str, Any], kind: str, shape: str) -> None:
    report = check_file([record], sealed=[])
    assert (report.kind, report.format) == (kind, f"Python records, {shape}")


def test_a_kind_can_be_named() -> None:
    record = {"prompt": "a", "completion": "b", "score": 3}
    assert check_file([record], sealed=[]).kind == "ratings"
    assert check_file([record], kind="conversations", sealed=[]).format == "Python records, prompt/completion"


def test_a_bad_line_before_the_first_record_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("{oops\n" + json.dumps(FRUIT) + "\n" + json.dumps({**FRUIT, "rejected": ""}))
    report = check_file(path, sealed=[])
    assert [(one.line, one.code) for one in report.findings if one.severity == "error"] == [
        (1, "invalid-json"),
        (3, "empty-answer"),
    ]
    assert (report.kind, report.num_records) == ("comparisons", 3)


def test_sizes_by_hand() -> None:
    records = [
        pair("12345678", "1234", "12", rater="anna", strength=1),
        pair("1234", "123456", "1234", rater="bert"),
        pair("12", "12", "21", tie=True),
    ]
    report = check_file(records, sealed=[])
    assert report.stats == {
        "comparisons": 3,
        "median_answers": 2,
        "max_answers": 2,
        "ties": 1,
        "with_strength": 1,
        "median_chosen_characters": 5,  # of 4 and 6
        "median_rejected_characters": 3,  # of 2 and 4
        "raters": 2,
        "median_prompt_characters": 4,
        "max_prompt_characters": 8,
        "estimated_tokens": 8,  # (8 + 4 + 2 + 4 + 6 + 4 + 2 + 2 + 2) / 4
    }
    assert (report.num_records, report.num_turns) == (3, 9)  # a prompt and two answers each


def test_sizes_of_ratings() -> None:
    assert check_file([rated("12", "1234", True), rated("12", "123456", 0)], sealed=[]).stats == {
        "ratings": 2,
        "good": 1,
        "bad": 1,
        "median_answer_characters": 5,
        "raters": 0,
        "median_prompt_characters": 2,
        "max_prompt_characters": 2,
        "estimated_tokens": 3,  # (2 + 4 + 2 + 6) / 4 = 3.5
    }
    stars = check_file([{"q": "1", "a": "2", "stars": star} for star in (1, 5, 4)], sealed=[]).stats
    assert (stars["min_rating"], stars["median_rating"], stars["max_rating"]) == (1, 4, 5)


# ---- the text of every side


def test_each_side_is_checked_with_its_own_field() -> None:
    cut = "Wipe the table and the"
    found = findings([pair("How?", cut, "Wipe it,"), pair("How so?", "Wipe it.", cut)], "truncated-answer")
    assert [(finding.line, finding.field) for finding in found] == [(1, "chosen"), (2, "rejected")]


def test_the_shared_prompt_is_reported_once() -> None:
    record = pair("Write to anna.berg@post.se or <bos>", "Done.", "No.")
    assert [finding.field for finding in findings([record], "personal-data")] == ["prompt"]
    assert [finding.field for finding in findings([{**record, "prompt": " "}], "empty-prompt")] == ["prompt"]
    record["rejected"] = "I wrote to anna.berg@post.se."
    assert [finding.field for finding in findings([record], "personal-data")] == ["prompt", "rejected"]


def test_an_earlier_answer_is_context_and_may_end_as_it_likes() -> None:
    earlier = [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "Wipe the table and the"}]
    earlier.append({"role": "user", "content": "And then?"})
    assert findings([{**FRUIT, "prompt": earlier}], "truncated-answer") == []


def test_a_sealed_prompt_is_an_error_once() -> None:
    sealed = [Prompt((Message("user", "Name a fruit."),), id="sealed-01")]
    (finding,) = findings([FRUIT], "sealed-prompt", sealed=sealed)
    assert (finding.severity, finding.field) == ("error", "prompt")


def test_a_long_prompt_is_over_long_once_and_a_long_side_by_itself() -> None:
    # The prompt alone takes 400 / 4 + 4 = 104 tokens.
    (finding,) = findings([pair("word " * 80, "Yes.", "No.")], "over-long", max_tokens=100)
    assert finding.field == "prompt"
    (finding,) = findings([pair("Go on?", "Yes.", "word " * 80)], "over-long", max_tokens=100)
    assert finding.field == "rejected"


def test_length_and_language_outliers_on_a_side() -> None:
    long = pair("Tell me everything.", "It goes on.", "So it goes on and on. " * 200)
    assert [one.field for one in findings([*varied(30), long], "length-outlier")][-1] == "rejected"
    german = pair("Wie?", "Soak it in the water, then clean it with a soft brush.", "")
    german["rejected"] = "Die Pfanne zuerst einweichen und danach mit einer weichen Bürste reinigen."
    (finding,) = findings([*varied(30), german], "language-outlier")
    assert (finding.line, finding.field) == (31, "rejected")


# ---- errors of a comparison


def test_identical_sides_and_differing_prompts_are_errors() -> None:
    other = [{"role": "user", "content": "Name a herb."}, {"role": "assistant", "content": "Dill."}]
    report = check_file([pair("a", "b", "b"), pair("Name a fruit.", "Plum.", "x") | {"rejected": other}], sealed=[])
    assert [(one.severity, one.line, one.code, one.field) for one in report.findings] == [
        ("error", 1, "identical-sides", "rejected"),
        ("error", 2, "prompt-differs", "rejected[0].content"),
    ]


# ---- repeats


def test_two_sides_of_a_pair_are_no_duplicates() -> None:
    text = "Rinse the rice in cold water until the water stays clear then simmer it for twelve minutes."
    codes = {finding.code for finding in check_file([pair("How?", text, text + " Stir.")], sealed=[]).findings}
    assert codes == {"length-imbalance"}


def test_the_same_verdict_twice() -> None:
    records = [FRUIT, pair("name a  FRUIT", "plum", "pear!")]
    (finding,) = findings(records, "exact-duplicate")
    assert (finding.line, finding.message) == (2, "the same prompt, answers and verdict as record 1")
    assert findings(records, "near-duplicate") == []


def test_the_same_verdict_of_another_rater_is_no_duplicate() -> None:
    records = [{**FRUIT, "rater": "anna"}, {**FRUIT, "rater": "bert"}]
    assert check_file(records, sealed=[]).findings == ()


def test_another_answer_to_the_same_prompt_is_another_comparison() -> None:
    long = "What should I do with seven bags of onions and eight bags of pears before the guests arrive at noon today?"
    records = [pair(long, "Cook them.", "Wait."), pair(long, "Cook them.", "Give them away.")]
    codes = {finding.code for finding in check_file(records, sealed=[]).findings}
    assert codes <= {"length-imbalance"}


def test_a_near_duplicate_of_both_answers() -> None:
    text = "Rinse the rice in cold water until the water stays clear then simmer it for twelve minutes and rest it"
    records = [pair("Cook rice how?", text, "No idea."), pair("So cook rice how?", text, "No idea.")]
    assert [finding.line for finding in findings(records, "near-duplicate")] == [2]


@pytest.mark.parametrize(
    ("first", "second", "by"),
    [
        ({}, {}, ""),
        ({"rater": "anna"}, {}, ""),
        ({"rater": "anna"}, {"rater": "anna"}, " by the same rater"),
        ({"rater": "anna"}, {"rater": "bert"}, " by another rater"),
    ],
)
def test_a_verdict_judged_both_ways(first: dict[str, str], second: dict[str, str], by: str) -> None:
    records = [
        {**FRUIT, **first},
        pair("Name a herb.", "Dill.", "Mint."),
        pair("name a fruit", "pear", "PLUM", **second),
    ]
    (finding,) = findings(records, "judged-both-ways")
    assert (finding.severity, finding.line) == ("warning", 3)
    assert finding.message == f"the same answers as record 1, judged the other way round{by}; the two cancel out"


def test_a_ranking_that_contradicts_another_in_two_places() -> None:
    items = {"prompt": "Name a fruit.", "completions": ["Plum.", "Pear.", "Fig."]}
    assert len(findings([{**items, "ranks": [1, 2, 3]}, {**items, "ranks": [1, 3, 2]}], "judged-both-ways")) == 1
    assert findings([{**items, "ranks": [1, 2, 3]}, {**items, "ranks": [1, 2, 2]}], "judged-both-ways") == []


def test_an_answer_rated_both_ways() -> None:
    records = [rated("Name a fruit.", "Plum.", True), rated("Name a fruit.", "plum", False)]
    (finding,) = findings(records, "judged-both-ways")
    assert finding.message == "the same answer as record 1, judged the other way round; the two cancel out"
    assert len(findings([*records[:1], *records[:1]], "exact-duplicate")) == 1


# ---- ties, length, one-sided labels


def test_ties() -> None:
    tie = {**FRUIT, "tie": True}
    (note,) = findings([*varied(2), tie], "ties")
    assert (note.severity, note.message) == ("note", "1 of 3 comparisons are ties, which prefer neither answer")
    (error,) = findings([tie, {**tie, "prompt": "b"}], "ties")
    assert error.severity == "error"
    assert error.message == (
        "every comparison is a tie (2 of 2), so nothing says which answer is better; add comparisons with a winner"
    )


def sized(longer_won: int, shorter_won: int) -> list[dict[str, Any]]:
    long, short = "a" * 99 + ".", "b" * 49 + "."
    return [pair(f"Q{at}", long, short) for at in range(longer_won)] + [
        pair(f"R{at}", short, long) for at in range(shorter_won)
    ]


def test_longer_answers_that_win_too_often() -> None:
    # 80 of 100: centre (.8 + 3.8415 / 200) / 1.038415 = .7889, half-width 1.96 √(.0016 + 3.8415 / 40000) / 1.038415
    # = .0777, so 71 % to 87 %.
    (finding,) = findings(sized(80, 20), "length-imbalance")
    assert finding.severity == "warning"
    assert finding.message == (
        "the longer answer won 80% of 100 pairs (95% interval 71% to 87%); the chosen answer is 2.00 times as long "
        "(median): a model may learn the length instead of what is good"
    )
    assert findings(sized(20, 80), "length-imbalance")[0].severity == "warning"


def test_a_length_balance_is_a_note() -> None:
    for won, lost in ((55, 45), (590, 410), (7, 3)):  # even; 59 % is near even; few pairs say little
        assert [one.severity for one in findings(sized(won, lost), "length-imbalance")] == ["note"]
    assert findings([pair("a", "b", "c")], "length-imbalance") == []  # of one length


def test_one_sided_labels() -> None:
    (finding,) = findings([rated("a", "b", True), rated("c", "d", "good")], "one-sided-labels")
    assert (finding.severity, finding.message) == (
        "warning",
        "every answer (2) is rated good, and one side alone teaches no difference; "
        "add answers that were rated otherwise",
    )
    assert findings([rated("a", "b", True), rated("c", "d", False)], "one-sided-labels") == []
    (finding,) = findings([{"q": "a", "a": "b", "stars": 4}], "one-sided-labels")
    assert finding.message.startswith("every answer (1) is rated 4, and one side alone")


# ---- speed


def test_many_answers_to_one_prompt_are_linear_work() -> None:
    items = [f"Answer number {at} of them all." for at in range(3000)]
    ranking = {"prompt": "Say it.", "completions": items, "ranks": list(range(3000))}
    pairs = [pair("Say it.", one, other) for one, other in itertools.pairwise(items)]
    for records in ([ranking, ranking], pairs):
        start = time.process_time()
        check_file(records, sealed=[])
        assert time.process_time() - start < 10
