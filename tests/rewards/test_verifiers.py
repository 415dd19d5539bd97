"""Rewards that a program can verify, each on answers picked by hand."""

import math
import time

import pytest
from asked import answer_to

from tutelage.errors import ConfigError
from tutelage.rewards.verifiers import make_verifier


def score(spec: str, text: str = "", **options):
    name, colon, argument = spec.partition(":")
    [value] = make_verifier(name, argument if colon else None).score([answer_to(text, **options)])
    return value


def refused(spec: str) -> str:
    name, colon, argument = spec.partition(":")
    with pytest.raises(ConfigError) as error:
        make_verifier(name, argument if colon else None)
    return str(error.value)


# math


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [
        (r"6 times 7 is \boxed{42}", "42", 1.0),
        ("It makes 42.", "42", 1.0),
        ("It makes 42, I say 42 and 41.", "42", 0.0),
        ("The answer is $1,000.", "He pays 500 twice.\n#### 1000", 1.0),
        ("It is 0.5 of it, so the answer is 1/2", r"\frac{1}{2}", 1.0),
        ("0.3333", "1/3", 0.0),
        ("I cannot say.", "42", 0.0),
        ("", "42", 0.0),
        ("3", "x^2 + 3", 0.0),
        ("The answer is x^2+3.", "x^2 + 3", 1.0),
        ("anything 5", None, None),
        ("anything 5", "  ", None),
    ],
)
def test_math_compares_final_answers(text, reference, expected):
    assert score("math", text, reference=reference) == expected


# exact, regex


@pytest.mark.parametrize(
    ("spec", "text", "reference", "expected"),
    [
        ("exact", " Yes,\n it IS ", "yes, it is", 1.0),
        ("exact", "yes it is", "yes, it is", 0.0),
        ("exact:case", "Yes  it is", "Yes it is", 1.0),
        ("exact:case", "yes it is", "Yes it is", 0.0),
        ("exact", "yes", None, None),
        ("exact", "", "", 1.0),
    ],
)
def test_exact_leaves_blanks_aside(spec, text, reference, expected):
    assert score(spec, text, reference=reference) == expected


def test_regex_searches_the_answer():
    assert score(r"regex:\d{2}:\d{2}", "at 07:30 sharp") == 1.0
    assert score(r"regex:\d{2}:\d{2}", "at 7:3 sharp") == 0.0
    assert score("regex:end", "x" * 9_997 + "end") == 1.0
    assert score("regex:end", "x" * 9_998 + "end") == 0.0


def test_a_pattern_is_checked_before_it_is_used():
    assert refused("regex:(").startswith("--reward regex: the pattern has a pattern that is not a regular expression")
    assert "repeats a group that itself repeats" in refused("regex:(a+)+$")
    assert refused("regex:") == "--reward regex: the pattern is empty; write e.g. regex:^Dear"
    assert refused("regex") == "--reward regex needs PATTERN after a colon: regex:PATTERN"


# format


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("think-answer", "<think>a\nb</think>\n<answer>c</answer>\n", "<answer>c</answer>"),
        ("think-answer", "<think>a</think><answer>c</answer>", "<think>a</think><answer>c</answer> and more"),
        ("think-answer", "<think>a</think><answer>c</answer>", "<think>a</think><answer></answer>"),
        ("think-answer", "<think>a</think><answer>c</answer>", "<think>a<think>b</think><answer>c</answer>"),
        ("think-answer", "<think>a</think><answer>c</answer>", "<answer>c</answer><think>a</think>"),
        ("boxed", r"so \boxed{\frac{1}{2}}", r"so \boxed{1"),
        ("boxed", r"\boxed{1}", "so 1"),
        ("json", '{"a": [1]}', '{"a": [1]} as you see'),
        ("json", "[]", '{"a": NaN}'),
        ("bullets", "- a\n\n* b\n  • c", "Three things:\n- a"),
        ("bullets", "- a", "  \n"),
        ("bullets", "- a", "-a"),
        ("no-role-tokens", "Thank the User: she waits.", "Good.\nUser: more"),
        ("no-role-tokens", "a <b> c", "Fine.<|im_end|>"),
        ("no-role-tokens", "fine", "fine <|eot_id|>"),
        ("no-role-tokens", "fine", " "),
    ],
)
def test_each_format_tells_good_from_bad(name, good, bad):
    assert score(f"format:{name}", good) == 1.0
    assert score(f"format:{name}", bad) == 0.0


