"""Checks of option values that several methods share. Leaves out their types, which the command line checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tutelage.errors import ConfigError


def check_positive(**options: float) -> None:
    """Raises ConfigError for an option that is not a number above 0."""
    for name, value in options.items():
        if not 0 < value < float("inf"):
            raise ConfigError(f"{_option(name)} is {value}; it must be a number above 0")


def check_not_negative(**options: float) -> None:
    """Raises ConfigError for an option that is not a number of at least 0."""
    for name, value in options.items():
        if not 0 <= value < float("inf"):
            raise ConfigError(f"{_option(name)} is {value}; it must be a number of at least 0")


def check_flip_rate(**options: float) -> None:
    """Raises ConfigError for a share of wrong labels that is not between 0 and one half."""
    for name, value in options.items():
        if not 0 <= value < 0.5:
            raise ConfigError(
                f"{_option(name)} is {value}; it must be at least 0 and below 0.5, where labels say nothing"
            )


def check_unused(method: Any, names: Sequence[str]) -> None:
    """Raises ConfigError where one of these options of a method stands at something other than its default."""
    for item in dataclasses.fields(method):
        value = getattr(method, item.name)
        if item.name in names and value != item.default:
            raise ConfigError(f"{_option(item.name)} is {value}; {method.name} has no use for it, so leave it out")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
