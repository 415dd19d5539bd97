"""Instructions that a program can verify: "at most 20 words", "three bullets", "answer in JSON".

The idea, and the strict/loose pair, are from IFEval (Zhou et al. 2023, https://arxiv.org/abs/2311.07911). A prompt
states its checks as `{"check": "max_words", "value": 20}`; `CHECKS` holds every name. An empty answer follows none.

Leaves out: judging content. And protection against every slow regular expression: a `regex` check looks at the first
10 000 characters only and refuses patterns that repeat a group which itself repeats or offers alternatives, the usual
way to exponential time; a pattern with several `.*` in a row can still be slow on a long answer.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tutelage.data.words import num_sentences, words
from tutelage.errors import DataError

REGEX_MAX_CHARS = 10_000

_BULLET = re.compile(r"^[ \t]*[-*+•][ \t]+\S", re.MULTILINE)
_NUMBERED = re.compile(r"^[ \t]*\d{1,3}[.)][ \t]+\S", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,})$", re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n]*$\n?", re.MULTILINE)
_EMPHASIS = re.compile(r"\*+|(?<!\w)_+|_+(?!\w)|`+")


@dataclass(frozen=True, slots=True)
class Check:
    """One kind of instruction: how to test it, how to say it, and what its value has to be."""

    name: str
    passes: Callable[[str, Any], bool]
    wording: str
    value_type: type


CHECKS: dict[str, Check] = {}


def _register(name: str, wording: str, value_type: type) -> Callable[[Callable[[str, Any], bool]], Callable[..., bool]]:
    def add(passes: Callable[[str, Any], bool]) -> Callable[..., bool]:
        CHECKS[name] = Check(name, passes, wording, value_type)
        return passes

    return add


@_register("max_words", "at most {} words", int)
def _max_words(text: str, value: int) -> bool:
    return len(words(text)) <= value


@_register("min_words", "at least {} words", int)
def _min_words(text: str, value: int) -> bool:
    return len(words(text)) >= value


@_register("num_sentences", "sentences: {}", int)
def _num_sentences(text: str, value: int) -> bool:
    return num_sentences(text) == value


@_register("num_bullets", "bullet points: {}", int)
def _num_bullets(text: str, value: int) -> bool:
    return len(_BULLET.findall(_RULE.sub("", text))) == value


@_register("num_numbered", "numbered items: {}", int)
def _num_numbered(text: str, value: int) -> bool:
    return len(_NUMBERED.findall(text)) == value


@_register("contains", "mentions “{}”", str)
def _contains(text: str, value: str) -> bool:
    return value.casefold() in text.casefold()


@_register("not_contains", "avoids “{}”", str)
def _not_contains(text: str, value: str) -> bool:
    return value.casefold() not in text.casefold()


@_register("starts_with", "starts with “{}”", str)
def _starts_with(text: str, value: str) -> bool:
    return text.lstrip().startswith(value.strip())


@_register("ends_with", "ends with “{}”", str)
def _ends_with(text: str, value: str) -> bool:
    return text.rstrip().endswith(value.strip())


@_register("json", "is JSON", bool)
def _json(text: str, value: bool) -> bool:
    try:
        parsed = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return False
    return isinstance(parsed, dict | list)


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")  # Python reads NaN and Infinity, the JSON standard does not


@_register("all_lowercase", "all in lower case", bool)
def _all_lowercase(text: str, value: bool) -> bool:
    return text == text.lower() and any(char.isalpha() for char in text)


@_register("one_line", "on one line", bool)
def _one_line(text: str, value: bool) -> bool:
    return len(text.strip().splitlines()) == 1


@_register("regex", "matches {}", str)
def _regex(text: str, value: str) -> bool:
    return re.search(value, text[:REGEX_MAX_CHARS]) is not None


def check_strict(check: Mapping[str, Any], text: str) -> bool:
    """Whether the answer follows the instruction exactly as it stands. Raises `DataError` for an unusable check."""
    kind, value = _resolve(check)
    return bool(text.strip()) and kind.passes(text, value)


def check_loose(check: Mapping[str, Any], text: str) -> bool:
    """Whether the answer, or a variant of it, follows the instruction.

    Variants drop the first line, the last line or both, with and without Markdown emphasis and code fences.
    """
    kind, value = _resolve(check)
    return any(variant.strip() and kind.passes(variant, value) for variant in _variants(text))


def describe_check(check: Mapping[str, Any]) -> str:
    """The instruction in a few words: "at most 20 words"."""
    kind, value = _resolve(check)
    return kind.wording.format(value)


def _resolve(check: Mapping[str, Any]) -> tuple[Check, Any]:
    name, value = check.get("check"), check.get("value")
    if not isinstance(name, str) or name not in CHECKS:
        raise DataError(_unknown_check(name), field="checks")
    kind = CHECKS[name]
    problem = _value_problem(kind, value)
    if problem:
        raise DataError(f"check '{name}' {problem}", field="checks")
    return kind, value


def _unknown_check(name: object) -> str:
    near = difflib.get_close_matches(str(name), CHECKS, n=1, cutoff=0.0)[0]
    return f"there is no instruction check '{name}'; did you mean '{near}'? There are: {', '.join(CHECKS)}"


def _value_problem(kind: Check, value: Any) -> str | None:
    if kind.value_type is bool:
        return None if value is True else f"takes the value true, not {value!r}; leave the check out otherwise"
    if kind.value_type is int:
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return None if fits else f"needs a whole number of 0 or more as its value, not {value!r}"
    if not isinstance(value, str) or not value.strip():
        return f"needs a text that is not empty as its value, not {value!r}"
    return pattern_problem(value) if kind.name == "regex" else None


def pattern_problem(pattern: str) -> str | None:
    """What is wrong with a regular expression, as the end of a sentence; None where nothing is."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return f"has a pattern that is not a regular expression: {error}"
    if _repeats_a_repetition(pattern):
        return f"repeats a group that itself repeats or offers alternatives, which can run for ever: {pattern}"
    return None


