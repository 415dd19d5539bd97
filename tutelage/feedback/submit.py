"""Verdicts written down: submitted, corrected, given outside the queue, and decided by a reviewer.

Every one names its request, so that saying it again gives the label that is there. A verdict that comes after its lease
has expired is kept as well, for nobody's work is thrown away; only a task that was skipped takes none. The item's count
changes in the same transaction. Leaves out: how a verdict is spelled (`tutelage.feedback.verdicts`), and reading labels
back (`tutelage.feedback.seen`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, case, select, update

from tutelage.errors import ConflictError, DataError, NotFoundError
from tutelage.feedback import projects, queue
from tutelage.feedback.items import NewAnswer
from tutelage.feedback.own import was_revealed
from tutelage.feedback.projects import Project
from tutelage.feedback.queue import Task
from tutelage.feedback.seen import current_labels
from tutelage.feedback.verdicts import as_value, project_value
from tutelage.feedback.words import request_key as checked_key
from tutelage.feedback.words import storable, storable_json, typed
from tutelage.store import audit, people, schema
from tutelage.store.contents import add_answer, add_prompt, as_json
from tutelage.store.ids import now_ms as clock_ms
from tutelage.store.labels import NewLabel, add_label, find_request, said_again, write_label
from tutelage.store.people import Person
from tutelage.store.turns import take_turn
from tutelage.types import Message

MAX_SECONDS = 7 * 86_400.0
MAX_FREE_REASONS = 50


def submit(
    connection: Connection,
    person: Person,
    assignment_id: str,
    request_key: str,
    verdict: Mapping[str, Any],
    reasons: Sequence[str] = (),
    critique: str = "",
    rewrite: str = "",
    seconds: float | None = None,
    *,
    now_ms: int | None = None,
) -> str:
    """Write down the verdict on a task and give the label's id; the same request again gives the same id.

    Raises `DataError` for a verdict that is none (`tutelage.feedback.verdicts`), `NotFoundError` for a task that is not
    the person's, `ConflictError` for one that was skipped or has been submitted under another request key.
    """
    _, label_id = _submitted(
        connection, person, assignment_id, request_key, verdict, reasons, critique, rewrite, seconds, now_ms=now_ms
    )
    return label_id


def submit_next(
    connection: Connection, person: Person, assignment_id: str, request_key: str, verdict: Mapping[str, Any],
    reasons: Sequence[str] = (), critique: str = "", rewrite: str = "", seconds: float | None = None, *,
    now_ms: int | None = None,
) -> tuple[str, Task | None]:  # fmt: skip
    """`submit` and `next_item` of the same project, both or neither."""
    project, label_id = _submitted(
        connection, person, assignment_id, request_key, verdict, reasons, critique, rewrite, seconds, now_ms=now_ms
    )
    return label_id, queue.next_item(connection, person, project, now_ms=now_ms)


def _submitted(
    connection: Connection, person: Person, assignment_id: str, request_key: str, verdict: Mapping[str, Any],
    reasons: Sequence[str], critique: str, rewrite: str, seconds: float | None, *, now_ms: int | None,
) -> tuple[Project, str]:  # fmt: skip
    """The project and the label's id. Each statement is a way to the database and back: none asks twice."""
    checked_key(request_key)
    task = queue.own_assignment(connection, person, assignment_id)
    project = projects.get(connection, task.project_id)
    new = NewLabel(
        person.id, request_key, project.kind, task.prompt_id, task.answer_ids,
        project_value(project, verdict, task.answer_ids, task.displayed), task.displayed,
        guideline_version=task.guideline_version, project_id=project.id, item_id=task.item_id, assignment_id=task.id,
        round=task.round, is_gold=task.is_gold,
        **_said(project.reasons, reasons, critique, rewrite, seconds),
    )  # fmt: skip
    there = find_request(connection, person.id, request_key)
    if there is None:
        queue.still_open(task)
        _finish(connection, task, clock_ms() if now_ms is None else now_ms)
        return project, write_label(connection, new)
    if there.assignment_id != task.id:
        raise ConflictError(f"the request key '{request_key}' was used for another task; use a new one")
    return project, said_again(there, new)


