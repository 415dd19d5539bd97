"""Prompts that a job may ask: those that come with Tutelage, those of the record, files that were sent, or typed ones.

| name | what it is |
|---|---|
| `compare` | the prompts for comparing answers that come with Tutelage |
| `record` | every prompt of the record: of projects, imports and talks |
| `pairs` | the questions of accepted pairs; whoever wrote one does not judge the answers to it |
| `project:NAME` | the prompts of a project |
| `FILE.jsonl` | a file in the workspace's folder `prompts/`, where what is sent is kept |

Sealed prompts are left out wherever they come from: nobody trains on them, so nobody labels them.

Leaves out: asking them (`sampling`), and files of prompts (`prompt_lines`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select

from tutelage.data import load_prompts
from tutelage.data.starter import COMPARE, SEALED
from tutelage.errors import DataError, NotFoundError
from tutelage.feedback import projects
from tutelage.feedback.projects import Project
from tutelage.feedback.sample import check_prompts
from tutelage.runs.evaluations import prompt_files
from tutelage.store import schema
from tutelage.store.contents import as_json, as_messages, content_hash, insert_missing
from tutelage.store.ids import new_id, now_ms
from tutelage.types import Prompt

RECORD, PAIRS, PROJECT = "record", "pairs", "project:"
MOST_PROMPTS = 10_000
"""Of one job."""
FIELD = "prompts"
AT_ONCE = 500


class Source(NamedTuple):
    """Prompts that may be chosen."""

    name: str
    text: str
    num_prompts: int | None
    """None where that takes reading a file."""


@dataclass
class Chosen:
    """Prompts to ask."""

    prompts: list[Prompt]
    num_there: int = 0
    """Left out since the project asks about them already."""
    num_sealed: int = 0
    authors: Mapping[str, str] = field(default_factory=dict)
    """Of prompts that are not in the record yet: who wrote them, by their hash."""


# What there is --------------------------------------------------------------------------------------------------------


def sources(connection: Connection, workspace: Path) -> list[Source]:
    """What may be chosen, with the number of prompts; empty ones are left out."""
    counted = [
        Source(COMPARE, "they come with Tutelage", len(_shipped(COMPARE))),
        Source(RECORD, "all prompts of this workspace", _count(connection, select(schema.prompts.c.id).where(_mine()))),
        Source(PAIRS, "questions of accepted pairs", _count(connection, _pairs())),
    ]
    for project in projects.everything(connection):
        number = _count(connection, _of_project(project))
        counted.append(Source(PROJECT + project.name, "prompts of that project", number))
    files = [Source(name, "a file in prompts/", None) for name in prompt_files(workspace)]
    return [each for each in counted if each.num_prompts] + files


@cache
def _shipped(name: str) -> tuple[Prompt, ...]:
    return tuple(load_prompts(name))


def _count(connection: Connection, query: Select[Any]) -> int:
    return connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()


def _mine() -> ColumnElement[bool]:
    """Prompts but those of people who took their work out."""
    gone = select(schema.people.c.id).where(schema.people.c.withdrawn_ms.is_not(None))
    author = schema.prompts.c.author_id
    return or_(author.is_(None), author.not_in(gone))


def _of_project(project: Project) -> Select[Any]:
    items, prompts = schema.items, schema.prompts
    asked = select(items.c.prompt_id).where(items.c.project_id == project.id, items.c.is_gold.is_(False))
    return select(prompts.c.id, prompts.c.content_hash).where(prompts.c.id.in_(asked), _mine())


def _pairs() -> Select[Any]:
    """The newest words of accepted pairs, and who wrote them."""
    pairs, revisions, people = schema.pairs, schema.pair_revisions, schema.people
    newest = and_(revisions.c.pair_id == pairs.c.id, revisions.c.number == pairs.c.revision)
    query = select(pairs.c.id, pairs.c.author_id, revisions.c.messages).join(revisions, newest)
    query = query.join(people, people.c.id == pairs.c.author_id)
    live = (pairs.c.state == "accepted", pairs.c.withdrawn_ms.is_(None), people.c.withdrawn_ms.is_(None))
    return query.where(*live).order_by(pairs.c.id)


# Choosing -------------------------------------------------------------------------------------------------------------


def choose(
    connection: Connection, workspace: Path, project: Project, name: str, typed: Sequence[str], *,
    number: int | None = None, seed: int = 0, again: bool = False,
) -> Chosen:  # fmt: skip
    """The prompts of the source `name`, or those that were typed; of many `number` drawn by the seed.

    Those that the project has items of are left out before that, unless `again`. Raises `DataError`, its field
    `prompts` or `number`, where none is left or too many are.
    """
    found, authors = _candidates(connection, workspace, name, typed)
    if not found:
        raise DataError("there is no prompt in it; choose others, or write some", field=FIELD)
    sealed = {key for key in found if key in _sealed_hashes()}
    there = set() if again else _asked(connection, project, list(found))
    keys = [key for key in found if key not in sealed | there]
    if not keys:
        raise DataError(_nothing_left(project, bool(there), bool(sealed)), field=FIELD)
    if number is not None and number < len(keys):
        drawn = set(random.Random(seed).sample(keys, number))
        keys = [key for key in keys if key in drawn]
    if len(keys) > MOST_PROMPTS:
        raise DataError(
            f"these are {len(keys):,} prompts, and at most {MOST_PROMPTS:,} are asked at once; say how many to take",
            field="number",
        )
    prompts = _whole(connection, [(key, found[key]) for key in keys])
    check_prompts(prompts)
    return Chosen(prompts, len(there), len(sealed), {key: authors[key] for key in keys if key in authors})


def _nothing_left(project: Project, is_there: bool, is_sealed: bool) -> str:
    if is_there:
        return f"'{project.name}' asks about all of these already; choose others, or ask for a new round on them"
    assert is_sealed
    return "these are sealed prompts: nobody trains on them, so nobody labels them either; choose others"


Found = dict[str, "Prompt | str"]
"""Prompts by their hash: whole, or by their id in the record."""


def _candidates(
    connection: Connection, workspace: Path, name: str, typed: Sequence[str]
) -> tuple[Found, Mapping[str, str]]:
    lines = [line.strip() for line in typed if line.strip()]
    if lines and name:
        raise DataError("choose prompts, or write some, not both", field=FIELD)
    if lines:
        return _hashed(load_prompts(lines)), {}
    if name == COMPARE:
        return _hashed(_shipped(COMPARE)), {}
    if name == RECORD:
        query = select(schema.prompts.c.id, schema.prompts.c.content_hash).where(_mine())
        return _by_id(connection, query), {}
    if name == PAIRS:
        return _questions(connection)
    if name.startswith(PROJECT):
        try:
            return _by_id(connection, _of_project(projects.get(connection, name.removeprefix(PROJECT)))), {}
        except NotFoundError as error:
            raise DataError(str(error), field=FIELD) from error
    if name in prompt_files(workspace):
        return _hashed(_of_file(workspace / "prompts" / name, name)), {}
    if not name:
        raise DataError("choose prompts, or write some, one a line", field=FIELD)
    raise DataError(f"'{name[:100]}' names no prompts here; choose some of the list", field=FIELD)


def _hashed(prompts: Sequence[Prompt]) -> Found:
    found: Found = {}
    for prompt in prompts:
        found.setdefault(content_hash(as_json(prompt.messages)), prompt)
    return found


def _by_id(connection: Connection, query: Select[Any]) -> Found:
    rows = connection.execute(query.order_by(schema.prompts.c.id))
    return {row.content_hash: row.id for row in rows}


def _questions(connection: Connection) -> tuple[Found, Mapping[str, str]]:
    found: Found = {}
    authors: dict[str, str] = {}
    for row in connection.execute(_pairs()):
        messages = as_messages(row.messages)
        while messages and messages[-1].role == "assistant":
            messages = messages[:-1]
        key = content_hash(as_json(messages))
        if messages and key not in found:
            found[key], authors[key] = Prompt(messages), row.author_id
    return found, authors


def _of_file(path: Path, name: str) -> list[Prompt]:
    try:
        return load_prompts(path)
    except DataError as error:  # by the name that people know, beside the field of the form
        place = f"{name}, line {error.line}" if error.line else name
        raise DataError(f"{place}: {error.problem}", field=FIELD) from error


@cache
def _sealed_hashes() -> frozenset[str]:
    return frozenset(_hashed(_shipped(SEALED)))


def _asked(connection: Connection, project: Project, hashes: Sequence[str]) -> set[str]:
    """Those that the project has items of."""
    items, prompts = schema.items, schema.prompts
    query = select(prompts.c.content_hash).join(items, items.c.prompt_id == prompts.c.id)
    return set(connection.execute(query.where(items.c.project_id == project.id)).scalars()).intersection(hashes)


def _whole(connection: Connection, chosen: Sequence[tuple[str, Prompt | str]]) -> list[Prompt]:
    ids = [each for _, each in chosen if isinstance(each, str)]
    stored = {id: prompt for part in _parts(ids) for id, prompt in _read(connection, part)}
    return [stored[each] if isinstance(each, str) else each for _, each in chosen]


def _read(connection: Connection, ids: Sequence[str]) -> Iterator[tuple[str, Prompt]]:
    table = schema.prompts
    for row in connection.execute(select(table).where(table.c.id.in_(ids))):
        yield row.id, Prompt(as_messages(row.messages), reference=row.reference)


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]


def note_authors(connection: Connection, chosen: Chosen) -> None:
    """Put prompts that somebody here wrote into the record, with their name, before a model answers them."""
    rows = list[dict[str, Any]]()
    for prompt in chosen.prompts:
        key = content_hash(as_json(prompt.messages))
        if key in chosen.authors:
            rows.append({
                "id": new_id(), "messages": as_json(prompt.messages), "content_hash": key, "reference": None,
                "meta": {}, "author_id": chosen.authors[key], "created_ms": now_ms(),
            })  # fmt: skip
    rows.sort(key=lambda row: row["content_hash"])
    for start in range(0, len(rows), AT_ONCE):
        insert_missing(connection, schema.prompts, rows[start : start + AT_ONCE])
