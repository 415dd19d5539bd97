"""From what `--reward` says to rewards: `[WEIGHT*]NAME[:ARGUMENT]`, several joined by ` + ` or given one by one.

Names are those of verifiers, `judge:FILE.yaml`, `FILE.py:function`, or of a reward model or an ensemble. Free of torch
until a model is loaded, so mistakes are found at once.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tutelage.errors import ConfigError
from tutelage.models.find import resolve_model
from tutelage.rewards.base import Part, Reward, RewardSum
from tutelage.rewards.function import FunctionReward, check_signature, is_function, load_function
from tutelage.rewards.judge import JudgeReward, read_judge
from tutelage.rewards.verifiers import VERIFIERS, make_verifier

_WEIGHT = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?inf|nan)\s*\*\s*", re.IGNORECASE)
JUDGE = "judge"


class Spec(NamedTuple):
    """One reward as it was written."""

    weight: float
    text: str
    """Without the weight."""

    @property
    def kind(self) -> str:
        """verifier, judge, function or model."""
        if is_function(self.text):
            return "function"
        name = self.text.partition(":")[0]
        return "verifier" if name in VERIFIERS else "judge" if name == JUDGE else "model"

    @property
    def metric(self) -> str:
        """What metrics call it."""
        if self.kind == "function":
            file, _, name = self.text.rpartition(":")
            return f"{Path(file).name}:{name}"
        return self.text if self.kind == "model" else self.text.partition(":")[0]


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
    texts: Sequence[str], *, workspace: Path, ensemble_penalty: float = 0.0, say: Callable[[str], None] = lambda _: None
) -> RewardSum:
    """The sum that `--reward` asks for, its models in memory."""
    specs = parse_specs(texts)
    parts, used = [], dict[str, int]()
    for spec in specs:
        used[spec.metric] = used.get(spec.metric, 0) + 1
        metric = spec.metric if used[spec.metric] == 1 else f"{spec.metric}-{used[spec.metric]}"
        parts.append(Part(_make(spec, metric, workspace, ensemble_penalty, say), spec.weight))
    models = [spec.text for spec in specs if spec.kind == "model"]
    return RewardSum(tuple(parts), _first_member(models[0], workspace) if models else None)


def _first_member(model: str, workspace: Path) -> str:
    from tutelage.rewards.models import member_names

    return member_names(model, workspace)[0]


def _make(spec: Spec, metric: str, workspace: Path, penalty: float, say: Callable[[str], None]) -> Reward:
    if spec.kind != "model":
        return _make_light(spec, metric)
    from tutelage.rewards.models import load_model_reward

    _check_model(spec.text, workspace)
    return load_model_reward(spec.text, workspace, penalty, say, metric)


def _make_light(spec: Spec, metric: str) -> Reward:
    if spec.kind == "function":
        function = load_function(spec.text)
        check_signature(function, metric)
        return FunctionReward(metric, function)
    name, colon, argument = spec.text.partition(":")
    if spec.kind == "judge":
        if not argument:
            raise ConfigError("--reward judge needs the file with its rubric after a colon: judge:FILE.yaml")
        return JudgeReward(metric, read_judge(Path(argument)))
    made = make_verifier(name, argument if colon else None)
    return type(made)(metric, made.rule)


def _check_model(name: str, workspace: Path) -> None:
    """A name that is no model is more likely a misspelt check than a missing model."""
    from tutelage.errors import ModelError

    try:
        resolve_model(name, workspace)
    except ModelError as error:
        known = [*VERIFIERS, JUDGE]
        near = difflib.get_close_matches(name.partition(":")[0], known, n=1, cutoff=0.6)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ConfigError(f"--reward {name}: {hint}Checks are: {', '.join(known)}; as a model: {error}") from error
