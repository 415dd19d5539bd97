"""The learning rate of every step: a linear warm-up, then a cosine, a line or a constant.

A pure function of the step, so that a resumed run needs no scheduler state. Leaves out restarts and schedules that
react to the loss.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

from tutelage.errors import ConfigError

# Fraction of the peak above the floor that is left when `progress` (0 to 1) of the decay is behind us.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1.0 - progress,
    "constant": lambda progress: 1.0,
}


def learning_rate_at(
    step: int, *, peak: float, num_steps: int, warmup_steps: int, schedule: str, min_frac: float = 0.0
) -> float:
    """Learning rate of `step`, counted from 1 to `num_steps`; never zero, so no step is wasted.

    Warm-up: `peak * step / warmup_steps`, so the first step already learns and step `warmup_steps` has the peak (a
    warm-up of 0 or 1 steps starts at the peak). Decay: the floor `min_frac * peak` would be reached one step *after*
    the last one. Without warm-up this is exactly what `transformers.get_scheduler` gives.

    Raises ConfigError for values that fit no run, ValueError for a step outside of it.
    """
    _check(peak, num_steps, warmup_steps, schedule, min_frac)
    if not 1 <= step <= num_steps:
        raise ValueError(f"step is {step}, but steps are counted from 1 to {num_steps}")
    if step <= warmup_steps:
        return peak * step / warmup_steps
    first_peak_step = max(warmup_steps, 1)
    progress = (step - first_peak_step) / (num_steps - first_peak_step + 1)
    return peak * (min_frac + (1.0 - min_frac) * SCHEDULES[schedule](progress))


def _check(peak: float, num_steps: int, warmup_steps: int, schedule: str, min_frac: float) -> None:
    if schedule not in SCHEDULES:
        nearest = difflib.get_close_matches(schedule, SCHEDULES, n=1, cutoff=0.0)[0]
        raise ConfigError(f"unknown schedule '{schedule}'; did you mean '{nearest}'? There are: {', '.join(SCHEDULES)}")
    if not (math.isfinite(peak) and peak > 0):
        raise ConfigError(f"the learning rate is {peak}; it must be a number above 0")
    if num_steps < 1:
        raise ConfigError(f"the run has {num_steps} steps; it needs at least 1")
    if not 0 <= warmup_steps <= num_steps:
        raise ConfigError(
            f"the warm-up has {warmup_steps} steps and the run {num_steps}; "
            f"give a warm-up from 0 to {num_steps} steps, or a longer run"
        )
    if not 0 <= min_frac <= 1:
        raise ConfigError(f"the final fraction of the learning rate is {min_frac}; it must lie between 0 and 1")
