"""What changed between two versions of a conversation, word by word within each turn.

Very long turns are compared by lines, and endless ones as wholes, so that no text makes the comparison slow.
Leaves out: showing it (the terminal, the pages).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from tutelage.types import Message

MAX_WORK = 4_000_000
"""Words before times words after that are compared in one conversation; beyond it lines are, and then whole turns."""
Op = Literal["equal", "insert", "delete"]
_WORD = re.compile(r"\s+|\S+\s*")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


class Change(NamedTuple):
    """A stretch of text that stayed, came or went. `turn` counts from 0, in the new version unless it went whole."""

    turn: int
    op: Op
    text: str
    role: str


def conversation_diff(old: Sequence[Message], new: Sequence[Message]) -> list[Change]:
    """The stretches of every turn in order; all of them together with op `equal` or `insert` are the new version."""
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    changes: list[Change] = []
    work = MAX_WORK
    for op, from_old, to_old, from_new, to_new in matcher.get_opcodes():
        if op == "equal":
            changes += [Change(at, "equal", new[at].content, new[at].role) for at in range(from_new, to_new)]
            continue
        came, work = _replaced(old, new, range(from_old, to_old), range(from_new, to_new), work)
        changes += came
    return changes


def _replaced(
    old: Sequence[Message], new: Sequence[Message], went: range, came: range, work: int
) -> tuple[list[Change], int]:
    """Turns with the same place and role among those that changed are compared; and what is left of the work."""
    changes: list[Change] = []
    for index in range(max(len(went), len(came))):
        before = old[went[index]] if index < len(went) else None
        after = new[came[index]] if index < len(came) else None
        if before and after and before.role == after.role:
            stretches, done = text_diff(before.content, after.content, work)
            changes += [Change(came[index], op, text, after.role) for op, text in stretches]
            work -= done
            continue
        if before:
            changes.append(Change(went[index], "delete", before.content, before.role))
        if after:
            changes.append(Change(came[index], "insert", after.content, after.role))
    return changes, work


def text_diff(old: str, new: str, max_work: int = MAX_WORK) -> tuple[list[tuple[Op, str]], int]:
    """Stretches of two texts, by words with the blank space that follows them, and how much work that was."""
    for pattern in (_WORD, _LINE):
        before, after = pattern.findall(old), pattern.findall(new)
        head, tail = _shared(before, after)
        middle = before[head : len(before) - tail], after[head : len(after) - tail]
        work = len(middle[0]) * len(middle[1])
        if work <= max_work:
            begin, end = "".join(after[:head]), "".join(after[len(after) - tail :])
            stretches: list[tuple[Op, str]] = [("equal", begin), *_stretches(*middle), ("equal", end)]
            return [(op, text) for op, text in stretches if text], work
    return [("delete", old), ("insert", new)], 0


def _shared(before: Sequence[str], after: Sequence[str]) -> tuple[int, int]:
    """How many parts are the same at the beginning, and how many of the others at the end."""
    shorter = min(len(before), len(after))
    head = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    rest = shorter - head
    return head, next((at for at in range(rest) if before[-1 - at] != after[-1 - at]), rest)


def _stretches(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[Op, str]]:
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for op, from_old, to_old, from_new, to_new in matcher.get_opcodes():
        if op == "equal":
            yield "equal", "".join(after[from_new:to_new])
            continue
        if to_old > from_old:
            yield "delete", "".join(before[from_old:to_old])
        if to_new > from_new:
            yield "insert", "".join(after[from_new:to_new])
