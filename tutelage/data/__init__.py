"""Data: files of every common format read as conversations, verdicts and prompts, and checked for what spoils training.

The names below are imported on first use, so that importing the package costs nothing.
Leaves out: rendering conversations as token ids (`tutelage.data.render`), which needs a tokenizer.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tutelage.data.check import check_file
    from tutelage.data.load import load_comparisons, load_conversations, load_general_texts, load_prompts, load_ratings
    from tutelage.data.report import CheckReport, Finding

__all__ = [
    "CheckReport",
    "Finding",
    "check_file",
    "load_comparisons",
    "load_conversations",
    "load_general_texts",
    "load_prompts",
    "load_ratings",
]

_HOMES = {
    "CheckReport": "report",
    "Finding": "report",
    "check_file": "check",
    "load_comparisons": "load",
    "load_conversations": "load",
    "load_general_texts": "load",
    "load_prompts": "load",
    "load_ratings": "load",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
