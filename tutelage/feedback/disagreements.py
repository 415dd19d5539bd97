"""Items on which raters disagree and nobody has decided yet: what a reviewer looks through.

Raters disagree where two opinions on an item are not the same (`tutelage.feedback.measures.same`); "cannot judge" is no
opinion. Gold items are left out, for what is right about them is known.

Leaves out: deciding (`tutelage.feedback.submit.adjudicate`), and figures of agreement (`tutelage.feedback.progress`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any

from sqlalchemy import Connection, Row, false, select

from tutelage.feedback.measures import same
from tutelage.feedback.projects import Project
from tutelage.feedback.seen import SeenLabel, as_seen
from tutelage.feedback.verdicts import as_said
from tutelage.store import people, schema
from tutelage.store.contents import as_messages
from tutelage.store.people import Person
from tutelage.types import Message

AT_ONCE = 500
MOST_LOOKED_AT = 5_000
"""Items that one call looks at."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """A rater's label, and its verdict with the answers by their place in `Disputed.answers`."""

    label: SeenLabel
    verdict: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Disputed:
    """An item with the opinions on it. Which model wrote what stays hidden, so that the decision is blind, too."""

    id: str
    messages: tuple[Message, ...]
    answers: tuple[tuple[str, str], ...]
    """(id, text)"""
    opinions: tuple[Opinion, ...]


def disagreements(
    connection: Connection, person: Person, project: Project, *, after: str = "", limit: int = 20
) -> tuple[list[Disputed], str]:
    """Disputed items by id behind `after`, and the id up to which was looked, empty at the end; for reviewers."""
    people.require(person, "reviewer")
    found: list[Disputed] = []
    looked_to = after
    for row, labels in _looked_at(connection, project, after):
        if row is None:
            return found, ""
        looked_to = row.id
        if labels:
            found.append(_told(connection, person, project, row, labels))
            if len(found) == limit:
                break
    return found, looked_to


def count(connection: Connection, person: Person, project: Project, *, most: int) -> int:
    """How many items are disputed, as far as `most`; for reviewers."""
    people.require(person, "reviewer")
    disputed = (row for row, labels in _looked_at(connection, project, "") if row is not None and labels)
    return sum(1 for _ in islice(disputed, most))


def _looked_at(connection: Connection, project: Project, after: str) -> Iterator[tuple[Any, Sequence[Row[Any]]]]:
    """Judged items by id behind `after`, each with its labels if it is disputed; (None, ()) after the last there is."""
    for _ in range(0, MOST_LOOKED_AT, AT_ONCE):
        rows = _judged(connection, project, after)
        labels = _labels(connection, [row.id for row in rows])
        for row in rows:
            after = row.id
            of_item = labels.get(row.id, [])
            yield row, of_item if _is_disputed(project.kind, of_item) else ()
        if len(rows) < AT_ONCE:
            yield None, ()
            return


def _judged(connection: Connection, project: Project, after: str) -> Sequence[Any]:
    """Items that two raters or more have judged."""
    items, prompts = schema.items, schema.prompts
    query = select(items.c.id, items.c.answer_ids, prompts.c.messages).join(prompts, prompts.c.id == items.c.prompt_id)
    query = query.where(items.c.project_id == project.id, items.c.id > after, items.c.num_done >= 2)
    query = query.where(items.c.is_gold == false(), items.c.state != "withdrawn")
    return connection.execute(query.order_by(items.c.id).limit(AT_ONCE)).all()


def _labels(connection: Connection, item_ids: Sequence[str]) -> dict[str, list[Row[Any]]]:
    """The labels in force of these items, raters' first verdicts and reviewers' decisions."""
    table, names, found = schema.labels, schema.people, dict[str, list[Row[Any]]]()
    query = select(table, names.c.name.label("rater")).join(names, names.c.id == table.c.person_id)
    query = query.where(table.c.item_id.in_(item_ids), table.c.round == 0)
    query = query.where(table.c.superseded_ms.is_(None), table.c.withdrawn_ms.is_(None))
    for row in connection.execute(query.order_by(table.c.id)):
        found.setdefault(row.item_id, []).append(row)
    return found


def _is_disputed(kind: str, labels: Sequence[Row[Any]]) -> bool:
    if any("adjudicates" in row.meta for row in labels):
        return False
    shares = (same(kind, one.value, other.value) for one, other in combinations(labels, 2))
    return any(share is not None and share < 1 for share in shares)


def _told(
    connection: Connection, person: Person, project: Project, row: Row[Any], labels: Sequence[Row[Any]]
) -> Disputed:
    answers = schema.answers
    query = select(answers.c.id, answers.c.text).where(answers.c.id.in_(row.answer_ids))
    texts = {each.id: each.text for each in connection.execute(query)}
    opinions = tuple(
        Opinion(
            as_seen(each, person, each.rater), as_said(project.kind, each.value, each.answer_ids, row.answer_ids)
        )
        for each in labels
    )  # fmt: skip
    return Disputed(
        row.id, as_messages(row.messages), tuple((each, texts[each]) for each in row.answer_ids), opinions
    )  # fmt: skip
