"""Warnings while a policy learns from rewards: named rules on the metrics of the steps so far.

Each rule compares the newest `RECENT` steps with what came before and says its numbers; what may be done about it
depends on the options that the method has (`remedies`). A rule that begins to hold warns once; while one holds no
checkpoint is written, so the newest is the last good one. `docs/warnings.md` tells what each means and what to do.
Leaves out: single outliers, which the windows are there to ignore.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tutelage.errors import ConfigError

RECENT = 3
"""Steps that are averaged as "now"."""
BASELINE = 5
"""First steps that are averaged as "at the start"."""
TREND = 20
"""Steps over which a rise of the reward is looked at."""
ANY = "any"

History = Sequence[Mapping[str, Any]]


class Alarm(NamedTuple):
    step: int
    name: str
    message: str


def _series(history: History, name: str) -> list[float]:
    """The metric's values, steps without it left out."""
    values = (line.get(name) for line in history)
    return [float(value) for value in values if value is not None and math.isfinite(float(value))]


def _now_and_start(history: History, name: str) -> tuple[float, float] | None:
    """(mean of the recent steps, mean of the first ones), or None while the two windows meet."""
    values = _series(history, name)
    if len(values) < RECENT + BASELINE:
        return None
    return statistics.fmean(values[-RECENT:]), statistics.fmean(values[:BASELINE])


def kl_runaway(history: History) -> str | None:
    """KL of an answer above 5 nats, and more than three times what it was over the ten steps before."""
    values = _series(history, "kl")
    if len(values) < RECENT + BASELINE:
        return None
    now, before = statistics.fmean(values[-RECENT:]), statistics.fmean(values[-RECENT - 10 : -RECENT])
    if now > 5 and now > 3 * max(before, 0.0):
        return f"KL is {now:.1f} nats an answer, {before:.1f} over the steps before"
    return None


def length_explains_reward(history: History) -> str | None:
    """The reward rose over the last steps, and at least four fifths of the rise is what longer answers earn anyway.

    Within each step the reward is regressed on the length; the mean slope times the growth in length is what length
    alone explains (as in Singhal et al. 2023, arXiv:2310.03716).
    """
    names = ("reward", "length", "length_reward_slope")
    lines = [line for line in history if all(_series([line], name) for name in names)][-TREND:]
    if len(lines) < TREND:
        return None
    half = TREND // 2
    rewards, lengths = _series(lines, "reward"), _series(lines, "length")
    early, late = rewards[:half], rewards[half:]
    rise = statistics.fmean(late) - statistics.fmean(early)
    noise = math.sqrt((statistics.variance(early) + statistics.variance(late)) / half)
    growth = statistics.fmean(lengths[half:]) - statistics.fmean(lengths[:half])
    explained = statistics.fmean(_series(lines, "length_reward_slope")) * growth
    if rise > 2 * noise and growth > 0 and explained >= 0.8 * rise:
        return (
            f"the reward rose by {rise:.3g} and answers grew by {growth:.0f} tokens, which alone explain "
            f"{explained:.3g}"
        )
    return None


def ensemble_disagreement(history: History) -> str | None:
    """The reward models of an ensemble differ twice as much as they did at the start."""
    found = _now_and_start(history, "ensemble_spread")
    if found and found[0] > 2 * found[1]:
        return (
            f"the ensemble's members differ by {found[0]:.3g}, {found[1]:.3g} at the start: the answers have left what "
            "they were trained on"
        )
    return None


def variety_collapse(history: History) -> str | None:
    """Half as many distinct runs of four tokens as at the start, or a quarter of the entropy."""
    distinct = _now_and_start(history, "distinct")
    if distinct and distinct[0] < 0.5 * distinct[1]:
        return f"{distinct[0]:.0%} of the runs of four tokens are distinct, {distinct[1]:.0%} at the start"
    entropy = _now_and_start(history, "entropy")
    if entropy and entropy[1] > 0 and entropy[0] < 0.25 * entropy[1]:
        return f"entropy is {entropy[0]:.2f} nats a token, {entropy[1]:.2f} at the start"
    return None


