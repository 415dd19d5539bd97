"""Findings about one answer by its form: cut short, or leaking role tokens.

Every rule is a pure function of a text, and every pattern matches in linear time.
Leaves out: judging whether an answer is right.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from tutelage.data.formats import Parsed
from tutelage.data.report import Finding, finding_at

MIN_PROSE_WORDS = 8
MIN_LEADING_WORDS = 5
MAX_SIGN_OFF_WORDS = 8  # "Looking forward to hearing from you," above a signature

_fence = re.compile(r" {0,3}(`{3,}|~{3,})")
_quoted = re.compile(r'"[^"\n]*"')
_code_span = re.compile(r"`[^`\n]*`")
_sentence_end = re.compile(r"[.!?…。！？][\"'”’)\]*_]{0,3}\s")
_list_item = re.compile(r"\s*(?:[-*+•>#|]|\d{1,3}[.):]|[A-Za-z][.)]\s)")
_label = re.compile(r"[^.!?:]{1,40}: ")
_not_prose = re.compile(r"[{}=|\\<>@_/\d]")
# Words that cannot end a sentence in English and are no ordinary last word in its neighbours.
_DANGLING = frozenset(["the", "and", "because", "your", "my", "our", "their", "its", "into", "nor", "whose", "every"])


def find_form(parsed: Parsed, control_tokens: Collection[str] = ()) -> Iterator[Finding]:
    """`empty-prompt`, `truncated-answer` and `role-token`, turn by turn.

    `control_tokens` are the model's own; training refuses a text that holds one, so it is an error here.
    """
    for turn, message in enumerate(parsed.conversation.messages):
        if turn < parsed.num_seen:
            continue
        control = next((token for token in control_tokens if token in message.content), None)
        if control:
            text = f"holds '{control}', a control token of this model, which training refuses; remove it"
            yield finding_at(parsed, "role-token", text, turn=turn, severity="error")
        if message.role == "assistant":
            if turn >= parsed.num_context:
                yield from _answer_form(parsed, turn, message.content)
        elif not message.content.strip():
            yield finding_at(parsed, "empty-prompt", f"the {message.role}'s turn is empty", turn=turn)


def _answer_form(parsed: Parsed, turn: int, answer: str) -> Iterator[Finding]:
    reason, token = truncation(answer), role_token(answer)
    if reason:
        yield finding_at(parsed, "truncated-answer", f"the answer seems cut short: {reason}", turn=turn)
    if token:
        text = f"the answer holds '{token}', which marks turns and would be taught as text; remove it"
        yield finding_at(parsed, "role-token", text, turn=turn)


def truncation(answer: str) -> str | None:
    """Why an answer looks cut short, or None; lists, code, tables, titles and signatures may end as they like."""
    lines = answer.rstrip().splitlines()
    if not lines:
        return None
    if _inside_code(lines):
        return "a code block is opened and not closed"
    last = lines[-1]
    if _fence.match(last) or last.startswith(("    ", "\t")):
        return None
    return _open_bracket(lines) or _open_sentence(lines, last.strip())


def _inside_code(lines: Sequence[str]) -> bool:
    opened = ""
    for line in lines:
        fence = _fence.match(line)
        if fence and not opened:
            opened = fence.group(1)
        elif fence and fence.group(1).startswith(opened) and not line.strip("`~ "):
            opened = ""
    return bool(opened)


def _open_bracket(lines: Sequence[str]) -> str | None:
    """A bracket opened near the end and not closed; an answer in JSON counts from its first bracket."""
    first, last = lines[0].lstrip(), lines[-1]
    if last.endswith((".", "!", "?", "…")):
        return None
    is_json = first.startswith(("{", "[{", '["')) or first == "["
    text = _quoted.sub("", "\n".join(lines)) if is_json else _code_span.sub("", last)
    depth, opener = 0, ""
    for place, mark in enumerate(text):
        if mark in "([{" and not _is_mention(text[max(place - 1, 0) : place], text[place + 1 : place + 2]):
            depth, opener = depth + 1, mark
        elif mark in ")]}":
            depth = max(depth - 1, 0)
    return f"'{opener}' is opened and not closed" if depth else None


def _is_mention(before: str, after: str) -> bool:
    """Whether a bracket is quoted, or the mouth of an emoticon such as :( and ;-("""
    is_quoted = before == after and before in ("'", '"', "“")
    return is_quoted or (before in (":", ";", "-", "=") and not after.strip())


def _open_sentence(lines: Sequence[str], last: str) -> str | None:
    count = len(last.split())
    is_item = bool(_list_item.match(last))
    is_sign_off = count <= MAX_SIGN_OFF_WORDS and len(lines) > 1 and not lines[-2].strip()
    if last[-1] in ",;" and count >= MIN_LEADING_WORDS and not is_item and not is_sign_off:
        return f"it ends with '{last[-1]}'"
    if last[-1] == ":" and count >= MIN_LEADING_WORDS:
        return "it ends with ':' and nothing follows"
    if not last[-1].isalpha():
        return None
    word = last.rsplit(maxsplit=1)[-1]
    if word in _DANGLING and count >= 3:
        return f"it ends with '{word}'"
    if is_item or count < MIN_PROSE_WORDS or len(word) == 1 or not _is_prose(last):
        return None
    return "the last sentence has no end" if _punctuates(lines) else None


def _is_prose(line: str) -> bool:
    words = line.split()
    capitals = sum(word[0].isupper() for word in words)
    is_title = capitals > len(words) / 2
    return not (is_title or _label.match(line) or _not_prose.search(line))


def _punctuates(lines: Sequence[str]) -> bool:
    """Whether the writer ends sentences elsewhere; someone who never does has not been cut short."""
    earlier = [line.strip() for line in lines[:-1] if line.strip()]
    if earlier:
        return any(_sentence_end.search(line + " ") for line in earlier)
    return bool(_sentence_end.search(lines[-1]))


_role_token = re.compile(
    r"<\|[A-Za-z0-9_]{1,40}\|>"
    r"|<｜[^｜>\n]{1,40}｜>"
    r"|<(?:start_of_turn|end_of_turn|bos|eos|pad|unk|/s)>"
    r"|\[/?INST\]"
    r"|<</?SYS>>"
    r"|^#{2,3} ?(?:Human|User|Assistant|Instruction|Response):"
    r"|^(?:Human|User|Assistant):",
    re.MULTILINE,
)


def role_token(answer: str) -> str | None:
    """The first mark of a turn, of any common chat format, that stands in an answer as text."""
    match = _role_token.search(answer)
    return match.group() if match else None
