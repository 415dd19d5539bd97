"""What was found out about whole families of models, remembered on the disk: a probe of a large one takes seconds.

An entry holds for one model class with one configuration, under the same libraries and the same engine. Small models
and classes that are no part of transformers are never remembered: they are probed each time. Leaves out the probe.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

SMALLEST = 20_000_000
"""Models with fewer parameters are probed each time; it costs less than looking."""
FILE_NAME = "tree_support.json"
MOST = 200
"""Entries kept; the oldest go first."""


def support_key(model: nn.Module, inner: Any) -> str | None:
    """What an entry is found by, or None for a model of which nothing is remembered."""
    kind = type(inner)
    if not kind.__module__.startswith("transformers.models."):
        return None
    parameters = list(model.parameters())
    if sum(parameter.numel() for parameter in parameters) < SMALLEST:
        return None
    facts = {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "config": {k: v for k, v in inner.config.to_dict().items() if not k.startswith("_")},
        "dtypes": sorted({str(parameter.dtype) for parameter in parameters}),
        "device": parameters[0].device.type,
        "adapted": type(model).__qualname__,
        "versions": [version(name) for name in ("torch", "transformers")],
        "engine": _engine_digest(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


@cache
def _engine_digest() -> str:
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def recall(folder: Path, key: str) -> str | None:
    """What was found out under this key, or None."""
    found = _read(folder).get(key)
    return found if isinstance(found, str) else None


def remember(folder: Path, key: str, reason: str) -> None:
    """Keep it; a folder that cannot be written to only costs another probe."""
    entries = _read(folder)
    entries.pop(key, None)
    entries[key] = reason
    kept = dict(list(entries.items())[-MOST:])
    temporary = folder / f".{FILE_NAME}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(kept, indent=0), encoding="utf-8")
        temporary.replace(folder / FILE_NAME)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _read(folder: Path) -> dict[str, Any]:
    try:
        entries = json.loads((folder / FILE_NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}