def _repeats_a_repetition(pattern: str) -> bool:
    """Whether a group holding a quantifier or an alternative is itself repeated, as in (a+)+ or (a|ab)*."""
    stack = [False]  # for each open group: does it hold a repetition or an alternative so far?
    closed_risky = False  # the item just read is a group that does
    for token in _regex_tokens(pattern):
        if token == "(":
            stack.append(False)
        elif token == ")":
            closed_risky = stack.pop()
            stack[-1] |= closed_risky
            continue
        elif token in {"*", "+", "{", "="}:
            if closed_risky:
                return True
            stack[-1] |= token != "="
            continue  # a lazy or possessive mark may follow and is another "+" or "?"
        elif token == "|":
            stack[-1] = True
        closed_risky = False
    return False


_REGEX_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d*,?\d*\}[?+]?|[*+][?+]?|.", re.DOTALL)
_AT_MOST_ONE = frozenset({"{}", "{0}", "{1}", "{0,1}", "{,1}"})  # "{}" is two letters to Python


def _regex_tokens(pattern: str) -> Iterator[str]:
    """The parts that matter to nesting: ( ) | * + themselves, { for a count, = for an exact count, . otherwise."""
    for match in _REGEX_TOKEN.finditer(pattern):
        part = match.group()
        count = part.rstrip("?+")
        if len(part) > 1 and part[0] == "{" and count not in _AT_MOST_ONE:
            yield "{" if "," in count else "="
        else:
            yield part[0] if part[0] in "()|*+" else "."


def _variants(text: str) -> Iterator[str]:
    lines = text.strip().split("\n")
    for kept in (lines, lines[1:], lines[:-1], lines[1:-1]):
        variant = "\n".join(kept).strip()
        bare = _FENCE.sub("", variant)
        yield from (variant, bare, _EMPHASIS.sub("", variant), _EMPHASIS.sub("", bare))
