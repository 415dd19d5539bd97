"""What every kind of loop is made of, once options, model and data have been looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tutelage.engine.forward import TreeEngine
from tutelage.train.config import TrainConfig
from tutelage.train.optimizer import MasterAdamW


@dataclass(frozen=True)
class Setting:
    """A run that is about to begin."""

    config: TrainConfig
    method: Any
    engine: TreeEngine
    optimizer: MasterAdamW
    dataset: Any
    """A `Dataset`, or a `PromptSet` for methods that sample."""
    learning_rate: float
    tokenizer: Any
    say: Callable[[str], None]
    quiet: bool
