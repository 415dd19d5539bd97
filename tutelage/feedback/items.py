"""What a project asks about: prompts with the answers to judge, and gold items, whose verdict is known.

The same prompt with the same answers is one item of a project however often it is added. Who wrote a prompt or an
answer is noted beside the item, and never gets it to judge. Leaves out: where answers come from
(`tutelage.feedback.sample`) and which items come first (`tutelage.feedback.selection`).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, insert, select, update

from tutelage.errors import ConflictError, DataError, NotFoundError
from tutelage.feedback.projects import Project
from tutelage.feedback.words import storable, storable_json, typed
from tutelage.store import audit, people, schema
from tutelage.store.contents import as_json, as_messages, content_hash, insert_missing
from tutelage.store.ids import new_id, now_ms
from tutelage.store.labels import check_value
from tutelage.store.people import Person
from tutelage.store.turns import take_turn
from tutelage.types import Message

NUM_ANSWERS: Mapping[str, tuple[int, int]] = {
    "comparison": (2, 2), "ranking": (2, 9), "thumbs": (1, 1), "rating": (1, 1),
}  # fmt: skip
"""Fewest and most answers of an item."""
AT_ONCE = 500
MAX_PROMPT_CHARS = 1_000_000


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """An answer to judge: its text and what made it, or the id of one that is stored already."""

    text: str
    model: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    author_id: str | None = None
    """The person who wrote it, where one did."""
    id: str | None = None


@dataclass(frozen=True, slots=True)
class NewItem:
    """A prompt and the answers to judge, in their canonical order, which no rater sees."""

    messages: Sequence[Message]
    answers: Sequence[NewAnswer]
    reference: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    author_id: str | None = None
    priority: float = 0.0
    """Larger = sooner."""
    selection_rule: str = "all"
    selection_probability: float | None = None
    gold_value: Mapping[str, Any] | None = None
    """The verdict it should get, as the record keeps it; None for an ordinary item."""


class Added(NamedTuple):
    """What became of items that were to be added."""

    ids: tuple[str, ...]
    num_there: int
    """The project had them already."""
    num_equal: int
    """Their answers are all the same text, so there is nothing to judge between."""


@dataclass(frozen=True, slots=True)
class Item:
    """An item as a reviewer sees it."""

    id: str
    messages: tuple[Message, ...]
    answers: tuple[tuple[str, str, str], ...]
    """(id, text, model) in canonical order."""
    state: str
    priority: float
    num_wanted: int
    num_done: int
    gold_value: Mapping[str, Any] | None


def add_items(connection: Connection, person: Person, project: Project, items: Iterable[NewItem]) -> Added:
    """Add items to a project, those that it has already left as they are; for reviewers and admins.

    Raises `DataError`, its line the item's number, for one that cannot be judged; then none of them is added.
    """
    people.require(person, "reviewer")
    take_turn(connection, "items", project.id)
    waiting, ids, num_there, num_equal, number = iter(items), list[str](), 0, 0, 0
    while batch := list(islice(waiting, AT_ONCE)):
        for number, item in enumerate(batch, start=number + 1):  # noqa: B020
            _check(project, item, number)
        different = [item for item in batch if len(item.answers) == 1 or len({each.text for each in item.answers}) > 1]
        num_equal += len(batch) - len(different)
        added = _add_batch(connection, project, different)
        num_there += len(different) - len(added)
        ids += added
    if ids:
        audit.note(connection, person, "project.items", project.id, added=len(ids))
    return Added(tuple(ids), num_there, num_equal)


def add_gold(
    connection: Connection, person: Person, project: Project, item: NewItem | str, value: Mapping[str, Any]
) -> str:
    """A gold item, new or one of the project that nobody was given yet, and its verdict; gives its id.

    `value` counts answers in their canonical order (`tutelage.store.labels`).
    """
    people.require(person, "reviewer")
    if isinstance(item, NewItem):
        check_value(project.kind, value, len(item.answers), project.attributes)
        gold = NewItem(**{name: getattr(item, name) for name in item.__slots__} | {"gold_value": value})
        added = add_items(connection, person, project, [gold]).ids
        if not added:
            raise ConflictError("the project has this item already; name it by its id to make it a gold item")
        return added[0]
    return _make_gold(connection, project, item, value)


def _make_gold(connection: Connection, project: Project, item_id: str, value: Mapping[str, Any]) -> str:
    table = schema.items
    query = select(table).where(table.c.id == item_id, table.c.project_id == project.id)
    row = connection.execute(query.with_for_update()).first()
    if row is None:
        raise NotFoundError(f"project '{project.name}' has no item {item_id}")
    check_value(project.kind, value, len(row.answer_ids), project.attributes)
    given = select(schema.assignments.c.id).where(schema.assignments.c.item_id == item_id).limit(1)
    if connection.execute(given).first() and not row.is_gold:
        raise ConflictError(f"item {item_id} was given to raters already; make gold items before that")
    change = update(table).where(table.c.id == item_id)
    connection.execute(change.values(is_gold=True, gold_value=dict(value), state="open"))
    return item_id


def answer_ids(connection: Connection, project: Project, item_id: str) -> list[str]:
    """The answers of an item of the project, in canonical order; `NotFoundError` when it has no such item."""
    table = schema.items
    query = select(table.c.answer_ids).where(table.c.id == item_id, table.c.project_id == project.id)
    found = connection.execute(query).scalar()
    if found is None:
        raise NotFoundError(f"project '{project.name}' has no item {item_id}")
    return list(found)


def withdraw(connection: Connection, person: Person, project: Project, item_id: str) -> None:
    """Hand an item out no more; its labels stay. For reviewers and admins."""
    people.require(person, "reviewer")
    table = schema.items
    change = update(table).where(table.c.id == item_id, table.c.project_id == project.id)
    if connection.execute(change.values(state="withdrawn")).rowcount != 1:
        raise NotFoundError(f"project '{project.name}' has no item {item_id}")
    audit.note(connection, person, "item.withdrawn", item_id)


def listing(
    connection: Connection, person: Person, project: Project, *, state: str = "", after: str = "", limit: int = 100
) -> list[Item]:
    """Items by id, those behind the id `after`, with their models and gold verdicts; for reviewers and admins."""
    people.require(person, "reviewer")
    table = schema.items
    query = select(table, schema.prompts.c.messages).join(schema.prompts, schema.prompts.c.id == table.c.prompt_id)
    query = query.where(table.c.project_id == project.id, table.c.id > after).order_by(table.c.id).limit(limit)
    if state:
        query = query.where(table.c.state == state)
    rows = connection.execute(query).all()
    answers = _answers(connection, {each for row in rows for each in row.answer_ids})
    return [_item(row, answers) for row in rows]


def _item(row: Row[Any], answers: Mapping[str, Row[Any]]) -> Item:
    shown = tuple((each, answers[each].text, answers[each].model) for each in row.answer_ids)
    plain = {name: getattr(row, name) for name in ("id", "state", "priority", "num_wanted", "num_done", "gold_value")}
    return Item(messages=as_messages(row.messages), answers=shown, **plain)


def num_by_state(connection: Connection, project: Project) -> dict[str, int]:
    """How many items are open, done, withdrawn and gold; gold ones count only there."""
    table = schema.items
    query = select(table.c.state, table.c.is_gold, func.count()).where(table.c.project_id == project.id)
    counted = connection.execute(query.group_by(table.c.state, table.c.is_gold))
    return by_state((state, is_gold, number) for state, is_gold, number in counted)


def by_state(counted: Iterable[tuple[str, bool, int]]) -> dict[str, int]:
    """`num_by_state` of counts by (state, whether gold)."""
    found = dict.fromkeys(("open", "done", "withdrawn", "gold"), 0)
    for state, is_gold, number in counted:
        found["gold" if is_gold and state != "withdrawn" else state] += number
    return found


def _check(project: Project, item: NewItem, number: int) -> None:
    fewest, most = NUM_ANSWERS[project.kind]
    try:
        if not item.messages or item.messages[-1].role != "user":
            raise DataError("a prompt ends with the user", field="messages")
        for message in item.messages:
            typed(message.content, "messages", MAX_PROMPT_CHARS)
        if not fewest <= len(item.answers) <= most:
            wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise DataError(
                f"a {project.kind} is of {wanted} answers, and there are {len(item.answers)}", field="answers"
            )
        for answer in item.answers:
            typed(answer.text, "answers", MAX_PROMPT_CHARS)
            storable(answer.model, "model")
        storable_json([dict(item.meta), item.reference, [dict(each.sampling) for each in item.answers]], "meta")
        if not abs(item.priority) < 1e300:
            raise DataError(f"{item.priority} is no number to sort by", field="priority")
        if item.gold_value is not None:
            check_value(project.kind, item.gold_value, len(item.answers), project.attributes)
    except DataError as error:
        raise DataError(error.problem, line=number, field=error.field) from error


def _add_batch(connection: Connection, project: Project, items: Sequence[NewItem]) -> list[str]:
    hashes = [content_hash(as_json(item.messages)) for item in items]
    prompt_ids, prompt_authors = _prompts(connection, items, hashes)
    there = _there(connection, project, set(prompt_ids.values()))
    rows, answers, authors = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
    for item, key, item_id in zip(items, hashes, _ids(len(items)), strict=True):
        texts = tuple(sorted(each.text for each in item.answers))
        if (prompt_ids[key], texts) in there:
            continue
        there.add((prompt_ids[key], texts))
        new = [_answer_row(each, prompt_ids[key]) for each in item.answers]
        answers += [row for row, each in zip(new, item.answers, strict=True) if each.id is None]
        rows.append(_item_row(project, item, item_id, prompt_ids[key], [row["id"] for row in new]))
        wrote = {item.author_id, prompt_authors[key], *(each.author_id for each in item.answers)} - {None}
        authors += [{"item_id": item_id, "person_id": each} for each in wrote]
    for table, many in ((schema.answers, answers), (schema.items, rows), (schema.item_authors, authors)):
        if many:
            connection.execute(insert(table), many)
    return [row["id"] for row in rows]


def _ids(number: int) -> Iterator[str]:
    """Ids of rows made at one moment, in their order: the queue goes by it."""
    now = now_ms()
    for place in range(number):
        yield f"{now:012x}{place:08x}{secrets.token_hex(6)}"


def _prompts(
    connection: Connection, items: Sequence[NewItem], hashes: Sequence[str]
) -> tuple[dict[str, str], dict[str, str | None]]:
    """The id and the author of each prompt by its hash; those that are not there are added."""
    table, new = schema.prompts, dict[str, dict[str, Any]]()
    query = select(table.c.content_hash, table.c.id, table.c.author_id).where(table.c.content_hash.in_(set(hashes)))
    found = {row.content_hash: row for row in connection.execute(query)}
    for item, key in zip(items, hashes, strict=True):
        if key not in found:
            new.setdefault(key, {
                "id": new_id(), "messages": as_json(item.messages), "content_hash": key, "reference": item.reference,
                "meta": dict(item.meta), "author_id": item.author_id, "created_ms": now_ms(),
            })  # fmt: skip
    if new:
        insert_missing(connection, table, [new[key] for key in sorted(new)])
        found = {row.content_hash: row for row in connection.execute(query)}
    return {key: row.id for key, row in found.items()}, {key: row.author_id for key, row in found.items()}


def _there(connection: Connection, project: Project, prompt_ids: set[str]) -> set[tuple[str, tuple[str, ...]]]:
    """(prompt, sorted texts) of the project's items on these prompts."""
    table = schema.items
    query = select(table.c.prompt_id, table.c.answer_ids)
    rows = connection.execute(query.where(table.c.project_id == project.id, table.c.prompt_id.in_(prompt_ids))).all()
    answers = _answers(connection, {each for row in rows for each in row.answer_ids})
    return {(row.prompt_id, tuple(sorted(answers[each].text for each in row.answer_ids))) for row in rows}


