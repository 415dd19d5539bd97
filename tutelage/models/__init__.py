"""Models: find, load, verify, adapt and save them, reward models too; the starter models.

Importing this is free until a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "LoraConfig": "adapt",
    "add_lora": "adapt",
    "merge_lora": "adapt",
    "is_reward_model": "adapt",
    "read_ensemble": "ensemble",
    "save_ensemble": "ensemble",
    "ModelInfo": "find",
    "ResolvedModel": "find",
    "list_models": "find",
    "resolve_model": "find",
    "Loaded": "load",
    "load_model": "load",
    "load_reward_model": "reward",
    "score_head": "reward",
    "check_output_name": "save",
    "save_model": "save",
    "ensure_starter": "starter",
    "end_of_turn_id": "template",
    "ensure_chat_template": "template",
    "ensure_pad_token": "template",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
