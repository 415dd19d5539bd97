"""Text cut into words and sentences, the same way for every measure and instruction check.

Leaves out: real linguistics. A word is what stands between white space; each Chinese or Japanese character counts as
one word; scripts without spaces of other kinds (Thai, Khmer) count as long words. Sentences are found by
their end marks.
"""

from __future__ import annotations

import re
import unicodedata

_GAP = re.compile(r"[\s—–|…]+|\.{2,}")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_BLOCK = re.compile(r"\n[ \t]*\n|\n(?=[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t])")
_LIST_MARK = re.compile(r"[ \t]*(?:[-*+•#]{1,6}|\d{1,3}[.)])[ \t]+")
# The look-behind and the possessive runs keep this linear on "!!!!!!…".
_SENTENCE_END = re.compile(r"(?<![.!?…。！？])([.!?…]++)([\"'”’»)\]*_]*+)(?=\s|$)|[。！？]++")
_ABBREVIATIONS = frozenset({"mr", "mrs", "ms", "dr", "prof", "st", "vs", "e.g", "i.e", "cf", "jr", "sr"})
_ABBREVIATIONS_BEFORE_LOWER = frozenset({"etc", "a.m", "p.m", "u.s", "u.k", "inc", "ltd", "approx", "ca"})
_ABBREVIATIONS_BEFORE_DIGIT = frozenset({"no", "fig", "vol", "p", "approx", "ca"})


def words(text: str) -> list[str]:
    """The words of a text, case-folded, without the punctuation around them: "Don't stir…" → ["don't", "stir"]."""
    spaced = _CJK.sub(r" \g<0> ", text)
    trimmed = (_trim(part) for part in _GAP.split(spaced))
    return [word.casefold() for word in trimmed if word]


def _trim(part: str) -> str:
    kept = [i for i, char in enumerate(part) if _belongs_to_word(char)]
    if not any(part[i].isalnum() for i in kept):
        return ""
    return part[kept[0] : kept[-1] + 1]


def _belongs_to_word(char: str) -> bool:
    # Vowel signs of Indic scripts are marks, neither letters nor digits, yet part of the word.
    return char.isalnum() or unicodedata.category(char)[0] == "M"


def num_sentences(text: str) -> int:
    """How many sentences a text has; a list item, heading or paragraph without an end mark counts as one."""
    return sum(_num_sentences_in_block(block) for block in _BLOCK.split(text.strip()))


def _num_sentences_in_block(block: str) -> int:
    mark = _LIST_MARK.match(block)
    body = block[mark.end() :] if mark else block
    count, start = 0, 0
    for match in _SENTENCE_END.finditer(body):
        if _ends_sentence(body, match):
            count += bool(words(body[start : match.end()]))
            start = match.end()
    return count + bool(words(body[start:]))


def _ends_sentence(body: str, match: re.Match[str]) -> bool:
    marks, closers = match.group(1), match.group(2)
    if marks is None:  # a full-width mark ends a sentence wherever it stands
        return True
    following = body[match.end() : match.end() + 80].lstrip()[:1]
    if marks == ".":
        return not _is_abbreviation(body[max(0, match.start() - 40) : match.start()], following)
    # "Stop!" he said. – and: well … maybe.
    return not (following.islower() and (closers or set(marks) <= {".", "…"}))


def _is_abbreviation(before: str, following: str) -> bool:
    """Whether the full stop after `before` belongs to a shortened word; `following` is the next visible character."""
    last_words = [word.strip("(\"'“‘*_") for word in before.split()[-2:]]
    word = last_words[-1] if last_words else ""
    if len(word) == 1 and word.isupper() and word != "I":
        return not (len(last_words) == 2 and last_words[0].islower())  # "J. S. Bach", but "take vitamin C. Then"
    folded = word.casefold()
    return (
        folded in _ABBREVIATIONS
        or (following.islower() and folded in _ABBREVIATIONS_BEFORE_LOWER)
        or (following.isdigit() and folded in _ABBREVIATIONS_BEFORE_DIGIT)
    )
