"""Which models may be asked by their name: those of the workspace that write answers, and starter models that are here.

A name from a browser is never a path, and never a hub id: nothing is fetched because somebody asked. Leaves out: what
else there is to know of a model (`tutelage.models.find`), and loading it (`tutelage.serve.worker`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.errors import ModelError, NotFoundError
from tutelage.models.catalogue import STARTERS
from tutelage.models.ensemble import is_plain_name
from tutelage.models.find import kind_of, num_parameters
from tutelage.models.folder import ORIGIN_FILE, read_origin
from tutelage.models.starter import starter_folder

WRITES = ("language model", "adapter")


class Talker(NamedTuple):
    """A model that can be talked to."""

    name: str
    words: str
    """What it is, in a few words."""
    num_parameters: int | None
    made_ms: int
    base: str
    """The model that it was trained from; empty where that is not known."""
    is_starter: bool


class Known(NamedTuple):
    """All that can be talked to, and which two show best what training did."""

    talkers: Sequence[Talker]
    before: str
    after: str
    missing: Sequence[str]
    """Starter models that are not on this machine yet."""


def known(workspace: Path) -> Known:
    """The newest models first, the starters last."""
    folders = sorted(path for path in (workspace / "models").glob("*/") if is_plain_name(path.name))
    own = [_talker(path.name, path) for path in folders if kind_of(path) in WRITES]
    own.sort(key=lambda each: (-each.made_ms, each.name))
    shadowed = {each.name for each in own}
    here = [name for name in reversed(STARTERS) if name not in shadowed and starter_folder(name).is_dir()]
    talkers = own + [_talker(name, starter_folder(name)) for name in here]
    missing = [name for name in STARTERS if name not in shadowed and name not in here]
    return Known(talkers, *_two(talkers), missing)


def find(name: str, workspace: Path) -> Path:
    """The folder of the model of this name; `NotFoundError` says which there are."""
    if is_plain_name(name):
        folder = workspace / "models" / name
        if folder.is_dir() and kind_of(folder) in WRITES:
            return folder
        if not folder.is_dir() and name in STARTERS and starter_folder(name).is_dir():
            return starter_folder(name)
    if name in STARTERS:
        raise NotFoundError(
            f"'{name}' is not on this machine yet; `tutelage models --path {name}` at the terminal fetches it, once"
        )
    there = [each.name for each in known(workspace).talkers]
    raise NotFoundError(
        f"no model '{name[:100]}' to talk to; "
        + (f"there are {', '.join(there[:20])}" if there else "there are none yet")
    )


def state_of(folder: Path) -> int:
    """A number that changes when another model takes the folder's name."""
    file = folder / ORIGIN_FILE
    return (file if file.is_file() else folder).stat().st_mtime_ns


def _talker(name: str, folder: Path) -> Talker:
    origin = _origin(folder)
    starter = origin.get("kind") == "starter"
    base = str(origin.get("base") or origin.get("base_model") or "")
    made = f"{origin['method']} of {base}" if origin.get("method") and base else "a language model"
    words = str(origin.get("title") or name) if starter else made
    return Talker(name, words[:200], num_parameters(folder), state_of(folder) // 1_000_000, base[:200], starter)


def _origin(folder: Path) -> Mapping[str, Any]:
    try:
        return read_origin(folder)
    except ModelError:
        return {}


def _two(talkers: Sequence[Talker]) -> tuple[str, str]:
    """The newest model, and what the chain of its bases began with as far as it is here; empty for none."""
    if not talkers:
        return "", ""
    by_name = {each.name: each for each in talkers}
    newest = talkers[0]
    first, seen = newest, {newest.name}
    while first.base in by_name and first.base not in seen:
        first = by_name[first.base]
        seen.add(first.name)
    if first is newest:
        first = next((each for each in reversed(talkers) if each is not newest), newest)
    return first.name, newest.name
