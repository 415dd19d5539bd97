"""Verifiable instructions, strict and loose, and what is said about unusable ones."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.errors import DataError
from tutelage.rewards.instructions import CHECKS, check_loose, check_strict, describe_check

THREE_BULLETS = "- salt\n- oil\n- heat"

CASES = [
    ("max_words", 3, "one two three", "one two three four"),
    ("min_words", 3, "one two three", "one two"),
    ("num_sentences", 2, "Soak it. Scrub it.", "Soak it."),
    ("num_bullets", 3, THREE_BULLETS, "- salt\n- oil"),
    ("num_bullets", 2, "* a\n---\n• b", "a - b\n- c"),
    ("num_numbered", 2, "1. fill\n2) boil", "1.5 litres\n2. boil"),
    ("contains", "Vinegar", "use VINEGAR", "use water"),
    ("not_contains", "bleach", "use vinegar", "use Bleach"),
    ("starts_with", "Dear", "  Dear Sam,", "dear Sam,"),
    ("ends_with", "Regards", "Bye.\nRegards\n", "Regards."),
    ("json", True, '{"a": [1, 2]}', "{'a': 1}"),
    ("json", True, "[]", '"just a string"'),
    ("json", True, '{"a": 1}', '{"a": NaN}'),
    ("all_lowercase", True, "all small, é too.", "Not small"),
    ("all_lowercase", True, "a", "123"),
    ("one_line", True, " one line \n", "two\nlines"),
    ("regex", r"\b\d{2}:\d{2}\b", "at 07:30", "at 7:3"),
]


@pytest.mark.parametrize(("name", "value", "good", "bad"), CASES)
def test_each_check_tells_good_from_bad(name, value, good, bad):
    check = {"check": name, "value": value}
    assert check_strict(check, good)
    assert check_loose(check, good)
    assert not check_strict(check, bad)


def test_every_check_is_tested_above():
    assert {name for name, *_ in CASES} == set(CHECKS)


@pytest.mark.parametrize("check", [{"check": "max_words", "value": 9}, {"check": "not_contains", "value": "x"}])
@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_answer_follows_no_instruction(check, text):
    assert not check_strict(check, text)
    assert not check_loose(check, text)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        ({"check": "json", "value": True}, '```json\n{"a": 1}\n```'),
        ({"check": "json", "value": True}, 'Here it is:\n{"a": 1}'),
        ({"check": "num_sentences", "value": 1}, "Here you go:\n\nIt boils at 100 °C.\n\nHope that helps!"),
        ({"check": "starts_with", "value": "Dear"}, "**Dear** Sam,"),
        ({"check": "ends_with", "value": "bye"}, "So *bye*"),
    ],
)
def test_loose_forgives_wrapping_that_strict_does_not(check, text):
    assert not check_strict(check, text)
    assert check_loose(check, text)


def test_loose_keeps_underscores_inside_words():
    assert check_loose({"check": "contains", "value": "snake_case"}, "use snake_case")
    assert not check_loose({"check": "contains", "value": "snakecase"}, "use snake_case")


def test_an_unknown_check_names_the_nearest():
    with pytest.raises(DataError) as raised:
        check_strict({"check": "max_word", "value": 3}, "x")
    assert str(raised.value) == (
        "field 'checks': there is no instruction check 'max_word'; did you mean 'max_words'? There are: max_words, "
        "min_words, num_sentences, num_bullets, num_numbered, contains, not_contains, starts_with, ends_with, json, "
        "all_lowercase, one_line, regex"
    )


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            {"check": "max_words", "value": "20"},
            "check 'max_words' needs a whole number of 0 or more as its value, not '20'",
        ),
        (
            {"check": "max_words", "value": True},
            "check 'max_words' needs a whole number of 0 or more as its value, not True",
        ),
        ({"check": "contains", "value": " "}, "check 'contains' needs a text that is not empty as its value, not ' '"),
        ({"check": "contains"}, "check 'contains' needs a text that is not empty as its value, not None"),
        (
            {"check": "json", "value": False},
            "check 'json' takes the value true, not False; leave the check out otherwise",
        ),
        (
            {"check": "regex", "value": "(a+)+b"},
            "check 'regex' repeats a group that itself repeats or offers alternatives, which can run for ever: (a+)+b",
        ),
    ],
)
def test_an_unusable_value_says_what_is_needed(check, message):
    with pytest.raises(DataError) as raised:
        check_loose(check, "x")
    assert str(raised.value) == f"field 'checks': {message}"


def test_a_broken_pattern_is_reported():
    with pytest.raises(DataError, match="has a pattern that is not a regular expression: unterminated character set"):
        check_strict({"check": "regex", "value": "[a"}, "x")


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+", "(a*)*b", "(?:a|ab)*c", "((a+)b)*", "(\\d+,)+x", "(a+){20}", "(?P<n>a+)*", "([a-z]+)*$", "(x+x+)+y"],
)
def test_patterns_that_can_run_for_ever_are_refused(pattern):
    with pytest.raises(DataError, match="which can run for ever"):
        check_strict({"check": "regex", "value": pattern}, "x")


@pytest.mark.parametrize(
    "pattern",
    [r"\(a+\)+", "[(a+)+]", "(ab)+", "(a+)?b", "a+b+", "(a|b)c", "(?i)^x.*$", r"\d{1,3}(,\d{3})*", "x{", "a+?b"],
)
def test_harmless_patterns_pass(pattern):
    check_strict({"check": "regex", "value": pattern}, "x")


def test_a_regex_sees_the_first_ten_thousand_characters_only():
    check = {"check": "regex", "value": "needle"}
    assert check_strict(check, "x" * 9_994 + "needle")
    assert not check_strict(check, "x" * 9_995 + "needle")


def test_hostile_texts_take_no_time():
    started = time.perf_counter()
    for text in ("[" * 20_000, "{" * 20_000, "*" * 20_000, "_" * 20_000, "- \n" * 9_000, "`" * 20_000):
        for name, value, *_ in CASES:
            check_loose({"check": name, "value": value}, text)
    assert time.perf_counter() - started < 20


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=120))
def test_strict_implies_loose(text):
    for name, value, *_ in CASES:
        check = {"check": name, "value": value}
        assert not check_strict(check, text) or check_loose(check, text)


def test_describe_check_reads_like_an_instruction():
    assert describe_check({"check": "max_words", "value": 20}) == "at most 20 words"
    assert describe_check({"check": "contains", "value": "{0}"}) == "mentions “{0}”"
    assert describe_check(json.loads('{"check": "one_line", "value": true}')) == "on one line"
