"""What the origin files of models say: `tutelage_origin.json` beside the weights, and the run's `config.json`.

Leaves out: writing them (`tutelage.train`), and the index that the record keeps of them (`tutelage.store.lineage`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tutelage.models.ensemble import is_plain_name
from tutelage.models.folder import ORIGIN_FILE


def made_ms(folder: Path) -> int:
    """When a model was made: the date of its origin file, which is written last.

    It does not stand in the file, since a run that was resumed ends with the same bytes as one that was not.
    """
    file = folder / ORIGIN_FILE
    return (file if file.is_file() else folder).stat().st_mtime_ns // 1_000_000


def inputs_of(workspace: Path, run: str, origin: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The inputs that an origin file names; of one that lists none, what it and the run's options let know."""
    listed = origin.get("inputs")
    if isinstance(listed, list):
        return [entry for entry in listed if isinstance(entry, dict) and entry.get("role") and entry.get("name")]
    config = _run_config(workspace, run)
    named = {"base": origin.get("base"), "data": origin.get("data")} | {
        role: config.get(key) for role, key in _OPTIONS.items()
    }
    found: list[Mapping[str, Any]] = [{"role": role, "name": str(name)} for role, name in named.items() if name]
    return found + [{"role": "reward", "name": name} for name in _reward_models(workspace, config.get("reward"))]


_OPTIONS = {
    "validation": "val_data", "reference": "ref_model", "critic": "critic", "teacher": "teacher", "ptx": "ptx_data"
}  # fmt: skip


def _run_config(workspace: Path, run: str) -> Mapping[str, Any]:
    if not is_plain_name(run):
        return {}
    try:
        config = json.loads((workspace / "runs" / run / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _reward_models(workspace: Path, specs: Any) -> Iterator[str]:
    """The models of the workspace that an option `--reward` names."""
    for text in specs if isinstance(specs, list) else ():
        for part in str(text).split(" + "):
            name = part.rpartition("*")[2].strip()
            if is_plain_name(name) and (workspace / "models" / name).is_dir():
                yield name
