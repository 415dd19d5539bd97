"""What can be asked of a run in a form: the options of a method as data, made from its dataclass and `TrainConfig`.

Every option has a kind, a default and a help text; what a browser may not ask for (`OFF`) is not among them.
Leaves out: what of it is allowed in the end (`rules`), and drawing the form.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal

from tutelage.errors import NotFoundError
from tutelage.methods.describe import attribute_docs
from tutelage.runs import words
from tutelage.train.config import TrainConfig

Kind = Literal["model", "data", "prompts", "reward", "names", "name", "text", "whole", "number", "yes", "choice"]

OFF = {
    "workspace": "is where the studio's workspace is",
    "resume": "is what the button Resume does",
    "tracker": "may send what is trained to another service",
    "trust_remote_code": "runs Python code that a model brings along",
}
"""Options that only the terminal has, and why."""
SPECIAL: Mapping[str, Kind] = {
    "model": "model", "ref_model": "model", "teacher": "model", "critic": "model", "out": "name",
    "data": "data", "val_data": "data", "ptx_data": "data", "prompts": "prompts", "reward": "reward",
    "stop_on": "names", "lora.target_modules": "text",
}  # fmt: skip
"""Texts that are harmless once they are checked. A method's other texts could name a file, so none is offered."""
NOT_ONLINE = {"data", "batch_size", "val_data", "val_frac", "split_seed", "eval_every", "patience"}
"""Options of a run that mean nothing to a method that samples."""
UNITS = {"_tokens": "tokens", "_seconds": "seconds", "_every": "steps", "_steps": "steps", "_frac": "share, 0 to 1"}
REQUIRED = {"model", "data", "prompts", "reward", "teacher", "out"}


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One option."""

    name: str
    label: str
    term: str
    """The field's own word for it, where the label is a plainer one."""
    help: str
    kind: Kind
    default: Any
    choices: tuple[str, ...]
    unit: str
    basic: bool
    required: bool
    own: bool
    """Whether it is the method's, and not every run's."""


@dataclasses.dataclass(frozen=True, slots=True)
class MethodForm:
    """A method and its options, those to show first in front."""

    name: str
    group: str
    plain: str
    summary: str
    formula: str
    paper: str
    learns_from: str
    online: bool
    fields: tuple[Field, ...]


@lru_cache(maxsize=1)
def method_classes() -> Mapping[str, type[Any]]:
    """Every method that is installed; the first call imports torch."""
    from tutelage.methods.registry import all_methods

    return all_methods()


def method_class(name: str) -> type[Any]:
    """The method called `name`; a file of somebody's own is never one. Raises `NotFoundError`."""
    found = method_classes().get(name)
    if found is None:
        raise NotFoundError(f"there is no method '{name}'; `GET /api/methods` lists them")
    return found


def method_names() -> list[str]:
    """The methods by group, the best known first in each."""
    from tutelage.methods.describe import FIRST

    groups, known = [group.name for group in words.GROUPS], [*FIRST, *words.METHODS]
    place = {name: number for number, name in reversed(list(enumerate(known)))}
    classes = method_classes()
    return sorted(classes, key=lambda name: (groups.index(words.group_of(classes[name])), place.get(name, 999), name))


@lru_cache(maxsize=200)
def method_form(name: str) -> MethodForm:
    """The form of a method. Raises `NotFoundError`."""
    cls = method_class(name)
    fields = [*_fields_of_run(cls), *_fields_of_method(cls)]
    return MethodForm(
        name, words.group_of(cls), words.plain(name, cls), cls.summary, cls.formula, cls.paper,
        getattr(cls, "learns_from", ""), bool(cls.online), tuple(sorted(fields, key=_place)),
    )  # fmt: skip


def _place(field: Field) -> tuple[int, bool]:
    return (words.BASIC.index(field.name) if field.basic else len(words.BASIC), not field.own)


def _fields_of_run(cls: type[Any]) -> Iterator[Field]:
    own = {item.name for item in dataclasses.fields(cls)}
    usual = {"epochs": cls.epochs, "learning_rate": cls.learning_rate, "save_every": cls.save_every}
    for field in _fields(TrainConfig, own=False):
        if field.name in own or (cls.online and field.name in NOT_ONLINE):
            continue
        yield dataclasses.replace(field, default=usual.get(field.name, field.default))


def _fields_of_method(cls: type[Any]) -> Iterator[Field]:
    unused = getattr(cls, "unused", ())
    return (field for field in _fields(cls, own=True) if field.name not in unused)


def _fields(kind: type[Any], own: bool, prefix: str = "") -> Iterator[Field]:
    hints, docs = typing.get_type_hints(kind), attribute_docs(kind)
    for item in dataclasses.fields(kind):
        name, hint = prefix + item.name, hints[item.name]
        if name in OFF:
            continue
        if dataclasses.is_dataclass(hint):
            yield from _fields(typing.cast(type, hint), own, f"{name}.")
        elif (kind_of_field := _kind(name, hint)) is not None:
            yield _field(item, name, hint, kind_of_field, docs.get(item.name, ""), own)


def _field(item: dataclasses.Field[Any], name: str, hint: Any, kind: Kind, help: str, own: bool) -> Field:
    label, term = words.LABELS.get(name, (_spelt_out(name), ""))
    default = None if item.default is dataclasses.MISSING else item.default
    return Field(
        name, label[:1].upper() + label[1:], term, words.HELP.get(name, help), kind,
        list(default) if isinstance(default, tuple) else default, _choices(hint) if kind == "choice" else (),
        next((unit for end, unit in UNITS.items() if name.endswith(end)), ""), name in words.BASIC,
        name in REQUIRED, own,
    )  # fmt: skip


def _spelt_out(name: str) -> str:
    """`critic_learning_rate` as words."""
    parts = name.replace("lora.", "LoRA_").split("_")
    return " ".join(words.SPELT.get(part, part) for part in parts)


def _kind(name: str, hint: Any) -> Kind | None:
    """What an option takes; None where it is not offered."""
    if name in SPECIAL:
        return SPECIAL[name]
    hint = _without_none(hint)
    if typing.get_origin(hint) is Literal:
        return "choice"
    kinds: dict[Any, Kind] = {bool: "yes", int: "whole", float: "number"}
    return kinds.get(hint)


def _choices(hint: Any) -> tuple[str, ...]:
    return tuple(str(each) for each in typing.get_args(_without_none(hint)))


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint
