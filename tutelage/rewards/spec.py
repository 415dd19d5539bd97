"""From what `--reward` says to rewards: `[WEIGHT*]NAME[:ARGUMENT]`, several joined by ` + ` or given one by one.

Names are those of verifiers, `judge:FILE.yaml`, `FILE.py:function`, or of a reward model or an ensemble. Free of torch
until a model is loaded, so mistakes are found at once.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tutelage.errors import ConfigError, ModelError
from tutelage.models.ensemble import read_ensemble
from tutelage.models.find import kind_of, resolve_model
from tutelage.rewards.base import Part, Reward, RewardSum
from tutelage.rewards.function import FunctionReward, is_function, load_function, what_it_takes
from tutelage.rewards.judge import JudgeReward
from tutelage.rewards.judge_file import read_judge
from tutelage.rewards.verifiers import VERIFIERS, make_verifier

_NUMBER = r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|inf(?:inity)?|nan)"
_WEIGHT = re.compile(rf"\s*({_NUMBER})\s*\*\s*", re.IGNORECASE)
JUDGE = "judge"


class Spec(NamedTuple):
    """One reward as it was written."""

    weight: float
    text: str
    """Without the weight."""

    @property
    def kind(self) -> str:
        """verifier, judge, function or model."""
        name = self.text.partition(":")[0]
        if name in VERIFIERS:
            return "verifier"
        return "judge" if name == JUDGE else "function" if is_function(self.text) else "model"

    @property
    def metric(self) -> str:
        """What metrics call it."""
        if self.kind == "function":
            file, _, name = self.text.rpartition(":")
            return f"{Path(file).name}:{name}"
        return (Path(self.text).name or self.text) if self.kind == "model" else self.text.partition(":")[0]


def parse_specs(texts: Sequence[str]) -> list[Spec]:
    """Every reward of the option. Raises ConfigError for an empty one and for a weight that is no weight."""
    specs = [_parse(part) for text in texts for part in text.split(" + ")]
    if not specs:
        raise ConfigError("--reward is missing; give a reward model, a check such as `math`, or ./reward.py:function")
    return specs


def _parse(text: str) -> Spec:
    match = _WEIGHT.match(text)
    weight = float(match[1]) if match else 1.0
    name = text[match.end() :].strip() if match else text.strip()
    if not name:
        raise ConfigError(f"--reward has an empty part in '{text}'; write e.g. 'rm + 0.2*length:120'")
    if not math.isfinite(weight) or weight == 0:
        raise ConfigError(f"--reward {text.strip()}: the weight is {weight:g}; it must be a number other than 0")
    return Spec(weight, name)


def check_reward(texts: Sequence[str], workspace: Path) -> None:
    """Find what can be found wrong before a model is loaded. Raises ConfigError or ModelError."""
    for spec in parse_specs(texts):
        if spec.kind == "model":
            _check_model(spec.text, workspace)
        else:
            _make_light(spec, spec.metric)


def make_reward(
    texts: Sequence[str], *, workspace: Path, ensemble_penalty: float = 0.0,
    say: Callable[[str], None] = lambda _: None, device: str | None = None,
) -> RewardSum:  # fmt: skip
    """The sum that `--reward` asks for, its models in memory. Raises ConfigError or ModelError."""
    if not (math.isfinite(ensemble_penalty) and ensemble_penalty >= 0):
        raise ConfigError(f"--ensemble-penalty is {ensemble_penalty:g}; it must be 0 or more")
    specs = parse_specs(texts)
    make_model = partial(_make_model, workspace=workspace, penalty=ensemble_penalty, say=say, device=device)
    parts = []
    for spec, metric in zip(specs, _distinct([spec.metric for spec in specs]), strict=True):
        make = make_model if spec.kind == "model" else _make_light
        parts.append(Part(make(spec, metric), spec.weight))
    models = [spec.text for spec in specs if spec.kind == "model"]
    return RewardSum(tuple(parts), _first_member(models[0], workspace) if models else None)


def _first_member(model: str, workspace: Path) -> str:
    from tutelage.rewards.models import member_names

    return member_names(model, workspace)[0]


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, those that stand there already with -2, -3 … behind them."""
    found: list[str] = []
    for name in names:
        numbered = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
        found.append(next(one for one in numbered if one not in found))
    return found


def _make_model(
    spec: Spec, metric: str, *, workspace: Path, penalty: float, say: Callable[[str], None], device: str | None
) -> Reward:
    from tutelage.rewards.models import load_model_reward

    _check_model(spec.text, workspace)
    return load_model_reward(spec.text, workspace, penalty, say, metric, device)


def _make_light(spec: Spec, metric: str) -> Reward:
    if spec.kind == "function":
        function = load_function(spec.text)
        what_it_takes(function, metric)
        return FunctionReward(metric, function)
    name, colon, argument = spec.text.partition(":")
    if spec.kind == "judge":
        if not argument:
            raise ConfigError("--reward judge needs the file with its rubric after a colon: judge:FILE.yaml")
        return JudgeReward(metric, read_judge(Path(argument)))
    made = make_verifier(name, argument if colon else None)
    return type(made)(metric, made.rule)


def _check_model(name: str, workspace: Path) -> None:
    """A name that is no model is more likely a misspelt check than a missing model; a language model has no scores."""
    try:
        resolved = resolve_model(name, workspace)
    except ModelError as error:
        known = [*VERIFIERS, JUDGE]
        near = difflib.get_close_matches(name.partition(":")[0], known, n=1, cutoff=0.6)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ConfigError(f"--reward {name}: {hint}Checks are: {', '.join(known)}; as a model: {error}") from error
    members = read_ensemble(resolved.path) if resolved.path is not None else None
    folders = members or ([resolved.path] if resolved.path is not None else [])
    kinds = {kind_of(folder) for folder in folders} | ({"language model"} if resolved.origin == "starter" else set())
    if kinds & {"language model", "adapter"}:
        raise ModelError(f"'{name}' is a language model, not a reward model; train one with `tutelage train reward`")
