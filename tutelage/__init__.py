"""Tutelage: post-train language models under human tutelage. `import tutelage` is cheap; torch loads on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tutelage.train.api import Run
    from tutelage.train.api import train_from_python as train
else:
    from tutelage import train  # the package, which can be called; it imports nothing heavy by itself

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "train"]

_WHERE = {"Run": ("tutelage.train.api", "Run")}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'tutelage' has no attribute '{name}'")
    from importlib import import_module

    module, attribute = _WHERE[name]
    return getattr(import_module(module), attribute)
