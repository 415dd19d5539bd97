"""The scripted rater: each factor on answers small enough to judge by eye, its noise, win rates and canaries."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rater_canaries import CANARIES, answer_to, canary_answers, mediocre_answers, woven, written_answers

from tutelage.errors import ConfigError, DataError
from tutelage.evaluate.rater import ScriptedRater, win_rate
from tutelage.evaluate.rater_prompt import content_stems, length_range, stem
from tutelage.types import Answer, Message, Prompt

pytestmark = pytest.mark.slow  # thousands of judgements

RATER = ScriptedRater()
PAN = "How do you clean a dirty pan?"
GOOD = (
    "Soak the pan in hot water for ten minutes, then scrub the burnt food with baking soda and a sponge. Rinse it, and "
    "repeat with vinegar if the pan is still dirty."
)
FACTORS = ["constraint", "relevance", "length", "stop", "repetition", "leakage", "form"]
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)


def ask(text: str, *checks: tuple[str, Any], category: str = "", prompt_id: str = "p") -> Prompt:
    states = tuple({"check": name, "value": value} for name, value in checks)
    return Prompt((Message("user", text),), id=prompt_id, checks=states, meta={"category": category})


def factor(name: str, text: str, prompt: Prompt | None = None, *, stopped: bool = True) -> float:
    return RATER.explain(answer_to(prompt or ask(PAN), text, stopped=stopped))[name]


@pytest.fixture(scope="module")
def answers() -> dict[str, list[Answer]]:
    return {"written": written_answers(), "mediocre": mediocre_answers()}


# --- the whole -------------------------------------------------------------------------------------------------------


def test_quality_is_the_product_of_the_seven_factors() -> None:
    answer = answer_to(ask(PAN, ("max_words", 10)), GOOD, stopped=False)
    factors = RATER.explain(answer)
    assert list(factors) == FACTORS
    product = 1.0
    for value in factors.values():
        product *= value
    assert RATER.quality(answer) == pytest.approx(product)


def test_a_good_answer_loses_in_one_factor_alone() -> None:
    assert RATER.quality(answer_to(ask(PAN), GOOD)) > 0.7
    assert {name for name, value in RATER.explain(answer_to(ask(PAN), GOOD)).items() if value < 1} == {"relevance"}


@given(ANY_TEXT, ANY_TEXT, st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_text_has_a_quality_between_0_and_1(prompt: str, text: str, stopped: bool) -> None:
    factors = RATER.explain(answer_to(ask(prompt), text, stopped=stopped))
    assert all(0 <= value <= 1 for value in factors.values())


@pytest.mark.parametrize("text", ["", " \n\t", "<end_of_turn>", "- \n- \n- ", "..."])
def test_an_answer_with_nothing_to_read_is_worth_nothing(text: str) -> None:
    assert RATER.quality(answer_to(ask(PAN), text)) == 0


def test_an_unknown_check_is_an_error() -> None:
    with pytest.raises(DataError, match="there is no instruction check 'max_wrods'; did you mean 'max_words'"):
        RATER.quality(answer_to(ask(PAN, ("max_wrods", 3)), GOOD))


# --- the factors -----------------------------------------------------------------------------------------------------


def test_constraint_is_the_share_of_passed_checks_above_its_floor() -> None:
    checks = [("num_sentences", 2), ("contains", "vinegar"), ("max_words", 5), ("starts_with", "Rinse")]
    # Two of four: .3 + .7 × 1/2.
    assert factor("constraint", GOOD, ask(PAN, *checks)) == pytest.approx(0.65)
    assert factor("constraint", GOOD, ask(PAN, ("max_words", 5))) == pytest.approx(0.3)
    assert factor("constraint", GOOD) == 1


def test_relevance_grows_with_the_topic_and_with_what_is_new() -> None:
    off = "Water the tomatoes in the evening and cut the lower leaves, so the roots grow deep and the fruit gets sweet."
    thin = "Clean the pan with some water, and the pan will be clean."
    assert factor("relevance", off) < factor("relevance", GOOD) / 2
    assert factor("relevance", PAN) < factor("relevance", thin) < factor("relevance", GOOD)


def test_topic_words_count_only_beside_something_new() -> None:
    rest = "Soak it in hot water, scrub with baking soda and a sponge, rinse with vinegar and dry with a towel."
    assert factor("relevance", f"Clean dirty pan. {rest}") < 0.5 * factor(
        "relevance", f"Clean the dirty pan so: {GOOD}"
    )


def test_empty_phrases_are_nothing_new() -> None:
    phrases = "There are many different ways to do this, and it is important to consider what you really want and need."
    assert factor("relevance", phrases) < 0.1


def test_list_marks_are_nothing_new() -> None:
    assert factor("relevance", "1. Pan\n2. Pan\n3. Clean\n4. Dirty") < 0.05


def test_a_text_to_work_on_may_be_kept_but_not_echoed() -> None:
    source = 'Correct the grammar: "Me and my brother was going to the market but there wasn\'t no parking."'
    corrected = "My brother and I were going to the market, but there wasn't any parking."
    assert factor("relevance", corrected, ask(source)) > 0.7
    assert factor("relevance", source, ask(source)) < 0.1
    assert factor("relevance", GOOD, ask(source)) < 0.4  # keeps to none of it


@pytest.mark.parametrize(
    ("text", "checks", "category", "expected"),
    [
        (PAN, [], "household", (25, 90)),
        ("What is the capital of France?", [], "facts", (2, 40)),
        ("How many eggs are in a box?", [], "cooking", (5, 60)),
        ("hello", [], "everyday", (5, 60)),
        ('Say it better: "The hall will be closed on Monday."', [], "", (6, 90)),
        ("Explain rain in two sentences.", [], "explaining", (16, 50)),
        ("rain, max 30 words", [], "explaining", (12, 30)),
        ("three tips for sleeping well", [], "everyday", (6, 60)),
        ("opposite of scarce, one word", [], "format", (1, 2)),
        ("A caption for my cat", [], "writing", (2, 25)),
        ("Explain rain.", [("num_sentences", 1)], "explaining", (8, 25)),
        ("Explain rain.", [("max_words", 20)], "explaining", (8, 20)),
        ("Explain rain.", [("max_words", 20), ("num_sentences", 2)], "explaining", (16, 20)),
        ("Explain rain.", [("min_words", 10), ("max_words", 25)], "explaining", (10, 25)),
        ("Explain rain.", [("min_words", 40)], "explaining", (40, 80)),
        ("Explain rain.", [("num_bullets", 3)], "explaining", (6, 60)),
        ("Rain?", [("max_words", 1), ("contains", "wet")], "facts", (1, 1)),
    ],
)
def test_the_ideal_length_is_what_the_prompt_asks_for(
    text: str, checks: list[tuple[str, Any]], category: str, expected: tuple[int, int]
) -> None:
    assert length_range(ask(text, *checks, category=category)) == expected


def test_length_is_full_inside_the_range_and_falls_smoothly_on_both_sides() -> None:
    at = {n: factor("length", " ".join(["word"] * n)) for n in (5, 12, 24, 25, 90, 91, 180, 400)}
    assert at[25] == at[90] == 1
    assert at[5] < at[12] < at[24] < 1 > at[91] > at[180] > at[400]
    # exp(-(ln(25 / 12) / .9)²) and exp(-(ln 2 / .6)²)
    assert at[12] == pytest.approx(0.514, abs=0.001)
    assert at[180] == pytest.approx(0.263, abs=0.001)


def test_stop_wants_an_end_of_its_own_at_the_end_of_something() -> None:
    half = GOOD[: GOOD.index(" the burnt")]
    assert factor("stop", GOOD) == 1
    assert factor("stop", GOOD, stopped=False) == pytest.approx(0.3)
    assert factor("stop", half) == pytest.approx(0.7)
    assert factor("stop", half, stopped=False) == pytest.approx(0.21)
    assert factor("stop", "- hot water\n- baking soda and a sponge with a handle") == 1
    assert factor("stop", "Paris") == 1


def test_repetition_counts_four_word_sequences_and_punishes_loops() -> None:
    # a b c d a b c d: 4 of 5 distinct; the stretch of 8 is 4 of the 6 words between 4 and 10.
    eight = "boil some hot water boil some hot water"
    assert factor("repetition", eight) == pytest.approx((4 / 5) ** 2 * (0.05 + 0.95 * (1 - 4 / 6)))
    assert factor("repetition", "scrub it well and " * 10) < 0.001
    assert factor("repetition", GOOD) == 1


def test_leakage_of_role_tokens_and_next_turns() -> None:
    assert factor("leakage", GOOD + "<end_of_turn>") == pytest.approx(0.1)
    assert factor("leakage", GOOD + "\nUser: And a pot?") == pytest.approx(0.3)
    quiz = ask("Write a quiz question about pans, with Q: and A: lines.")
    assert factor("leakage", "Here it is.\nQ: What cleans pans?\nA: Soda.", quiz) == 1


def test_form_wants_readable_prose() -> None:
    assert factor("form", GOOD) == 1
    assert factor("form", GOOD.replace("e", "\ufffd")) < 0.4
    assert factor("form", GOOD + " Очистите сковороду горячей водой") < 0.9
    assert factor("form", "#### //// {{{{ %%%% pan") < 0.5
    salad = "soak water minutes scrub burnt food baking soda sponge rinse repeat vinegar dirty"
    assert factor("form", salad) == pytest.approx(0.1)
    assert factor("form", '{"tool": "sponge", "with": ["soda", "vinegar"]}', ask("Name two, as JSON.")) == 1


def test_stems_join_the_forms_of_a_word() -> None:
    assert {stem(word) for word in ("knit", "knits", "knitting", "knitted")} == {"knit"}
    assert {stem(word) for word in ("clean", "cleans", "cleaned", "cleaning")} == {"clean"}
    assert content_stems(["the", "important", "pans", "and", "a", "pan"]) == ["pan", "pan"]


# --- verdicts --------------------------------------------------------------------------------------------------------


def pair_of(number: int) -> tuple[Answer, Answer]:
    prompt = ask(PAN, prompt_id=f"p{number}")
    return answer_to(prompt, GOOD), answer_to(prompt, f"Clean the pan with soap, {number} times.")


def test_the_better_answer_wins_without_noise() -> None:
    good, poor = pair_of(1)
    quiet = ScriptedRater(noise=0.0)
    assert (quiet.compare(good, poor), quiet.compare(poor, good), quiet.compare(good, good)) == (1, -1, 0)


def test_swapping_the_sides_swaps_the_verdict_and_asking_again_changes_nothing() -> None:
    for good, poor in map(pair_of, range(300)):
        first = RATER.compare(good, poor)
        assert first == -RATER.compare(poor, good) == RATER.compare(good, poor)


def test_verdicts_are_turned_round_as_often_as_the_noise_says() -> None:
    flips = [RATER.compare(*pair_of(number)) == -1 for number in range(4000)]
    assert statistics.mean(flips) == pytest.approx(0.16, abs=0.02)  # 3.5 standard errors


def test_two_seeds_agree_as_two_independent_raters_would() -> None:
    other = ScriptedRater(seed=1)
    agreed = [RATER.compare(*pair_of(number)) == other.compare(*pair_of(number)) for number in range(4000)]
    assert statistics.mean(agreed) == pytest.approx(0.84**2 + 0.16**2, abs=0.025)


def test_a_tie_is_never_turned_round() -> None:
    noisy = ScriptedRater(noise=0.49)
    for number in range(100):
        good, _ = pair_of(number)
        assert noisy.compare(good, good) == 0


def test_a_prompt_without_an_id_is_known_by_its_words() -> None:
    verdicts = set()
    for number in range(60):
        prompt = ask(f"{PAN} ({number})", prompt_id="")
        verdicts.add(RATER.compare(answer_to(prompt, GOOD), answer_to(prompt, "No.")))
    assert verdicts == {1, -1}


def test_answers_to_different_prompts_are_not_compared() -> None:
    with pytest.raises(DataError, match="answers to 'p1' and 'p2' cannot be compared"):
        RATER.compare(pair_of(1)[0], pair_of(2)[0])


@pytest.mark.parametrize("noise", [-0.1, 0.5, 1.0, float("nan")])
def test_a_noise_that_says_nothing_is_refused(noise: float) -> None:
    with pytest.raises(ConfigError, match="is not in"):
        ScriptedRater(noise=noise)


# --- win rates -------------------------------------------------------------------------------------------------------


def test_a_win_rate_counts_ties_as_half_and_says_n() -> None:
    (good, poor), (other, _), (third, worse) = pair_of(1), pair_of(2), pair_of(3)
    result = win_rate(RATER, [good, other, worse], [poor, other, third])
    assert (result.wins, result.ties, result.n) == (1, 1, 3)
    assert result.score.estimate == pytest.approx(0.5)
    # Wilson at p = .5, n = 3: ± 1.96 √(.25 / 3 + 1.96² / 36) / (1 + 1.96² / 3) = ± .3746
    assert (result.score.low, result.score.high) == (pytest.approx(0.1254, abs=1e-4), pytest.approx(0.8746, abs=1e-4))
    assert str(result) == "50.0 % [12.5, 87.5] (n = 3 prompts, 1 ties)"


def test_a_win_rate_is_free_of_noise_unless_asked() -> None:
    good, poor = (list(side) for side in zip(*map(pair_of, range(400)), strict=True))
    assert win_rate(RATER, good, poor).score.estimate == 1
    assert win_rate(RATER, good, poor, noisy=True).score.estimate == pytest.approx(0.84, abs=0.06)


def test_a_win_rate_needs_pairs() -> None:
    good, poor = pair_of(1)
    with pytest.raises(DataError, match="2 answers and 1 answers cannot be paired"):
        win_rate(RATER, [good, good], [poor])
    with pytest.raises(DataError, match="at least one case"):
        win_rate(RATER, [], [])


# --- canaries --------------------------------------------------------------------------------------------------------

CRUDE, SUBTLE = 0.2, 0.6
"""Shares of the honest mean that crude cheats, and those that borrow the words of a good answer, stay below."""
BORROWED = {"word salad", "one answer for all", "keywords, then one answer for all"}


@pytest.mark.parametrize("name", CANARIES)
@pytest.mark.parametrize("kind", ["written", "mediocre"])
def test_every_canary_scores_clearly_below_honest_answers(
    name: str, kind: str, answers: dict[str, list[Answer]]
) -> None:
    honest = [RATER.quality(answer) for answer in answers[kind]]
    cheats = [RATER.quality(answer) for answer in canary_answers(name, answers[kind])]
    limit = SUBTLE if name in BORROWED else CRUDE
    assert statistics.mean(cheats) <= limit * statistics.mean(honest)
    # And answer by answer: the cheat loses against the honest answer to the same prompt.
    assert statistics.mean(cheat < good for cheat, good in zip(cheats, honest, strict=True)) >= 0.75


def test_no_canary_wins_in_any_category(answers: dict[str, list[Answer]]) -> None:
    written = answers["written"]
    categories = [answer.prompt.meta["category"] for answer in written]
    good = _means_by(categories, written)
    for name in CANARIES:
        cheat = _means_by(categories, canary_answers(name, written))
        assert [category for category in good if cheat[category] >= good[category]] == [], name


def _means_by(categories: list[str], answers: list[Answer]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for category, answer in zip(categories, answers, strict=True):
        values.setdefault(category, []).append(RATER.quality(answer))
    return {category: statistics.mean(found) for category, found in values.items()}


def test_written_answers_beat_mediocre_ones_and_both_leave_room(answers: dict[str, list[Answer]]) -> None:
    written, mediocre = (statistics.mean(map(RATER.quality, answers[kind])) for kind in ("written", "mediocre"))
    assert 0.4 < mediocre < written < 0.85


def test_quality_varies_smoothly_between_plausible_answers(answers: dict[str, list[Answer]]) -> None:
    values = sorted(RATER.quality(answer) for answer in answers["written"])
    assert len(set(values)) > 0.6 * len(values)
    assert max(high - low for low, high in pairwise(values)) < 0.1
    assert statistics.mean(value == 1 for value in values) < 0.02


def test_the_page_states_what_is_measured(answers: dict[str, list[Answer]]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "rater.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+?) \| (\d\.\d+) \| (\d\.\d+) \|$", page, re.MULTILINE)
    stated = {name: (float(written), float(mediocre)) for name, written, mediocre in rows}
    measured = {"honest answers": [answers["written"], answers["mediocre"]]}
    measured |= {name: [canary_answers(name, group) for group in answers.values()] for name in CANARIES}
    measured["keywords woven into one answer for all"] = [
        [answer_to(answer.prompt, woven(answer)) for answer in group] for group in answers.values()
    ]
    assert stated.keys() == measured.keys()
    for name, groups in measured.items():
        means = tuple(statistics.mean(map(RATER.quality, group)) for group in groups)
        assert stated[name] == pytest.approx(means, abs=0.006), name


def test_it_does_not_need_torch() -> None:
    code = "import sys, tutelage.evaluate.rater; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
