"""The items that imported labels are about: prompt and answers as rows, one item for the same answers to a prompt.

Leaves out: the labels (`tutelage.store.import_labels`), and items that wait for raters (`tutelage.feedback.items`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, case, func, select, update

from tutelage.data.foreign import IncomingLabel
from tutelage.store import schema
from tutelage.store.contents import as_json, content_hash
from tutelage.store.ids import now_ms
from tutelage.store.import_prompts import NewPrompt, prompt_ids
from tutelage.store.import_rows import Run, ids_of_people, in_parts, ordered_ids, write_all

Key = tuple[str, tuple[str, ...]]  # the prompt's id and the sorted texts of the answers


class _Item(NamedTuple):
    """An item and its answers in canonical order."""

    id: str
    answer_ids: list[str]
    texts: list[str]


class Placed(NamedTuple):
    """Where a label belongs."""

    item_id: str
    prompt_id: str
    answer_ids: list[str]
    order: list[int]
    """For each answer in canonical order, its place in the label as it came."""


def place_items(connection: Connection, run: Run, project_id: str, labels: Sequence[IncomingLabel]) -> list[Placed]:
    """The item of each label, made where the project has none."""
    hashes = [content_hash(as_json(each.prompt)) for each in labels]
    prompts = {
        key: NewPrompt(each.prompt, each.reference, {"source": run.source_of(each)})
        for key, each in reversed(list(zip(hashes, labels, strict=True)))
    }
    ids = prompt_ids(connection, prompts)
    items = _there(connection, project_id, list(ids.values()))
    _count_rounds(connection, run, [item.id for item in items.values()])
    _make_missing(
        connection, run, project_id, [(ids[key], each) for key, each in zip(hashes, labels, strict=True)], items
    )
    placed = []
    for key, each in zip(hashes, labels, strict=True):
        item = items[_key(ids[key], each)]
        placed.append(Placed(item.id, ids[key], item.answer_ids, _order(item.texts, [a.text for a in each.answers])))
    return placed


def _key(prompt_id: str, label: IncomingLabel) -> Key:
    return prompt_id, tuple(sorted(answer.text for answer in label.answers))


def _order(canonical: Sequence[str], given: Sequence[str]) -> list[int]:
    """For each text of `canonical` its place in `given`; equal texts in turn."""
    places: dict[str, list[int]] = {}
    for at, text in enumerate(given):
        places.setdefault(text, []).append(at)
    return [places[text].pop(0) for text in canonical]


def _there(connection: Connection, project_id: str, prompts: Sequence[str]) -> dict[Key, _Item]:
    table, rows = schema.items, list[Any]()
    for part in in_parts(sorted(set(prompts))):
        query = select(table.c.id, table.c.prompt_id, table.c.answer_ids)
        rows += connection.execute(query.where(table.c.project_id == project_id, table.c.prompt_id.in_(part))).all()
    texts = dict[str, str]()
    for part in in_parts(sorted({each for row in rows for each in row.answer_ids})):
        answers = schema.answers
        query = select(answers.c.id, answers.c.text).where(answers.c.id.in_(part))
        texts |= {row.id: row.text for row in connection.execute(query)}
    found = dict[Key, _Item]()
    for row in rows:
        canonical = [texts[each] for each in row.answer_ids]
        found.setdefault((row.prompt_id, tuple(sorted(canonical))), _Item(row.id, list(row.answer_ids), canonical))
    return found


def _count_rounds(connection: Connection, run: Run, items: Sequence[str]) -> None:
    """How many labels of these items each person has given before this import."""
    table = schema.labels
    known = {item for item, _ in run.rounds}
    for part in in_parts([item for item in items if item not in known]):
        query = select(table.c.item_id, table.c.person_id, func.max(table.c.round)).where(table.c.item_id.in_(part))
        for item, person, last in connection.execute(query.group_by(table.c.item_id, table.c.person_id)):
            run.rounds[item, person] = last + 1


def _make_missing(
    connection: Connection, run: Run, project_id: str, labels: Sequence[tuple[str, IncomingLabel]],
    items: dict[Key, _Item],
) -> None:  # fmt: skip
    new = dict[Key, IncomingLabel]()
    for prompt_id, each in labels:
        if (key := _key(prompt_id, each)) not in items:
            new.setdefault(key, each)
    names = [answer.author for each in new.values() for answer in each.answers if answer.author]
    people = ids_of_people(connection, run, names)
    answers, rows, authors = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
    answer_ids = ordered_ids(sum(len(each.answers) for each in new.values()))
    for (key, each), id in zip(new.items(), ordered_ids(len(new)), strict=True):
        made = [_answer_row(next(answer_ids), key[0], answer, people) for answer in each.answers]
        answers += made
        items[key] = _Item(id, [row["id"] for row in made], [row["text"] for row in made])
        rows.append(_item_row(id, project_id, key[0], items[key].answer_ids))
        wrote = {row["author_id"] for row in made} - {None}
        authors += [{"item_id": id, "person_id": person} for person in sorted(wrote)]
    write_all(connection, (schema.answers, answers), (schema.items, rows), (schema.item_authors, authors))


def _answer_row(id: str, prompt_id: str, answer: Any, people: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": id, "prompt_id": prompt_id, "text": answer.text, "model": answer.model[:200],
        "sampling": dict(answer.sampling), "author_id": people.get(answer.author), "created_ms": now_ms(),
    }  # fmt: skip


def _item_row(id: str, project_id: str, prompt_id: str, answer_ids: list[str]) -> dict[str, Any]:
    return {
        "id": id, "project_id": project_id, "prompt_id": prompt_id, "answer_ids": answer_ids, "state": "done",
        "priority": 0.0, "num_wanted": 0, "num_done": 0, "is_gold": False, "gold_value": None,
        "selection_rule": "imported", "selection_probability": None, "created_ms": now_ms(),
    }  # fmt: skip


def count_done(connection: Connection, done: Mapping[str, int]) -> None:
    """Add first verdicts to the items' counts; an item with as many as are wanted is done."""
    table = schema.items
    number = table.c.num_done + bindparam("more")
    change = update(table).where(table.c.id == bindparam("item")).values(
        num_done=number,
        num_wanted=case((table.c.num_wanted < number, number), else_=table.c.num_wanted),
        state=case(((table.c.state == "open") & (number >= table.c.num_wanted), "done"), else_=table.c.state),
    )  # fmt: skip
    rows = [{"item": item, "more": more} for item, more in sorted(done.items()) if more]
    if rows:
        connection.execute(change, rows)
