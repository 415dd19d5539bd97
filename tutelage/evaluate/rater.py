"""A scripted rater: a hidden preference function with noise, for experiments that have no people. It is a script.

`quality` is a product of seven factors in [0, 1], so that no factor can buy off another: constraint, relevance, length,
stop, repetition, leakage and form. docs/rater.md gives the rules with their numbers and what known cheats score. A
verdict is the better quality, turned round with probability `noise` by a draw that depends on the seed, the prompt and
the two texts alone: the same pair gets the same verdict whenever and in whichever order it is asked for.

Leaves out: truth. A fluent wrong answer to the point scores as well as a right one, unless a check of the prompt says
what is right. Length ranges, function words and stems are made for English.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from tutelage.data.words import words
from tutelage.errors import ConfigError, DataError
from tutelage.evaluate.endings import goes_on_past_end, is_empty, leaks_role_token
from tutelage.evaluate.measures import copied_fraction, longest_loop, repetition
from tutelage.evaluate.rater_prompt import Asked, asked_of, content_stems, is_function_word
from tutelage.rewards.instructions import check_strict
from tutelage.stats.intervals import Interval, wilson
from tutelage.types import Answer

Preference = Literal[-1, 0, 1]
"""1: the first answer is better; -1: the second; 0: a tie."""

CONSTRAINT_FLOOR = 0.3
TOPIC_FLOOR, TOPIC_HITS, TOPIC_SCALE, FULL_KEPT = 0.25, 4, 1.5, 0.4
BRIEF_TOPIC_FLOOR, BRIEF_WORDS = 0.5, 5
NOVELTY_FLOOR, NOVELTY_RATE, FULL_VARIETY = 0.05, 1.2, 0.75
TINY_WORDS, TINY_NOVELTY_RATE = 8, 3.0
ECHO_FREE = 0.3
SHORT_SIGMA, LONG_SIGMA = 0.9, 0.6
CUT_OFF, RAGGED_END = 0.3, 0.7
LOOP_FREE_WORDS, LOOP_WORDS, LOOP_FLOOR = 4, 10, 0.05
ROLE_TOKEN, NEXT_TURN = 0.1, 0.3
FULL_PROSE, PROSE_FLOOR, LIST_FLOOR = 0.2, 0.1, 0.5
PROSE_WORDS, ITEM_WORDS, FEW_WORDS = 8, 6, 4
FULL_LETTERS, LETTERS_FLOOR, MOJIBAKE = 0.6, 0.1, 0.3

_END_MARKS = frozenset(".!?…。！？\"'”’»)]}`*_|:")
_LIST_MARKS = ("-", "*", "+", "•", "#", "|")
_SENTENCE_GAP = re.compile(r"[.!?:]+\s+|\n+")
_MOJIBAKE = re.compile(r"\ufffd|Ã[\x80-\xbf]|â€|Â[\xa0-\xbf]")
_NOTHING = dict.fromkeys(("constraint", "relevance", "length", "stop", "repetition", "leakage", "form"), 0.0)


@dataclass(frozen=True, slots=True)
class ScriptedRater:
    """Prefers the answer of higher quality, and errs with probability `noise`.

    Raises `ConfigError` for a noise outside [0, .5): from .5 on the verdicts say nothing or the opposite.
    """

    noise: float = 0.16
    seed: int = 0
    name: ClassVar[str] = "scripted rater"

    def __post_init__(self) -> None:
        if not 0 <= self.noise < 0.5:
            raise ConfigError(f"a noise of {self.noise} is not in [0, 0.5); use 0.16 for the agreement people reach")

    def quality(self, answer: Answer) -> float:
        """How good the answer is, in [0, 1]; 0 for an empty one. Raises `DataError` for an unknown check."""
        return math.prod(self.explain(answer).values())

    def explain(self, answer: Answer) -> dict[str, float]:
        """The seven factors by name, each in [0, 1]; their product is the quality."""
        text, sentences = answer.text, [words(part) for part in _SENTENCE_GAP.split(answer.text)]
        answer_words = [word for sentence in sentences for word in sentence]
        if is_empty(text) or not answer_words:
            return dict(_NOTHING)
        asked = asked_of(answer.prompt)
        return {
            "constraint": constraint_factor(answer),
            "relevance": relevance_factor(sentences, asked),
            "length": length_factor(len(answer_words), asked),
            "stop": stop_factor(text, stopped=answer.stopped),
            "repetition": repetition_factor(answer_words),
            "leakage": leakage_factor(text, asked),
            "form": form_factor(text, answer_words, asked),
        }

    def prefers(self, a: Answer, b: Answer) -> Preference:
        """The verdict without noise: 1 where `a` has the higher quality, -1 where `b` has, 0 where they are equal.

        Raises `DataError` where the answers are to different prompts.
        """
        if a.prompt.id != b.prompt.id or a.prompt.messages != b.prompt.messages:
            raise DataError(
                f"answers to '{a.prompt.id}' and '{b.prompt.id}' cannot be compared; ask one prompt of both"
            )
        first, second = self.quality(a), self.quality(b)
        return 1 if first > second else -1 if first < second else 0

    def compare(self, a: Answer, b: Answer) -> Preference:
        """The verdict with noise; `compare(b, a)` is its opposite. A tie is never turned round."""
        preference = self.prefers(a, b)
        if preference == 0 or self._draw(a, b) >= self.noise:
            return preference
        return -1 if preference == 1 else 1

    def _draw(self, a: Answer, b: Answer) -> float:
        """A uniform number in [0, 1) that belongs to the seed, the prompt and the two texts in either order."""
        prompt = a.prompt.id or [turn.content for turn in a.prompt.messages]
        key = json.dumps([self.seed, prompt, *sorted((a.text, b.text))])
        digest = hashlib.blake2b(key.encode("ascii"), digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


class WinRate(NamedTuple):
    """How often `a` beat `b`, one pair of answers a prompt."""

    wins: int
    ties: int
    n: int
    score: Interval
    """(wins + ties / 2) / n, with Wilson's 95 % interval."""

    def __str__(self) -> str:
        share, low, high = (f"{100 * value:.1f}" for value in self.score)
        return f"{share} % [{low}, {high}] (n = {self.n} prompts, {self.ties} ties)"


