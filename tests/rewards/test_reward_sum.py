"""Sums of rewards: weights, answers that cannot be scored, numbers that are none, the spread of an ensemble."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from asked import answer_to

from tutelage.errors import TrainingError
from tutelage.rewards.base import Part, RewardSum
from tutelage.types import Answer, Message, Prompt

ANSWERS = [answer_to("a"), answer_to("b", line=2)]


@dataclass
class Fixed:
    name: str
    scores: list[float | None]

    def score(self, answers):
        return self.scores


@dataclass
class Spread(Fixed):
    found: list[float | None] | None = field(default=None)

    def spreads(self):
        return self.found


def test_the_total_is_the_weighted_sum():
    both = RewardSum((Part(Fixed("a", [1.0, 2.0]), 2.0), Part(Fixed("b", [10.0, -4.0]), -0.5)))
    one, other = both.judge(ANSWERS)
    assert (one.total, other.total) == (2 * 1.0 - 0.5 * 10.0, 2 * 2.0 + 0.5 * 4.0)
    assert other.components == {"a": 2.0, "b": -4.0}
    assert (one.spread, other.spread) == (None, None)


def test_an_answer_that_a_part_cannot_score_has_no_total():
    one, other = RewardSum((Part(Fixed("a", [1.0, 2.0])), Part(Fixed("b", [None, 3.0])))).judge(ANSWERS)
    assert one.total is None
    assert one.components == {"a": 1.0}
    assert other.total == 5.0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_none_stops_and_names_all(value):
    prompt = Prompt((Message("system", "Be good."), Message("user", "Why? " * 40)), id="q7")
    answers = [*ANSWERS[:1], Answer(prompt, "y" * 200, 9, stopped=True)]
    with pytest.raises(TrainingError) as error:
        RewardSum((Part(Fixed("a", [1.0, 2.0])), Part(Fixed("rm", [0.0, value])))).judge(answers)
    why = ("Why? " * 40)[:79] + "…"
    assert str(error.value) == (
        f"reward 'rm' is {value} for q7, prompt '{why}', answer '{'y' * 79}…'; "
        "mend the reward, or leave such answers out by returning None"
    )


def test_the_spread_is_that_of_the_first_ensemble():
    lone, first, second = Spread("lone", [1.0, 1.0]), Spread("e", [1.0, None], [0.5, None]), Spread("f", [1, 1], [9, 9])
    judged = RewardSum((Part(Fixed("a", [0.0, 0.0])), Part(lone), Part(first), Part(second))).judge(ANSWERS)
    assert [one.spread for one in judged] == [0.5, None]
