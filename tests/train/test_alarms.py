"""Every warning on a history that just brings it about and on ones that just do not."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.errors import ConfigError
from tutelage.methods.describe import options_of
from tutelage.methods.registry import all_methods, find_method
from tutelage.train.alarms import BASELINE, RECENT, RULES, TREND, Alarm, Watch, check_stop_on, remedies
from tutelage.train.run_folder import RunFolder

Lines = list[dict[str, Any]]


def steps(**metrics: list[Any]) -> Lines:
    """A line a step: the n-th value of every metric."""
    return [dict(zip(metrics, values, strict=True)) for values in zip(*metrics.values(), strict=True)]


def trend(
    rise: float, growth: float, slope: float, noise: float = 0.0, number: int = 20, late_noise: float | None = None
) -> Lines:
    """Ten steps at reward 1 and 50 tokens, then ten at what was added; every other one ± `noise`."""
    noises = [noise] * 10 + [noise if late_noise is None else late_noise] * 10
    rewards = [1.0 + (rise if step >= 10 else 0) + noises[step] * (-1) ** step for step in range(20)]
    lengths = [50.0 + (growth if step >= 10 else 0) for step in range(20)]
    return steps(reward=rewards, length=lengths, length_reward_slope=[slope] * 20)[-number:]


TRIGGERED: list[tuple[str, Lines, str]] = [
    # 6.1 > 5, and > 3 · 2
    (
        "kl-runaway", steps(kl=[2.0] * 5 + [6.1] * 3),
        "KL is 6.1 nats an answer, 2.0 over the steps before",
    ),
    # Compared with the ten steps before, not with the first ones: 13 would have been the start
    (
        "kl-runaway", steps(kl=[13.0] * 5 + [1.0] * 10 + [5.0, 5.0, 5.3]),
        "KL is 5.1 nats an answer, 1.0 over the steps before",
    ),
    # An estimate below 0 counts as 0
    (
        "kl-runaway", steps(kl=[-4.0] * 5 + [5.1] * 3),
        "KL is 5.1 nats an answer, -4.0 over the steps before",
    ),
    # .125 a token times 8 tokens is 1, four fifths of 1.25
    (
        "length-explains-reward", trend(1.25, 8.0, 0.125),
        "the reward rose by 1.25 and answers grew by 8 tokens, which alone explain 1",
    ),
    # Noise of ± 1: variances of 10/9, a standard error of √((10/9 + 10/9)/10) = .4714, twice that is .9428
    (
        "length-explains-reward", trend(0.95, 8.0, 0.125, noise=1.0),
        "the reward rose by 0.95 and answers grew by 8 tokens, which alone explain 1",
    ),
    (
        "ensemble-disagreement", steps(ensemble_spread=[1.0] * 5 + [2.01] * 3),
        "the ensemble's members differ by 2.01, 1 at the start: the answers have left what they were trained on",
    ),
    (
        "variety-collapse", steps(distinct=[0.8] * 5 + [0.39] * 3),
        "39% of the runs of four tokens are distinct, 80% at the start",
    ),
    (
        "variety-collapse", steps(distinct=[0.8] * 8, entropy=[2.0] * 5 + [0.49] * 3),
        "entropy is 0.49 nats a token, 2.00 at the start",
    ),
    (
        "stop-rate-falling", steps(stop_rate=[1.0] * 5 + [0.79] * 3),
        "79% of the answers end by themselves, 100% at the start",
    ),
    # 7 of 30
    (
        "answers-unscored", steps(num_scored=[8, 8, 7], num_unscored=[2, 2, 3]),
        "23% of the answers could not be scored",
    ),
]  # fmt: skip

CALM: list[tuple[str, Lines]] = [
    ("kl-runaway", steps(kl=[2.0] * 5 + [6.0] * 3)),  # three times, not more
    ("kl-runaway", steps(kl=[1.0] * 5 + [5.0] * 3)),  # 5 nats, not more
    ("kl-runaway", steps(kl=[2.0] * 4 + [60.0] * 3)),  # seven steps
    ("kl-runaway", steps(kl=[2.0] * 5 + [3.0, 3.0, 12.0])),  # one outlier: 6 on average
    ("kl-runaway", steps(kl=[1.0] * 20 + [2.0] * 10 + [6.0] * 3)),  # only ten steps before count
    ("length-explains-reward", trend(1.25, 8.0, 0.1249)),  # 79.9 %
    ("length-explains-reward", trend(0.94, 8.0, 0.125, noise=1.0)),  # within two standard errors
    ("length-explains-reward", trend(0.6, 8.0, 0.125, late_noise=1.0)),  # of both halves: 2 · √(10/9/10) = .667
    ("length-explains-reward", trend(1.25, -8.0, -0.125)),  # shorter answers earned it
    ("length-explains-reward", trend(-1.25, 8.0, 0.125)),
    ("length-explains-reward", trend(0.0, 0.0, 0.125)),
    ("length-explains-reward", trend(1.25, 8.0, 0.125, number=19)),
    ("ensemble-disagreement", steps(ensemble_spread=[1.0] * 5 + [2.0] * 3)),
    ("ensemble-disagreement", steps(ensemble_spread=[1.0] * 4 + [9.0] * 3)),
    ("variety-collapse", steps(distinct=[0.8] * 5 + [0.4] * 3, entropy=[2.0] * 5 + [0.5] * 3)),
    ("variety-collapse", steps(distinct=[0.8] * 4 + [0.1] * 3, entropy=[2.0] * 4 + [0.1] * 3)),
    ("variety-collapse", steps(distinct=[0.0] * 8, entropy=[0.0] * 5 + [-0.1] * 3)),
    ("stop-rate-falling", steps(stop_rate=[1.0] * 5 + [0.81] * 3)),
    ("stop-rate-falling", steps(stop_rate=[1.0] * 4 + [0.1] * 3)),
    ("answers-unscored", steps(num_scored=[8] * 3, num_unscored=[2] * 3)),  # a fifth, not more
    ("answers-unscored", steps(num_scored=[8, 0], num_unscored=[2, 10])),  # two steps
    ("answers-unscored", steps(num_scored=[0, 10, 10, 10], num_unscored=[10, 0, 0, 0])),  # over
    ("answers-unscored", steps(num_scored=[0] * 3, num_unscored=[0] * 3)),
]


@pytest.mark.parametrize(("name", "history", "message"), TRIGGERED)
def test_what_just_brings_a_warning_about(name: str, history: Lines, message: str) -> None:
    """The message has the numbers; the other rules are silent."""
    assert {other: rule(history) for other, rule in RULES.items() if rule(history)} == {name: message}
    assert re.search(r"\d", message)


@pytest.mark.parametrize(("name", "history"), CALM)
def test_what_just_does_not(name: str, history: Lines) -> None:
    assert RULES[name](history) is None


def test_every_rule_is_shown_on_both_sides() -> None:
    assert {name for name, *_ in TRIGGERED} == {name for name, _ in CALM} == set(RULES)


@pytest.mark.parametrize(("name", "history", "message"), TRIGGERED)
@pytest.mark.parametrize("missing", [math.nan, None, math.inf])
def test_steps_without_a_number_are_left_out(name: str, history: Lines, message: str, missing: float | None) -> None:
    """Empty lines, and lines of NaN, between those that count; the windows reach over them."""
    if name == "answers-unscored":  # is of the last steps themselves
        history, missing_lines = [dict.fromkeys(history[0], missing), {}, *history], []
    else:
        missing_lines = [dict.fromkeys(history[0], missing), {}]
    spaced = [line for known in history for line in (known, *missing_lines)]
    assert RULES[name](spaced) == message


numbers = st.none() | st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1])
NAMES = ["kl", "reward", "length", "length_reward_slope", "ensemble_spread", "distinct", "entropy", "stop_rate"]
NAMES += ["num_scored", "num_unscored"]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.dictionaries(st.sampled_from(NAMES), numbers), max_size=30))
def test_no_history_makes_a_rule_fail(history: Lines) -> None:
    watch = Watch()
    for step, line in enumerate(history, start=1):
        assert all(alarm.message and alarm.name in RULES for alarm in watch.look(step, line))


@pytest.mark.parametrize(
    "present", [{"length_reward_slope"}, {"length_reward_slope", "reward"}, {"length_reward_slope", "length"}]
)
def test_a_slope_without_rewards_or_lengths_says_nothing(present: set[str]) -> None:
    history = [{name: value for name, value in line.items() if name in present} for line in trend(1.25, 8.0, 0.125)]
    assert RULES["length-explains-reward"](history) is None


# What to do ----------------------------------------------------------------------------------------------------------

ONLINE = sorted(name for name, cls in all_methods().items() if cls.online and cls.__module__.startswith("tutelage."))


@pytest.mark.parametrize("name", ONLINE)
def test_what_to_do_names_only_options_of_the_method(name: str) -> None:
    options = {"teacher": "t"} if name == "distill" else {}
    found = remedies(find_method(name)(**options))
    assert set(found) == set(RULES)
    named = {option for text in found.values() for option in re.findall(r"--[a-z-]+", text)}
    known = {option.name for option in options_of(find_method(name))} | {"--learning-rate"}
    of_rewards = {"--reward", "--ensemble-penalty"} if name == "distill" else set()  # rules that cannot hold there
    assert named - of_rewards <= known


@pytest.mark.parametrize(
    ("name", "calm"),
    [
        ("ppo", "lower --learning-rate or raise --kl-coef"),
        ("online-dpo", "lower --learning-rate or raise --beta"),
        ("rejection", "lower --learning-rate"),
        ("distill", "lower --learning-rate"),
    ],
)
def test_what_holds_the_policy_is_the_methods_own(name: str, calm: str) -> None:
    found = remedies(find_method(name)())
    assert (found["kl-runaway"], found["variety-collapse"]) == (calm, calm)
    watch = Watch((), found)
    (alarm,) = [alarm for step in range(8) for alarm in watch.look(step, {"distinct": 0.8 if step < 5 else 0.1})]
    assert alarm.message == f"10% of the runs of four tokens are distinct, 80% at the start; {calm}"


# Watching a run ------------------------------------------------------------------------------------------------------

UP_AND_DOWN = [1.0] * 10 + [20.0] * 3 + [1.0] * 12 + [20.0] * 4
"""KL by step: far away in steps 11 to 13, and from step 26 on."""


def look(watch: Watch, values: list[float], first: int = 1) -> list[tuple[int, str]]:
    found = [alarm for step, kl in enumerate(values, first) for alarm in watch.look(step, {"step": step, "kl": kl})]
    return [(alarm.step, alarm.name) for alarm in found]


def test_a_rule_warns_when_it_begins_to_hold_and_again_after_a_recovery() -> None:
    """At step 11 the last three have a mean of (1 + 1 + 20)/3 = 7.3, those before one of 1; so it is at step 26."""
    watch = Watch()
    assert look(watch, UP_AND_DOWN) == [(11, "kl-runaway"), (26, "kl-runaway")]


def test_it_is_alarmed_while_a_rule_holds() -> None:
    """Now is 7.3, 13.7, 20, 13.7, 7.3 from step 11 on; three times what was before is 3, 3, 3, 8.7, 14.4.

    At step 14 the ten steps before are nine of 1 and one of 20, and at step 15 eight and two.
    """
    watch, alarmed = Watch(), list[int]()
    assert not watch.is_alarmed
    for step, kl in enumerate(UP_AND_DOWN[:20], start=1):
        watch.look(step, {"kl": kl})
        if watch.is_alarmed:
            alarmed.append(step)
    assert alarmed == [11, 12, 13, 14]


def test_two_rules_warn_each_for_itself() -> None:
    watch = Watch()
    lines = steps(kl=[1.0] * 5 + [20.0] * 5, stop_rate=[1.0] * 6 + [0.0] * 4)
    found = [(alarm.step, alarm.name) for step, line in enumerate(lines, 1) for alarm in watch.look(step, line)]
    assert found == [(8, "kl-runaway"), (8, "stop-rate-falling")]
    assert watch.holding == {"kl-runaway", "stop-rate-falling"}
    assert watch.is_alarmed


@pytest.mark.parametrize("cut", range(len(UP_AND_DOWN) + 1))
def test_a_resumed_run_warns_as_one_that_was_never_stopped(tmp_path: Path, cut: int) -> None:
    """Killed after any step: what is read back from metrics.jsonl, NaN included, leads to the same warnings."""
    lines: Lines = [{"step": step, "kl": kl, "stop_rate": math.nan} for step, kl in enumerate(UP_AND_DOWN, start=1)]
    live = Watch()
    alarms = [alarm for line in lines for alarm in live.look(line["step"], line)]

    with RunFolder.create(tmp_path / "run", {}) as folder:
        for line in lines[:cut]:
            folder.append_metrics(line)
        resumed = Watch()
        resumed.look(1, {"kl": 9.0})  # what stands there before is forgotten
        resumed.replay(folder.read_metrics())
    later = [alarm for line in lines[cut:] for alarm in resumed.look(line["step"], line)]
    assert later == [alarm for alarm in alarms if alarm.step > cut]
    assert resumed.holding == live.holding
    assert json.dumps(resumed.history) == json.dumps(live.history)


def test_what_stops_a_run() -> None:
    alarm = Alarm(3, "kl-runaway", "far away")
    assert Watch(("kl-runaway",)).stops(alarm)
    assert Watch(("stop-rate-falling", "kl-runaway")).stops(alarm)
    assert Watch(("any",)).stops(alarm)
    assert not Watch(("stop-rate-falling",)).stops(alarm)
    assert not Watch().stops(alarm)


def test_an_unknown_name_names_the_nearest() -> None:
    check_stop_on((*RULES, "any"))
    check_stop_on(())
    known = ", ".join((*RULES, "any"))
    for name, nearest in (("kl_runaway", "kl-runaway"), ("length", "length-explains-reward"), ("all", "any")):
        message = f"--stop-on is '{name}'; did you mean '{nearest}'? There are: {known}"
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
            check_stop_on(("any", name))


# docs/warnings.md ----------------------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "warnings.md"


@pytest.mark.parametrize("name", RULES)
def test_every_warning_is_explained(name: str) -> None:
    """A row of the table with name, rule, why and what to do."""
    (row,) = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` |")]
    assert all(len(cell.strip()) > 10 for cell in row.strip("|").split("|")[1:])
    assert row.count("|") == 5


def test_the_page_has_the_constants() -> None:
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"mean of the last {RECENT} steps, **at the start** that of the first {BASELINE};" in page
    assert f"before the {RECENT + BASELINE}th step" in page
    assert f"over the last {TREND} steps" in page
    assert set(re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)) == set(RULES)
