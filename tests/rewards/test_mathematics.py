"""Final answers: where they stand in a text, which number they are, and when two are the same."""

import time
from fractions import Fraction

import pytest

from tutelage.rewards.mathematics import as_number, final_answer, same_answer

NUMBERS = [
    ("7", 7),
    ("-5", -5),
    ("- 5", -5),
    ("\u22123", -3),
    ("+7", 7),
    (".5", Fraction(1, 2)),
    ("$1,234.50", Fraction(2469, 2)),
    ("-$5", -5),
    (r"\$5", 5),
    ("3/4", Fraction(3, 4)),
    ("6 / 8", Fraction(3, 4)),
    ("0.5/0.25", 2),
    ("1/-2", Fraction(-1, 2)),
    ("2 1/2", Fraction(5, 2)),
    ("-2 1/2", Fraction(-5, 2)),
    (r"\frac{3}{4}", Fraction(3, 4)),
    (r"-\dfrac{1}{2}", Fraction(-1, 2)),
    (r"\frac{-1}{2}", Fraction(-1, 2)),
    (r"\frac12", Fraction(1, 2)),
    (r"3\frac{1}{2}", Fraction(7, 2)),
    (r"\(\tfrac{1}{3}\)", Fraction(1, 3)),
    ("25%", 25),
    (r"25\%", 25),
    ("12 apples", 12),
    ("**42**", 42),
    ("42.", 42),
    ("5 km/h", 5),
    ("12 cm^2", 12),
    (r"5\text{ cm}", 5),
    (r"30^\circ", 30),
    ("2/3 cup", Fraction(2, 3)),
    (r"1{,}234", 1234),
    (r"1\,234", 1234),
    ("x = 5", 5),
    ("3 + 4 = 7", 7),
    ("(8)", 8),
]
NO_NUMBERS = [
    "", "Paris", "2x", "3 x + 1", "x/2", "x^2", r"\frac{x}{2}", r"\sqrt{3}", r"2\pi", "3!", "x > 5", "(1, 2)", "(3)(4)",
    "10-5", "3 - 5", "1e3", "1,2345", "1/0", "10:30", "9" * 5000, "n + 1",
]  # fmt: skip


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_a_number_is_read_exactly(text, number):
    assert as_number(text) == number


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_single_number_is_none(text):
    assert as_number(text) is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("I think 3, so \\boxed{4}. #### 5", "4"),
        (r"first \boxed{1}, then \boxed{\frac{1}{2}} at last 9", r"\frac{1}{2}"),
        ("He pays 3 + 4.\n#### 72\n", "72"),
        ("#### 1\n#### 2", "2"),
        ("The answer is 42. I hope this helps with 3 questions.", "42"),
        ("The answer is 42, because 6 * 7 = 42 and not 43.", "42"),
        ("The answer is 1. No, the answer is 2.", "2"),
        ("**Answer:** 12", "12"),
        ("The final answer is: **7**", "7"),
        ("The answer is\n\n$5$", "$5$"),
        ("The answer is Paris.", "Paris"),
        ("First 3 bags, then 4 more, together $1,200.50.", "1,200.50"),
        ("From 10-20 of them there remain -6 or so", "-6"),
        ("He has 10-20 of them", "20"),
        ("H2O has 3 atoms and CO2 has many", "3"),
        ("x^2 + 3", "x^2 + 3"),
        ("New York City", "New York City"),
        (r"\boxed{} is empty, then #### 8", "8"),
    ],
)
def test_the_final_answer_stands_where_the_text_says(text, answer):
    assert final_answer(text) == answer


def test_a_blank_text_has_no_answer():
    assert final_answer(" \n ") is None


def test_a_box_that_is_not_closed_is_no_box():
    assert final_answer(r"the value is \boxed{12 + 3") == "3"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.50", "1/2"),
        (r"\frac{2}{4}", ".5"),
        ("1,000", "1000.0"),
        ("12 apples", "12"),
        ("x^2+3", "x^2 + 3"),
        (r"\left(1, 2\right)", "(1,2)"),
        (r"\dfrac{x}{2}", r"\frac{x}{2}"),
        ("Paris.", "paris"),
    ],
)
def test_the_same_answer_in_other_words(one, other):
    assert same_answer(one, other)
    assert same_answer(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("0.33", "1/3"), ("3", "-3"), ("2x", "2"), ("x^2 + 3", "3"), (r"\sqrt{3}", "3"), ("12", "1,2"), ("Paris", "Rome")],
)
def test_another_answer(one, other):
    assert not same_answer(one, other)
    assert not same_answer(other, one)


def test_long_runs_of_blanks_and_digits_are_read_in_no_time():
    begun = time.perf_counter()
    for text in ("1" + " " * 20_000 + "2", "1 " * 10_000, "\\boxed{" * 5_000, "$" * 20_000, "-" * 20_000):
        final_answer(text)
    assert time.perf_counter() - begun < 5
