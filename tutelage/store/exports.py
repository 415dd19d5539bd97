"""People's work as records to write to a file: pairs, a project's labels, prompts, or a snapshot as it was frozen.

A record is a plain object with every field, in the order in which the work came; what was withdrawn and labels that
were corrected since stay out, except that a snapshot holds what it held. Rows are read page by page, by key.

Leaves out: other tools' formats (`tutelage.store.export_formats`) and files (`tutelage.store.export_files`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, select

from tutelage.errors import ConfigError, NotFoundError
from tutelage.store import people, schema
from tutelage.store.dataset_names import LABELS, split_name
from tutelage.store.export_formats import Line, ranks_of
from tutelage.store.import_rows import in_parts
from tutelage.store.pair_views import STATES
from tutelage.store.people import Person

PAGE = 500
_PAIRS, _REVISIONS, _LABELS, _PEOPLE = schema.pairs, schema.pair_revisions, schema.labels, schema.people


@dataclass(frozen=True, slots=True)
class Filters:
    """Which records are wanted; empty = all."""

    states: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    """Pairs that have all of them."""
    since_ms: int | None = None
    """Pairs changed, labels and prompts made since."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be exported."""

    kind: str
    """`pairs`, `labels` or `prompts`."""
    project_id: str = ""
    snapshot_id: str = ""


def find_wanted(connection: Connection, person: Person, what: str, filters: Filters) -> Wanted:
    """What `pairs`, `prompts`, `labels:NAME` or `DATASET@N` names; for reviewers and admins.

    Raises `NotFoundError` when there is no such project or snapshot, `ConfigError` for a filter that it has no use for.
    """
    people.require(person, "reviewer")
    wanted = _find(connection, what)
    if unknown := [state for state in filters.states if state not in STATES]:
        raise ConfigError(f"--state {unknown[0]}: none of {', '.join(STATES)}")
    if wanted.kind != "pairs" and (filters.states or filters.tags):
        raise ConfigError(f"--state and --tag are of pairs, and {wanted.kind} have none; leave them out")
    if wanted.snapshot_id and filters != Filters():
        raise ConfigError(f"{what} is a snapshot and is written whole; leave --state, --tag and --since out")
    return wanted


def _find(connection: Connection, what: str) -> Wanted:
    if what in ("pairs", "prompts"):
        return Wanted(what)
    name, number = split_name(what)
    if number is None and name.startswith(LABELS):
        name = name.removeprefix(LABELS)
        project = connection.execute(select(schema.projects.c.id).where(schema.projects.c.name == name)).scalar()
        if project is None:
            raise NotFoundError(f"no project '{name}'; `tutelage projects` lists them")
        return Wanted("labels", project_id=project)
    if number is None:
        raise ConfigError(f"'{what}' is none of pairs, prompts, labels:PROJECT and DATASET@NUMBER")
    datasets, snapshots = schema.datasets, schema.snapshots
    query = select(snapshots.c.id, datasets.c.kind).join(datasets, datasets.c.id == snapshots.c.dataset_id)
    row = connection.execute(query.where(datasets.c.name == name, snapshots.c.number == number)).first()
    if row is None:
        raise NotFoundError(f"no snapshot {what}; `tutelage datasets` lists them")
    return Wanted(row.kind, snapshot_id=row.id)


def count(connection: Connection, wanted: Wanted, filters: Filters) -> int:
    """How many records there are."""
    if wanted.snapshot_id:
        table = schema.snapshots
        return int(connection.execute(select(table.c.num_records).where(table.c.id == wanted.snapshot_id)).scalar_one())
    table, condition = _live(wanted, filters)
    return int(connection.execute(select(func.count()).select_from(table).where(condition)).scalar_one())


def records(connection: Connection, wanted: Wanted, filters: Filters) -> Iterator[Line]:
    """Every record, page by page."""
    if wanted.snapshot_id:
        yield from _frozen(connection, wanted)
        return
    read = {"pairs": _pairs, "labels": _labels, "prompts": _prompts}[wanted.kind]
    table, condition = _live(wanted, filters)
    after = ""
    while ids := _page(connection, table, condition, after):
        yield from read(connection, ids)
        after = ids[-1]


def _page(connection: Connection, table: Any, condition: ColumnElement[bool], after: str) -> list[str]:
    query = select(table.c.id).where(condition, table.c.id > after).order_by(table.c.id).limit(PAGE)
    return list(connection.execute(query).scalars())


