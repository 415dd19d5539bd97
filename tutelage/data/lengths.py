"""Findings about length: examples longer than the context, answers of an unusual length for their file.

Leaves out: cutting anything; the finding says what would be cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from tutelage.data.formats import Parsed
from tutelage.data.report import Finding, finding_at
from tutelage.data.similarity import snippet
from tutelage.types import Message

CHARACTERS_PER_TOKEN = 4
MARKER_TOKENS = 4  # what a chat format spends on a turn, roughly: start, role, line break, end
MARKER_BYTES = 32  # more tokens than any chat format spends on a turn
MIN_RECORDS = 20
MAX_ROBUST_Z = 4.0
# Files whose answers are all of nearly one length would otherwise call a few characters an outlier.
MIN_SPREAD = 0.1


def find_over_long(records: Sequence[Parsed], max_tokens: int, tokenizer: Any = None) -> Iterator[Finding]:
    """`over-long`: how many tokens, the limit, and from where on the text would be cut.

    `tokenizer` is a Hugging Face tokenizer; without one, four characters count as a token.
    """
    for parsed in records:
        messages = parsed.conversation.messages
        # No tokenizer makes more tokens than there are bytes, and most examples are short: spare them the counting.
        num_bytes = sum(len(message.content.encode()) + MARKER_BYTES for message in messages)
        if num_bytes <= max_tokens:
            continue
        counts = [_num_tokens(message.content, tokenizer) + MARKER_TOKENS for message in messages]
        num_tokens = _rendered_tokens(messages, tokenizer) or sum(counts)
        if num_tokens > max_tokens:
            turn, kept = _cut(counts, num_tokens - max_tokens)
            if turn >= parsed.num_seen:
                yield _over_long(parsed, turn, kept, num_tokens, max_tokens, tokenizer)


def _num_tokens(text: str, tokenizer: Any) -> int:
    if tokenizer is None:
        return math.ceil(len(text) / CHARACTERS_PER_TOKEN)
    return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _rendered_tokens(messages: Sequence[Message], tokenizer: Any) -> int | None:
    """The exact count, markers and all, where the tokenizer has a chat template that takes this conversation."""
    if not getattr(tokenizer, "chat_template", None):
        return None
    from jinja2 import TemplateError

    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        return _num_tokens(tokenizer.apply_chat_template(turns, tokenize=False), tokenizer)
    except TemplateError:
        return None


def _cut(counts: Sequence[int], num_cut: int) -> tuple[int, int]:
    """The turn where a cut of the last `num_cut` tokens begins, and how many tokens of it are kept."""
    turn, kept = len(counts) - 1, counts[-1] - num_cut
    while kept < 0 and turn > 0:
        turn -= 1
        kept += counts[turn]
    return turn, kept


def _over_long(parsed: Parsed, turn: int, kept: int, num_tokens: int, max_tokens: int, tokenizer: Any) -> Finding:
    start = snippet(_after(parsed.conversation.messages[turn].content, max(kept, 0), tokenizer))
    size = f"{num_tokens:,} tokens" if tokenizer else f"about {num_tokens:,} tokens (4 characters a token)"
    place = f"“{start}”" if start else "the end of this turn"
    message = f"{size}, limit {max_tokens:,}: the last {num_tokens - max_tokens:,} would be cut, from {place} on"
    return finding_at(parsed, "over-long", message, turn=turn)


def _after(text: str, num_tokens: int, tokenizer: Any) -> str:
    """What stands in a text after its first tokens."""
    if tokenizer is None:
        return text[num_tokens * CHARACTERS_PER_TOKEN :]
    return tokenizer.decode(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"][num_tokens:])


def find_length_outliers(records: Sequence[Parsed]) -> Iterator[Finding]:
    """`length-outlier`: answers whose log length lies more than 4 robust standard deviations from the median."""
    if len(records) < MIN_RECORDS:
        return
    logs = [math.log(max(len(parsed.conversation.messages[-1].content), 1)) for parsed in records]
    centre = median(logs)
    spread = max(1.4826 * median(abs(value - centre) for value in logs), MIN_SPREAD)
    for parsed, value in zip(records, logs, strict=True):
        robust_z = (value - centre) / spread
        if abs(robust_z) > MAX_ROBUST_Z:
            length = len(parsed.conversation.messages[-1].content)
            usual = f"the median answer has {round(math.exp(centre)):,} (robust z = {robust_z:+.1f})"
            turn = len(parsed.conversation.messages) - 1
            message = f"the answer has {length:,} characters; {usual}"
            yield finding_at(parsed, "length-outlier", message, turn=turn)
