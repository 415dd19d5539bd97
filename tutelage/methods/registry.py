"""What a method is, and the registry that finds one by name, by file or by entry point.

A method is a frozen dataclass whose fields are its options. It turns records into token trees, and what the model says
of them into a loss. It never sees padding, devices, packing, ranks, checkpoints or loggers. A loss is a **sum and its
weight**: the loop divides by the weight of the whole global step, so accumulation and data parallelism never change a
result. Leaves out: what comparisons have in common (`preference`), and telling about methods (`describe`).
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import pkgutil
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from torch import Tensor

from tutelage.data.render import Rendered, RenderedAnswers
from tutelage.engine.tree import Tree
from tutelage.errors import ConfigError, DataError
from tutelage.own_code import run_file
from tutelage.types import Conversation, Message, Source


class Loss(NamedTuple):
    """A sum, what to divide it by, and metrics as (sum, weight) pairs that are averaged the same way."""

    total: Tensor
    """0-dim, differentiable: the sum over the batch."""
    weight: float
    """What the sum over the global step is divided by: tokens, pairs, prompts …"""
    metrics: Mapping[str, tuple[float, float]] = {}


@dataclass(frozen=True, slots=True, eq=False)
class LossBatch:
    """What a loss sees: what the model says of the trained tokens or sequences, and what the method put beside them."""

    logprobs: Tensor
    """`(num_targets,)` fp32, current policy, differentiable; empty where the method sees scores."""
    sequence_index: Tensor
    """`(num_targets,)`"""
    tree_index: Tensor
    """`(num_sequences,)`"""
    ref_logprobs: Tensor | None = None
    """`(num_targets,)` fp32, the reference's, where the method needs them."""
    scores: Tensor | None = None
    """`(num_sequences,)` fp32, a reward model's, differentiable, where the method sees scores."""
    values: Mapping[str, Tensor] = field(default_factory=dict)
    """What the method's trees say of each sequence, by name, `(num_sequences,)` each."""
    tokens: Mapping[str, Tensor] = field(default_factory=dict)
    """What is known of each trained token, by name, `(num_targets,)` each: advantages, older logprobs …"""
    context: float = 0.0
    """What the method's `context` gave for the whole step."""

    def sum_by_sequence(self, values: Tensor) -> Tensor:
        """`(num_targets,)` → `(num_sequences,)` sums."""
        return values.new_zeros(len(self.tree_index)).index_add(0, self.sequence_index, values)

    def tokens_by_sequence(self) -> Tensor:
        """`(num_sequences,)` number of trained tokens, fp32."""
        return self.sum_by_sequence(self.logprobs.new_ones(len(self.sequence_index)))


class Renderer(Protocol):
    """Turns messages into token ids with the run's tokenizer."""

    def conversation(self, record: Conversation) -> list[Rendered]:
        """Rendered sequences of a conversation, every assistant turn trained."""

    def answers(
        self, messages: Sequence[Message], answers: Sequence[Sequence[Message]], source: Source | None
    ) -> RenderedAnswers:
        """The prompt's ids once, and those of each answer after it."""


@dataclass(frozen=True)
class Reading:
    """How records are to be read, and where to say what was left out."""

    on_bad: Literal["error", "drop"] = "error"
    say: Callable[[str], None] = lambda _: None

    def say_dropped(self, dropped: Sequence[DataError]) -> None:
        """One line a bad record that was left out, for the first few of them."""
        for error in dropped[:3]:
            self.say(f"left out: {error}")
        if len(dropped) > 3:
            self.say(f"… and {len(dropped) - 3} more bad records; `tutelage check` lists them all")


