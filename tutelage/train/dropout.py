"""Turn off a model's own dropout before training; LoRA's is an option of the run and stays.

Current language models are trained without dropout, preference and policy losses need the same logprobs twice, and tree
attention computes none. Leaves out dropout in heads that a language model does not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

_OTHER_HEADS = ("classifier", "summary")


def disable_dropout(model: nn.Module) -> dict[str, float]:
    """Set every dropout of `model` to 0 in place, in its modules and its config, but not that of LoRA adapters.

    Returns what was above 0, by its name in the config (or the module's, where no config has it).
    """
    found: dict[str, float] = {}
    for path, module in model.named_modules():
        if "lora_" not in path:
            found |= dict(_turn_off(vars(module)))
            if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
                found[path.rpartition(".")[2]], module.p = module.p, 0.0
    config: Any = model.config
    parts = [config, *(value for value in vars(config).values() if hasattr(value, "to_diff_dict"))]
    # Some models read the config in their forward pass. Its names are also those that a user knows.
    return {name: rate for part in parts for name, rate in _turn_off(vars(part))} or found


def _turn_off(attributes: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Zero the dropout rates among an object's attributes; gives those that were above 0."""
    for name, value in attributes.items():
        is_rate = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
        if is_rate and "drop" in name and not name.startswith(_OTHER_HEADS):
            attributes[name] = 0.0
            yield name, float(value)


def dropout_line(turned_off: dict[str, float]) -> str:
    """The line that says what `disable_dropout` did."""
    rates = ", ".join(f"{name} {rate:g}" for name, rate in turned_off.items())
    return f"the model's own dropout is turned off for training ({rates})"