def _finish(connection: Connection, task: Row[Any], now: int) -> None:
    change = update(schema.assignments).where(schema.assignments.c.id == task.id)
    connection.execute(change.values(state="done", finished_ms=now, draft=None))
    if task.is_gold or task.round > 0:
        return
    table = schema.items
    complete = (table.c.state == "open") & (table.c.num_done + 1 >= table.c.num_wanted)
    state = case((complete, "done"), else_=table.c.state)
    change = update(table).where(table.c.id == task.item_id)
    connection.execute(change.values(num_done=table.c.num_done + 1, state=state))


def _said(
    offered: Sequence[str], reasons: Sequence[str], critique: str, rewrite: str, seconds: float | None
) -> dict[str, Any]:
    """What goes with a verdict, checked."""
    chosen = list(dict.fromkeys(reasons))
    for each in chosen:
        if each not in offered:
            known = f"the project offers {', '.join(offered)}" if offered else "the project offers none"
            raise DataError(f"'{each}' is no reason here; {known}", field="reasons")
    if seconds is not None and (not math.isfinite(seconds) or seconds < 0):
        raise DataError(f"{seconds} is no time in seconds", field="seconds")
    return {
        "reasons": chosen, "critique": typed(critique, "critique"), "rewrite": typed(rewrite, "rewrite"),
        "seconds": None if seconds is None else min(float(seconds), MAX_SECONDS),
    }  # fmt: skip


def correct(
    connection: Connection,
    person: Person,
    label_id: str,
    request_key: str,
    verdict: Mapping[str, Any],
    reasons: Sequence[str] = (),
    critique: str = "",
    rewrite: str = "",
    seconds: float | None = None,
    *,
    meta: Mapping[str, Any] | None = None,
) -> str:
    """A new label that takes the place of the person's own one; gives its id. The old one stays in the record.

    It keeps the old one's meta, with what `meta` changes in it. Where the person has been told who wrote the answers
    (`tutelage.feedback.own.reveal`), its meta says so.

    `ConflictError` where the label has been corrected already: correct the newest one.
    """
    checked_key(request_key)
    people.require(person, "rater")
    table = schema.labels
    query = select(table).where(table.c.id == label_id, table.c.person_id == person.id).with_for_update()
    old = connection.execute(query).first()
    if old is None:
        raise NotFoundError(f"no label {label_id} of yours")
    there = find_request(connection, person.id, request_key)
    if there is not None and there.supersedes != old.id:
        raise ConflictError(f"the request key '{request_key}' was used for something else; use a new one")
    if old.withdrawn_ms is not None:
        raise ConflictError(f"label {label_id} was withdrawn")
    project = projects.get(connection, old.project_id) if old.project_id else None
    value = as_value(old.kind, verdict, old.answer_ids, old.displayed, project.attributes if project else ())
    offered = project.reasons if project else _free_reasons(reasons)
    changed = storable_json(dict(meta or {}), "meta")
    kept = dict(old.meta) | changed | ({"after_reveal": True} if was_revealed(connection, old.id) else {})
    said = _said(offered, reasons, critique, rewrite, seconds)
    return add_label(connection, _again(old, request_key, value, kept, said))


def _again(
    old: Row[Any], request_key: str, value: Mapping[str, Any], meta: Mapping[str, Any], said: Mapping[str, Any]
) -> NewLabel:
    """A label on what `old` was on."""
    same = (
        "person_id", "kind", "prompt_id", "answer_ids", "displayed", "guideline_version", "project_id", "item_id",
        "assignment_id", "round", "is_gold", "source",
    )  # fmt: skip
    kept = {name: getattr(old, name) for name in same}
    return NewLabel(request_key=request_key, value=value, meta=meta, supersedes=old.id, **kept, **said)


def free_label(
    connection: Connection,
    person: Person,
    request_key: str,
    kind: str,
    messages: Sequence[Message],
    answers: Sequence[NewAnswer],
    verdict: Mapping[str, Any],
    reasons: Sequence[str] = (),
    critique: str = "",
    rewrite: str = "",
    seconds: float | None = None,
    *,
    source: str = "",
    meta: Mapping[str, Any] | None = None,
) -> str:
    """A verdict outside the queue, such as a thumb in a chat, on answers given here in the order they were shown.

    The verdict names answers by their place. Prompt and answers are stored with it; gives the label's id.
    """
    people.require(person, "rater")
    _check_texts(messages, answers)
    take_turn(connection, "request", person.id, checked_key(request_key))
    said = _said(_free_reasons(reasons), reasons, critique, rewrite, seconds)
    places = [str(place) for place in range(len(answers))]
    value = as_value(projects.known_kind(kind), verdict, places, places)
    there = find_request(connection, person.id, request_key)
    if there is not None:
        _check_same(connection, there, messages, answers)
        prompt_id, ids = there.prompt_id, there.answer_ids
    else:
        prompt_id, ids = _stored(connection, messages, answers)
    return add_label(connection, NewLabel(
        person.id, request_key, projects.known_kind(kind), prompt_id, ids, value, source=typed(source, "source"),
        meta=storable_json(dict(meta or {}), "meta"), **said,
    ))  # fmt: skip


