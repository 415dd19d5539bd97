"""A small labelling project, for tests of the queue and of what is said in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from record import BO
from sqlalchemy import Connection

from tutelage.feedback import items, projects, queue, submit
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.feedback.projects import Project
from tutelage.feedback.queue import Task
from tutelage.store.database import Store
from tutelage.store.people import Person, add_person
from tutelage.types import Message

START = 1_750_000_000_000
MINUTE = 60_000
NUM_ANSWERS = {"comparison": 2, "ranking": 4, "thumbs": 1, "rating": 1}
HELPFUL = ({"name": "helpful", "low": 0, "high": 4, "help": ""},)
VERDICTS: Mapping[str, Mapping[str, Any]] = {
    "comparison": {"winner": 0, "strength": 3},
    "ranking": {"order": [0, 1, 2, 3]},
    "thumbs": {"good": True},
    "rating": {"scores": {"helpful": 3}},
}


def item(number: int, kind: str = "comparison", **more: Any) -> NewItem:
    answers = [NewAnswer(f"answer {place} to {number}", model=f"model-{place}") for place in range(NUM_ANSWERS[kind])]
    return NewItem((Message("user", f"question {number}?"),), answers, **more)


def make(store: Store, num_items: int = 3, kind: str = "comparison", **more: Any) -> Project:
    """A project with items numbered from 0."""
    more.setdefault("attributes", HELPFUL if kind == "rating" else ())
    with store.write() as connection:
        project = projects.create(connection, BO, "helpful", kind, **more)
        items.add_items(connection, BO, project, [item(number, kind) for number in range(num_items)])
    return project


def crowd(store: Store, number: int) -> list[Person]:
    """Raters r0, r1 …"""
    with store.write() as connection:
        return [add_person(connection, f"r{place}", "rater") for place in range(number)]


def take(store: Store, person: Person, project: Project, now_ms: int = START) -> Task | None:
    with store.write() as connection:
        return queue.next_item(connection, person, project, now_ms=now_ms)


def given(store: Store, person: Person, project: Project, now_ms: int = START) -> Task:
    """A task that must be there."""
    task = take(store, person, project, now_ms)
    assert task is not None
    return task


def say(
    store: Store, person: Person, task: Task, verdict: Mapping[str, Any] | None = None, now_ms: int = START, **more: Any
) -> str:
    """Submit a verdict on a task, under a key made from it."""
    more.setdefault("request_key", f"for {task.assignment_id}")
    with store.write() as connection:
        return submit.submit(
            connection, person, task.assignment_id, verdict=verdict or VERDICTS[task.kind], now_ms=now_ms, **more
        )


def question(task: Task) -> int:
    """The number of the item a task is about."""
    return int(task.messages[-1].content.removeprefix("question ").removesuffix("?"))


def rows(store: Store, statement: Any) -> Sequence[Any]:
    with store.read() as connection:
        return connection.execute(statement).all()


def row_of(connection: Connection, table: Any, id: str) -> Any:
    return connection.execute(table.select().where(table.c.id == id)).one()
