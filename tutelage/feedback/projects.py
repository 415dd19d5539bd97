"""Labelling projects: what is asked, of which kind, under which guidelines, and how often.

A project's facts are fixed when it is made, since labels made under other facts would not belong together; its state
and its guidelines change, the guidelines by versions that are kept. Leaves out: the items of a project
(`tutelage.feedback.items`) and who gets which (`tutelage.feedback.queue`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, Row, Select, insert, select, update

from tutelage.errors import ConflictError, DataError, NotFoundError
from tutelage.feedback.words import no_longer_than, storable
from tutelage.store import audit, people, schema
from tutelage.store.ids import new_id, now_ms
from tutelage.store.labels import Kind
from tutelage.store.people import Person
from tutelage.store.turns import take_turn

KINDS: tuple[Kind, ...] = ("comparison", "ranking", "thumbs", "rating")
STATES = ("open", "paused", "closed")
QUESTIONS: Mapping[str, str] = {
    "comparison": "Which answer is better?",
    "ranking": "Put the answers in order, the best first.",
    "thumbs": "Is this a good answer?",
    "rating": "How good is this answer?",
}
"""What is asked where a project says nothing else."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MAX_OVERLAP = 100
MAX_QUIET_FRAC = 0.5
LEASE_SECONDS = (10, 7 * 86_400)
MAX_GUIDELINE_CHARS = 200_000
MAX_NOTE_CHARS = 500
PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Project:
    """A labelling project."""

    id: str
    name: str
    kind: Kind
    question: str
    attributes: tuple[Mapping[str, Any], ...]
    """Of a rating: `{"name", "low", "high", "help"}` each."""
    reasons: tuple[str, ...]
    """The reason tags on offer."""
    overlap: int
    """Labels wanted for each item."""
    gold_frac: float
    """Share of tasks whose verdict is known."""
    repeat_frac: float
    """Share of tasks that the same rater has had before."""
    lease_seconds: int
    models: tuple[str, ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=dict)
    state: str = "open"
    created_ms: int = 0


class Guideline(NamedTuple):
    """One version of a project's guidelines."""

    version: int
    text: str
    created_ms: int
    note: str = ""
    """What is new in it, in its author's words."""
    created_by: str = ""
    """Their name."""


def create(
    connection: Connection,
    person: Person,
    name: str,
    kind: str,
    question: str = "",
    *,
    attributes: Sequence[Mapping[str, Any]] = (),
    reasons: Sequence[str] = (),
    overlap: int = 1,
    gold_frac: float = 0.0,
    repeat_frac: float = 0.0,
    lease_seconds: int = 900,
    models: Sequence[str] = (),
    sampling: Mapping[str, Any] | None = None,
    guideline: str = "",
) -> Project:
    """A new project; for reviewers and admins. `guideline`, where given, becomes version 1.

    Raises `DataError`, naming the field, for facts that cannot be, and `ConflictError` for a name that is taken.
    """
    people.require(person, "reviewer")
    project = Project(
        new_id(), name, known_kind(kind), storable(question, "question") or QUESTIONS[kind],
        _attributes(kind, attributes), _reasons(reasons), overlap, float(gold_frac), float(repeat_frac),
        lease_seconds, tuple(models), dict(sampling or {}), created_ms=now_ms(),
    )  # fmt: skip
    _check(project)
    take_turn(connection, "project name", name)
    if connection.execute(select(schema.projects.c.id).where(schema.projects.c.name == name)).first():
        raise ConflictError(f"there is a project '{name}' already; choose another name")
    connection.execute(insert(schema.projects).values(**_row(project), created_by=person.id))
    audit.note(connection, person, "project.created", project.id, name=name, kind=kind)
    if guideline.strip():
        add_guideline(connection, person, project, guideline)
    return project


def _row(project: Project) -> dict[str, Any]:
    names = (
        "id", "name", "kind", "question", "overlap", "gold_frac", "repeat_frac", "lease_seconds", "state", "created_ms",
    )  # fmt: skip
    lists = {name: list(getattr(project, name)) for name in ("attributes", "reasons", "models")}
    return {name: getattr(project, name) for name in names} | lists | {"sampling": dict(project.sampling)}


def known_kind(kind: str) -> Kind:
    """The kind of label of this name; `DataError` for another."""
    for known in KINDS:
        if kind == known:
            return known
    raise DataError(f"'{kind}' is none of {', '.join(KINDS)}", field="kind")


def _check(project: Project) -> None:
    if not _NAME.fullmatch(project.name):
        raise DataError(
            f"'{project.name}' is no name for a project; use up to 100 letters, digits, '.', '_' and '-'", field="name"
        )
    _within("overlap", project.overlap, 1, MAX_OVERLAP)
    _within("lease_seconds", project.lease_seconds, *LEASE_SECONDS)
    _within("gold_frac", project.gold_frac, 0, MAX_QUIET_FRAC)
    _within("repeat_frac", project.repeat_frac, 0, MAX_QUIET_FRAC)
    no_longer_than(project.question, 2_000, "question")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # false for NaN, too
        raise DataError(f"{value} is outside {low} to {high}", field=name)


