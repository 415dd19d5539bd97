"""Where every model came from, and what came of every pair and label.

The truth stands beside the models, in `models/*/tutelage_origin.json`: which inputs, by role, and which options. The
tables `models` and `model_inputs` are an index of it that can be made again (`rescan`), so that one can also ask the
other way round: which models learned from this label (`forward`).

A model counts as made from another one when it started from it, learned from its scores or its distribution, or from
verdicts on its answers.

Leaves out: the graph back from a model (`tutelage.store.ancestry`) and taking somebody's work out
(`tutelage.store.removal`), whose functions stand here too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from tutelage.errors import ConflictError, ModelError, NotFoundError
from tutelage.models.archive import is_text
from tutelage.models.ensemble import is_plain_name
from tutelage.models.folder import read_origin
from tutelage.store import schema
from tutelage.store.ancestry import Made, Source, ancestors, ancestors_from_files
from tutelage.store.ids import new_id
from tutelage.store.origins import inputs_of, made_ms
from tutelage.store.removal import Removal, remove_person
from tutelage.store.snapshot_facts import Facts, withdrawn_in
from tutelage.store.uses import (
    Held,
    Use,
    models_judged,
    num_used_of,
    snapshots_holding,
    snapshots_of,
    uses_of,
    uses_of_model,
)

__all__ = [
    "Facts", "Forward", "Held", "Made", "Removal", "Source", "Use", "ancestors", "ancestors_from_files", "catch_up",
    "forward", "forward_of_person", "refuse_withdrawn", "register", "remove_person", "rescan", "unknown_models",
    "uses_of", "uses_of_model", "withdrawn_in",
]  # fmt: skip
LONGEST_NAME, LONGEST_MODEL_NAME = 300, 200


class Forward(NamedTuple):
    """What came of one pair or label."""

    held: list[Held]
    """The snapshots that hold it, oldest first."""
    uses: list[Use]
    """The models made with it, directly or through others."""


def forward(connection: Connection, *, pair_id: str | None = None, label_id: str | None = None) -> Forward:
    """What came of a pair (in any of its revisions) or of a label; `NotFoundError` when there is none of that id."""
    table, id = (schema.pairs, pair_id) if pair_id is not None else (schema.labels, label_id)
    if connection.execute(select(table.c.id).where(table.c.id == id)).first() is None:
        raise NotFoundError(f"no {'pair' if pair_id is not None else 'label'} {id}; check the id")
    held = snapshots_holding(
        connection, pair_ids=[pair_id] if pair_id else [], label_ids=[label_id] if label_id else []
    )
    return Forward(held, uses_of(connection, held))


def forward_of_person(connection: Connection, person_id: str, what: Literal["labels", "pairs"]) -> tuple[Forward, int]:
    """What came of somebody's labels, or of the pairs that they wrote; and how many of them went into a snapshot."""
    held = snapshots_of(connection, person_id, what)
    return Forward(held, uses_of(connection, held)), num_used_of(connection, person_id, what)


# The index -----------------------------------------------------------------------------------------------------------


def register(connection: Connection, workspace: Path, name: str) -> str:
    """Put what the origin file of a model of the workspace says into the index; gives the model's id.

    The same again changes nothing; a model made anew under the name takes the old one's place. Raises `NotFoundError`
    when there is no such model.
    """
    folder = workspace / "models" / name
    if not is_plain_name(name) or not folder.is_dir():
        raise NotFoundError(f"no model '{name}' in {workspace / 'models'}; `tutelage models` lists them")
    origin = read_origin(folder)
    run = str(origin.get("run") or (name if (workspace / "runs" / name).is_dir() else ""))
    values = {
        "method": str(origin.get("method") or ""), "run": run, "origin": origin,
        "created_ms": made_ms(folder),
    }  # fmt: skip
    model_id = _upsert(connection, name, values)
    table = schema.model_inputs
    connection.execute(delete(table).where(table.c.model_id == model_id))
    rows = {(row["role"], row["name"]): row for row in _input_rows(connection, workspace, run, origin)}
    if rows:
        connection.execute(insert(table), [{"model_id": model_id, **row} for row in rows.values()])
    return model_id


def _upsert(connection: Connection, name: str, values: Mapping[str, Any]) -> str:
    table = schema.models
    id = connection.execute(select(table.c.id).where(table.c.name == name)).scalar()
    if id is None:
        id = new_id()
        connection.execute(insert(table).values(id=id, name=name, **values))
    else:
        connection.execute(update(table).where(table.c.id == id).values(**values))
    return str(id)


def _input_rows(
    connection: Connection, workspace: Path, run: str, origin: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    for entry in inputs_of(workspace, run, origin):
        snapshot_id = _known_snapshot(connection, entry.get("snapshot"))
        yield {
            "role": str(entry["role"])[:32], "name": str(entry["name"])[-LONGEST_NAME:], "snapshot_id": snapshot_id,
            "content_hash": str(entry.get("content_hash") or "")[:64],
        }  # fmt: skip
        for model in models_judged(connection, snapshot_id) if snapshot_id else ():
            yield {"role": "answers", "name": model, "snapshot_id": None, "content_hash": ""}


def _known_snapshot(connection: Connection, id: Any) -> str | None:
    """The snapshot's id, unless the model was brought here from another workspace."""
    table = schema.snapshots
    return connection.execute(select(table.c.id).where(table.c.id == str(id))).scalar() if id else None


def rescan(connection: Connection, workspace: Path) -> tuple[list[str], list[str]]:
    """Register every model of the workspace, whatever made it; gives their names, and what could not be read."""
    folders = sorted(path for path in (workspace / "models").glob("*") if path.is_dir())
    done, unreadable = [], []
    for folder in folders:
        if folder.name.startswith("."):  # one that is being written
            continue
        try:
            register(connection, workspace, folder.name)
            done.append(folder.name)
        except ModelError as error:
            unreadable.append(str(error))
    return done, unreadable


def unknown_models(connection: Connection, workspace: Path) -> list[str]:
    """Models of the workspace that the index lacks, or that were made again since."""
    table = schema.models
    known = dict(connection.execute(select(table.c.name, table.c.created_ms)).all())
    found = []
    for folder in sorted((workspace / "models").glob("*/")):
        if folder.name.startswith("."):
            continue
        if known.get(folder.name) != made_ms(folder):
            found.append(folder.name)
    return found


def catch_up(connection: Connection, workspace: Path) -> None:
    """Register the models that the index lacks; links and what cannot be read are left for `rescan` to tell of."""
    for name in unknown_models(connection, workspace):
        is_link = (workspace / "models" / name).is_symlink()
        if is_text(name) and len(name) <= LONGEST_MODEL_NAME and not is_link:
            with contextlib.suppress(ModelError):
                register(connection, workspace, name)


# What was withdrawn --------------------------------------------------------------------------------------------------


def refuse_withdrawn(connection: Connection, snapshot_id: str, name: str) -> None:
    """Raise `ConflictError` when a snapshot that is to be trained on holds work that was withdrawn since."""
    if number := withdrawn_in(connection, snapshot_id):
        records = "record that was" if number == 1 else "records that were"
        dataset = name.partition("@")[0]
        raise ConflictError(
            f"{name} holds {number} {records} withdrawn since it was taken; take a new snapshot by `tutelage snapshot "
            f"{dataset}`, and train on that"
        )
