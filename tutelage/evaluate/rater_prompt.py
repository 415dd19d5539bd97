"""What the scripted rater reads in a prompt: its topic words, how long an answer it asks for, what may look odd in one.

Leaves out: understanding. Topic words are the content words of the user's turns; a length comes from the prompt's
checks, else from plain wordings ("in one sentence", "max 30 words"), else from its category, else 25 to 90 words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from tutelage.data.words import words
from tutelage.types import Prompt

DEFAULT_WORDS = (25, 90)
QUICK_WORDS = (5, 60)
"""For a question after one thing (who, when, how many …) and for small talk without a topic."""
SOURCE_WORDS = (6, 90)
"""For a prompt that brings a text to work on."""
CATEGORY_WORDS: dict[str, tuple[int, int]] = {
    "arithmetic": (4, 50),
    "declining": (15, 60),
    "facts": (2, 40),
    "format": (2, 60),
    "planning": (30, 140),
    "reading": (2, 60),
    "unknown": (10, 60),
    "writing": (12, 110),
}
"""Ideal ranges for prompts that state no length, by their category."""
WORDS_PER_NEW_STEM, MOST_NEW_STEMS, SOURCE_STEMS = 3, 8, 2
STEM_LETTERS = 5

_NUMBERS = {
    "one": 1, "a single": 1, "single": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10,
}  # fmt: skip
_NUMBER = r"(\d{1,3}|one|a single|single|two|three|four|five|six|seven|eight|nine|ten)"
_UPPER_WORDS = re.compile(
    rf"(?:at most|max\.?|maximum|under|below|fewer than|less than|no more than|up to|within|in)[ ]{_NUMBER}[- ]words?"
    rf"|{_NUMBER}[- ]words? (?:at most|max|or (?:less|fewer))",
    re.IGNORECASE,
)
_ABOUT_WORDS = re.compile(rf"(?:about|around|exactly|of) {_NUMBER}[- ]words?", re.IGNORECASE)
_ONE_WORD = re.compile(r"\b(?:one|single)[- ]word\b|\bjust the (?:number|word|name)\b", re.IGNORECASE)
_SENTENCES = re.compile(rf"\b{_NUMBER}[- ](?:short )?sentences?", re.IGNORECASE)
_ITEMS = re.compile(
    rf"\b{_NUMBER} (?:\w+ )?(?:bullets?|bullet points|steps|tips|ideas|items|points|names|titles)\b", re.IGNORECASE
)
_BRIEF = re.compile(r"\b(?:in |on )?one line\b|\bslogan\b|\bcaption\b|\btagline\b|\bsubject line\b", re.IGNORECASE)
_QUICK = re.compile(
    r"^(?:who|when|where|is|are|do|does|can|will)\b|\bhow (?:much|many|long|old|far)\b|\bwhat temp", re.IGNORECASE
)
_COUNTED = re.compile(
    r"\d|\bhow (?:much|many|long|old|far|big|deep|high|often)\b|\bwhen\b|\b(?:year|time|temp\w*|speed|age)\b",
    re.IGNORECASE,
)
_DATA = re.compile(r"\b(?:json|csv|yaml|table|emojis?|snake_case)\b", re.IGNORECASE)
# A text to work on: in quotes, after a colon, or in a paragraph of its own.
_SOURCE = re.compile(r"[\"“][^\"”]{12,}[\"”]|[:\-] (?:\S+\s+){4,}\S|\n\s*\S|: ?\n")
_TURNS = re.compile(r"\bQ:|\bquiz\b|\bdialogue\b|\bfaq\b|\bchat\b|\buser:", re.IGNORECASE)

_FUNCTION_WORDS = """
a about above after again all also am an and any are aren't as at be because been before being below between both
but by can can't cannot could couldn't did didn't do does doesn't doing don't down each either else even every few
for from had hadn't has hasn't have haven't he he's her here hers him his how i i'd i'll i'm i've if in into is
isn't it it's its itself just me more most much my neither no nor not of off on once only or other our ours out over
own per please same shall she she's should shouldn't so some such than that that's the their theirs them then there
there's these they they're this those though through to too under until up upon us very was wasn't we we're were
what what's when where whether which while who whom whose why will with within without won't would wouldn't yes yet
you you'd you'll you're you've your yours
"""
# What nearly any answer may say without saying anything.
_SAYS_NOTHING = """
actually always answer aspect aspects basically best better certain consider considered considering depend depends
different do done ensure essential etc example first following general generally get gets getting give given go goes
going good great hello help helpful helps hey hi hope idea ideas important information kind know let like look
looking lot lots make makes making many matter may maybe might must need needed needs never new nice number often
one ones overall part people perhaps point points possible provide put question really remember right say see
several simple simply someone something sort step steps still sure take takes taking tell thing things think time
tip tips topic try two type types understand use used useful uses using usually various want wants way ways well
work works
"""
# What a prompt says about the form of its answer.
_SAYS_FORM = """
begin bullet bulleted bullets case conclusion describe eight end ends exact exactly explain fewer five format four
heading introduction item items json key keys least less letter line lines list lower max maximum mention name nine
nothing numbered numbers overview paragraph reply rewrite section sentence sentences seven short six start starts
suggest summarise summary ten three title word words write written
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
EMPTY_WORDS = frozenset((_SAYS_NOTHING + _SAYS_FORM).split())
_SUFFIX = re.compile(r"(?:'s|s'|ing|ed|es|s|ly|er)$")


