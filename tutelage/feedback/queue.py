"""Who judges what next: an item under a lease, the same one again until it is submitted, skipped or expired.

A place of an item is taken by each label it has and each lease on it that lives; an item is handed out while it has
places left, the largest priority first. Nobody gets an item twice, one whose prompt or answer they wrote, or one that
is complete. Now and then a task is a gold item or, long after, an item that the rater had before; which tasks these
are depends on the project, the person and how many tasks they had, and a rater cannot tell them from others.

A rater far ahead of all others has the queue's beginning behind them. For such a one the first items in order are
looked at, then those after their last one, and only where that finds nothing the whole queue.

Two never take the last place of an item: claims of one project take turns (`tutelage.store.turns`). Skipping rows that
others have locked would be quicker, but tells a rater that nothing is left while somebody just submits the last item.

Leaves out: the statements (`tutelage.feedback.queue_sql`), writing a verdict down (`tutelage.feedback.submit`), and
what priorities are given to items (`tutelage.feedback.selection`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Executable, Row, insert, select, update

from tutelage.errors import ConflictError, DataError, NotFoundError
from tutelage.feedback import queue_sql as sql
from tutelage.feedback.projects import Project, get
from tutelage.feedback.words import storable_json, typed
from tutelage.store import people, schema
from tutelage.store.contents import as_messages
from tutelage.store.ids import new_id
from tutelage.store.ids import now_ms as clock_ms
from tutelage.store.people import Person
from tutelage.store.turns import take_turn
from tutelage.types import Message

REPEAT_AFTER = 20
"""Fewest labels of a rater between an item and its repeat."""
LOOKED_AT = 1_000
"""A rater who had so many tasks is not led past all of them each time."""
MAX_REASON_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class Task:
    """What a rater is shown: everything to judge by, and nothing that says which model wrote what."""

    assignment_id: str
    item_id: str
    project: str
    """The project's name."""
    kind: str
    question: str
    attributes: tuple[Mapping[str, Any], ...]
    reasons: tuple[str, ...]
    messages: tuple[Message, ...]
    """The prompt."""
    answers: tuple[tuple[str, str], ...]
    """(id, text) in the order in which they are shown."""
    guideline_version: int | None
    guideline: str
    expires_ms: int
    lease_seconds: int
    draft: Any = None
    """What the rater had entered when they last saved, as they saved it."""


# --- handing out ------------------------------------------------------------------------------------------------------


def next_item(
    connection: Connection,
    person: Person,
    project: Project,
    *,
    now_ms: int | None = None,
    rng: random.Random | None = None,
) -> Task | None:
    """The person's task: the one they hold, or a new one under a lease; None where there is nothing for them now.

    An expired lease of theirs is given again, with its draft, while the item has a place left. To be called inside
    `Store.write`. The draws of the task and of the displayed order come from `rng`; without one they are a function of
    project, person and how many tasks the person had.
    """
    people.require(person, "rater")
    if project.state != "open":
        return None
    take_turn(connection, "claims", project.id)
    now = clock_ms() if now_ms is None else now_ms
    keys = {"person": person.id, "project": project.id, "now": now}
    held = _take_up_again(connection, project, keys)
    if held is not None:
        return _task(connection, project, held)
    num_tasks = connection.execute(sql.NUM_TASKS, keys).scalar_one()
    draw = rng or random.Random(f"{project.id} {person.id} {num_tasks}")
    chosen = _choose(connection, project, keys, num_tasks, draw)
    if chosen is None:
        return None
    return _task(connection, project, _lease(connection, person, project, chosen, now, draw))