def _attributes(kind: str, attributes: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    if bool(attributes) != (kind == "rating"):
        wanted = "a rating needs at least one; give each a name, a lowest and a highest number"
        raise DataError(wanted if kind == "rating" else "only a rating has some", field="attributes")
    found = tuple(_attribute(each, f"attributes[{number}]") for number, each in enumerate(attributes))
    if len({each["name"] for each in found}) < len(found):
        raise DataError("two attributes have the same name", field="attributes")
    return found


def _attribute(each: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    name, low, high = each.get("name"), each.get("low"), each.get("high")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DataError(f"{name!r} is no name; use letters, digits, '.', '_' and '-'", field=f"{place}.name")
    for key, number in (("low", low), ("high", high)):
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not abs(number) < 1e6:
            raise DataError(f"{number!r} is no number", field=f"{place}.{key}")
    if not low < high:  # type: ignore[operator]
        raise DataError(f"{high} is not above {low}", field=f"{place}.high")
    explanation = storable(str(each.get("help") or ""), f"{place}.help")
    return {"name": name, "low": low, "high": high, "help": no_longer_than(explanation, 2_000, f"{place}.help")}


def _reasons(reasons: Sequence[str]) -> tuple[str, ...]:
    """Each once, in the order given."""
    found = tuple(dict.fromkeys(storable(each, "reasons").strip() for each in reasons))
    for each in found:
        if not 0 < len(each) <= 60:
            raise DataError(f"'{each}' has {len(each)} characters; a reason has 1 to 60", field="reasons")
    return found


def get(connection: Connection, name: str) -> Project:
    """The project of this name or id; `NotFoundError` when there is none."""
    table = schema.projects
    row = connection.execute(select(table).where((table.c.name == name) | (table.c.id == name))).first()
    if row is None:
        raise NotFoundError(f"no project '{name}'; `tutelage project list` shows them")
    return _project(row)


def listing(connection: Connection, *, after: str = "", limit: int = 100) -> list[Project]:
    """Projects by name, those behind the name `after`."""
    table = schema.projects
    rows = connection.execute(select(table).where(table.c.name > after).order_by(table.c.name).limit(limit))
    return [_project(row) for row in rows]


def everything(connection: Connection) -> Iterator[Project]:
    """All projects, by name."""
    after = ""
    while page := listing(connection, after=after, limit=PAGE):
        yield from page
        after = page[-1].name


def seen_by(project: Project, person: Person) -> Project:
    """The project without what a rater must not know: which models answer, and how many tasks are tests."""
    if person.role != "rater":
        return project
    return replace(project, models=(), sampling={}, gold_frac=0.0, repeat_frac=0.0)


def set_state(connection: Connection, person: Person, project: Project, state: str) -> Project:
    """Open, pause or close a project; only an open one hands out tasks. What was begun may still be submitted."""
    people.require(person, "reviewer")
    if state not in STATES:
        raise DataError(f"'{state}' is none of {', '.join(STATES)}", field="state")
    connection.execute(update(schema.projects).where(schema.projects.c.id == project.id).values(state=state))
    audit.note(connection, person, "project.state", project.id, state=state)
    return replace(project, state=state)


def add_guideline(connection: Connection, person: Person, project: Project, text: str, note: str = "") -> int:
    """A new version of the guidelines, in Markdown; gives its number. The newest one's text again is that one.

    `note` says in a sentence what is new.
    """
    people.require(person, "reviewer")
    no_longer_than(storable(text, "text"), MAX_GUIDELINE_CHARS, "text")
    no_longer_than(storable(note, "note"), MAX_NOTE_CHARS, "note")
    if not text.strip():
        raise DataError("guidelines need some words", field="text")
    take_turn(connection, "guidelines", project.id)
    newest = guideline(connection, project)
    if newest is not None and newest.text == text:
        return newest.version
    version = newest.version + 1 if newest else 1
    row = {"id": new_id(), "project_id": project.id, "version": version, "text": text, "created_ms": now_ms()}
    connection.execute(insert(schema.guidelines).values(**row, note=note.strip(), created_by=person.id))
    audit.note(connection, person, "project.guideline", project.id, version=version)
    return version


def guideline(connection: Connection, project: Project, version: int | None = None) -> Guideline | None:
    """A version of the guidelines, the newest where none is named; None where the project has none."""
    query = _guidelines_of(project).limit(1)
    if version is not None:
        query = query.where(schema.guidelines.c.version == version)
    row = connection.execute(query).first()
    if row is None and version is not None:
        raise NotFoundError(f"project '{project.name}' has no version {version} of its guidelines")
    return None if row is None else Guideline(*row)


def guidelines(connection: Connection, project: Project) -> list[Guideline]:
    """Every version, the newest first."""
    return [Guideline(*row) for row in connection.execute(_guidelines_of(project))]


def _guidelines_of(project: Project) -> Select[Any]:
    table, names = schema.guidelines, schema.people
    query = select(table.c.version, table.c.text, table.c.created_ms, table.c.note, names.c.name)
    query = query.join(names, names.c.id == table.c.created_by).where(table.c.project_id == project.id)
    return query.order_by(table.c.version.desc())


def _project(row: Row[Any]) -> Project:
    plain = ("id", "name", "question", "overlap", "gold_frac", "repeat_frac", "lease_seconds", "state", "created_ms")
    return Project(
        kind=cast(Kind, row.kind), attributes=tuple(row.attributes), reasons=tuple(row.reasons),
        models=tuple(row.models), sampling=row.sampling, **{name: getattr(row, name) for name in plain},
    )  # fmt: skip