class Asked(NamedTuple):
    """What a prompt asks for, as far as a script can see."""

    topic: frozenset[str]
    """Stems of the content words of the user's turns."""
    known: frozenset[str]
    """Stems of all words of the user's turns: none of them is new in an answer."""
    words: tuple[str, ...]
    """The words of the last user turn."""
    least_words: int
    most_words: int
    wanted_new: float
    """How many new content stems count as enough."""
    has_source: bool
    """Whether the prompt brings the text to work on, whose words a good answer may keep."""
    wants_data: bool
    wants_turns: bool
    wants_numbers: bool
    is_foreign: bool


def asked_of(prompt: Prompt) -> Asked:
    """What the prompt asks for; the reading of a text is kept for the next answer to it."""
    said = tuple(turn.content for turn in prompt.messages if turn.role == "user")
    least, most = length_range(prompt)
    reading = _read(said)
    enough = min(SOURCE_STEMS if reading.has_source else MOST_NEW_STEMS, max(1.0, least / WORDS_PER_NEW_STEM))
    data = reading.wants_data or any(check["check"] == "json" for check in prompt.checks)
    return Asked(
        reading.topic, reading.known, reading.words, least, most, enough, reading.has_source, data,
        reading.wants_turns, reading.wants_numbers, reading.is_foreign,
    )  # fmt: skip


class _Reading(NamedTuple):
    topic: frozenset[str]
    known: frozenset[str]
    words: tuple[str, ...]
    has_source: bool
    wants_data: bool
    wants_turns: bool
    wants_numbers: bool
    is_foreign: bool


@lru_cache(maxsize=8192)
def _read(said: tuple[str, ...]) -> _Reading:
    text = "\n".join(said)
    all_words = words(text)
    last = said[-1] if said else ""
    return _Reading(
        frozenset(content_stems(all_words)),
        frozenset(map(stem, all_words)),
        tuple(words(last)),
        _SOURCE.search(last) is not None,
        _DATA.search(text) is not None,
        _TURNS.search(text) is not None,
        _COUNTED.search(text) is not None,
        any(char.isalpha() and ord(char) > 0x24F for char in text),
    )


def length_range(prompt: Prompt) -> tuple[int, int]:
    """The ideal number of words, fewest and most: from checks, else wordings, else the category, else 25 to 90."""
    last = next((turn.content for turn in reversed(prompt.messages) if turn.role == "user"), "")
    stated = _from_checks(prompt.checks) or _from_wording(last)
    if stated is not None:
        return stated
    category = str(prompt.meta.get("category", ""))
    if category in CATEGORY_WORDS:
        return CATEGORY_WORDS[category]
    if _SOURCE.search(last) is not None:
        return SOURCE_WORDS
    return QUICK_WORDS if _is_quick(last) else DEFAULT_WORDS


def _from_checks(checks: Iterable[Mapping[str, Any]]) -> tuple[int, int] | None:
    """The overlap of the ranges that the checks state; None where none does."""
    values = {str(check["check"]): check["value"] for check in checks}
    if "num_sentences" in values:
        found = _sentence_words(values["num_sentences"])
    elif "num_bullets" in values or "num_numbered" in values:
        found = _item_words(int(values["num_bullets" if "num_bullets" in values else "num_numbered"]))
    elif "one_line" in values or "json" in values:
        found = (2, 25)
    else:
        found = None
    if "min_words" in values:
        found = (values["min_words"], 2 * values["min_words"])
    if "max_words" in values:
        upper = max(1, values["max_words"])
        least, most = found or (upper * 2 // 5, upper)
        found = (max(1, min(least, upper)), upper if "min_words" in values else max(1, min(most, upper)))
    return found


@lru_cache(maxsize=8192)
def _from_wording(text: str) -> tuple[int, int] | None:
    if _ONE_WORD.search(text):
        return 1, 2
    if match := _UPPER_WORDS.search(text):
        upper = _as_number(match.group(1) or match.group(2))
        return max(1, upper * 2 // 5), upper
    if match := _ABOUT_WORDS.search(text):
        about = _as_number(match.group(1))
        return max(1, about * 4 // 5), max(1, about * 6 // 5)
    if match := _SENTENCES.search(text):
        return _sentence_words(_as_number(match.group(1)))
    if match := _ITEMS.search(text):
        return _item_words(_as_number(match.group(1)))
    return (2, 25) if _BRIEF.search(text) else None


@lru_cache(maxsize=8192)
def _is_quick(text: str) -> bool:
    return _QUICK.search(text) is not None or not content_stems(words(text))


def _as_number(text: str) -> int:
    return int(text) if text.isdigit() else _NUMBERS[text.casefold()]


def _sentence_words(num_sentences: int) -> tuple[int, int]:
    return 8 * num_sentences, 25 * num_sentences


def _item_words(num_items: int) -> tuple[int, int]:
    return 2 * num_items, 20 * num_items


def content_stems(all_words: Iterable[str]) -> list[str]:
    """The stems of the content words, in order: no function words, no empty words, no form words, no single letters."""
    return [
        stem(word)
        for word in all_words
        if word not in FUNCTION_WORDS and word not in EMPTY_WORDS and (len(word) > 1 or word.isdigit())
    ]


def is_function_word(word: str) -> bool:
    """Whether the word, case-folded, holds a sentence together rather than saying what it is about."""
    return word.replace("’", "'") in FUNCTION_WORDS


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """What is left of a word without a common ending, five letters at most: "knitting" and "knits" → "knit"."""
    bare = _SUFFIX.sub("", word) if len(word) > 4 else word.removesuffix("s") if len(word) == 4 else word
    if len(bare) > 3 and bare[-1] == bare[-2] and bare[-1] not in "aeiouls":
        bare = bare[:-1]
    return bare[:STEM_LETTERS]