class Method(Protocol):
    """The surface of an offline method: a frozen dataclass, its fields the options, their docstrings the help."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """One line for `tutelage methods`."""
    paper: ClassVar[str]
    """Where it comes from, e.g. `arXiv:2305.18290`."""
    formula: ClassVar[str]
    """The loss in one line, for `tutelage methods NAME`."""
    learning_rate: ClassVar[float]
    """Default peak learning rate for full fine-tuning; LoRA uses ten times as much."""
    epochs: ClassVar[int]
    """Default passes over the data."""
    sees: ClassVar[Literal["logprobs", "scores"]]
    """`scores` gives the model a scalar head and trains a reward model."""

    @property
    def needs_reference(self) -> bool:
        """Whether the loss needs `ref_logprobs`."""

    def read(self, source: Any, reading: Reading) -> Sequence[Any]:
        """Records of the kind the method learns from."""

    def trees(self, record: Any, render: Renderer) -> list[Tree]:
        """The token trees of one record; none where there is nothing to learn from it."""

    def loss(self, batch: LossBatch) -> Loss:
        """Pure: what the model says in, sum and weight out."""


class NeedsContext(Protocol):
    """What a method adds when its loss needs a number of the whole step first, computed without gradient."""

    def pair_up(self, items: list[list[Tree]]) -> list[list[Tree]]:
        """The items of a data set with trees for the context added, which have the value `context` 1, others 0."""

    def context(self, batch: LossBatch) -> Loss:
        """Sum and weight over the context trees; their ratio over the whole step is `LossBatch.context`."""


METHODS: dict[str, type[Any]] = {}
_DEFAULTS: Mapping[str, Any] = {
    "summary": "", "paper": "", "formula": "", "epochs": 1, "sees": "logprobs", "needs_reference": False,
    "online": False, "save_every": 200,
}  # fmt: skip


def method(name: str) -> Callable[[type[Any]], type[Any]]:
    """Register a class under `name` and make it a frozen dataclass, whose fields are the method's options."""

    def register(cls: type[Any]) -> type[Any]:
        cls = dataclass(frozen=True)(cls)
        for attribute, value in _DEFAULTS.items():
            if not hasattr(cls, attribute):
                setattr(cls, attribute, value)
        without = [item.name for item in dataclasses.fields(cls) if _has_no_default(item)]
        if without:
            raise ConfigError(f"method '{name}': its option '{without[0]}' has no default; give it one")
        if not hasattr(cls, "learning_rate"):
            raise ConfigError(f"method '{name}' has no learning_rate; give the class one, e.g. learning_rate = 1e-6")
        # Options of a base class are spelled in that class's module, where the generated __init__ would not look.
        hints = typing.get_type_hints(cls)
        cls.__init__.__annotations__ = {item.name: hints[item.name] for item in dataclasses.fields(cls)}
        cls.name = name
        METHODS[name] = cls
        return cls

    return register


def _has_no_default(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def find_method(name: str) -> type[Any]:
    """The method called `name`, or the one defined in a file `./my_method.py`.

    Raises ConfigError with the nearest known name, or for a file that registers none or several.
    """
    if name.endswith(".py"):
        return _method_in_file(Path(name))
    _import_own()
    offered = {entry.name: entry for entry in entry_points(group="tutelage.methods")}
    if name not in METHODS and name in offered:
        offered[name].load()
    if name not in METHODS:
        known = sorted({*METHODS, *offered})
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        raise ConfigError(f"unknown method '{name}'; did you mean '{nearest[0]}'? There are: {', '.join(known)}")
    return METHODS[name]


def all_methods() -> dict[str, type[Any]]:
    """Every method of this package, and of the packages that offer some by the entry point `tutelage.methods`."""
    _import_own()
    for entry in entry_points(group="tutelage.methods"):
        if entry.name not in METHODS:
            entry.load()
    return dict(sorted(METHODS.items()))


def _import_own() -> None:
    import tutelage.methods

    for module in pkgutil.iter_modules(tutelage.methods.__path__):
        importlib.import_module(f"tutelage.methods.{module.name}")


def _method_in_file(path: Path) -> type[Any]:
    if not path.is_file():
        raise ConfigError(f"there is no method file {path}; check the path")
    before = dict(METHODS)
    name = f"tutelage_method_{path.stem}"
    run_file(path, name)
    # Of this file and of this time: it may import a method to build on, and a notebook runs it again after an edit.
    own = [cls for known, cls in METHODS.items() if cls is not before.get(known) and cls.__module__ == name]
    if len(own) != 1:
        raise ConfigError(f'{path} registers {len(own)} methods; it needs exactly one class under @method("name")')
    return own[0]
