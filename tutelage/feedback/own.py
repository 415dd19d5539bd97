"""One's own labels read back with what was shown, to look at or to correct; and who wrote the answers, afterwards.

Everything is told as it stood on the rater's screen: answers in the order they were shown, the verdict naming them by
their place. Nothing says which tasks were tests.

Who wrote an answer is told after the verdict and to the rater alone, and it is written down that it was: a correction
made in that knowledge says so in `meta["after_reveal"]`. A project that asks about items again tells nobody, for the
second verdict would not be blind.

Leaves out: others' labels (`tutelage.feedback.seen`), and corrections (`tutelage.feedback.submit`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select

from tutelage.errors import NotAllowedError, NotFoundError
from tutelage.feedback import projects
from tutelage.feedback.projects import Project
from tutelage.feedback.queue import Task
from tutelage.feedback.verdicts import as_said
from tutelage.store import audit, people, schema
from tutelage.store.contents import as_messages
from tutelage.store.people import Person

REVEALED = "label.revealed"
_LABELS, _PROMPTS, _ANSWERS = schema.labels, schema.prompts, schema.answers


@dataclass(frozen=True, slots=True)
class GivenLabel:
    """A label of one's own that came out of the queue, as one gave it."""

    id: str
    created_ms: int
    is_corrected: bool
    """Whether it took the place of an earlier one."""
    task: Task
    """What was shown, without the text of the guidelines; nobody holds it any more."""
    verdict: Mapping[str, Any]
    """As `tutelage.feedback.verdicts` spells it, answers by place."""
    reasons: tuple[str, ...]
    critique: str
    rewrite: str


class Wrote(NamedTuple):
    """Which model wrote an answer; empty where a person did, or nobody knows."""

    answer_id: str
    model: str


def newest_first(
    connection: Connection, person: Person, project: Project, *, before: str = "", limit: int = 50
) -> list[GivenLabel]:
    """One's labels of a project that are in force, those before the id `before`."""
    people.require(person, "rater")
    query = _given().where(_LABELS.c.person_id == person.id, _LABELS.c.project_id == project.id)
    query = query.where(_LABELS.c.superseded_ms.is_(None), _LABELS.c.withdrawn_ms.is_(None))
    if before:
        query = query.where(_LABELS.c.id < before)
    rows = connection.execute(query.order_by(_LABELS.c.id.desc()).limit(limit)).all()
    texts = _texts(connection, {each for row in rows for each in row.displayed})
    return [_as_given(row, project, texts) for row in rows]


def given(connection: Connection, person: Person, label_id: str) -> GivenLabel:
    """A label of one's own, whatever became of it; `NotFoundError` for another's."""
    people.require(person, "rater")
    row = connection.execute(_given().where(_LABELS.c.id == label_id, _LABELS.c.person_id == person.id)).first()
    if row is None:
        raise NotFoundError(f"no label {label_id} of yours from the queue")
    return _as_given(row, projects.get(connection, row.project_id), _texts(connection, set(row.displayed)))


def reveal(connection: Connection, person: Person, label_id: str) -> list[Wrote]:
    """Who wrote the answers that one has judged, in the order they were shown; it is noted that one knows.

    Raises `NotAllowedError` where the project keeps that hidden, `NotFoundError` for another's label.
    """
    there = given(connection, person, label_id)
    if projects.get(connection, there.task.project).repeat_frac > 0:
        raise NotAllowedError("in this project it stays hidden who wrote which answer")
    if not was_revealed(connection, label_id):
        audit.note(connection, person, REVEALED, label_id)
    ids = [id for id, _ in there.task.answers]
    models = {row.id: row.model for row in connection.execute(
        select(_ANSWERS.c.id, _ANSWERS.c.model).where(_ANSWERS.c.id.in_(ids))
    )}  # fmt: skip
    return [Wrote(id, models[id]) for id in ids]


def was_revealed(connection: Connection, label_id: str) -> bool:
    """Whether the rater has been told who wrote the answers of this label."""
    log = schema.audit_log
    query = select(log.c.id).where(log.c.subject == label_id, log.c.action == REVEALED).limit(1)
    return connection.execute(query).first() is not None


def _given() -> Any:
    query = select(_LABELS, _PROMPTS.c.messages).join(_PROMPTS, _PROMPTS.c.id == _LABELS.c.prompt_id)
    return query.where(_LABELS.c.assignment_id.is_not(None))


def _texts(connection: Connection, ids: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    waiting = sorted(ids)
    for start in range(0, len(waiting), 500):
        some = _ANSWERS.c.id.in_(waiting[start : start + 500])
        found |= {row.id: row.text for row in connection.execute(select(_ANSWERS.c.id, _ANSWERS.c.text).where(some))}
    return found


def _as_given(row: Row[Any], project: Project, texts: Mapping[str, str]) -> GivenLabel:
    displayed: Sequence[str] = row.displayed
    task = Task(
        row.assignment_id, row.item_id, project.name, row.kind, project.question, project.attributes, project.reasons,
        as_messages(row.messages), tuple((each, texts[each]) for each in displayed), row.guideline_version, "",
        0, project.lease_seconds,
    )  # fmt: skip
    verdict = as_said(row.kind, row.value, row.answer_ids, displayed)
    return GivenLabel(
        row.id, row.created_ms, row.supersedes is not None, task, verdict, tuple(row.reasons), row.critique, row.rewrite
    )