def _live(wanted: Wanted, filters: Filters) -> tuple[Any, ColumnElement[bool]]:
    """The table and the rows of it that count."""
    table = {"pairs": _PAIRS, "labels": _LABELS, "prompts": schema.prompts}[wanted.kind]
    conditions: list[ColumnElement[bool]] = [table.c.id != ""]
    gone = select(_PEOPLE.c.id).where(_PEOPLE.c.withdrawn_ms.is_not(None))
    if wanted.kind != "prompts":
        owner = table.c.author_id if wanted.kind == "pairs" else table.c.person_id
        conditions += [table.c.withdrawn_ms.is_(None), owner.not_in(gone)]
    if wanted.kind == "pairs":
        touched = select(_REVISIONS.c.pair_id).where(_REVISIONS.c.editor_id.in_(gone))
        conditions.append(table.c.id.not_in(touched))
    if wanted.kind == "labels":
        conditions += [table.c.project_id == wanted.project_id, table.c.superseded_ms.is_(None)]
    if filters.states:
        conditions.append(table.c.state.in_(filters.states))
    for tag in filters.tags:
        tagged = select(schema.pair_tags.c.pair_id).where(schema.pair_tags.c.tag == tag)
        conditions.append(table.c.id.in_(tagged))
    if filters.since_ms is not None:
        moment = table.c.changed_ms if wanted.kind == "pairs" else table.c.created_ms
        conditions.append(moment >= filters.since_ms)
    return table, and_(*conditions)


# --- pairs ------------------------------------------------------------------------------------------------------------


def _pairs(connection: Connection, ids: Sequence[str]) -> Iterator[Line]:
    newest = and_(_REVISIONS.c.pair_id == _PAIRS.c.id, _REVISIONS.c.number == _PAIRS.c.revision)
    query = _pair_query().join(_REVISIONS, newest).where(_PAIRS.c.id.in_(ids)).order_by(_PAIRS.c.id)
    rows = connection.execute(query).all()
    tags, reviewers = _tags(connection, ids), _reviewers(connection, ids)
    for row in rows:
        yield _pair(row, tags.get(row.id, []), reviewers.get(row.id, ""))


def _pair_query() -> Any:
    columns = (
        _PAIRS.c.id, _PAIRS.c.state, _PAIRS.c.source, _PAIRS.c.licence, _PAIRS.c.meta, _PAIRS.c.created_ms,
        _REVISIONS.c.number, _REVISIONS.c.messages, _PEOPLE.c.name.label("author"),
    )  # fmt: skip
    return select(*columns).select_from(_PAIRS).join(_PEOPLE, _PEOPLE.c.id == _PAIRS.c.author_id)


def _pair(row: Any, tags: Sequence[str], reviewer: str) -> Line:
    return {
        "record": "pair", "id": row.id, "messages": row.messages, "state": row.state, "tags": list(tags),
        "source": row.source, "licence": row.licence, "author": row.author, "reviewer": reviewer,
        "revision": row.number, "meta": row.meta, "created_ms": row.created_ms,
    }  # fmt: skip


def _tags(connection: Connection, ids: Sequence[str]) -> dict[str, list[str]]:
    table, found = schema.pair_tags, dict[str, list[str]]()
    query = select(table).where(table.c.pair_id.in_(ids)).order_by(table.c.pair_id, table.c.tag)
    for row in connection.execute(query):
        found.setdefault(row.pair_id, []).append(row.tag)
    return found