def _take_up_again(connection: Connection, project: Project, keys: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The newest lease of the person that lives, or one that has expired and may be had again."""
    now = keys["now"]
    for row in connection.execute(sql.HELD, keys).all():
        if row.expires_ms > now:
            return dict(row._mapping)
        if row.has_place:
            return _again(connection, project, row, now)
    return None


def _again(connection: Connection, project: Project, row: Row[Any], now: int) -> Mapping[str, Any]:
    """An expired lease begun anew; the rater sees the guidelines as they are now."""
    version, guideline = _newest(connection, project)
    changed = {"expires_ms": now + 1000 * project.lease_seconds, "guideline_version": version}
    connection.execute(update(schema.assignments).where(schema.assignments.c.id == row.id).values(**changed))
    return dict(row._mapping) | changed | {"guideline": guideline}


class _Chosen(NamedTuple):
    """An item to hand out, and whether for the first time (0) or again (1)."""

    item_id: str
    answer_ids: list[str]
    round: int = 0


def _choose(
    connection: Connection, project: Project, keys: Mapping[str, Any], num_tasks: int, draw: random.Random
) -> _Chosen | None:
    """By chance a gold item or a repeat, else the next in order."""
    share = draw.random()
    if share < project.gold_frac:
        found = _first_row(connection, sql.NEXT_GOLD, keys)
    elif share < project.gold_frac + project.repeat_frac:
        found = _repeat(connection, keys, draw)
    else:
        found = None
    return found or _next_in_order(connection, keys, num_tasks)


def _first_row(connection: Connection, query: Executable, keys: Mapping[str, Any] | None) -> _Chosen | None:
    row = connection.execute(query, keys).first()
    return None if row is None else _Chosen(row.id, row.answer_ids)


def _next_in_order(connection: Connection, keys: Mapping[str, Any], num_tasks: int) -> _Chosen | None:
    places = ((sql.PLACE_LOOKED_TO, sql.UP_TO), (sql.LAST, sql.BEHIND)) if num_tasks >= LOOKED_AT else ()
    for place, queries in places:
        row = connection.execute(place, {**keys, "num_before": LOOKED_AT - 1}).first()
        bounds = {**keys, **row._mapping} if row is not None else None
        for query in queries if bounds is not None else ():
            found = _first_row(connection, query, bounds)
            if found is not None:
                return found
    return _first_row(connection, sql.NEXT_OF_ALL, keys)


def _repeat(connection: Connection, keys: Mapping[str, Any], draw: random.Random) -> _Chosen | None:
    """One of the items that the person judged once, at least `REPEAT_AFTER` labels ago."""
    num_long_ago = connection.execute(sql.NUM_FIRST_TIMES, keys).scalar_one() - REPEAT_AFTER
    if num_long_ago <= 0:
        return None
    found = connection.execute(sql.TO_REPEAT, {**keys, "num_long_ago": num_long_ago}).all()
    if not found:
        return None
    row = draw.choice(found)
    return _Chosen(row.id, row.answer_ids, 1)


def _lease(
    connection: Connection, person: Person, project: Project, chosen: _Chosen, now: int, draw: random.Random
) -> Mapping[str, Any]:
    displayed = list(chosen.answer_ids)
    draw.shuffle(displayed)
    version, guideline = _newest(connection, project)
    row = {
        "id": new_id(), "project_id": project.id, "item_id": chosen.item_id, "person_id": person.id,
        "round": chosen.round, "state": "leased", "displayed": displayed, "leased_ms": now,
        "guideline_version": version, "expires_ms": now + 1000 * project.lease_seconds,
        "draft": None,
    }  # fmt: skip
    connection.execute(insert(schema.assignments), row)
    return row | {"guideline": guideline}


def _newest(connection: Connection, project: Project) -> tuple[int | None, str]:
    """The newest version of the guidelines and its text; None where there are none."""
    row = connection.execute(sql.NEWEST, {"project": project.id}).first()
    return (None, "") if row is None else (row.version, row.text)


def _task(connection: Connection, project: Project, row: Mapping[str, Any]) -> Task:
    messages = connection.execute(sql.PROMPT, {"item": row["item_id"]}).scalar_one()
    texts = {each.id: each.text for each in connection.execute(sql.ANSWERS, {"ids": row["displayed"]})}
    version, guideline = row["guideline_version"], row.get("guideline", "")
    if version is not None and "guideline" not in row:
        guideline = connection.execute(sql.GUIDELINE, {"project": project.id, "version": version}).scalar_one()
    return Task(
        row["id"], row["item_id"], project.name, project.kind, project.question, project.attributes, project.reasons,
        as_messages(messages), tuple((each, texts[each]) for each in row["displayed"]), version, guideline,
        row["expires_ms"], project.lease_seconds, row["draft"],
    )  # fmt: skip


# --- what a rater does with a task besides judging --------------------------------------------------------------------


def own_assignment(connection: Connection, person: Person, assignment_id: str) -> Row[Any]:
    """The person's assignment and what its item asks about, kept from changing until the transaction ends.

    `NotFoundError` for another's.
    """
    people.require(person, "rater")
    table, items = schema.assignments, schema.items
    query = select(table, items.c.prompt_id, items.c.answer_ids, items.c.is_gold).join(items)
    query = query.where(table.c.id == assignment_id, table.c.person_id == person.id)
    row = connection.execute(query.with_for_update(of=table)).first()
    if row is None:
        raise NotFoundError(f"no task {assignment_id} of yours")
    return row


def task_of(connection: Connection, person: Person, assignment_id: str) -> Task:
    """The task of an assignment, as it was shown, whatever has become of it."""
    row = own_assignment(connection, person, assignment_id)
    return _task(connection, get(connection, row.project_id), dict(row._mapping))


def renew(connection: Connection, person: Person, assignment_id: str, *, now_ms: int | None = None) -> int:
    """Begin the lease anew; gives when it expires.

    Raises `ConflictError` where the task is submitted or skipped, or has expired and others have the item's places.
    What is submitted then is kept all the same.
    """
    project = get(connection, own_assignment(connection, person, assignment_id).project_id)
    take_turn(connection, "claims", project.id)
    now = clock_ms() if now_ms is None else now_ms
    keys = {"person": person.id, "project": project.id, "now": now}
    for row in connection.execute(sql.HELD, keys):
        if row.id == assignment_id and (row.expires_ms > now or row.has_place):
            expires_ms = now + 1000 * project.lease_seconds
            connection.execute(
                update(schema.assignments).where(schema.assignments.c.id == row.id).values(expires_ms=expires_ms)
            )
            return expires_ms
    raise ConflictError(f"task {assignment_id} is finished, or its time is over and others have taken it")


def save_draft(connection: Connection, person: Person, assignment_id: str, draft: Any) -> None:
    """Keep what the rater has entered so far, a JSON value that only they get back."""
    storable_json(draft, "draft")
    still_open(own_assignment(connection, person, assignment_id))
    connection.execute(update(schema.assignments).where(schema.assignments.c.id == assignment_id).values(draft=draft))


def skip(connection: Connection, person: Person, assignment_id: str, reason: str, *, now_ms: int | None = None) -> None:
    """Give a task back, with a reason: others get it, this person does not any more. Said twice, it is done once."""
    if not typed(reason, "reason", MAX_REASON_CHARS).strip():
        raise DataError("say in a few words why you skip it", field="reason")
    row = own_assignment(connection, person, assignment_id)
    if row.state == "skipped":
        return
    still_open(row)
    changed = {
        "state": "skipped",
        "skip_reason": reason.strip(),
        "finished_ms": clock_ms() if now_ms is None else now_ms,
    }
    connection.execute(update(schema.assignments).where(schema.assignments.c.id == assignment_id).values(**changed))


def still_open(row: Row[Any]) -> None:
    """Raise `ConflictError` for an assignment that is submitted or skipped."""
    if row.state != "leased":
        done = {"done": "submitted already; correct its label instead", "skipped": "skipped"}[row.state]
        raise ConflictError(f"task {row.id} is {done}")
