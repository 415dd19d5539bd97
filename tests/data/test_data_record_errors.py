"""What a user reads about a record that cannot be learned from: every message word for word."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tutelage.data import check_file, load_conversations, load_prompts
from tutelage.errors import DataError

USER = {"role": "user", "content": "Name a fruit."}
ASSISTANT = {"role": "assistant", "content": "Plum."}
SYSTEM = {"role": "system", "content": "Be brief."}


def problem(record: Any, *, load: Any = load_conversations) -> tuple[str, str | None]:
    """(message without its place, field) of the first problem of a record in Python."""
    with pytest.raises(DataError) as caught:
        load([record])
    assert caught.value.line == 1
    return caught.value.problem, caught.value.field


def test_a_missing_field_names_the_nearest_key() -> None:
    assert problem({"prompt": "a", "completions": "b"}) == (
        "missing; the nearest field here is 'completions'",
        "completion",
    )
    assert problem({"question": "a", "text": "b"}) == ("missing; this record has 'question', 'text'", "answer")
    assert problem({"completion": "b"}) == ("missing; this record has 'completion'", "prompt")
    assert problem({"prompt": "a", "completion": None}) == ("missing; this record has 'prompt'", "completion")


def test_the_whole_line_for_a_missing_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "a", "complettion": "b"}]
    Path("pairs.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(DataError) as caught:
        load_conversations("pairs.jsonl")
    assert str(caught.value) == ("pairs.jsonl:2 field 'completion': missing; the nearest field here is 'complettion'")


def test_a_record_of_no_known_shape() -> None:
    assert problem({"mesages": [USER, ASSISTANT]}) == ("missing; the nearest field here is 'mesages'", "messages")
    assert problem({"text": "Once upon a time"}) == (
        "no field to learn from: found 'text'; expected messages, conversations, prompt + completion, "
        "instruction + output or question + answer",
        None,
    )
    assert problem({})[0].startswith("no field to learn from: found no fields; expected")


def test_a_wrong_type() -> None:
    assert problem({"prompt": 3, "completion": "b"}) == ("expected text, found a number", "prompt")
    assert problem({"prompt": "a", "completion": {"text": "b"}}) == ("expected text, found an object", "completion")
    assert problem({"messages": "hello"}) == ("expected a list of messages, found text", "messages")
    assert problem({"messages": [USER, "b"]}) == (
        "expected an object with 'role' and 'content', found text",
        "messages[1]",
    )
    assert problem({"messages": [USER, {"role": "assistant", "content": None}]}) == (
        "expected text, found nothing (null)",
        "messages[1].content",
    )
    assert problem([1, 2]) == ("a record is an object with named fields, not a list", None)
    assert problem({"messages": [{"role": True, "content": "a"}]}) == (
        "expected text, found true or false",
        "messages[0].role",
    )


def test_a_message_without_role_or_content() -> None:
    assert problem({"messages": [{"roles": "user", "content": "a"}]}) == (
        "missing; the nearest field here is 'roles'",
        "messages[0].role",
    )
    assert problem({"conversations": [{"from": "human", "text": "a"}]}) == (
        "missing; this record has 'from', 'text'",
        "conversations[0].value",
    )


def test_an_unknown_role_names_the_allowed_ones() -> None:
    assert problem({"messages": [{"role": "tool", "content": "a"}]}) == (
        "unknown role 'tool'; allowed: system, user, assistant (also human, gpt, bot, model)",
        "messages[0].role",
    )


def test_a_hostile_name_still_makes_one_printable_line() -> None:
    message, _ = problem({"messages": [{"role": "a\nb" + "c" * 500, "content": "x"}]})
    assert message.startswith("unknown role 'a bcc")
    assert len(message) == 300
    assert problem({"\ud800": "x"})[0].startswith("no field to learn from: found '\\ud800'; expected")


def test_a_nameless_column_is_no_field() -> None:
    assert problem({"": "x", "question": "a"}) == ("missing; this record has '', 'question'", "answer")


def test_an_empty_list_of_messages() -> None:
    message = "the list of messages is empty; a conversation has at least two turns"
    assert problem({"messages": []}) == (message, "messages")


def test_a_conversation_that_ends_with_the_user() -> None:
    assert problem({"messages": [USER, ASSISTANT, USER]}) == (
        "the conversation ends with the user; add the assistant's answer or remove this turn",
        "messages[2].content",
    )


@pytest.mark.parametrize("blank", ["", " \n\t"])
def test_an_empty_answer(blank: str) -> None:
    message = "the assistant's answer is empty, so there is nothing to learn from"
    answer = {"role": "assistant", "content": blank}
    assert problem({"messages": [USER, answer, USER, ASSISTANT]}) == (message, "messages[1].content")
    assert problem({"instruction": "a", "input": "", "output": blank}) == (message, "output")


@pytest.mark.parametrize(
    ("turns", "message", "field"),
    [
        (
            [USER, USER, ASSISTANT],
            "messages 0 and 1 are both the user's; user and assistant take turns",
            "messages[1].content",
        ),
        (
            [SYSTEM, USER, ASSISTANT, ASSISTANT],
            "messages 2 and 3 are both the assistant's; user and assistant take turns",
            "messages[3].content",
        ),
        (
            [ASSISTANT, USER, ASSISTANT],
            "message 0 is the assistant's; a conversation starts with the user",
            "messages[0].content",
        ),
        (
            [USER, SYSTEM, ASSISTANT],
            "message 1 is a system message; a system message stands only at the start",
            "messages[1].content",
        ),
        ([SYSTEM], "no user turn; a conversation starts with the user", "messages[0].content"),
    ],
)
def test_the_order_of_turns(turns: list[Mapping[str, str]], message: str, field: str) -> None:
    assert problem({"messages": turns}) == (message, field)


def test_half_a_character() -> None:
    assert problem(json.loads('{"prompt": "a\\ud800", "completion": "b"}')) == (
        "holds half a character (a lone surrogate); write the text again",
        "prompt",
    )


def test_two_formats_in_one_file_name_both_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows: list[dict[str, Any]] = [
        {"messages": [USER, ASSISTANT]},
        {"messages": [USER, ASSISTANT]},
        {"prompt": "a", "completion": "b"},
        {"instruction": "a", "output": "b"},
    ]
    Path("mixed.jsonl").write_text("\n\n".join(json.dumps(row) for row in rows))
    with pytest.raises(DataError) as caught:
        load_conversations("mixed.jsonl")
    assert str(caught.value) == (
        "mixed.jsonl:5: two formats in one file: line 1 is messages, line 5 is prompt/completion; "
        "split the file by format"
    )
    codes = [finding.code for finding in check_file("mixed.jsonl", sealed=[]).findings]
    assert codes.count("two-formats") == 1


def test_earlier_turns_that_the_alpaca_shape_would_drop() -> None:
    record = {"instruction": "And pears?", "output": "Green.", "history": [["Are plums blue?", "Yes."]]}
    assert problem(record) == ("earlier turns are not read from this field; write the record as messages", "history")
    assert load_conversations([{**record, "history": []}])[0].messages[1].content == "Green."


def test_a_prompt_without_anything_to_answer() -> None:
    assert problem({"prompt": " "}, load=load_prompts) == (
        "the prompt is empty, so there is nothing to answer",
        "prompt",
    )


def test_checks_of_a_prompt_must_be_a_list_of_named_checks() -> None:
    expected = 'expected a list such as [{"check": "max_words", "value": 20}]'
    for checks in ({"check": "max_words"}, [{"max_words": 20}], "max_words", 7):
        assert problem({"prompt": "a", "checks": checks}, load=load_prompts) == (expected, "checks")
