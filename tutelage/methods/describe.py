"""What there is to know of a method, for people: the table of all of them, and one with its formula and options.

Everything is read from the method itself, so a method of one's own is told about just as well. Leaves out how to choose
one (`docs/methods.md`).
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import RenderableType

FIRST = ("sft", "reward", "dpo", "kto")
"""Shown before the others."""


class Option(NamedTuple):
    """An option as the command line spells it."""

    name: str
    values: str
    default: str
    help: str


def options_of(cls: type[Any]) -> list[Option]:
    """The options of a method: its fields, those of its own first, and none that it has no use for."""
    hints, docs = typing.get_type_hints(cls), attribute_docs(cls)
    own = set(inspect.get_annotations(cls))
    fields = (item for item in dataclasses.fields(cls) if item.name not in getattr(cls, "unused", ()))
    items = sorted(fields, key=lambda item: item.name not in own)
    return [
        Option(
            "--" + item.name.replace("_", "-"),
            _values(hints[item.name]),
            _default(item.default),
            docs.get(item.name, ""),
        )
        for item in items
    ]


def attribute_docs(cls: type[Any]) -> dict[str, str]:
    """The string below each field, in the class and those it builds on; Python itself forgets them."""
    docs: dict[str, str] = {}
    for part in reversed(cls.__mro__[:-1]):
        try:
            (body,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
        except (OSError, TypeError, SyntaxError):
            continue
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for field, below in itertools.pairwise(statements):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = below.value if isinstance(below, ast.Expr) else None
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    docs[field.target.id] = " ".join(text.value.split())
    return docs


def _values(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(typing.get_args(hint))
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return _values(next(part for part in typing.get_args(hint) if part is not type(None)))
    if typing.get_origin(hint) is tuple:
        return "text, one or several"
    return {float: "number", int: "whole number", bool: "yes or no", str: "text"}.get(hint, str(hint))


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value in (None, ()) else f"{value:g}" if isinstance(value, float) else str(value)


def method_table(methods: Mapping[str, type[Any]]) -> RenderableType:
    """A row a method: what it learns from, whether it needs a reference, what it is, and its paper."""
    from rich.table import Table

    table = Table("method", "learns from", "reference", "what", "paper", box=None, header_style="bold")
    for name in sorted(methods, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name)):
        cls = methods[name]
        reference = "yes" if cls().needs_reference else ""
        table.add_row(name, getattr(cls, "learns_from", ""), reference, cls.summary, cls.paper)
    return table


def describe_method(cls: type[Any]) -> RenderableType:
    """One method: formula, paper, data, defaults and options."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts = Table(box=None, show_header=False)
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    reference = "needed: --ref-model, or the model that training starts from" if cls().needs_reference else "none"
    if reference == "none" and hasattr(cls, "measure_kl"):
        above_0 = "" if "kl_coef" in cls.unused else "--kl-coef is above 0 or "
        reference = f"none, unless {above_0}--measure-kl is given"
    for name, value in (
        ("loss", cls.formula), ("paper", cls.paper), ("learns from", getattr(cls, "learns_from", "")),
        ("reference", reference), ("epochs", str(cls.epochs)),
        ("learning rate", f"{cls.learning_rate:g}, with LoRA {10 * cls.learning_rate:g}"),
    ):  # fmt: skip
        facts.add_row(name, Text(value))
    options = Table("option", "values", "default", "what it does", box=None, header_style="bold")
    for option in options_of(cls):
        options.add_row(option.name, Text(option.values), option.default, Text(option.help))
    title = Text.assemble((cls.name, "bold"), f": {cls.summary}")
    return Group(title, "", facts, "", options, "", f"All options: tutelage train {cls.name} --help")