def win_rate(rater: ScriptedRater, a: Sequence[Answer], b: Sequence[Answer], *, noisy: bool = False) -> WinRate:
    """How often answer i of `a` beats answer i of `b`; by quality alone, or by verdicts with noise where `noisy`.

    The interval takes the pairs as independent, so give one pair a prompt. Raises `DataError` for lists of different
    length or none, and for a pair of different prompts.
    """
    if len(a) != len(b):
        raise DataError(f"{len(a)} answers and {len(b)} answers cannot be paired; give one of each a prompt")
    decide = rater.compare if noisy else rater.prefers
    verdicts = [decide(first, second) for first, second in zip(a, b, strict=True)]
    wins, ties = verdicts.count(1), verdicts.count(0)
    return WinRate(wins, ties, len(verdicts), wilson(wins + ties / 2, len(verdicts)))


def constraint_factor(answer: Answer) -> float:
    """From .3, where the answer breaks every check of its prompt, to 1, where it passes all or there is none."""
    checks = answer.prompt.checks
    if not checks:
        return 1.0
    return _from_floor(CONSTRAINT_FLOOR, sum(check_strict(check, answer.text) for check in checks) / len(checks))


def relevance_factor(sentences: Sequence[Sequence[str]], asked: Asked) -> float:
    """To the point, yet more than the prompt's own words: topic × novelty × (no echo).

    A topic word counts in a sentence that also says something new, so that a list of them in front of any text is worth
    nothing. Novelty saturates with the number of content stems that the prompt has not used, and with the variety of
    them all.
    """
    answer_words = [word for sentence in sentences for word in sentence]
    by_sentence = [_stems(sentence, asked) for sentence in sentences]
    stems = [stem for sentence in by_sentence for stem in sentence]
    backed = set[str]().union(*(s for s in by_sentence if asked.has_source or not asked.known.issuperset(s)))
    num_new = len(set(stems) if asked.has_source else set(stems) - asked.known)
    variety = min(1.0, len(set(stems)) / len(stems) / FULL_VARIETY) if stems else 0.0
    rate = TINY_NOVELTY_RATE if asked.most_words <= TINY_WORDS else NOVELTY_RATE
    novelty = _from_floor(NOVELTY_FLOOR, (1 - math.exp(-rate * num_new / asked.wanted_new)) * variety)
    echo = copied_fraction(answer_words, asked.words) * copied_fraction(asked.words, answer_words)
    hits = len(asked.topic & backed)
    kept = min(1.0, sum(stem in asked.known for stem in stems) / len(stems) / FULL_KEPT) if stems else 0.0
    return (
        _topic(asked, hits, kept if asked.has_source else 1.0)
        * novelty
        * (1 - max(0.0, echo - ECHO_FREE) / (1 - ECHO_FREE))
    )


def _stems(sentence: Sequence[str], asked: Asked) -> list[str]:
    """Content stems; a number is content only where the prompt asks for one, else any list mark would be."""
    return content_stems(word for word in sentence if asked.wants_numbers or not word.isdigit())


