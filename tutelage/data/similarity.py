"""Comparing texts by their words: normalising, word shingles, Jaccard similarity.

Leaves out: searching many texts at once (`tutelage.data.duplicates`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Set

from tutelage.data.raw import one_line

SHINGLE_WORDS = 3

_quotes = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"'})
# Chinese and Japanese are written without spaces, so each of their characters counts as a word. The operators stay,
# because "5 + 3" and "5 - 3" are different questions.
_word = re.compile(r"[぀-ヿ㐀-鿿]|[^\W_぀-ヿ㐀-鿿]+|[+*/=<>%^-]")


def normalise(text: str) -> str:
    """The text without the differences nobody would call a difference: case, spacing, quote style, final stop."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_quotes)
    return " ".join(folded.split()).rstrip(" .?!…")


def words(text: str) -> list[str]:
    """The words of a text in order, case folded."""
    return _word.findall(normalise(text))


def shingles(text: str) -> set[str]:
    """All runs of three words; a shorter text is one shingle."""
    found = words(text)
    if len(found) < SHINGLE_WORDS:
        return {" ".join(found)} if found else set()
    return {" ".join(run) for run in zip(found, found[1:], found[2:], strict=False)}


def jaccard(left: Set[str], right: Set[str]) -> float:
    """Size of the intersection over size of the union; 0 for two empty sets."""
    common = len(left & right)
    union = len(left) + len(right) - common
    return common / union if union else 0.0


def snippet(text: str) -> str:
    """The start of a text on one line, for a message."""
    return one_line(text, limit=40)
