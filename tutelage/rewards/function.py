"""A reward of one's own: `./reward.py:function`, any Python function of a prompt and an answer.

    def brevity(prompt, answer):                 # called for each answer
        return -len(answer.split()) / 100

    def checked(prompts, answers, references):   # called once for all of them
        return [float(r in a) for a, r in zip(answers, references)]

Beside these a function may take `reference` (the prompt file's answer), `messages`, `num_tokens`, `stopped`, `checks`,
`meta` and every further field of the prompt file by its own name; in the second form each is a list, and `references`
is in the plural. `**fields` takes everything. None means "cannot be scored". Leaves out isolation: the function is the
user's own code and runs with the user's rights.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.errors import ConfigError, TrainingError
from tutelage.own_code import run_file
from tutelage.rewards.base import describe_prompt, shortened
from tutelage.types import Answer

_FIELDS: dict[str, Callable[[Answer], Any]] = {
    "prompt": lambda one: one.prompt.messages[-1].content,
    "answer": lambda one: one.text,
    "reference": lambda one: one.prompt.reference,
    "messages": lambda one: [{"role": m.role, "content": m.content} for m in one.prompt.messages],
    "num_tokens": lambda one: one.num_tokens,
    "stopped": lambda one: one.stopped,
    "checks": lambda one: [dict(check) for check in one.prompt.checks],
    "meta": lambda one: dict(one.prompt.meta),
}
_PLURALS = {"prompts": "prompt", "answers": "answer", "references": "reference"}
_MANY = {**_PLURALS, **{name: name for name in _FIELDS if name not in _PLURALS.values()}}


class Taken(NamedTuple):
    """What a function takes."""

    many: bool
    """Lists for all answers at once."""
    needed: tuple[str, ...]
    optional: tuple[str, ...]
    everything: bool
    """Whether it has `**fields`."""


def is_function(text: str) -> bool:
    """Whether a reward is written as FILE.py:function."""
    return ".py:" in text or text.endswith(".py")


def load_function(text: str) -> Callable[..., Any]:
    """The function that `FILE.py:function` names. Raises ConfigError naming file, line and what there is instead."""
    file, _, name = text.rpartition(":") if ".py:" in text else (text, "", "")
    path = Path(file)
    if not name:
        raise ConfigError(f"--reward {text}: name the function after a colon, e.g. {text}:reward")
    if not path.is_file():
        raise ConfigError(f"--reward {text}: there is no file {path}; check the path")
    module = _run(path, text)
    found = getattr(module, name, None)
    if not callable(found):
        there = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
        raise ConfigError(f"--reward {text}: {path} has no function '{name}'; it has: {', '.join(there) or 'none'}")
    return found


def _run(path: Path, text: str) -> Any:
    where = f"--reward {text}: "
    try:
        return run_file(path, f"tutelage_reward_{path.stem}", where)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{where}{path} cannot be loaded: {type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class FunctionReward:
    """A function of the user's, called with the arguments it names."""

    name: str
    function: Callable[..., Any]

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        taken = what_it_takes(self.function, self.name)
        if taken.many:
            return self._many(answers, taken) if answers else []
        return [self._one(answer, taken) for answer in answers]

    def _one(self, answer: Answer, taken: Taken) -> float | None:
        where = describe_prompt(answer.prompt)
        given = self._fields(answer, taken)
        try:
            value = self.function(**given)
        except Exception as error:
            raise self._raised(error, where) from error
        return self._number(value, where)

    def _many(self, answers: Sequence[Answer], taken: Taken) -> list[float | None]:
        rows = [self._fields(answer, taken) for answer in answers]
        names = dict.fromkeys(name for row in rows for name in row)
        where = f"{len(answers)} answers, the first to {describe_prompt(answers[0].prompt)}"
        try:
            values = self.function(**{name: [row.get(name) for row in rows] for name in names})
            found = None if isinstance(values, (str, bytes, Mapping)) or not _can_iterate(values) else list(values)
        except Exception as error:
            raise self._raised(error, where) from error
        if found is None or len(found) != len(answers):
            got = f"a {type(values).__name__}" if found is None else f"{len(found)} scores"
            raise TrainingError(
                f"reward {self.name} was given {where}, and returned {got}; "
                "it must return a list with a number or None for each"
            )
        return [
            self._number(value, describe_prompt(answer.prompt)) for value, answer in zip(found, answers, strict=True)
        ]

    def _fields(self, answer: Answer, taken: Taken) -> dict[str, Any]:
        """What the function is given of one answer. Raises TrainingError where the prompt lacks a field it needs."""
        own = {name: _FIELDS[_MANY[name] if taken.many else name] for name in (_MANY if taken.many else _FIELDS)}
        meta = answer.prompt.meta
        names = (*own, *meta) if taken.everything else (*taken.needed, *taken.optional)
        found = {
            name: own[name](answer) if name in own else meta[name] for name in names if name in own or name in meta
        }
        if missing := [name for name in taken.needed if name not in found]:
            raise TrainingError(
                f"reward {self.name} takes '{missing[0]}', and {describe_prompt(answer.prompt)} has no such field; "
                "give the argument a default, or add the field to the prompt file"
            )
        return found

    def _raised(self, error: Exception, where: str) -> TrainingError:
        frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
        place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        return TrainingError(f"reward {self.name} raised {type(error).__name__}: {error}{place}, on {where}; mend it")

    def _number(self, value: Any, where: str) -> float | None:
        if value is None:
            return None
        try:
            if isinstance(value, (str, bytes, bytearray)):  # float() would read the digits in them
                raise TypeError
            return float(value)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            raise TrainingError(
                f"reward {self.name} returned {shortened(repr(value))}, a {type(value).__name__}, for {where}; "
                "it must return a number or None"
            ) from None


def _can_iterate(value: Any) -> bool:
    return hasattr(value, "__iter__") or hasattr(value, "__getitem__")


def what_it_takes(function: Callable[..., Any], name: str) -> Taken:
    """Reads the signature. Raises ConfigError for arguments that could never be given, and for misspelt ones."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise ConfigError(f"reward {name} does not say what it takes; write a function in Python around it") from None
    if inspect.iscoroutinefunction(function):
        raise ConfigError(f"reward {name} is an async function; write a plain one around it, with asyncio.run")
    many = any(parameter.name in ("prompts", "answers") for parameter in parameters)
    known = _MANY if many else _FIELDS
    needed: list[str] = []
    optional: list[str] = []
    everything = False
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            everything = True
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigError(f"reward {name} takes '{parameter.name}' by position alone; take the / out of it")
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            _check_spelling(name, parameter.name, known)
            (needed if parameter.default is parameter.empty else optional).append(parameter.name)
    return Taken(many, tuple(needed), tuple(optional), everything)


def _check_spelling(reward: str, taken: str, known: Collection[str]) -> None:
    near = difflib.get_close_matches(taken, known, n=1, cutoff=0.8)
    if near and taken not in known:
        raise ConfigError(
            f"reward {reward} takes '{taken}'; did you mean '{near[0]}'? Known are {', '.join(known)}; "
            "a field of the prompt file with such a name is in meta"
        )
