"""What is suspicious about one conversation, for whoever writes or reviews it.

Leaves out: what only shows in a whole file, such as repeats and unusual lengths (`tutelage.data.check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from tutelage.data.check import check_file
from tutelage.data.load import load_prompts
from tutelage.data.report import Finding
from tutelage.data.starter import SEALED
from tutelage.types import Message, Prompt

SHORT_ANSWER_WORDS = 3
"""An answer of fewer words teaches little; often it was handed in by mistake."""


def check_conversation(messages: Sequence[Message]) -> list[Finding]:
    """Errors, warnings and notes about these turns, errors first, each with its field, e.g. `messages[1].content`."""
    record = {"messages": [{"role": turn.role, "content": turn.content} for turn in messages]}
    found = check_file([record], kind="conversations", sealed=_sealed()).findings
    return [*found, *_short(messages)]


@cache
def _sealed() -> tuple[Prompt, ...]:
    return tuple(load_prompts(SEALED))


def _short(messages: Sequence[Message]) -> list[Finding]:
    found = []
    for place, turn in enumerate(messages):
        num_words = len(turn.content.split())
        if turn.role == "assistant" and 0 < num_words < SHORT_ANSWER_WORDS:
            words = "1 word" if num_words == 1 else f"{num_words} words"
            text = f"the answer is {words} long; say a little more, unless the question asks for so little"
            found.append(Finding("note", "short-answer", 1, f"messages[{place}].content", text))
    return found
