"""What the benchmarks against TRL share: when its steps ended, what they cost, and how many tokens they trained.

Leaves out the trainers and their settings.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any


def watch(trainer: Any, count_trained: Callable[[Any], int]) -> tuple[list[float], list[float], list[int]]:
    """Lists that fill while TRL trains: when each step ended, its loss, and how many tokens its batch trains."""
    from transformers import TrainerCallback

    times: list[float] = []
    losses: list[float] = []
    num_trained: list[int] = []
    collate = trainer.data_collator

    def counting_collate(examples: list[Any]) -> Any:
        batch = collate(examples)
        num_trained.append(count_trained(batch))
        return batch

    class Watch(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                losses.append(logs["loss"])

    trainer.data_collator = counting_collate
    trainer.add_callback(Watch())
    return times, losses, num_trained


def gaps(times: Sequence[float]) -> list[float]:
    """Seconds between one time and the next."""
    return [end - start for start, end in itertools.pairwise(times)]
