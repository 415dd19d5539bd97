"""The loop in numbers: people, pairs, answers, verdicts and models, and what of it waits for one person.

Everything here is a count by an index, so that a first page can ask for it again and again; what waits in a queue is
counted up to `MANY`.

Leaves out: what would help most (`tutelage.feedback.next_step`), runs, which are folders (`tutelage.runs`), and items
on which raters disagree, which have to be read (`tutelage.feedback.disagreements`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, select

from tutelage.feedback import projects, work
from tutelage.feedback.projects import Project
from tutelage.store import schema
from tutelage.store.ids import now_ms
from tutelage.store.people import Person, require

MANY = 99
"""Waiting items are counted so far."""
MOST_PROJECTS = 100
SFT, REWARD, POLICY = "sft", "reward", "policy"
STAGE = {"sft": SFT, "distill": SFT, "reward": REWARD}
"""What a method makes; every other one makes a policy that learned from verdicts."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The models of a stage: how many, and the newest one."""

    num: int = 0
    name: str = ""
    method: str = ""
    made_ms: int = 0


@dataclass(frozen=True, slots=True)
class Queue:
    """A project as it waits for one person."""

    project: str
    kind: str
    question: str
    num_waiting: int
    """Items that this person could be given now, at most `MANY`."""
    has_more: bool
    num_given: int
    """Tasks that this person has judged here."""
    num_labels: int
    """Verdicts of everybody."""
    asks_twice: bool
    """Whether an item is judged by several, so that they may disagree."""


@dataclass(frozen=True, slots=True)
class Loop:
    """The workspace at one moment, as one person may see it."""

    num_people: int
    num_accepted: int
    num_submitted: int
    """Pairs that wait for review, whoever wrote them."""
    num_items: int
    num_labels: int
    num_labels_since: int
    """Of them those that came after the newest reward model."""
    num_snapshots: int
    """Of pairs."""
    models: Mapping[str, Newest]
    """By stage."""
    num_drafts: int
    """One's own, as are the next ones."""
    num_returned: int
    num_own_pairs: int
    """In any state."""
    num_to_review: int
    """Submitted pairs of others; 0 for a rater."""
    queues: tuple[Queue, ...]
    """Of open projects."""
    has_projects: bool


def loop(connection: Connection, person: Person) -> Loop:
    """The numbers of now; for everybody."""
    require(person, "rater")
    models = _models(connection)
    labels = _labels_by_project(connection)
    there = projects.listing(connection, limit=MOST_PROJECTS)
    reward = models.get(REWARD, Newest())
    submitted, own = _pairs(connection, "submitted"), {
        state: _pairs(connection, state, person) for state in ("draft", "returned", "submitted", "accepted", "rejected")
    }  # fmt: skip
    return Loop(
        num_people=_num_people(connection), num_accepted=_pairs(connection, "accepted"), num_submitted=submitted,
        num_items=_num_items(connection), num_labels=sum(labels.values()),
        num_labels_since=_num_labels_since(connection, reward.made_ms) if reward.num else sum(labels.values()),
        num_snapshots=_num_snapshots(connection), models=models, num_drafts=own["draft"],
        num_returned=own["returned"], num_own_pairs=sum(own.values()),
        num_to_review=submitted - own["submitted"] if person.role != "rater" else 0,
        queues=tuple(_queue(connection, person, each, labels) for each in there if each.state == "open"),
        has_projects=bool(there),
    )  # fmt: skip


def _num_people(connection: Connection) -> int:
    return connection.execute(select(func.count()).where(schema.people.c.active)).scalar_one()


def _pairs(connection: Connection, state: str, author: Person | None = None) -> int:
    table = schema.pairs
    query = select(func.count()).where(table.c.state == state, table.c.withdrawn_ms.is_(None))
    if author is not None:
        query = query.where(table.c.author_id == author.id)
    return connection.execute(query).scalar_one()


def _num_items(connection: Connection) -> int:
    return connection.execute(select(func.count(schema.items.c.id))).scalar_one()


def _labels_by_project(connection: Connection) -> dict[str, int]:
    """Labels in force. Withdrawn ones are looked for only where somebody's work was taken out."""
    table = schema.labels
    found = _by_project(connection, None)
    minus = [table.c.supersedes > ""]  # each took the place of one; so written, the index of that column is used
    if _somebody_left(connection):
        minus.append(table.c.withdrawn_ms.is_not(None) & table.c.superseded_ms.is_(None))
    for condition in minus:
        for project, number in _by_project(connection, condition).items():
            found[project] -= number
    return found


def _by_project(connection: Connection, condition: ColumnElement[bool] | None) -> dict[str, int]:
    table = schema.labels
    if condition is None:
        query = select(table.c.project_id, func.count()).group_by(table.c.project_id)
    else:
        project = func.coalesce(table.c.project_id, "")
        query = select(project, func.count()).where(condition).group_by(project)
    return {project or "": number for project, number in connection.execute(query)}


def _somebody_left(connection: Connection) -> bool:
    table = schema.people
    return connection.execute(select(table.c.id).where(table.c.withdrawn_ms.is_not(None)).limit(1)).first() is not None


def _num_labels_since(connection: Connection, since_ms: int) -> int:
    """By their ids, which begin with the time; corrections count as new."""
    return connection.execute(
        select(func.count(schema.labels.c.id)).where(schema.labels.c.id > f"{since_ms:012x}")
    ).scalar_one()


def _num_snapshots(connection: Connection) -> int:
    snapshots, datasets = schema.snapshots, schema.datasets
    query = select(func.count(snapshots.c.id)).join(datasets, datasets.c.id == snapshots.c.dataset_id)
    return connection.execute(query.where(datasets.c.kind == "pairs")).scalar_one()


def _models(connection: Connection) -> dict[str, Newest]:
    table = schema.models
    query = select(table.c.name, table.c.method, table.c.created_ms).where(table.c.method != "")
    found: dict[str, Newest] = {}
    for row in connection.execute(query.order_by(table.c.created_ms, table.c.name)):
        stage = STAGE.get(row.method, POLICY)
        found[stage] = Newest(found.get(stage, Newest()).num + 1, row.name, row.method, row.created_ms)
    return found


def _queue(connection: Connection, person: Person, project: Project, labels: Mapping[str, int]) -> Queue:
    waiting = work.num_waiting(connection, person, project, now_ms(), at_most=MANY)
    table = schema.assignments
    given = select(func.count()).where(
        table.c.person_id == person.id, table.c.project_id == project.id, table.c.state == "done"
    )
    return Queue(
        project.name, project.kind, project.question, min(waiting, MANY), waiting > MANY,
        connection.execute(given).scalar_one(), labels.get(project.id, 0), project.overlap > 1,
    )  # fmt: skip
