"""Verdicts on pairs: by script and by a person's keys, and the comparison file that both make."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from person import typed
from rich.console import Console

from tutelage.data import load_comparisons
from tutelage.evaluate.rater import ScriptedRater
from tutelage.train.run_folder import strict_json
from tutelage.types import Answer, Message, Prompt
from tutelage.verdicts import (
    Pair,
    Verdict,
    comparison_line,
    judge_by_script,
    judge_in_terminal,
    make_pairs,
    read_said,
)

GOOD = "Soak the pan in hot water, then scrub it with baking soda and rinse."


def pair(number: int, first: str = GOOD, second: str = "pan pan pan pan pan") -> Pair:
    prompt = Prompt((Message("user", f"How do you clean pan {number}?"),), id=f"pan-{number}")
    return Pair(Answer(prompt, first, 9, True), Answer(prompt, second, 9, True))


PAIRS = [pair(number) for number in range(6)]


def screen() -> Console:
    return Console(file=io.StringIO(), width=100, highlight=False)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_neighbours_make_pairs_and_equal_texts_do_not():
    answers = [PAIRS[0].first, PAIRS[0].second, PAIRS[1].first, PAIRS[1].first]
    assert make_pairs(answers) == [PAIRS[0]]


def test_the_script_errs_as_often_as_it_says_and_says_that_it_is_a_script():
    pairs = [pair(number) for number in range(400)]
    verdicts = judge_by_script(pairs, ScriptedRater(noise=0.16, seed=3))
    assert {verdict.rater for verdict in verdicts} == {"scripted rater (noise 0.16, seed 3)"}
    wrong = sum(verdict.preference == -1 for verdict in verdicts)
    assert all(ScriptedRater().prefers(one.first, one.second) == 1 for one in pairs)
    assert 64 - 4 * 7.4 < wrong < 64 + 4 * 7.4  # four standard deviations of a binomial


def test_a_comparison_file_reads_back_with_its_rater_and_its_ties(tmp_path: Path):
    verdicts = [Verdict(PAIRS[0], 1, "me"), Verdict(PAIRS[1], -1, "me", 1, 2.34), Verdict(PAIRS[2], 0, "me")]
    lines = [comparison_line(verdict, {"model": "sft", "temperature": 1.0}) for verdict in verdicts]
    assert [(line["chosen"] == GOOD, line["shown_first"]) for line in lines] == [
        (True, "chosen"), (False, "chosen"), (True, "chosen"),
    ]  # fmt: skip
    assert lines[1]["seconds"] == 2.3
    path = tmp_path / "verdicts.jsonl"
    path.write_bytes(b"".join(map(strict_json, lines)))
    found = load_comparisons(path)
    assert [comparison.ranks for comparison in found] == [(0, 1), (0, 1), (0, 0)]
    assert {comparison.rater for comparison in found} == {"me"}
    assert found[0].answers[0][0].content == GOOD
    assert found[1].answers[1][0].content == GOOD
    assert found[0].meta["model"] == "sft"


def test_a_key_means_the_answer_under_its_letter_whichever_side_it_was_shown_on(tmp_path: Path):
    console = screen()
    verdicts = judge_in_terminal(PAIRS, tmp_path / "said.jsonl", 6, console, typed(*"aaabb="))
    assert verdicts is not None
    sides = {verdict.shown_first for verdict in verdicts}
    assert sides == {0, 1}, "both orders must occur"
    for verdict, key in zip(verdicts, "aaabb=", strict=True):
        better = None if key == "=" else (verdict.shown_first if key == "a" else 1 - verdict.shown_first)
        assert verdict.preference == {None: 0, 0: 1, 1: -1}[better]
    # What was shown as A is what the verdict says was shown first.
    text = shown(console)
    for verdict in verdicts:
        first = (verdict.pair.first, verdict.pair.second)[verdict.shown_first].text
        after = text.split(verdict.pair.first.prompt.messages[-1].content)[1]
        assert " ".join(after.split("B\n")[0].split()).removeprefix("A ") == first


def test_what_was_said_is_kept_and_a_second_call_goes_on(tmp_path: Path):
    path, console = tmp_path / "said.jsonl", screen()
    assert judge_in_terminal(PAIRS, path, 4, console, typed("a", "s", "b")) is None
    assert "your 2 verdicts are kept" in " ".join(shown(console).split())
    assert [line["key"] for line in read_said(path).values()] == ["a", "s", "b"]
    again = screen()
    verdicts = judge_in_terminal(PAIRS, path, 4, again, typed("=", "b"))
    assert verdicts is not None
    assert [verdict.pair for verdict in verdicts] == [PAIRS[0], PAIRS[2], PAIRS[3], PAIRS[4]]
    assert "3 of 4" in shown(again)
    assert PAIRS[1].first.prompt.messages[-1].content not in shown(again), "a skipped pair is not asked again"
    # Nothing is asked once all is said.
    assert judge_in_terminal(PAIRS, path, 4, screen(), typed()) == verdicts


def test_ctrl_c_loses_nothing(tmp_path: Path):
    keys = iter(["a"])

    def ask(_: str) -> str:
        for key in keys:
            return key
        raise KeyboardInterrupt

    assert judge_in_terminal(PAIRS, tmp_path / "said.jsonl", 3, screen(), ask) is None
    assert len(read_said(tmp_path / "said.jsonl")) == 1


def test_a_torn_line_is_passed_over(tmp_path: Path):
    path = tmp_path / "said.jsonl"
    judge_in_terminal(PAIRS, path, 1, screen(), typed("a"))
    path.write_bytes(path.read_bytes() + b'{"pair": "12')
    assert judge_in_terminal(PAIRS, path, 2, screen(), typed("b")) is not None
    assert [json.loads(line)["key"] for line in path.read_bytes().splitlines()] == ["a", "b"]


def test_fewer_pairs_than_wanted_is_all_there_is(tmp_path: Path):
    verdicts = judge_in_terminal(PAIRS[:2], tmp_path / "said.jsonl", 20, screen(), typed("a", "b"))
    assert verdicts is not None
    assert len(verdicts) == 2


def test_other_keys_are_explained_and_asked_for_again(tmp_path: Path):
    console = screen()
    verdicts = judge_in_terminal(PAIRS, tmp_path / "said.jsonl", 1, console, typed("first", "", " A "))
    assert verdicts is not None
    assert "'first' is none of the keys" in shown(console)


@pytest.mark.parametrize("text", ["[bold red]x[/] and [/] more", "\x1b[31mred\x1b[0m \x07", "a\u202eb"])
def test_an_answer_cannot_write_on_the_screen_what_it_likes(tmp_path: Path, text: str):
    console = screen()
    judge_in_terminal([pair(0, first=text)], tmp_path / "said.jsonl", 1, console, typed("a"))
    assert "\x1b" not in shown(console)
    assert "\x07" not in shown(console)
    assert "\u202e" not in shown(console)
    if text.startswith("["):
        assert text in shown(console)
