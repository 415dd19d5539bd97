"""The learning rate, step by step, with the arithmetic written out."""

import math

import pytest

from tutelage.errors import ConfigError
from tutelage.train.schedule import SCHEDULES, learning_rate_at


def rates(num_steps: int, warmup_steps: int, schedule: str, peak: float = 1.0, min_frac: float = 0.0) -> list[float]:
    return [
        learning_rate_at(
            step,
            peak=peak,
            num_steps=num_steps,
            warmup_steps=warmup_steps,
            schedule=schedule,
            min_frac=min_frac,
        )
        for step in range(1, num_steps + 1)
    ]


def test_linear_without_warmup_ends_one_step_above_zero() -> None:
    assert rates(4, 0, "linear") == [1.0, 3 / 4, 2 / 4, 1 / 4]


def test_linear_with_warmup() -> None:
    # Up in 2 steps, then 4 equal steps from the peak at step 2 to zero at step 6, one after the last.
    assert rates(5, 2, "linear", peak=8.0) == [4.0, 8.0, 6.0, 4.0, 2.0]


def test_a_warmup_of_one_step_is_none() -> None:
    for schedule in SCHEDULES:
        assert rates(5, 1, schedule) == rates(5, 0, schedule)


def test_cosine_values() -> None:
    # (1 + cos(pi * k / 4)) / 2 for k = 0 … 3.
    half_root = math.sqrt(0.5)
    assert rates(4, 0, "cosine") == pytest.approx([1.0, (1 + half_root) / 2, 0.5, (1 - half_root) / 2])


def test_constant_stays_at_the_peak_after_warmup() -> None:
    assert rates(5, 2, "constant", peak=2e-5) == pytest.approx([1e-5, 2e-5, 2e-5, 2e-5, 2e-5])


def test_min_frac_is_the_floor_of_the_decay() -> None:
    # 0.2 + 0.8 * (1, 3/4, 2/4, 1/4)
    assert rates(4, 0, "linear", min_frac=0.2) == pytest.approx([1.0, 0.8, 0.6, 0.4])
    assert rates(1000, 0, "cosine", min_frac=0.1)[-1] == pytest.approx(0.1, abs=1e-5)
    assert rates(4, 0, "linear", min_frac=1.0) == [1.0] * 4


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup_steps", [0, 1, 3, 20])
def test_no_step_is_wasted_on_zero_and_the_peak_is_reached(schedule: str, warmup_steps: int) -> None:
    values = rates(20, warmup_steps, schedule, peak=3e-4)
    assert min(values) > 0
    assert max(values) == pytest.approx(3e-4)
    assert values.index(max(values)) == max(warmup_steps, 1) - 1


def test_a_run_of_one_step_learns_at_the_peak() -> None:
    for schedule in SCHEDULES:
        assert rates(1, 0, schedule) == rates(1, 1, schedule) == [1.0]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_warmup_it_is_what_transformers_gives(schedule: str) -> None:
    import torch
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    reference = get_scheduler(schedule, optimizer, num_warmup_steps=0, num_training_steps=7)
    expected = []
    for _ in range(7):
        expected.append(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()
    assert rates(7, 0, schedule, peak=0.5) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"warmup_steps": 11},
            "the warm-up has 11 steps and the run 10; give a warm-up from 0 to 10 steps, or a longer run",
        ),
        (
            {"warmup_steps": -1},
            "the warm-up has -1 steps and the run 10; give a warm-up from 0 to 10 steps, or a longer run",
        ),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean 'cosine'? There are: cosine, linear, constant"),
        ({"peak": 0.0}, "the learning rate is 0.0; it must be a number above 0"),
        ({"peak": math.nan}, "the learning rate is nan; it must be a number above 0"),
        ({"num_steps": 0}, "the run has 0 steps; it needs at least 1"),
        ({"min_frac": 1.5}, "the final fraction of the learning rate is 1.5; it must lie between 0 and 1"),
    ],
)
def test_wrong_values(wrong: dict[str, float | str], message: str) -> None:
    options = {"peak": 1.0, "num_steps": 10, "warmup_steps": 2, "schedule": "linear"} | wrong
    with pytest.raises(ConfigError) as caught:
        learning_rate_at(1, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("step", [0, 11])
def test_a_step_outside_the_run_is_a_programming_error(step: int) -> None:
    with pytest.raises(ValueError, match=f"step is {step}, but steps are counted from 1 to 10"):
        learning_rate_at(step, peak=1.0, num_steps=10, warmup_steps=0, schedule="linear")