def _topic(asked: Asked, hits: int, kept: float) -> float:
    """Grows with the number of topic stems and saturates: 0 to 4 of many give .25, .64, .84, .95 and 1.

    Where the prompt brings a text to work on, it is no more than the share of the answer that keeps to that text.
    """
    if asked.most_words <= TINY_WORDS or not asked.topic:
        return 1.0
    brief = asked.least_words <= BRIEF_WORDS
    wanted = min(1 if brief else TOPIC_HITS, len(asked.topic))
    share = (1 - math.exp(-min(hits, wanted) / TOPIC_SCALE)) / (1 - math.exp(-wanted / TOPIC_SCALE))
    return _from_floor(BRIEF_TOPIC_FLOOR if brief else TOPIC_FLOOR, min(share, kept))


def length_factor(num_words: int, asked: Asked) -> float:
    """1 inside the range that the prompt asks for; outside it falls with the square of the log of the ratio."""
    if num_words < asked.least_words:
        return math.exp(-((math.log(asked.least_words / num_words) / SHORT_SIGMA) ** 2))
    if num_words > asked.most_words:
        return math.exp(-((math.log(num_words / asked.most_words) / LONG_SIGMA) ** 2))
    return 1.0


def stop_factor(text: str, *, stopped: bool) -> float:
    """.3 for an answer that the token limit cut off, .7 for one that ends in the middle of a line of prose."""
    last_line = text.strip().splitlines()[-1].strip()
    is_item = last_line.startswith(_LIST_MARKS) or last_line.split(".")[0].isdigit()
    ends_well = last_line[-1] in _END_MARKS or is_item or len(last_line.split()) <= 6
    return (1.0 if stopped else CUT_OFF) * (1.0 if ends_well else RAGGED_END)


def repetition_factor(answer_words: Sequence[str]) -> float:
    """(1 - share of repeated four-word sequences)², times .05 where a phrase loops for ten words or more."""
    repeated = repetition(answer_words)
    if repeated == 0:  # a loop of eight words or more repeats a four-word sequence
        return 1.0
    excess = (longest_loop(answer_words) - LOOP_FREE_WORDS) / (LOOP_WORDS - LOOP_FREE_WORDS)
    return (1 - repeated) ** 2 * _from_floor(LOOP_FLOOR, 1 - min(1.0, max(0.0, excess)))


def leakage_factor(text: str, asked: Asked) -> float:
    """.1 with a token of the chat format in the text, .3 where the text goes on with somebody's next turn."""
    if leaks_role_token(text):
        return ROLE_TOKEN
    return NEXT_TURN if not asked.wants_turns and goes_on_past_end(text) else 1.0


def form_factor(text: str, answer_words: Sequence[str], asked: Asked) -> float:
    """Readable text: letters and digits rather than signs, no mojibake, the prompt's script, and prose.

    Prose is known by its function words (the, of, to …): bare keywords have none, which costs up to nine tenths in a
    running line and half in a list of short items. Answers of up to eight words and data such as JSON are excused.
    """
    visible = [char for char in text if not char.isspace()]
    letters = sum(char.isalnum() for char in visible) / len(visible)
    foreign = 0.0 if asked.is_foreign else sum(char.isalpha() and ord(char) > 0x24F for char in visible) / len(visible)
    whole = MOJIBAKE if _MOJIBAKE.search(text) else 1.0
    prose = 1.0 if asked.wants_data else _prose(text, answer_words)
    wanted_letters = FULL_LETTERS / 2 if asked.wants_data else FULL_LETTERS
    return whole * prose * (1 - foreign) * _from_floor(LETTERS_FLOOR, min(1.0, letters / wanted_letters))


def _prose(text: str, answer_words: Sequence[str]) -> float:
    """How much the running lines, or else the list, look like sentences."""
    if len(answer_words) <= PROSE_WORDS:
        return 1.0
    lines = [words(line) for line in text.splitlines()] if "\n" in text.strip() else [answer_words]
    running = [word for line in lines if len(line) > ITEM_WORDS for word in line]
    spelt = [word for word in running or answer_words if not word[0].isdigit()]
    if len(spelt) < FEW_WORDS:  # a calculation
        return 1.0
    share = sum(map(is_function_word, spelt)) / len(spelt)
    return _from_floor(PROSE_FLOOR if running else LIST_FLOOR, min(1.0, share / FULL_PROSE))


def _from_floor(floor: float, share: float) -> float:
    """A share in [0, 1] mapped to [floor, 1]."""
    return floor + (1 - floor) * share
