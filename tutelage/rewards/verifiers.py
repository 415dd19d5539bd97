"""Rewards that a program can verify: a right answer, a pattern, a form, a length, a schema, followed instructions.

Each is 1 or 0, or a share between them, except `length` and `overlong`, which say so. What needs the prompt's reference
answer or checks cannot score a prompt without them. Leaves out: running code, and proofs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from tutelage.errors import ConfigError
from tutelage.rewards.instructions import REGEX_MAX_CHARS, check_loose, check_strict, pattern_problem
from tutelage.types import Answer


@dataclass(frozen=True)
class Verifier:
    """A named rule for one answer at a time."""

    name: str
    rule: Callable[[Answer], float | None]

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        return [self.rule(answer) for answer in answers]


# Mathematics --------------------------------------------------------------------------------------------------------

_NUMBER = r"-?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+|(?<=\d))(?:\s*/\s*\d+(?:\.\d+)?)?"
_SAID = re.compile(r"(?:answer|result|total)\s*(?:is|=|:)\s*\**\s*([^\n]*)", re.IGNORECASE)
_HASHES = re.compile(r"####\s*([^\n]*)")
_NUMBERS = re.compile(_NUMBER)
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]+)\}\{([^{}]+)\}")


def final_answer(text: str) -> str | None:
    """What a text gives as its answer; None where there is nothing like one.

    The last `\\boxed{…}`, else what follows the last `####`, else the last "the answer is", else the last number.
    """
    if (boxed := _last_boxed(text)) is not None:
        return boxed
    for pattern in (_HASHES, _SAID):
        found = pattern.findall(text)
        if found and found[-1].strip():
            return str(found[-1]).strip()
    numbers = [number for number in _NUMBERS.findall(text) if number.strip("-")]
    return str(numbers[-1]) if numbers else None


def _last_boxed(text: str) -> str | None:
    """The content of the last \\boxed{…}, whose braces may nest."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, first = 1, start + len("\\boxed{")
    for place in range(first, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[first:place].strip()
    return None


def as_number(text: str) -> Fraction | None:
    """The exact number in `$1,234.50`, `3/4`, `\\frac{3}{4}`, `25%` or `12 apples`; None for none or several."""
    plain = _FRACTION.sub(r"(\1)/(\2)", text).replace("\\$", "").replace("\\%", "%").replace("\u2212", "-")
    plain = re.sub(r"[$€£()\s*]|\\[,!;]|\\text\{[^}]*\}", lambda m: " " if m[0].isspace() else "", plain).strip()
    found = [number for number in _NUMBERS.findall(plain) if number.strip("-")]
    if len(found) != 1:
        return None
    try:
        return Fraction(found[0].replace(",", "").replace(" ", ""))
    except (ValueError, ZeroDivisionError):
        pass
    try:  # a fraction of decimals
        above, below = found[0].replace(",", "").replace(" ", "").split("/")
        return Fraction(above) / Fraction(below)
    except (ValueError, ZeroDivisionError):
        return None


def same_answer(said: str, wanted: str) -> bool:
    """Whether two final answers are the same number, or the same text where one of them is no number."""
    one, other = as_number(said), as_number(wanted)
    if one is not None and other is not None:
        return one == other
    return _plain(said) == _plain(wanted)


def _plain(text: str) -> str:
    return " ".join(text.casefold().strip(" .$*").split())


def _math(answer: Answer) -> float | None:
    reference = answer.prompt.reference
    wanted = None if reference is None else (final_answer(reference) or reference)
    if not wanted or not wanted.strip():
        return None
    said = final_answer(answer.text)
    return float(said is not None and same_answer(said, wanted))


# Texts and forms ----------------------------------------------------------------------------------------------------


def _exact(fold: bool) -> Callable[[Answer], float | None]:
    def rule(answer: Answer) -> float | None:
        if answer.prompt.reference is None:
            return None
        pair = (" ".join(text.split()) for text in (answer.text, answer.prompt.reference))
        said, wanted = (text.casefold() for text in pair) if fold else pair
        return float(said == wanted)

    return rule


def _regex(pattern: str) -> Callable[[Answer], float | None]:
    if problem := pattern_problem(pattern):
        raise ConfigError(f"--reward regex: the pattern {problem}")
    compiled = re.compile(pattern)
    return lambda answer: float(compiled.search(answer.text[:REGEX_MAX_CHARS]) is not None)


_THINK = re.compile(
    r"\A\s*<think>(?:(?!</?think>|</?answer>).)+</think>\s*<answer>(?:(?!</?think>|</?answer>).)+</answer>\s*\Z", re.S
)
_ROLE_MARKS = re.compile(
    r"<\|?(?:im_start|im_end|start_of_turn|end_of_turn|user|assistant|system)\|?>|^(?:User|Human|Assistant):", re.M
)


def _is_json(text: str) -> bool:
    return check_strict({"check": "json", "value": True}, text)


FORMATS: dict[str, Callable[[str], bool]] = {
    "think-answer": lambda text: _THINK.match(text) is not None,
    "boxed": lambda text: bool(_last_boxed(text)),
    "json": _is_json,
    "bullets": lambda text: (
        all(re.match(r"\s*[-*•]\s+\S", line) for line in text.strip().splitlines()) and bool(text.strip())
    ),
    "no-role-tokens": lambda text: bool(text.strip()) and _ROLE_MARKS.search(text) is None,
}


def _format(name: str) -> Callable[[Answer], float | None]:
    if name not in FORMATS:
        raise ConfigError(f"--reward format: there is no format '{name}'; there are: {', '.join(FORMATS)}")
    return lambda answer: float(FORMATS[name](answer.text))


def _length(target: str) -> Callable[[Answer], float | None]:
    """1 at the target, falling evenly with |log(length / target)| to 0 at a quarter of it and at four times as much."""
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
    """1 for an answer that is JSON of the schema in the file; a fence of backticks around it is allowed."""
    try:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError
    except ImportError as error:
        raise ConfigError(
            "--reward json-schema needs the package jsonschema; pip install 'tutelage[rewards]'"
        ) from error
    try:
        schema: Any = json.loads(Path(file).read_text(encoding="utf-8"))
        Draft202012Validator.check_schema(schema)
    except (OSError, ValueError, SchemaError) as error:
        what = " ".join(str(error).split())[:200]
        raise ConfigError(f"--reward json-schema: {file} is no readable JSON schema: {what}") from error
    validator = Draft202012Validator(schema)

    def rule(answer: Answer) -> float | None:
        text = re.sub(r"\A\s*```\w*\n(.*)\n```\s*\Z", r"\1", answer.text, flags=re.DOTALL)
        try:
            return float(validator.is_valid(json.loads(text)))
        except (ValueError, RecursionError):
            return 0.0

    return rule


@dataclass(frozen=True)
class _Kind:
    make: Callable[[str], Callable[[Answer], float | None]]
    argument: str = ""
    """What follows the colon, for messages; empty where nothing may."""
    default: str | None = None


VERIFIERS: dict[str, _Kind] = {
    "math": _Kind(lambda _: _math),
    "exact": _Kind(lambda how: _exact(how != "case"), "case", ""),
    "regex": _Kind(_regex, "PATTERN"),
    "format": _Kind(_format, "NAME"),
    "length": _Kind(_length, "TOKENS"),
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
