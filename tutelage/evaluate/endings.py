"""How an answer ends: cut off inside a sentence, followed by text that is no longer the answer, or with nothing in it.

Role tokens are recognised as letters in the text; the token ids themselves never get this far. Leaves out: endings that
need understanding, such as an answer that stops politely in the middle of a recipe.
"""

from __future__ import annotations

import re
import unicodedata

from tutelage.data.role_tokens import ROLE_TOKEN

# The line that opens somebody's next turn: "User:", "**Question 2:**", "### Instruction".
_NEXT_TURN = re.compile(
    r"^[ \t]*[#*_>\[( \t]{0,6}(?:(?:user|human|question|q|instruction|assistant|chatbot)"
    r"[ \t]{0,3}\d{0,3}[*_\]) \t]{0,3}[:：]|\#{1,6}[ \t]{0,3}instruction\b)",
    re.IGNORECASE | re.MULTILINE,
)
_FINISHED = frozenset(".!?…。！？\"'”’»)]}`*_")


def truncated(text: str, *, stopped: bool) -> bool:
    """Whether the token limit cut the answer off visibly: inside a sentence, a list item or an open code block.

    A model that stops by itself is never truncated, however short its answer.
    """
    if stopped:
        return False
    seen = text.rstrip()
    inside_code = seen.count("```") % 2 == 1
    return inside_code or not seen or seen[-1] not in _FINISHED


def leaks_role_token(text: str) -> bool:
    """Whether a token of a chat format stands in the text as letters."""
    return ROLE_TOKEN.search(text) is not None


def goes_on_past_end(text: str) -> bool:
    """Whether, after something to read, a new turn opens, or a role token comes with more to read behind it."""
    first, last = _visible_span(text)
    return any(first < match.start() for match in _NEXT_TURN.finditer(text)) or any(
        first < match.start() and match.end() <= last for match in ROLE_TOKEN.finditer(text)
    )


def is_empty(text: str) -> bool:
    """Whether nothing is left to read once white space, control characters and role tokens are gone."""
    first, last = _visible_span(text)
    return first > last


def _visible_span(text: str) -> tuple[int, int]:
    """Where the first and the last readable character stand, role tokens not counting; (1, 0) when there is none."""
    blanked = ROLE_TOKEN.sub(lambda match: " " * len(match.group()), text)
    first = next((i for i, char in enumerate(blanked) if _is_visible(char)), None)
    if first is None:
        return 1, 0
    last = next(i for i in range(len(blanked) - 1, -1, -1) if _is_visible(blanked[i]))
    return first, last


def _is_visible(char: str) -> bool:
    return not char.isspace() and unicodedata.category(char)[0] != "C"
