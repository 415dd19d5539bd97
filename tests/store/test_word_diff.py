"""Word diffs say what changed, give both versions back, and no text makes them slow."""

from __future__ import annotations

import random
import time

import pytest

from tutelage.store.word_diff import MAX_WORK, conversation_diff, text_diff
from tutelage.types import Message


def both(old: str, new: str, max_work: int = MAX_WORK) -> list[tuple[str, str]]:
    """The stretches, after checking that they give both texts back."""
    stretches, _ = text_diff(old, new, max_work)
    assert "".join(text for op, text in stretches if op != "insert") == old
    assert "".join(text for op, text in stretches if op != "delete") == new
    return [(op, text) for op, text in stretches]


@pytest.mark.parametrize(
    ("old", "new", "stretches"),
    [
        ("", "", []),
        ("a b", "a b", [("equal", "a b")]),
        ("", "a", [("insert", "a")]),
        ("a b c", "a x c", [("equal", "a "), ("delete", "b "), ("insert", "x "), ("equal", "c")]),
        ("  a\n\nb", "  a\n\nc", [("equal", "  a\n\n"), ("delete", "b"), ("insert", "c")]),
        ("a a a", "a a", [("equal", "a "), ("delete", "a a"), ("insert", "a")]),
    ],
)
def test_stretches_of_a_text(old: str, new: str, stretches: list[tuple[str, str]]) -> None:
    found = both(old, new)
    if old != "a a a":  # several answers are right
        assert found == stretches


def test_more_work_than_allowed_is_done_by_lines_and_then_not_at_all() -> None:
    old, new = "one two\nthree four\nfive\n", "six two\nseven four\neight\n"
    assert both(old, new, max_work=100)[1] == ("insert", "six ")
    # By words 5 × 5 parts would be compared, by lines 3 × 3.
    assert both(old, new, max_work=9) == [("delete", old), ("insert", new)]
    assert both("a b\nc\n", "x b\nc\n", max_work=1) == [
        ("delete", "a "), ("insert", "x "), ("equal", "b\nc\n")
    ]  # fmt: skip
    assert both(old, new, max_work=8) == [("delete", old), ("insert", new)]


def test_turns_that_came_and_went() -> None:
    old = [Message("user", "Why?"), Message("assistant", "So.")]
    new = [Message("system", "Be kind."), *old, Message("user", "And?"), Message("assistant", "Well.")]
    assert [tuple(each) for each in conversation_diff(old, new)] == [
        (0, "insert", "Be kind.", "system"), (1, "equal", "Why?", "user"), (2, "equal", "So.", "assistant"),
        (3, "insert", "And?", "user"), (4, "insert", "Well.", "assistant"),
    ]  # fmt: skip
    assert [tuple(each)[:2] for each in conversation_diff(new, old)] == [
        (0, "delete"), (0, "equal"), (1, "equal"), (3, "delete"), (4, "delete")
    ]  # fmt: skip


def test_the_worst_conversation_takes_seconds_at_most() -> None:
    """200,000 characters, all changed, of a few words that occur everywhere."""
    draw = random.Random(0)

    def talk() -> list[Message]:
        return [Message("user", " ".join(draw.choices("ab", k=500))) for _ in range(200)]

    begun = time.process_time()
    conversation_diff(talk(), talk())
    assert time.process_time() - begun < 10
