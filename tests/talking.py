"""Workspaces with tiny models that can be talked to, for the tests of `serve`, of the chat's API and of its page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiny import tiny_folder, tiny_tokenizer

from tutelage.models.folder import ORIGIN_FILE


def add_model(workspace: Path, name: str, *, origin: Mapping[str, Any] | None = None, **overrides: Any) -> Path:
    """A tiny random model of the workspace, which writes nonsense until it is told to stop."""
    folder = tiny_folder(workspace / "models", "llama", name=name, **overrides)
    if origin is not None:
        (folder / ORIGIN_FILE).write_text(json.dumps(dict(origin)), encoding="utf-8")
    return folder


def num_tokens(text: str) -> int:
    """How many tokens a text has for these models."""
    return len(tiny_tokenizer("llama")(text, add_special_tokens=False)["input_ids"])