def _stored(connection: Connection, messages: Sequence[Message], answers: Sequence[NewAnswer]) -> tuple[str, list[str]]:
    prompt_id = add_prompt(connection, messages)
    return prompt_id, [
        add_answer(connection, prompt_id, each.text, model=each.model, sampling=each.sampling) for each in answers
    ]


def _check_same(
    connection: Connection, label: Row[Any], messages: Sequence[Message], answers: Sequence[NewAnswer]
) -> None:
    prompts, table = schema.prompts, schema.answers
    asked = connection.execute(select(prompts.c.messages).where(prompts.c.id == label.prompt_id)).scalar_one()
    rows = connection.execute(select(table.c.id, table.c.text).where(table.c.id.in_(label.answer_ids)))
    texts = {row.id: row.text for row in rows}
    if asked != as_json(messages) or [texts[each] for each in label.answer_ids] != [each.text for each in answers]:
        raise ConflictError(f"the request key '{label.request_key}' was used for another verdict; use a new one")


def _check_texts(messages: Sequence[Message], answers: Sequence[NewAnswer]) -> None:
    if not messages or messages[-1].role != "user":
        raise DataError("a prompt ends with the user", field="messages")
    for text in (*(each.content for each in messages), *(each.text for each in answers)):
        typed(text, "messages", 1_000_000)
    for each in answers:
        storable(each.model, "answers.model")
        storable_json(dict(each.sampling), "answers.sampling")


def _free_reasons(reasons: Sequence[str]) -> Sequence[str]:
    """Outside a project every short word is a reason."""
    for each in reasons:
        typed(each, "reasons", 60)
    if len(reasons) > MAX_FREE_REASONS:
        raise DataError(f"there are {len(reasons)} reasons, and at most {MAX_FREE_REASONS} are kept", field="reasons")
    return reasons


def adjudicate(
    connection: Connection,
    reviewer: Person,
    item_id: str,
    request_key: str,
    verdict: Mapping[str, Any],
    reasons: Sequence[str] = (),
    critique: str = "",
    rewrite: str = "",
    seconds: float | None = None,
) -> str:
    """A reviewer's decision on an item that raters have judged; names the labels it decides in `meta["adjudicates"]`.

    The verdict names answers by id. The same reviewer's later decision supersedes their earlier one.
    """
    people.require(reviewer, "reviewer")
    take_turn(connection, "adjudicate", item_id)
    item = connection.execute(select(schema.items).where(schema.items.c.id == item_id)).first()
    if item is None:
        raise NotFoundError(f"no item {item_id}")
    project = projects.get(connection, item.project_id)
    others = [row for row in current_labels(connection, item_id) if "adjudicates" not in row.meta]
    mine = [row for row in current_labels(connection, item_id) if _decides(row, reviewer)]
    if not others:
        raise ConflictError(f"nobody has judged item {item_id} yet; there is nothing to decide")
    there = find_request(connection, reviewer.id, checked_key(request_key))
    if there is not None and (there.item_id != item_id or "adjudicates" not in there.meta):
        raise ConflictError(f"the request key '{request_key}' was used for something else; use a new one")
    guideline = projects.guideline(connection, project)
    label_id = add_label(connection, NewLabel(
        reviewer.id, request_key, project.kind, item.prompt_id, item.answer_ids,
        project_value(project, verdict, item.answer_ids, item.answer_ids),
        guideline_version=guideline.version if guideline else None, project_id=project.id, item_id=item_id,
        is_gold=item.is_gold, supersedes=mine[0].id if mine else None,
        meta={"adjudicates": [row.id for row in others]},
        **_said(project.reasons, reasons, critique, rewrite, seconds),
    ))  # fmt: skip
    if there is None:
        audit.note(connection, reviewer, "item.adjudicated", item_id, label=label_id)
    return label_id


def _decides(row: Row[Any], reviewer: Person) -> bool:
    return row.person_id == reviewer.id and "adjudicates" in row.meta
