"""Rewards that a program can verify: a right answer, a pattern, a form, a length, a schema, followed instructions.

Each is 1 or 0, or a share between them, except `length` and `overlong`, which say so. What needs the prompt's reference
answer or checks cannot score a prompt without them. Leaves out: running code, and proofs.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tutelage.data.role_tokens import ROLE_TOKEN
from tutelage.errors import ConfigError
from tutelage.rewards.instructions import REGEX_MAX_CHARS, check_loose, check_strict, pattern_problem
from tutelage.rewards.mathematics import final_answer, is_boxed, same_answer
from tutelage.rewards.schema import follows_schema
from tutelage.types import Answer


@dataclass(frozen=True)
class Verifier:
    """A named rule for one answer at a time."""

    name: str
    rule: Callable[[Answer], float | None]

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        return [self.rule(answer) for answer in answers]


def _math(answer: Answer) -> float | None:
    reference = answer.prompt.reference
    if reference is None or (wanted := final_answer(reference)) is None:
        return None
    said = final_answer(answer.text)
    return float(said is not None and same_answer(said, wanted))


def _exact(how: str) -> Callable[[Answer], float | None]:
    """1 where answer and reference are the same text: runs of white space are one space, case counts with `case`."""
    if how not in ("", "case"):
        raise ConfigError(f"--reward exact: '{how}' is no option; write exact, or exact:case where case counts")

    def rule(answer: Answer) -> float | None:
        if answer.prompt.reference is None:
            return None
        pair = (" ".join(text.split()) for text in (answer.text, answer.prompt.reference))
        said, wanted = pair if how == "case" else (text.casefold() for text in pair)
        return float(said == wanted)

    return rule


def _regex(pattern: str) -> Callable[[Answer], float | None]:
    if not pattern:
        raise ConfigError("--reward regex: the pattern is empty; write e.g. regex:^Dear")
    if problem := pattern_problem(pattern):
        raise ConfigError(f"--reward regex: the pattern {problem}")
    compiled = re.compile(pattern)
    return lambda answer: float(compiled.search(answer.text[:REGEX_MAX_CHARS]) is not None)


_THINK = re.compile(
    r"\A\s*<think>(?:(?!</?think>|</?answer>).)+</think>\s*<answer>(?:(?!</?think>|</?answer>).)+</answer>\s*\Z", re.S
)
_BULLET = re.compile(r"\s*[-*•]\s+\S")
_NEXT_TURN = re.compile(r"^(?:User|Human|Assistant):", re.M)


def _is_json(text: str) -> bool:
    return check_strict({"check": "json", "value": True}, text)


def _is_bullets(text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and all(_BULLET.match(line) for line in lines)


FORMATS: dict[str, Callable[[str], bool]] = {
    "think-answer": lambda text: _THINK.match(text) is not None,
    "boxed": is_boxed,
    "json": _is_json,
    "bullets": _is_bullets,
    "no-role-tokens": lambda text: bool(text.strip()) and not (ROLE_TOKEN.search(text) or _NEXT_TURN.search(text)),
}


def _format(name: str) -> Callable[[Answer], float | None]:
    if name not in FORMATS:
        near = difflib.get_close_matches(name, FORMATS, n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"--reward format: there is no format '{name}'; did you mean '{near}'? There are: {', '.join(FORMATS)}"
        )
    return lambda answer: float(FORMATS[name](answer.text))


def _length(target: str) -> Callable[[Answer], float | None]:
    """With a target: 1 there, falling evenly with |ln(tokens / target)| to 0 at a quarter and at four times of it.

    Without one: ln(tokens), so that a negative weight asks for shorter answers; twice as long always costs the same.
    """
    if not target:
        return lambda answer: math.log(max(answer.num_tokens, 1))
    wanted = _whole("length", target)
    return lambda answer: max(0.0, 1 - abs(math.log(max(answer.num_tokens, 1) / wanted)) / math.log(4))


def _overlong(argument: str) -> Callable[[Answer], float | None]:
    """0 up to `longest − buffer` tokens, then evenly down to −1 at `longest` (Yu et al. 2025, equation 13)."""
    longest_text, _, buffer_text = argument.partition(":")
    longest, buffer = _whole("overlong", longest_text), _whole("overlong", buffer_text)
    if buffer > longest:
        raise ConfigError(f"--reward overlong: the buffer {buffer} is longer than the longest answer {longest}")
    return lambda answer: -min(max((answer.num_tokens - (longest - buffer)) / buffer, 0.0), 1.0)


def _whole(name: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(
            f"--reward {name}: '{text}' is no whole number of tokens above 0; write e.g. {_EXAMPLES[name]}"
        )
    return int(text)


_EXAMPLES = {"length": "length:120", "overlong": "overlong:256:64"}


def _instructions(how: str) -> Callable[[Answer], float | None]:
    """The share of the prompt's own checks that the answer passes."""
    if how not in ("strict", "loose"):
        raise ConfigError(f"--reward instructions: '{how}' is neither strict nor loose")
    passes = check_loose if how == "loose" else check_strict

    def rule(answer: Answer) -> float | None:
        checks = answer.prompt.checks
        return sum(passes(check, answer.text) for check in checks) / len(checks) if checks else None

    return rule


def _json_schema(file: str) -> Callable[[Answer], float | None]:
    follows = follows_schema(file)
    return lambda answer: float(follows(answer.text))


@dataclass(frozen=True)
class _Kind:
    make: Callable[[str], Callable[[Answer], float | None]]
    argument: str = ""
    """What follows the colon, for messages; empty where nothing may."""
    default: str | None = None
    """The argument where there is no colon; None where one is needed."""


VERIFIERS: dict[str, _Kind] = {
    "math": _Kind(lambda _: _math),
    "exact": _Kind(_exact, "case", ""),
    "regex": _Kind(_regex, "PATTERN"),
    "format": _Kind(_format, "NAME"),
    "length": _Kind(_length, "TOKENS", ""),
    "overlong": _Kind(_overlong, "LONGEST:BUFFER"),
    "json-schema": _Kind(_json_schema, "FILE"),
    "instructions": _Kind(_instructions, "strict or loose", "strict"),
}


def make_verifier(name: str, argument: str | None) -> Verifier:
    """The verifier called `name`. Raises ConfigError for an argument that is missing, unwanted or wrong."""
    kind = VERIFIERS[name]
    if argument is None:
        argument = kind.default if kind.argument else ""
    elif not kind.argument:
        raise ConfigError(f"--reward {name} takes nothing after it, and '{argument}' was given")
    if argument is None:
        raise ConfigError(f"--reward {name} needs {kind.argument} after a colon: {name}:{kind.argument}")
    return Verifier(name, kind.make(argument))
