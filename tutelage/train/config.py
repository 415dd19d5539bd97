"""Every option of a training run: one frozen dataclass whose attribute docstrings are the command line's help.

Free of torch, so that help and mistakes cost nothing. `build_config` makes one from a mapping (a recipe, keyword
arguments, a run's config.json) and names the nearest key for one it does not know.
Leaves out options of a single method: those stand in the method's file.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tutelage.errors import ConfigError
from tutelage.models.adapt import LoraConfig


@dataclass(frozen=True)
class TrainConfig:
    """Options of `tutelage train`."""

    model: str
    """Model to start from: a starter model, a folder, a hub id or a name in the workspace."""
    out: str
    """Name of the new model and of its run in the workspace."""
    data: str | None = None
    """Data file, dataset (curated@3, labels:PROJECT) or `starter`; methods that sample take --prompts instead."""
    workspace: Path = Path("workspace")
    """Folder that holds models/ and runs/."""
    epochs: int | None = None
    """Passes over the data; the method's default if not given."""
    max_steps: int = 0
    """Stop after this many steps whatever the epochs say; 0 = no limit."""
    batch_size: int = 16
    """Records a step: conversations, comparisons, ratings."""
    learning_rate: float | None = None
    """Peak learning rate; the method's default if not given (ten times that with LoRA)."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Course of the learning rate after the warm-up."""
    warmup_frac: float = 0.05
    """Share of the steps in which the learning rate rises to its peak."""
    min_learning_rate_frac: float = 0.0
    """Where the decay ends, as a share of the peak."""
    weight_decay: float = 0.0
    """AdamW's decay of weight matrices; biases, norms and embeddings are never decayed."""
    beta1: float = 0.9
    """AdamW's decay rate of the mean gradient."""
    beta2: float = 0.999
    """AdamW's decay rate of the squared gradient."""
    adam_eps: float = 1e-8
    """AdamW's epsilon."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm; 0 = never."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """What is computed in; master weights, gradients and moments are fp32 either way."""
    gradient_checkpointing: bool = False
    """Compute activations twice to hold fewer of them: slower, less memory."""
    max_tokens: int = 2048
    """Longest conversation, an answer included, in tokens; also limited by the model's context."""
    too_long: Literal["error", "drop", "cut"] = "error"
    """What to do with a longer conversation: stop, leave it out, or cut its end off."""
    bad_records: Literal["error", "drop"] = "error"
    """What to do with a record that cannot be learned from: stop, or leave it out and say so."""
    row_tokens: int = 0
    """Tokens computed at once, less for less memory; changes no result. 0 = what suits model and device."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Low-rank adapters instead of full fine-tuning."""
    merge_lora: bool = False
    """Save the model with the adapter merged in, instead of the adapter alone."""
    val_data: str | None = None
    """Data file for validation."""
    val_frac: float = 0.0
    """Share of the data held out for validation when there is no --val-data."""
    split_seed: int | None = None
    """Seed of what is held out by --val-frac; --seed if not given."""
    eval_every: int = 0
    """Validate every so many steps; 0 = at the end of each epoch. Needs validation data."""
    patience: int = 0
    """Stop after this many validations without a better loss and keep the best weights; 0 = never."""
    save_every: int | None = None
    """Write a checkpoint every so many steps; 0 = never; the method's default if not given."""
    keep_last: int = 2
    """Checkpoints to keep."""
    num_samples: int = 4
    """Sealed prompts answered at each validation and at the end, into samples.jsonl; 0 = none."""
    sample_tokens: int = 128
    """Longest sampled answer, in tokens."""
    seed: int = 0
    """Seed of the data order and fresh weights, and of the validation split unless --split-seed is given."""
    tracker: tuple[str, ...] = ()
    """Also log to: tensorboard, wandb, mlflow, trackio, or your own."""
    trust_remote_code: bool = False
    """Run Python code that a model folder brings along. Off unless you know that code."""
    resume: bool = False
    """Go on with the run of this name from its newest whole checkpoint."""

    @property
    def checkpoint_every(self) -> int:
        """Steps between checkpoints, 0 for never."""
        return 200 if self.save_every is None else self.save_every

    def __post_init__(self) -> None:
        for name, lowest in _LOWEST.items():
            value = getattr(self, name)
            if value is not None and not lowest <= value < _TOO_HIGH:
                limit = f"at least {lowest}" if value < lowest else "a finite number below 2^63"
                raise ConfigError(f"{option(name)} is {value}; it must be {limit}")
        for name in ("warmup_frac", "val_frac", "min_learning_rate_frac", "beta1", "beta2"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ConfigError(f"{option(name)} is {value}; it must be at least 0 and below 1")
        for name in ("learning_rate", "adam_eps"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ConfigError(f"{option(name)} is {value}; it must be a number above 0")
        if (self.patience or self.eval_every) and not (self.val_data or self.val_frac):
            asked = "--patience" if self.patience else "--eval-every"
            raise ConfigError(f"{asked} needs validation data; give --val-data FILE or --val-frac 0.1")


_LOWEST = {
    "epochs": 1, "max_steps": 0, "batch_size": 1, "weight_decay": 0, "max_grad_norm": 0, "max_tokens": 2,
    "row_tokens": 0, "eval_every": 0, "patience": 0, "save_every": 0, "keep_last": 1, "num_samples": 0,
    "sample_tokens": 1, "seed": 0, "split_seed": 0,
}  # fmt: skip
_TOO_HIGH = 2**63  # torch's seeds are 64-bit; NaN fails every comparison and so is refused as well


def option(name: str) -> str:
    """A field's name as the command line spells it."""
    return "--" + name.replace("_", "-")


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """A dataclass as one flat mapping with dotted keys; paths become text, so that JSON can hold it."""
    flat: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{prefix}{item.name}.")
        else:
            flat[prefix + item.name] = str(value) if isinstance(value, Path) else value
    return flat


def dotted(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted keys and underscores, as options are named."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        name = prefix + str(key).replace("-", "_")
        if isinstance(value, Mapping):
            flat |= dotted(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def known_keys(kind: type[Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key → type of every field, nested dataclasses included."""
    hints = typing.get_type_hints(kind)
    keys: dict[str, Any] = {}
    for item in dataclasses.fields(kind):
        name, hint = prefix + item.name, hints[item.name]
        nested = isinstance(hint, type) and dataclasses.is_dataclass(hint)
        keys |= known_keys(hint, f"{name}.") if nested else {name: hint}
    return keys


def unknown_key(key: str, known: typing.Iterable[str], where: str) -> ConfigError:
    """The error for a key nobody knows, naming the nearest one."""
    nearest = difflib.get_close_matches(key, list(known), n=1, cutoff=0.0)
    hint = f"did you mean '{nearest[0]}'?" if nearest else "there are no options"
    return ConfigError(f"{where}: unknown key '{key}'; {hint}")


def build_config(values: Mapping[str, Any], *, where: str = "options") -> TrainConfig:
    """A config from a (nested or dotted) mapping.

    Raises ConfigError for an unknown key, a missing one or a value of the wrong type.
    """
    flat = dotted(values)
    keys = known_keys(TrainConfig)
    checked = _checked(flat, keys, where)
    for key in ("model", "out"):
        if key not in flat:
            raise ConfigError(f"{where}: '{key}' is missing; give {option(key)}")
    lora = {key.removeprefix("lora."): value for key, value in checked.items() if key.startswith("lora.")}
    plain = {key: value for key, value in checked.items() if "." not in key}
    return TrainConfig(**plain, lora=LoraConfig(**lora))


def build_options(method: type[Any], values: Mapping[str, Any], *, where: str = "options") -> Any:
    """A method with these options; raises ConfigError as `build_config` does."""
    return method(**_checked(values, known_keys(method), where))


def build_run(method: type[Any], values: Mapping[str, Any], *, where: str = "options") -> tuple[TrainConfig, Any]:
    """(config, method) from one mapping that holds the options of both."""
    flat, of_method = dotted(values), known_keys(method)
    known = {**known_keys(TrainConfig), **of_method}
    for key in flat:
        if key not in known:
            raise unknown_key(key, known, where)
    config = build_config({key: value for key, value in flat.items() if key not in of_method}, where=where)
    return config, build_options(method, {key: flat[key] for key in flat if key in of_method}, where=where)


def _checked(flat: Mapping[str, Any], keys: Mapping[str, Any], where: str) -> dict[str, Any]:
    for key in flat:
        if key not in keys:
            raise unknown_key(key, keys, where)
    return {key: _convert(key, value, keys[key], where) for key, value in flat.items()}


def _convert(key: str, value: Any, hint: Any, where: str) -> Any:
    """The value as the field's type; YAML reads 1e-5 as text, and JSON knows no tuples and paths."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    if value is None and type(None) in options:
        return None
    kind = options[0]
    try:
        return _as_kind(value, kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{where}: '{key}' is {value!r}; it must be {_kind_name(kind)}") from error


def _as_kind(value: Any, kind: Any) -> Any:
    if typing.get_origin(kind) is Literal:
        if value not in typing.get_args(kind):
            raise ValueError
        return value
    if typing.get_origin(kind) is tuple:
        return (value,) if isinstance(value, str) else tuple(str(item) for item in value)
    if isinstance(value, bool) is not (kind is bool):
        raise ValueError
    if kind is str and not isinstance(value, (str, Path)):
        raise ValueError
    return _whole_number(value) if kind is int else kind(value)


def _whole_number(value: Any) -> int:
    if isinstance(value, int):
        return value
    number = float(value)
    if number != int(number):
        raise ValueError
    return int(number)


def _kind_name(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(typing.get_args(kind))
    return {bool: "true or false", int: "a whole number", float: "a number", Path: "a path", str: "text"}.get(
        kind, "a list of names"
    )
