"""Which model a name means, and which models there are.

A name is, in this order: an existing model folder, a model of the workspace, a starter model, or a hub id `owner/name`.
Nothing is loaded or fetched here; sizes come from the headers of the safetensors files.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tutelage.errors import ModelError
from tutelage.models.catalogue import STARTERS
from tutelage.models.ensemble import ENSEMBLE_FILE, is_plain_name
from tutelage.models.folder import read_origin
from tutelage.models.starter import starter_folder
from tutelage.models.weights import read_header, weight_files

Origin = Literal["folder", "workspace", "starter", "hub"]
Kind = Literal["language model", "adapter", "reward model", "ensemble", "other"]

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """What a name stands for; `path` is None until a starter or hub model has been fetched."""

    name: str
    path: Path | None
    hub_id: str | None
    origin: Origin


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One line of `tutelage models`; a starter model that was not fetched yet has no path."""

    name: str
    path: Path | None
    size_bytes: int
    num_parameters: int | None
    origin: str
    kind: Kind


def resolve_model(name: str, workspace: Path | None) -> ResolvedModel:
    """Find what `name` means; raises `ModelError` naming the nearest known name when it means nothing."""
    path = Path(os.path.expanduser(name) or os.devnull)  # Path("") would be the current folder
    if _is_model_folder(path):
        return ResolvedModel(name, path, None, "folder")
    if workspace is not None and is_plain_name(name) and (workspace / "models" / name).is_dir():
        return ResolvedModel(name, workspace / "models" / name, None, "workspace")
    if name in STARTERS:
        folder = starter_folder(name)
        return ResolvedModel(name, folder if folder.is_dir() else None, None, "starter")
    if os.path.isdir(path):  # loading it says what is missing
        return ResolvedModel(name, path, None, "folder")
    if os.path.isfile(path):
        raise ModelError(f"{name} is a file; a model is a folder with config.json, a tokenizer and safetensors weights")
    if _HUB_ID.fullmatch(name):
        return ResolvedModel(name, None, name, "hub")
    if "/" in name or "\\" in name:
        raise ModelError(f"{name}: no such folder; check the path, or give a hub id as owner/name")
    raise ModelError(_unknown_name(name, workspace))


def _is_model_folder(path: Path) -> bool:
    return any(os.path.isfile(path / name) for name in ("config.json", "adapter_config.json", ENSEMBLE_FILE))


def _unknown_name(name: str, workspace: Path | None) -> str:
    known = [*STARTERS, *(path.name for path in _workspace_folders(workspace))]
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = (
        f"did you mean '{nearest[0]}'?" if nearest else f"known: {', '.join(known)}, a folder, or a hub id owner/name"
    )
    return f"no model '{name}'; {hint}"


def _workspace_folders(workspace: Path | None) -> list[Path]:
    if workspace is None or not (workspace / "models").is_dir():
        return []
    folders = (workspace / "models").iterdir()
    return sorted(path for path in folders if path.is_dir() and not path.name.startswith("."))


def list_models(workspace: Path | None) -> list[ModelInfo]:
    """The models of the workspace and the starter models, without loading any."""
    found = [describe_folder(path.name, path) for path in _workspace_folders(workspace)]
    return found + [_describe_starter(name) for name in STARTERS]


def _describe_starter(name: str) -> ModelInfo:
    folder = starter_folder(name)
    if folder.is_dir():
        return describe_folder(name, folder)
    return ModelInfo(name, None, 0, None, f"starter: {STARTERS[name].title}, not fetched yet", "language model")


def describe_folder(name: str, path: Path) -> ModelInfo:
    """One line of `tutelage models`, of the model in the folder `path`."""
    size_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return ModelInfo(name, path, size_bytes, num_parameters(path), _origin_text(path), kind_of(path))


def num_parameters(path: Path) -> int | None:
    """How many numbers the safetensors files of `path` hold, or None where a file is damaged or there are none."""
    try:
        headers = [read_header(file) for file in weight_files(path)]
    except (ModelError, OSError):
        return None
    return sum(math.prod(shape) for header in headers for shape in header.values()) if headers else None


def _origin_text(path: Path) -> str:
    try:
        origin = read_origin(path)
    except ModelError:
        return "unreadable origin file"
    kind = origin.get("kind")
    if kind == "starter":
        return f"starter: {origin.get('title', path.name)}"
    if base := origin.get("base"):
        return f"{kind or origin.get('method') or 'made'} from {base}"
    return "unknown"


def kind_of(path: Path) -> Kind:
    """What the model in the folder `path` is for, by its config alone; an adapter of a reward model is one."""
    if (path / ENSEMBLE_FILE).is_file():
        return "ensemble"
    if (path / "adapter_config.json").is_file():
        adapter = _read_json(path / "adapter_config.json")
        return "reward model" if adapter.get("task_type") == "SEQ_CLS" else "adapter"
    architectures = _read_json(path / "config.json").get("architectures") or [""]
    if architectures[0].endswith("ForSequenceClassification"):
        return "reward model"
    return "language model" if architectures[0].endswith(("ForCausalLM", "LMHeadModel")) else "other"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
