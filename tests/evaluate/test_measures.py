"""The measures on answers small enough to count by hand."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data.words import words
from tutelage.errors import DataError
from tutelage.evaluate.measures import (
    MEASURES,
    copied_fraction,
    length_misfit,
    longest_loop,
    measure_answer,
    measure_answers,
    repetition,
)
from tutelage.types import Answer, Message, Prompt

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)


def answer_to(prompt: str, text: str, *, stopped: bool = True, **prompt_fields: object) -> Answer:
    return Answer(Prompt((Message("user", prompt),), **prompt_fields), text, 5, stopped)  # type: ignore[arg-type]


def test_repetition_counts_four_grams_used_before():
    # a b c d a b c d: five 4-grams, abcd twice -> 4 distinct of 5.
    assert repetition(["a", "b", "c", "d", "a", "b", "c", "d"]) == pytest.approx(1 - 4 / 5)


def test_repetition_of_fewer_than_four_words_is_zero():
    assert repetition(["no", "no", "no"]) == 0.0


def test_repetition_works_on_token_ids():
    # 7 7 7 7 7 7: three 4-grams, one distinct.
    assert repetition([7] * 6) == pytest.approx(1 - 1 / 3)


def test_longest_loop_measures_the_whole_stretch():
    assert longest_loop(["say", "to", "be", "to", "be", "to", "be", "or", "not"]) == 6  # "to be" three times
    assert longest_loop(["it", "is", "very", "very", "late"]) == 2
    assert longest_loop(["every", "word", "here", "differs"]) == 0
    assert longest_loop([]) == 0


def test_longest_loop_counts_a_last_partial_repeat():
    # "a b c" twice and then "a b": 8 positions of period 3.
    assert longest_loop(["x", "a", "b", "c", "a", "b", "c", "a", "b"]) == 8


def test_longest_loop_needs_the_phrase_twice_in_a_row():
    assert longest_loop(["a", "b", "c", "x", "a", "b", "c"]) == 0


def test_longest_loop_works_on_token_ids():
    assert longest_loop([1, 5, 6, 5, 6, 2]) == 4


def test_copied_fraction_is_the_share_found_in_the_prompt():
    prompt = words("How do you clean a dirty pan?")
    # "you clean a dirty bowl": 4-grams (you clean a dirty) is in the prompt, (clean a dirty bowl) is not.
    assert copied_fraction(words("You clean a dirty bowl"), prompt) == pytest.approx(1 / 2)
    assert copied_fraction(words("Use vinegar"), prompt) == 0.0


def test_length_misfit_is_symmetric_in_ratio():
    assert length_misfit(20, 10) == pytest.approx(math.log(2))
    assert length_misfit(5, 10) == pytest.approx(math.log(2))
    assert length_misfit(10, 10) == 0.0


def test_length_misfit_of_nothing_counts_one_word():
    assert length_misfit(0, 10) == pytest.approx(math.log(10))


def test_measure_answer_leaves_out_what_does_not_apply():
    bare = measure_answer(answer_to("Hi", "Hello."))
    assert "length_fit" not in bare
    assert "instructions_strict" not in bare
    full = measure_answer(
        answer_to("Hi", "Hello.", reference="Hello there.", checks=({"check": "max_words", "value": 3},))
    )
    assert full["length_fit"] == pytest.approx(math.log(2))
    assert full["instructions_strict"] == full["instructions_loose"] == 1.0


def test_one_missed_check_of_two_means_the_prompt_is_missed():
    checks = ({"check": "max_words", "value": 3}, {"check": "contains", "value": "tea"})
    assert measure_answer(answer_to("Hi", "Coffee.", checks=checks))["instructions_strict"] == 0.0


def test_a_looping_answer_is_flagged():
    values = measure_answer(answer_to("Pan?", "Scrub the pan. " * 4, stopped=False))
    assert values["loops"] == 1.0
    assert values["longest_loop"] == 12.0
    assert values["stopped"] == 0.0


def test_a_dialogue_that_was_asked_for_is_not_measured_for_going_on():
    quiz = "Q: Capital of France?\nA: Paris.\nQ: Capital of Peru?\nA: Lima."
    assert measure_answer(answer_to("Write a quiz", quiz))["text_after_end"] == 1.0
    assert "text_after_end" not in measure_answer(answer_to("Write a quiz", quiz, reference=quiz))


def test_an_unknown_check_in_a_prompt_is_an_error():
    with pytest.raises(DataError, match="did you mean 'max_words'"):
        measure_answer(answer_to("Hi", "Hello.", checks=({"check": "max_word", "value": 3},)))


@settings(deadline=None)
@given(ANY_TEXT, ANY_TEXT, st.none() | ANY_TEXT, st.booleans())
def test_measures_are_finite_and_shares_stay_between_0_and_1(prompt, text, reference, stopped):
    values = measure_answer(answer_to(prompt, text, stopped=stopped, reference=reference))
    shares = {measure.name for measure in MEASURES if measure.unit == "%"}
    for name, value in values.items():
        assert math.isfinite(value)
        assert 0.0 <= value <= (1.0 if name in shares else math.inf)


def test_every_measure_has_a_row_in_the_table():
    answer = answer_to("Hi", "x", reference="y", checks=({"check": "one_line", "value": True},))
    (measured,) = measure_answers([answer])
    assert {*measured, "nll_reference", "nll_general"} == {measure.name for measure in MEASURES}
