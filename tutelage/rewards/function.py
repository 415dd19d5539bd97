"""A reward of one's own: `./reward.py:function`, any Python function of a prompt and an answer.

    def brevity(prompt, answer):                 # called for each answer
        return -len(answer.split()) / 100

    def checked(prompts, answers, references):   # called once for all of them
        return [float(r in a) for a, r in zip(answers, references)]

Beside these a function may take `reference` (the prompt file's answer), `messages`, `num_tokens`, `stopped`, `checks`
and `meta`, each in the plural in the second form. None means "cannot be scored". Leaves out isolation: the function is
the user's own code and runs with the user's rights.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.errors import ConfigError, TrainingError
from tutelage.rewards.base import describe_prompt
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
_MANY = {
    "prompts": "prompt", "answers": "answer", "references": "reference", "messages": "messages",
    "num_tokens": "num_tokens", "stopped": "stopped", "checks": "checks", "meta": "meta",
}  # fmt: skip


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
    module_name = f"tutelage_reward_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ConfigError(f"--reward {text}: {path}:{error.lineno}: {error.msg}") from error
    except Exception as error:
        raise ConfigError(f"--reward {text}: {path} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


@dataclass(frozen=True)
class FunctionReward:
    """A function of the user's, called with the arguments it names."""

    name: str
    function: Callable[..., Any]

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        taken = _taken(self.function, self.name)
        if "prompts" in taken or "answers" in taken:
            return self._many(answers, [name for name in taken if name in _MANY])
        return [self._one(answer, [name for name in taken if name in _FIELDS]) for answer in answers]

    def _one(self, answer: Answer, names: list[str]) -> float | None:
        try:
            value = self.function(**{name: _FIELDS[name](answer) for name in names})
        except Exception as error:
            raise self._raised(error, describe_prompt(answer.prompt)) from error
        return self._number(value)

    def _many(self, answers: Sequence[Answer], names: list[str]) -> list[float | None]:
        given = {name: [_FIELDS[_MANY[name]](answer) for answer in answers] for name in names}
        try:
            values = list(self.function(**given))
        except Exception as error:
            raise self._raised(error, f"{len(answers)} answers") from error
        if len(values) != len(answers):
            raise TrainingError(
                f"reward {self.name} was given {len(answers)} answers and returned {len(values)} scores"
            )
        return [self._number(value) for value in values]

    def _raised(self, error: Exception, where: str) -> TrainingError:
        frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
        place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        return TrainingError(f"reward {self.name} raised {type(error).__name__}: {error}{place}, on {where}; mend it")

    def _number(self, value: Any) -> float | None:
        if value is None:
            return None
        try:
            return float(value)
        except (TypeError, ValueError):
            raise TrainingError(
                f"reward {self.name} returned {value!r}, a {type(value).__name__}; it must return a number or None"
            ) from None


def _taken(function: Callable[..., Any], name: str) -> list[str]:
    """Names of what the function takes; raises ConfigError for one that nothing can be given for."""
    parameters = inspect.signature(function).parameters.values()
    known = _MANY if any(p.name in ("prompts", "answers") for p in parameters) else _FIELDS
    taken = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            return list(known)
        if parameter.name in known:
            taken.append(parameter.name)
        elif parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL:
            raise ConfigError(
                f"reward {name} takes '{parameter.name}', which is not known; there are: {', '.join(known)}"
            )
    return taken


def check_signature(function: Callable[..., Any], name: str) -> None:
    """Raises ConfigError now for arguments that could not be given later."""
    _taken(function, name)