def _answers(connection: Connection, ids: set[str]) -> dict[str, Row[Any]]:
    table, found, waiting = schema.answers, dict[str, Row[Any]](), iter(ids)
    while part := list(islice(waiting, AT_ONCE)):
        found |= {row.id: row for row in connection.execute(select(table).where(table.c.id.in_(part)))}
    return found


def _answer_row(answer: NewAnswer, prompt_id: str) -> dict[str, Any]:
    return {
        "id": answer.id or new_id(), "prompt_id": prompt_id, "text": answer.text, "model": answer.model,
        "sampling": dict(answer.sampling), "author_id": answer.author_id, "created_ms": now_ms(),
    }  # fmt: skip


def _item_row(project: Project, item: NewItem, id: str, prompt_id: str, answer_ids: list[str]) -> dict[str, Any]:
    gold = item.gold_value
    return {
        "id": id, "project_id": project.id, "prompt_id": prompt_id, "answer_ids": answer_ids, "state": "open",
        "priority": float(item.priority), "num_wanted": project.overlap, "num_done": 0, "is_gold": gold is not None,
        "gold_value": dict(gold) if gold is not None else None, "selection_rule": item.selection_rule,
        "selection_probability": item.selection_probability, "created_ms": now_ms(),
    }  # fmt: skip