def stop_rate_falling(history: History) -> str | None:
    """Answers end by themselves less often than at the start, by 20 points or more."""
    found = _now_and_start(history, "stop_rate")
    if found and found[0] <= found[1] - 0.2:
        return f"{found[0]:.0%} of the answers end by themselves, {found[1]:.0%} at the start"
    return None


def answers_unscored(history: History) -> str | None:
    """More than a fifth of the answers of the recent steps could not be scored."""
    recent = [line for line in list(history)[-RECENT:] if _series([line], "num_unscored")]
    num_unscored = sum(_series(recent, "num_unscored"))
    num_answers = num_unscored + sum(_series(recent, "num_scored"))
    if len(recent) == RECENT and num_unscored > 0.2 * num_answers:
        return f"{num_unscored / num_answers:.0%} of the answers could not be scored"
    return None


RULES: dict[str, Callable[[History], str | None]] = {
    "kl-runaway": kl_runaway,
    "length-explains-reward": length_explains_reward,
    "ensemble-disagreement": ensemble_disagreement,
    "variety-collapse": variety_collapse,
    "stop-rate-falling": stop_rate_falling,
    "answers-unscored": answers_unscored,
}


def remedies(method: Any) -> dict[str, str]:
    """By the name of a warning, what can be done about it with the options that the method has."""
    options = {item.name for item in dataclasses.fields(method)} - set(method.unused)
    hold = "--kl-coef" if "kl_coef" in options else "--beta" if method.needs_reference and "beta" in options else ""
    calm = "lower --learning-rate" + (f" or raise {hold}" if hold else "")
    found = {
        "kl-runaway": calm,
        "length-explains-reward": "compare answers of equal length, or add a weight on `length` to --reward",
        "ensemble-disagreement": "collect verdicts on these, or raise --ensemble-penalty",
        "variety-collapse": calm,
        "stop-rate-falling": "raise --missing-end-penalty or --max-new-tokens",
        "answers-unscored": "look at the reward and at the prompts",
    }
    return found | (_WITH_A_TEACHER if method.has_teacher else {})


_WITH_A_TEACHER = {
    "stop-rate-falling": "lower --learning-rate, raise --max-new-tokens, or look at how often the teacher ends",
    "answers-unscored": "they have tokens that the teacher does not know; give another --teacher",
}


def check_stop_on(names: Sequence[str]) -> None:
    """Raises ConfigError for a warning nobody knows."""
    for name in names:
        if name != ANY and name not in RULES:
            nearest = difflib.get_close_matches(name, [*RULES, ANY], n=1, cutoff=0.0)[0]
            raise ConfigError(f"--stop-on is '{name}'; did you mean '{nearest}'? There are: {', '.join(RULES)}, {ANY}")


@dataclass
class Watch:
    """Looks at each step's metrics and remembers which rules hold."""

    stop_on: tuple[str, ...] = ()
    remedies: Mapping[str, str] = field(default_factory=dict)
    """By name, what the message ends with."""
    history: list[Mapping[str, Any]] = field(default_factory=list)
    holding: set[str] = field(default_factory=set)

    @property
    def is_alarmed(self) -> bool:
        return bool(self.holding)

    def look(self, step: int, metrics: Mapping[str, Any]) -> list[Alarm]:
        """The warnings that begin with this step."""
        self.history.append(metrics)
        messages = {name: message for name, rule in RULES.items() if (message := rule(self.history)) is not None}
        begun = [
            Alarm(step, name, "; ".join(filter(None, (message, self.remedies.get(name)))))
            for name, message in messages.items()
            if name not in self.holding
        ]
        self.holding = set(messages)
        return begun

    def replay(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Take the steps of before a resume as seen."""
        self.history, self.holding = [], set()
        for line in lines:
            self.look(int(line["step"]), line)

    def stops(self, alarm: Alarm) -> bool:
        return alarm.name in self.stop_on or ANY in self.stop_on
