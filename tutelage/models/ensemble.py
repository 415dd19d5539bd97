"""Ensembles of reward models: a folder that only names its members, which are ordinary reward models beside it.

Several reward models trained from different seeds disagree where neither knows; an ensemble keeps them together under
one name (Coste et al. 2023, https://arxiv.org/abs/2310.02743). Leaves out how their scores are put together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.errors import ModelError
from tutelage.models.folder import new_folder, write_origin

ENSEMBLE_FILE = "ensemble.json"


def save_ensemble(path: Path, members: Sequence[str], origin: Mapping[str, Any]) -> None:
    """Write the new folder `path`, an ensemble of the model folders `members`, which stand beside it.

    Raises `ModelError` when a member is missing or named twice, or when `path` exists.
    """
    _member_folders(path, list(members))
    with new_folder(path, needed_bytes=100_000) as folder:
        (folder / ENSEMBLE_FILE).write_text(json.dumps({"members": list(members)}, indent=2) + "\n", encoding="utf-8")
        write_origin(folder, origin)


def read_ensemble(path: Path) -> list[Path] | None:
    """The folders of the members of the ensemble in `path`, or None where there is no ensemble in it.

    Raises `ModelError` when the file is damaged or a member is missing.
    """
    file = path / ENSEMBLE_FILE
    if not file.is_file():
        return None
    try:
        members = json.loads(file.read_text(encoding="utf-8"))["members"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f'{file} is damaged ({error}); it holds {{"members": ["NAME", ...]}}') from error
    if not isinstance(members, list) or not all(isinstance(name, str) for name in members):
        raise ModelError(f'{file} is damaged (members is no list of names); it holds {{"members": ["NAME", ...]}}')
    return _member_folders(path, members)


def _member_folders(path: Path, members: list[str]) -> list[Path]:
    if not members:
        raise ModelError(f"{path}: an ensemble needs at least one member, and there are none")
    if twice := [name for name in members if members.count(name) > 1]:
        raise ModelError(f"{path}: '{twice[0]}' is a member twice; name each reward model once")
    for name in members:
        _check_member(path, name)
    return [path.parent / name for name in members]


def _check_member(path: Path, name: str) -> None:
    if not is_plain_name(name):
        raise ModelError(f"{path}: '{name}' cannot be a member; members are names of folders in {path.parent}")
    folder = path.parent / name
    if (folder / ENSEMBLE_FILE).is_file():
        raise ModelError(f"{path}: member '{name}' is an ensemble itself; name its members instead")
    if not any((folder / file).is_file() for file in ("config.json", "adapter_config.json")):
        raise ModelError(
            f"{path}: member '{name}' is missing; put the reward model back in {folder}, or train it again"
        )


def is_plain_name(name: str) -> bool:
    """Whether `name` is a folder's own name, with no way to another place in it."""
    return name not in ("", ".", "..") and Path(name).name == name