def _reviewers(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """Who accepted, returned or rejected each pair last."""
    events = schema.pair_events
    query = select(events.c.pair_id, _PEOPLE.c.name).join(_PEOPLE, _PEOPLE.c.id == events.c.person_id)
    query = query.where(events.c.pair_id.in_(ids), events.c.action.in_(("accepted", "returned", "rejected")))
    return {row.pair_id: row.name for row in connection.execute(query.order_by(events.c.at_ms, events.c.id))}


# --- labels -----------------------------------------------------------------------------------------------------------


def _labels(connection: Connection, ids: Sequence[str], *, all: bool = False) -> Iterator[Line]:
    """The lines of these labels; unless `all` are wanted, not those on an answer of somebody whose work was removed."""
    prompts, projects = schema.prompts, schema.projects
    names = (_PEOPLE.c.name.label("rater"), projects.c.name.label("project"))
    query = select(_LABELS, prompts.c.messages, prompts.c.reference, *names)
    query = query.join(prompts, prompts.c.id == _LABELS.c.prompt_id).join(_PEOPLE, _PEOPLE.c.id == _LABELS.c.person_id)
    query = query.outerjoin(projects, projects.c.id == _LABELS.c.project_id)
    rows = connection.execute(query.where(_LABELS.c.id.in_(ids)).order_by(_LABELS.c.id)).all()
    answers = _answers(connection, sorted({each for row in rows for each in row.answer_ids}), all=all)
    for row in rows:
        if all or answers.keys() >= set(row.answer_ids):
            yield _label(row, [answers[each] for each in row.answer_ids])


def _answers(connection: Connection, ids: Sequence[str], *, all: bool) -> dict[str, Line]:
    table, found = schema.answers, dict[str, Line]()
    query = select(table.c.id, table.c.text, table.c.model, table.c.sampling, _PEOPLE.c.name.label("author"))
    query = query if all else query.where(_PEOPLE.c.withdrawn_ms.is_(None))
    query = query.outerjoin(_PEOPLE, _PEOPLE.c.id == table.c.author_id)
    for part in in_parts(ids):
        for row in connection.execute(query.where(table.c.id.in_(part))):
            found[row.id] = {
                "text": row.text, "model": row.model, "sampling": row.sampling, "author": row.author or "",
            }  # fmt: skip
    return found


_PLAIN = (
    "id", "kind", "value", "reasons", "critique", "rewrite", "rater", "seconds", "guideline_version", "round",
    "is_gold", "request_key", "source", "project", "reference", "meta", "created_ms",
)  # fmt: skip


def _label(row: Row[Any], answers: Sequence[Line]) -> Line:
    """Every field, and besides what makes the line a comparison or rating to the other loaders."""
    places = {answer: at for at, answer in enumerate(row.answer_ids)}
    line: Line = {"record": "label", "prompt": row.messages}
    line |= (
        {"completions": list(answers)}
        if row.kind in ("comparison", "ranking")
        else {"completion": _as_turn(answers[0])}
    )
    line |= {name: getattr(row, name) for name in _PLAIN} | {"displayed": [places[each] for each in row.displayed]}
    return line | _verdict(line)


def _as_turn(answer: Line) -> Line:
    """An answer that stands alone is a message, which the other loaders read from a cell of a CSV file, too."""
    rest = {name: value for name, value in answer.items() if name != "text"}
    return {"role": "assistant", "content": answer["text"], **rest}


def _verdict(line: Line) -> Line:
    value = line["value"]
    if line["kind"] == "thumbs":
        return {"label": value["good"]}
    if line["kind"] == "rating":
        scores = list(value["scores"].values())
        return {"rating": scores[0]} if len(scores) == 1 else {}
    ranks = ranks_of(line)
    strength = {"strength": value["strength"] - 1} if "strength" in value else {}
    return {} if ranks is None else {"ranks": ranks, **strength}


# --- prompts and snapshots --------------------------------------------------------------------------------------------


def _prompts(connection: Connection, ids: Sequence[str]) -> Iterator[Line]:
    table = schema.prompts
    for row in connection.execute(select(table).where(table.c.id.in_(ids)).order_by(table.c.id)):
        plain = {name: getattr(row, name) for name in ("id", "messages", "reference", "meta", "created_ms")}
        yield {"record": "prompt", **plain}


def _frozen(connection: Connection, wanted: Wanted) -> Iterator[Line]:
    """A snapshot's records as they were: the revisions it holds, with the tags and names that were noted."""
    table, after = schema.snapshot_records, -1
    query = select(table).where(table.c.snapshot_id == wanted.snapshot_id).order_by(table.c.position).limit(PAGE)
    while rows := connection.execute(query.where(table.c.position > after)).all():
        read = _frozen_pairs if wanted.kind == "pairs" else _frozen_labels
        lines = read(connection, rows)
        for row in rows:
            line = lines[row.pair_revision_id or row.label_id]
            yield line | {name: value for name, value in (row.facts or {}).items() if name in line}
        after = rows[-1].position


def _frozen_pairs(connection: Connection, rows: Sequence[Any]) -> Mapping[str, Line]:
    ids = [row.pair_revision_id for row in rows]
    query = _pair_query().add_columns(_REVISIONS.c.id.label("revision_id"))
    query = query.join(_REVISIONS, _REVISIONS.c.pair_id == _PAIRS.c.id).where(_REVISIONS.c.id.in_(ids))
    found = connection.execute(query).all()
    pair_ids = [row.id for row in found]
    tags, reviewers = _tags(connection, pair_ids), _reviewers(connection, pair_ids)
    return {row.revision_id: _pair(row, tags.get(row.id, []), reviewers.get(row.id, "")) for row in found}


def _frozen_labels(connection: Connection, rows: Sequence[Any]) -> Mapping[str, Line]:
    return {line["id"]: line for line in _labels(connection, [row.label_id for row in rows], all=True)}
