"""Which models a job may use: those of the workspace and the starter models that are on this machine, by their names.

A name from a browser is never a path and never a hub id, and nothing is fetched because somebody asked.

Leaves out: what else there is to know of a model (`shelf`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tutelage.errors import DataError
from tutelage.models.catalogue import STARTERS
from tutelage.models.find import kind_of
from tutelage.models.starter import starter_folder
from tutelage.models.talkers import WRITES, Talker, known
from tutelage.runs.files import NAME
from tutelage.runs.shelf import find_folder


class Reader(NamedTuple):
    """A model whose hidden states may be looked at."""

    name: str
    kind: str


def writers(workspace: Path) -> Sequence[Talker]:
    """Models that write answers, the newest first, starter models last."""
    return [each for each in known(workspace).talkers if each.is_starter or _own(workspace, each.name) is not None]


def readers(workspace: Path) -> list[Reader]:
    """Models by whose eyes items can be chosen: reward models first, then those that write answers."""
    folders = sorted((workspace / "models").glob("*/"), key=lambda path: (-path.stat().st_mtime_ns, path.name))
    own = [(path.name, kind_of(path)) for path in folders if _own(workspace, path.name) is not None]
    judges = [Reader(name, kind) for name, kind in own if kind in ("reward model", "ensemble")]
    return judges + [Reader(each.name, "language model") for each in writers(workspace)]


def check_writer(workspace: Path, name: str) -> None:
    """Raise `DataError`, its field `models`, for what gives no answers or is not there."""
    folder = _own(workspace, name)
    if folder is None:
        _check_starter(name, "models")
    elif (kind := kind_of(folder)) not in WRITES:
        raise DataError(f"'{name}' gives no answers: it is a {kind}; choose a language model", field="models")


def check_reader(workspace: Path, name: str) -> None:
    """Raise `DataError`, its field `reward`, for what cannot read answers or is not there."""
    folder = _own(workspace, name)
    if folder is None:
        _check_starter(name, "reward")
    elif kind_of(folder) == "other":
        raise DataError(f"'{name}' cannot read answers; choose a reward model, or a language model", field="reward")


def _own(workspace: Path, name: str) -> Path | None:
    return find_folder(workspace, name) if NAME.fullmatch(name) else None


def _check_starter(name: str, field: str) -> None:
    if name not in STARTERS:
        raise DataError(
            f"there is no model '{name[:100]}' in the workspace, and it is no starter model; choose one of the list",
            field=field,
        )
    if not starter_folder(name).is_dir():
        raise DataError(
            f"'{name}' is not on this machine yet; `tutelage models --path {name}` at the terminal fetches it, once",
            field=field,
        )
