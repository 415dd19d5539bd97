"""One file a method, the registry that finds them, and what a method of your own builds on.

The names below are imported on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tutelage.methods.policy import GroupMethod, PolicyMethod, Rollouts
    from tutelage.methods.preference import PairMethod, Pairs, ReferencePairMethod, Side
    from tutelage.methods.registry import Loss, LossBatch, method

__all__ = [
    "GroupMethod", "Loss", "LossBatch", "PairMethod", "Pairs", "PolicyMethod", "ReferencePairMethod", "Rollouts",
    "Side", "method",
]  # fmt: skip

_HOMES = dict.fromkeys(("PairMethod", "Pairs", "ReferencePairMethod", "Side"), "preference")
_HOMES |= dict.fromkeys(("GroupMethod", "PolicyMethod", "Rollouts"), "policy")
_HOMES |= dict.fromkeys(("Loss", "LossBatch", "method"), "registry")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
