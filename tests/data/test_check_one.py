"""What is told about one conversation while somebody writes or reviews it."""

from __future__ import annotations

import pytest

from tutelage.data.check_one import check_conversation
from tutelage.data.load import load_prompts
from tutelage.types import Message


def pair(question: str, answer: str) -> list[Message]:
    return [Message("user", question), Message("assistant", answer)]


def codes(question: str, answer: str) -> list[tuple[str, str, str | None]]:
    return [(each.severity, each.code, each.field) for each in check_conversation(pair(question, answer))]


def test_a_good_pair_has_nothing_to_be_told() -> None:
    assert codes("How tall is a giraffe?", "About five metres, and a little more for a grown bull.") == []


@pytest.mark.parametrize(
    ("answer", "severity", "code"),
    [
        ("", "error", "empty-answer"),
        ("Five metres.", "note", "short-answer"),
        ("Ask Jo at jo.miller@mailbox.org about that, she knows giraffes.", "warning", "personal-data"),
        ("A giraffe is tall. A grown one is about five metres, and that is because", "warning", "truncated-answer"),
        ("Assistant: about five metres, and a little more.", "warning", "role-token"),
    ],
)
def test_what_is_suspicious_is_told_with_its_field(answer: str, severity: str, code: str) -> None:
    assert (severity, code, "messages[1].content") in codes("How tall is a giraffe?", answer)


def test_a_sealed_question_must_not_be_taught() -> None:
    asked = load_prompts("sealed")[0].messages[-1].content
    assert ("error", "sealed-prompt") in [each[:2] for each in codes(asked, "An answer with a few more words in it.")]


def test_a_question_alone_has_no_answer_to_learn() -> None:
    (found,) = check_conversation([Message("user", "How tall is a giraffe?")])
    assert (found.severity, found.code) == ("error", "ends-with-user")
