"""What a run is made from, told for `tutelage_origin.json`: every model, every file, every dataset, by its role.

An input is `{"role", "name"}`, with `content_hash`, the SHA-256 of a file's bytes or of a snapshot's records, and
`snapshot`, the snapshot's id, where there is one. Roles: base, reference, reward, member (of an ensemble), check (a
verifier, a judge's file, a function), critic, teacher; data, validation, prompts, ptx.

Leaves out: who wrote what is in them (`tutelage.store.lineage`).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tutelage.models.ensemble import read_ensemble
from tutelage.models.find import resolve_model
from tutelage.store.sources import resolve
from tutelage.train.config import TrainConfig, flatten

Input = dict[str, Any]
NAMED = {"model", "out", "data", "prompts", "teacher", "ptx_data", "val_data"}
"""Options that say what to read; the inputs tell of them."""
WITHOUT_EFFECT = {"workspace", "resume", "tracker", "save_every", "keep_last", "num_samples", "sample_tokens"}
"""Options that change no weight, so that a resumed run may have others."""


def inputs_of(config: TrainConfig, method: Any, *, in_memory: bool = False) -> list[Input]:
    """Everything the run learns from or starts from, each once, as it is now.

    `in_memory`: the data came as Python records, and the option only names it.
    """
    found = [*_models(config, method), *_data(config, method, in_memory)]
    return [entry for number, entry in enumerate(found) if entry not in found[:number]]


def options_of_run(config: TrainConfig, method: Any) -> dict[str, Any]:
    """The options that made the weights and differ from their defaults, those of the method included."""
    given = flatten(config) | flatten(method)
    usual = _defaults(config) | _defaults(method)
    usual["epochs"] = method.epochs
    if method.online:
        usual["batch_size"] = method.prompts_per_step  # the same number under its other name
    return {key: value for key, value in given.items() if key not in NAMED | WITHOUT_EFFECT and value != usual.get(key)}


def _defaults(options: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in dataclasses.fields(options):
        value = getattr(options, item.name)
        if dataclasses.is_dataclass(value):
            found |= _defaults(value, f"{prefix}{item.name}.")
        elif item.default is not dataclasses.MISSING:
            found[prefix + item.name] = item.default
    return found


# Models --------------------------------------------------------------------------------------------------------------


def _models(config: TrainConfig, method: Any) -> Iterator[Input]:
    workspace = config.workspace
    yield _model("base", config.model, workspace)
    if reference := getattr(method, "ref_model", None):
        yield _model("reference", reference, workspace)
    if teacher := getattr(method, "teacher", ""):
        yield _model("teacher", teacher, workspace)
    yield from _rewards(getattr(method, "reward", ()), workspace)
    if getattr(method, "has_critic", False) and (critic := _critic(method, workspace)):
        yield _model("critic", critic, workspace)


def _model(role: str, name: str, workspace: Path) -> Input:
    return {"role": role, "name": model_name(name, workspace)}


def model_name(name: str, workspace: Path) -> str:
    """What the workspace calls a model: its folder's own name where it stands there, else what was given."""
    path = resolve_model(name, workspace).path
    if path is not None and path.resolve().parent == (workspace / "models").resolve():
        return path.name
    return name


def _rewards(specs: tuple[str, ...], workspace: Path) -> Iterator[Input]:
    from tutelage.rewards.spec import parse_specs

    for spec in parse_specs(specs) if specs else ():
        if spec.kind != "model":
            yield {"role": "check", "name": spec.text} | _hash_of_file(_file_of_check(spec.kind, spec.text))
            continue
        yield _model("reward", spec.text, workspace)
        path = resolve_model(spec.text, workspace).path
        for member in (read_ensemble(path) if path is not None else None) or ():
            yield _model("member", str(member), workspace)


def _file_of_check(kind: str, text: str) -> Path | None:
    if kind == "judge":
        return Path(text.partition(":")[2])
    return Path(text.rpartition(":")[0]) if kind == "function" else None


def _critic(method: Any, workspace: Path) -> str | None:
    """What the critic starts from, where that is not the policy's own start."""
    from tutelage.rewards.models import member_names
    from tutelage.rewards.spec import parse_specs

    models = [spec.text for spec in parse_specs(method.reward) if spec.kind == "model"]
    first = member_names(models[0], workspace)[0] if models else None
    return method.critic or first


# Data ----------------------------------------------------------------------------------------------------------------


def _data(config: TrainConfig, method: Any, in_memory: bool) -> Iterator[Input]:
    named = {
        "prompts" if method.online else "data": config.data,
        "validation": config.val_data,
        "ptx": getattr(method, "ptx_data", None),
    }
    for role, name in named.items():
        if name and in_memory and role in ("data", "prompts"):
            yield {"role": role, "name": name}
        elif name:
            yield _dataset(role, name, config.workspace)


def _dataset(role: str, name: str, workspace: Path) -> Input:
    """A snapshot of the workspace, or a file, or what comes with Tutelage or from the hub."""
    source = resolve(workspace, name)
    if source is None:
        return {"role": role, "name": name} | _hash_of_file(Path(name))
    return {"role": role, "name": source.name, "content_hash": source.content_hash, "snapshot": source.snapshot_id}


def _hash_of_file(file: Path | None) -> Input:
    """The SHA-256 of the file's bytes; nothing where there is no such file."""
    if file is None or not file.is_file():
        return {}
    with file.open("rb") as stream:
        return {"content_hash": hashlib.file_digest(stream, "sha256").hexdigest()}
