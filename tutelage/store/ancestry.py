"""Back from a model: what it was made from, and what those were made from, down to people's pairs and verdicts.

The graph is a tree in which a model that was met before is named again but not told again (`is_repeated`). Without a
record it is read from the origin files alone, which know files and snapshots by their hashes but no people.

Leaves out: the way forward (`tutelage.store.uses`), and drawing it (`tutelage.workspace.lineage`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from tutelage.errors import NotFoundError
from tutelage.models.ensemble import is_plain_name
from tutelage.models.folder import read_origin
from tutelage.store import schema
from tutelage.store.origins import inputs_of, made_ms
from tutelage.store.snapshot_facts import Facts, facts_of
from tutelage.store.uses import MODEL_ROLES, models_judged


@dataclass(frozen=True)
class Made:
    """A model of the workspace and what it was made from."""

    name: str
    method: str
    """`sft`, `reward`, `ppo` …; empty for what nobody here trained."""
    run: str
    made_ms: int
    options: Mapping[str, Any] | None
    """What differed from the defaults of that day; None where the origin file does not say."""
    steps: int | None
    tokens: int | None
    inputs: tuple[Source, ...] = ()
    is_repeated: bool = False
    """It was told of elsewhere in the tree; its inputs are left out here."""


@dataclass(frozen=True)
class Source:
    """One input of a model: another model, a snapshot, or a file."""

    role: str
    name: str
    content_hash: str = ""
    snapshot_id: str | None = None
    facts: Facts | None = None
    """Of a snapshot: who and how much."""
    models: tuple[Made, ...] = field(default=())
    """The model itself where the workspace has it; of labels the models whose answers they are about."""


class _Known(NamedTuple):
    """What a place knows of a model."""

    made: Made
    inputs: list[Mapping[str, Any]]


class _Place(NamedTuple):
    """Where models are looked up: the record, or the workspace's files."""

    model: Callable[[str], _Known | None]
    facts: Callable[[str], Facts | None]
    judged: Callable[[str], list[str]]


def ancestors(connection: Connection, model: str) -> Made:
    """What `model` was made from, from the record. Raises `NotFoundError` for a model that it does not know."""
    place = _Place(
        lambda name: _in_record(connection, name), lambda id: facts_of(connection, id),
        lambda id: models_judged(connection, id),
    )  # fmt: skip
    if (made := _grow(place, model, set())) is None:
        raise NotFoundError(f"the record knows no model '{model}'; `tutelage lineage --rescan` reads them all again")
    return made


def ancestors_from_files(workspace: Path, model: str) -> Made:
    """What `model` was made from, from origin files alone. Raises `NotFoundError` when the workspace has no such model.

    `ModelError` when an origin file is damaged.
    """
    place = _Place(lambda name: _in_files(workspace, name), lambda _: None, lambda _: [])
    if (made := _grow(place, model, set())) is None:
        raise NotFoundError(f"no model '{model}' in {workspace / 'models'}; `tutelage models` lists them")
    return made


def _in_record(connection: Connection, name: str) -> _Known | None:
    models, inputs = schema.models, schema.model_inputs
    row = connection.execute(select(models).where(models.c.name == name)).first()
    if row is None:
        return None
    query = select(inputs).where(inputs.c.model_id == row.id, inputs.c.role != "answers")
    entries: list[Mapping[str, Any]] = [
        {"role": one.role, "name": one.name, "content_hash": one.content_hash, "snapshot": one.snapshot_id}
        for one in connection.execute(query)
    ]
    return _Known(_made(name, row.method, row.run, row.created_ms, row.origin), entries)


def _in_files(workspace: Path, name: str) -> _Known | None:
    folder = workspace / "models" / name
    if not is_plain_name(name) or not folder.is_dir():
        return None
    origin = read_origin(folder)
    run = str(origin.get("run") or "")
    made = _made(name, str(origin.get("method") or ""), run, made_ms(folder), origin)
    return _Known(made, inputs_of(workspace, run, origin))


def _made(name: str, method: str, run: str, at_ms: int, origin: Mapping[str, Any]) -> Made:
    options = origin.get("options")
    return Made(
        name, method, run, at_ms, options if isinstance(options, dict) else None, origin.get("steps"),
        origin.get("tokens"),
    )  # fmt: skip


ROLES = ("base", "member", "data", "prompts", "reward", "check", "critic", "reference", "teacher", "ptx", "validation")
"""The order in which inputs are told."""


def _grow(place: _Place, name: str, told: set[str]) -> Made | None:
    known = place.model(name)
    if known is None:
        return None
    made = known.made
    if name in told:
        return Made(name, made.method, made.run, made.made_ms, None, made.steps, made.tokens, is_repeated=True)
    told.add(name)
    entries = sorted(known.inputs, key=_order)
    if "reward" in {entry["role"] for entry in entries}:  # members of an ensemble are told of below it
        entries = [entry for entry in entries if entry["role"] != "member"]
    inputs = tuple(_source(place, entry, told) for entry in entries)
    return Made(name, made.method, made.run, made.made_ms, made.options, made.steps, made.tokens, inputs)


def _order(entry: Mapping[str, Any]) -> tuple[int, str]:
    role = entry["role"]
    return ROLES.index(role) if role in ROLES else len(ROLES), entry["name"]


def _source(place: _Place, entry: Mapping[str, Any], told: set[str]) -> Source:
    role, name, snapshot = str(entry["role"]), str(entry["name"]), entry.get("snapshot") or None
    names = [name] if role in MODEL_ROLES else place.judged(snapshot) if snapshot else []
    grown = [made for one in names if (made := _grow(place, one, told)) is not None]
    facts = place.facts(snapshot) if snapshot else None
    return Source(role, name, str(entry.get("content_hash") or ""), snapshot, facts, tuple(grown))
