"""What a method is, and the registry that finds one by name, by file or by entry point.

A method turns records into token trees and logprobs into a loss. It never sees padding, devices, packing,
ranks, checkpoints or loggers. A loss is a **sum and its weight**: the loop divides by the weight of the whole
global step, so accumulation and data parallelism never change a result.
"""

from __future__ import annotations

import difflib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor

from tutelage.engine.tree import Tree
from tutelage.errors import ConfigError


class Loss(NamedTuple):
    """A sum, what to divide it by, and metrics as (sum, weight) pairs that are averaged the same way."""

    total: Tensor
    """0-dim, differentiable: the sum over the batch."""
    weight: float
    """What the sum over the global step is divided by: tokens, pairs, prompts …"""
    metrics: Mapping[str, tuple[float, float]] = {}


@dataclass(frozen=True, slots=True, eq=False)
class LossBatch:
    """What a loss sees: logprobs of the trained tokens and which sequence and tree each belongs to."""

    logprobs: Tensor
    """`(num_targets,)` fp32, current policy, differentiable."""
    sequence_index: Tensor
    """`(num_targets,)`"""
    tree_index: Tensor
    """`(num_sequences,)`"""
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    """Whatever the method prepared for each target or sequence, by name."""

    def sum_by_sequence(self, values: Tensor) -> Tensor:
        """`(num_targets,)` → `(num_sequences,)` sums."""
        return values.new_zeros(len(self.tree_index)).index_add(0, self.sequence_index, values)


class ChatRenderer(Protocol):
    """Turns a conversation's messages into rendered sequences with the run's tokenizer."""

    def __call__(self, record: Any) -> list[Any]:
        """Rendered sequences (`ids`, `mask`) of one record."""


class Method(Protocol):
    """The surface of an offline method."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """One line for `tutelage methods`."""
    learning_rate: ClassVar[float]
    """Default peak learning rate for full fine-tuning; LoRA uses ten times as much."""

    def read(self, source: Any) -> Sequence[Any]:
        """Records of the kind the method learns from."""

    def trees(self, record: Any, render: ChatRenderer) -> list[Tree]:
        """The token trees of one record."""

    def loss(self, batch: LossBatch) -> Loss:
        """Pure: logprobs in, sum and weight out."""


METHODS: dict[str, type[Any]] = {}


def method(name: str) -> Callable[[type[Any]], type[Any]]:
    """Register a method class under `name`."""

    def register(cls: type[Any]) -> type[Any]:
        cls.name = name
        METHODS[name] = cls
        return cls

    return register


def find_method(name: str) -> type[Any]:
    """The method called `name`, or the one defined in a file `./my_method.py`.

    Raises ConfigError with the nearest known name, or for a file that registers none or several.
    """
    if name.endswith(".py"):
        return _method_in_file(Path(name))
    import tutelage.methods.sft  # noqa: F401  (registers itself)

    if name not in METHODS:
        for entry in entry_points(group="tutelage.methods"):
            if entry.name == name:
                entry.load()
    if name not in METHODS:
        known = sorted({*METHODS, *(entry.name for entry in entry_points(group="tutelage.methods"))})
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        raise ConfigError(f"unknown method '{name}'; did you mean '{nearest[0]}'? There are: {', '.join(known)}")
    return METHODS[name]


def _method_in_file(path: Path) -> type[Any]:
    if not path.is_file():
        raise ConfigError(f"there is no method file {path}; check the path")
    before = dict(METHODS)
    name = f"tutelage_method_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    # Of this file and of this time: it may import a method to build on, and a notebook runs it again after an edit.
    own = [cls for known, cls in METHODS.items() if cls is not before.get(known) and cls.__module__ == name]
    if len(own) != 1:
        raise ConfigError(f'{path} registers {len(own)} methods; it needs exactly one class under @method("name")')
    return own[0]