def test_an_unknown_format_names_the_nearest():
    assert refused("format:bullet") == (
        "--reward format: there is no format 'bullet'; did you mean 'bullets'? "
        "There are: think-answer, boxed, json, bullets, no-role-tokens"
    )


# length, overlong


@pytest.mark.parametrize(
    ("num_tokens", "expected"),
    [(120, 1.0), (60, 0.5), (240, 0.5), (30, 0.0), (480, 0.0), (10_000, 0.0), (0, 0.0), (84.853, 0.75)],
)
def test_length_falls_evenly_with_the_log_of_the_ratio(num_tokens, expected):
    assert score("length:120", num_tokens=num_tokens) == pytest.approx(expected, abs=1e-5)


def test_length_without_a_target_is_the_log_of_the_tokens():
    assert score("length", num_tokens=100) == pytest.approx(4.60517)
    assert score("length", num_tokens=200) - score("length", num_tokens=100) == pytest.approx(math.log(2))
    assert score("length", num_tokens=0) == 0.0


@pytest.mark.parametrize(
    ("num_tokens", "expected"), [(0, 0.0), (192, 0.0), (208, -0.25), (224, -0.5), (256, -1.0), (257, -1.0), (999, -1.0)]
)
def test_overlong_falls_through_the_buffer(num_tokens, expected):
    assert score("overlong:256:64", num_tokens=num_tokens) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("length:0", "'0' is no whole number of tokens above 0; write e.g. length:120"),
        ("length:many", "'many' is no whole number of tokens above 0; write e.g. length:120"),
        ("overlong:256", "'' is no whole number of tokens above 0; write e.g. overlong:256:64"),
        ("overlong:64:256", "the buffer 256 is longer than the longest answer 64"),
        ("overlong", "needs LONGEST:BUFFER after a colon"),
        ("math:x", "takes nothing after it, and 'x' was given"),
        ("exact:fold", "'fold' is no option; write exact, or exact:case"),
        ("instructions:lose", "'lose' is neither strict nor loose"),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused(spec, message):
    assert message in refused(spec)


# instructions


def test_instructions_give_the_share_that_is_followed():
    checks = ({"check": "max_words", "value": 3}, {"check": "contains", "value": "salt"})
    assert score("instructions", "salt and oil", checks=checks) == 1.0
    assert score("instructions", "oil and fat", checks=checks) == 0.5
    assert score("instructions", "much more oil and fat", checks=checks) == 0.0
    assert score("instructions", "", checks=checks) == 0.0
    assert score("instructions", "salt") is None


def test_loose_instructions_forgive_what_stands_around():
    checks = ({"check": "starts_with", "value": "Dear"},)
    wrapped = "Here you are:\n**Dear Sam**"
    assert score("instructions:loose", wrapped, checks=checks) == 1.0
    assert score("instructions:strict", wrapped, checks=checks) == 0.0
    assert score("instructions", wrapped, checks=checks) == 0.0


def test_a_long_answer_costs_no_time_in_any_format():
    begun = time.perf_counter()
    for name in ("think-answer", "boxed", "json", "bullets", "no-role-tokens"):
        for text in ("<think>" * 3_000, "- a\n" * 5_000, "<|" * 10_000, " \n" * 10_000):
            score(f"format:{name}", text)
    assert time.perf_counter() - begun < 5
