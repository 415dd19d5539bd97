"""The models of a workspace as seen from outside: which there are, what each is, what was measured when it was made.

Models of the workspace have a folder in it; some are only remembered by the record, since their folder was removed;
starter models come with Tutelage. Everything is read anew from the folders.

Leaves out: what they were made from (`tutelage.store.lineage`), and evaluations (`evaluations`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from tutelage.errors import ModelError, NotFoundError
from tutelage.models.archive import is_text
from tutelage.models.catalogue import STARTERS
from tutelage.models.ensemble import is_plain_name
from tutelage.models.find import ModelInfo, describe_folder, list_models
from tutelage.models.folder import read_origin
from tutelage.runs.files import read_json
from tutelage.stats.intervals import Interval
from tutelage.store import lineage, schema
from tutelage.store.database import Store
from tutelage.store.origins import made_ms

Place = Literal["workspace", "starter", "gone"]
NOT_ASKED = ("reward model", "ensemble", "other")
"""Kinds that give no answers."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How often a model agreed with verdicts that it did not learn from."""

    accuracy: Interval
    num_comparisons: int
    longer: Interval | None
    """What always preferring the longer answer would have reached."""
    raters_agree: Interval | None
    """How often two raters of the same answers agreed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One model."""

    name: str
    place: Place
    kind: str
    method: str
    run: str
    base: str
    data: str
    steps: int | None
    tokens: int | None
    size_bytes: int
    num_parameters: int | None
    created_ms: int
    """0 where it is not known."""
    note: str
    """Where a starter is from, or what is wrong with the folder."""
    held_out: HeldOut | None

    @property
    def answers(self) -> bool:
        """Whether it can be asked something."""
        return self.place != "gone" and self.kind not in NOT_ASKED


def models(connection: Connection, workspace: Path, *, starters: bool = False) -> list[Seen]:
    """The models of the workspace, the newest first, then those only the record knows, then the starters if wanted."""
    found = [info for info in list_models(workspace) if is_text(info.name)]
    here = [_seen(workspace, info) for info in found if _is_inside(workspace, info)]
    here.sort(key=lambda seen: (-seen.created_ms, seen.name))
    names = {seen.name for seen in here}
    gone = [seen for seen in _remembered(connection) if seen.name not in names]
    shipped = [info for info in found if info.name in STARTERS and info.name not in names]
    return here + gone + ([_starter(info) for info in shipped] if starters else [])


def model(connection: Connection, workspace: Path, name: str) -> Seen:
    """One of them. Raises `NotFoundError`."""
    if (folder := find_folder(workspace, name)) is not None:
        return _seen(workspace, describe_folder(name, folder))
    remembered = next(iter(_remembered(connection, name)), None)
    if remembered is not None:
        return remembered
    if name in STARTERS:
        return _starter(next(info for info in list_models(None) if info.name == name))
    raise NotFoundError(f"there is no model '{name[:100]}' in this workspace")


def folder_of(workspace: Path, name: str) -> Path:
    """The folder of a model of the workspace. Raises `NotFoundError`, for one that is only linked there too."""
    folder = find_folder(workspace, name)
    if folder is None:
        raise NotFoundError(f"there is no folder of a model '{name[:100]}' in this workspace")
    return folder


def find_folder(workspace: Path, name: str) -> Path | None:
    """The folder of a model, where it is one and lies in the workspace itself."""
    models = workspace / "models"
    path = models / name
    if not is_plain_name(name) or name.startswith(".") or "\\" in name or len(name.encode()) > 255:
        return None
    return path if path.is_dir() and path.resolve().parent == models.resolve() else None


def _is_inside(workspace: Path, info: ModelInfo) -> bool:
    return info.path is not None and find_folder(workspace, info.name) == info.path


def catch_up(store: Store) -> None:
    """Let the record know of models that were made without it."""
    with store.read() as connection:
        if not lineage.unknown_models(connection, store.workspace):
            return
    with contextlib.suppress(IntegrityError):  # somebody else does the same at this moment
        store.run(lambda connection: lineage.catch_up(connection, store.workspace))


# What is known of one ------------------------------------------------------------------------------------------------


def _seen(workspace: Path, info: ModelInfo) -> Seen:
    assert info.path is not None
    origin, note = _origin(info.path)
    run = str(origin.get("run") or info.name)
    return Seen(
        name=info.name, place="workspace", kind=info.kind, method=str(origin.get("method") or ""),
        run=run if (workspace / "runs" / run / "config.json").is_file() and is_plain_name(run) else "",
        base=str(origin.get("base") or ""), data=str(origin.get("data") or ""), steps=_whole(origin.get("steps")),
        tokens=_whole(origin.get("tokens")), size_bytes=info.size_bytes, num_parameters=info.num_parameters,
        created_ms=made_ms(info.path), note=note, held_out=held_out(workspace, run),
    )  # fmt: skip


def _origin(folder: Path) -> tuple[Mapping[str, Any], str]:
    try:
        return read_origin(folder), ""
    except ModelError:
        return {}, "its tutelage_origin.json is damaged"


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _nothing(name: str, place: Place) -> Seen:
    return Seen(name, place, "", "", "", "", "", None, None, 0, None, 0, "", None)


def _starter(info: ModelInfo) -> Seen:
    starter = STARTERS[info.name]
    note = f"{starter.title}; {starter.licence}" + ("" if info.path else "; fetched when it is first used")
    return replace(
        _nothing(info.name, "starter"), kind=info.kind, size_bytes=info.size_bytes,
        num_parameters=info.num_parameters, note=note,
    )  # fmt: skip


def _remembered(connection: Connection, name: str | None = None) -> list[Seen]:
    table = schema.models
    query = select(table.c.name, table.c.method, table.c.run, table.c.created_ms, table.c.origin)
    if name is not None:
        query = query.where(table.c.name == name)
    rows = connection.execute(query.order_by(table.c.created_ms.desc(), table.c.name))
    return [
        replace(
            _nothing(row.name, "gone"), method=row.method, run=row.run, created_ms=row.created_ms,
            base=str(row.origin.get("base") or ""), data=str(row.origin.get("data") or ""),
            steps=_whole(row.origin.get("steps")), tokens=_whole(row.origin.get("tokens")),
        ) for row in rows
    ]  # fmt: skip


def held_out(workspace: Path, run: str) -> HeldOut | None:
    """What a run measured on the verdicts it held out; None where it did not, or where the file is damaged."""
    if not is_plain_name(run):
        return None
    found = read_json(workspace / "runs" / run / "held_out.json")
    accuracy, number = interval_of(found.get("accuracy")), _whole(found.get("num_comparisons"))
    if accuracy is None or number is None:
        return None
    agreement = found.get("agreement")
    share = interval_of(agreement.get("share")) if isinstance(agreement, dict) else None
    return HeldOut(accuracy, number, interval_of(found.get("length_baseline")), share)


def interval_of(value: Any) -> Interval | None:
    """An interval as it stands in a JSON file; None where that is none."""
    with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
        return Interval(float(value["estimate"]), float(value["low"]), float(value["high"]))
    return None
