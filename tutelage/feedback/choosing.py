"""Choosing what a project labels next: its open items in, the chosen ones first in the queue.

An item can be chosen while it is open, nobody has judged it or has it before them, it is no gold item, and no earlier
choice took it. What earlier choices took and nobody has judged yet counts as if its verdict were in, so that a second
batch does not ask the same again. The newest batch comes first.

Features take long to compute, so there are two steps: `look` (a read) says which answers are needed, and `choose`
(a write) chooses among the items that can still be chosen then. Leaves out: the rules (`tutelage.feedback.selection`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, Row, Select, bindparam, exists, func, select, update

from tutelage.errors import ConfigError, ConflictError
from tutelage.feedback.head import prior
from tutelage.feedback.projects import Project
from tutelage.feedback.selection import RULES, Rule, blind, check_options
from tutelage.feedback.selection import select as select_batch
from tutelage.feedback.targets import targets
from tutelage.feedback.view import Features, Said, View, all_in
from tutelage.store import audit, people, schema
from tutelage.store.contents import as_messages
from tutelage.store.ids import now_ms
from tutelage.store.people import Person
from tutelage.store.turns import take_turn
from tutelage.types import Message

AT_ONCE = 500
LOOK_AT, NUM_CLUSTERS = 5_000, 8


class Item(NamedTuple):
    """An item and its answers in canonical order."""

    id: str
    prompt_id: str
    answer_ids: tuple[str, ...]


class Prompted(NamedTuple):
    """A prompt and the answers whose features are needed: their texts by id."""

    messages: tuple[Message, ...]
    texts: Mapping[str, str]


class Look(NamedTuple):
    """What has to be known before a choice."""

    items: tuple[str, ...]
    """The ids of the items to choose from: a random draw of those that can be chosen, or all of them."""
    num_open: int
    """How many can be chosen."""
    prompts: tuple[Prompted, ...]


class Choice(NamedTuple):
    """What was chosen."""

    items: tuple[tuple[str, Rule, float], ...]
    """(item id, rule, probability) in the order to label in. The probability is that of being looked at, times that
    of `tutelage.feedback.selection.Chosen`."""
    num_open: int
    """How many items could be chosen."""
    num_looked_at: int
    num_unreadable: int
    """Of those looked at: the model cannot read one of their answers, so they could not be chosen."""
    num_verdicts: int
    """Rows that the head learned from."""
    num_waiting: int
    """Items of earlier choices that nobody has judged yet."""

    @property
    def num_random(self) -> int:
        return sum(rule == "random" for _, rule, _ in self.items)


def look(connection: Connection, person: Person, project: Project, *, look_at: int = LOOK_AT, seed: int = 0) -> Look:
    """Which items to choose from, and the answers that the head has to know; for reviewers and admins.

    At most `look_at` items are drawn, uniformly, since every answer costs a pass of the model.
    """
    people.require(person, "reviewer")
    if look_at < 1:
        raise ConfigError(f"--look-at is {look_at}; it must be at least 1")
    free = _items(connection, _free(project))
    if not free:
        raise _nothing_left(project)
    drawn = np.random.default_rng((seed, 1)).choice(len(free), size=min(look_at, len(free)), replace=False)
    chosen = [free[place] for place in sorted(drawn)]
    wanted = {each for item in (*chosen, *_items(connection, _waiting(project))) for each in item.answer_ids}
    wanted |= {each for row in _labels(connection, project) for each in row.answer_ids}
    return Look(tuple(item.id for item in chosen), len(free), tuple(_prompts(connection, wanted)))


def choose(
    connection: Connection,
    person: Person,
    project: Project,
    rule: Rule,
    features: Features | None,
    number: int,
    *,
    random_frac: float = 0.25,
    seed: int = 0,
    looked_at: Sequence[str] | None = None,
    num_clusters: int = NUM_CLUSTERS,
) -> Choice:
    """Choose `number` items, put them first in the queue, and note on each by which rule and with what probability.

    `looked_at` are the items of `look`; without it all that can be chosen. `random` needs no features. For reviewers
    and admins. Raises `ConfigError` for options that cannot be, `ConflictError` where nothing is left to choose from.
    """
    people.require(person, "reviewer")
    check_options(rule, number, random_frac, num_clusters)
    if rule != "random" and features is None:
        raise ConfigError(f"the rule {rule} needs features; name a reward model, or any language model, by --reward")
    take_turn(connection, "choice", project.id)
    free = _items(connection, _free(project))
    looked = {item.id for item in free}.intersection(looked_at) if looked_at is not None else None
    drawn = free if looked is None else [item for item in free if item.id in looked]
    if not drawn:
        raise _nothing_left(project)
    waiting = _items(connection, _waiting(project))
    if rule == "random" or features is None:
        pool, num_verdicts = drawn, 0
        batch = select_batch(blind(len(pool)), prior(1), number, "random", seed=seed)
    else:
        pool = [item for item in drawn if all_in(item.answer_ids, features)]
        if not pool:
            raise _nothing_readable(project, len(drawn))
        asked, later = ([item.answer_ids for item in part] for part in (pool, waiting))
        view = View(project.kind, asked, later, _verdicts(connection, project), features)
        candidates, num_verdicts = view.candidates(num_clusters, seed), view.num_verdicts
        batch = select_batch(candidates, view.head(), number, rule, random_frac=random_frac, seed=seed)
    share = len(drawn) / len(free)
    chosen = tuple((pool[one.place].id, one.rule, one.probability * share) for one in batch)
    _put_first(connection, project, chosen)
    audit.note(connection, person, "project.chosen", project.id, rule=rule, number=len(chosen), seed=seed)
    return Choice(chosen, len(free), len(drawn), len(drawn) - len(pool), num_verdicts, len(waiting))


def _nothing_left(project: Project) -> ConflictError:
    return ConflictError(
        f"project '{project.name}' has no item to choose from: none is open, unjudged and not chosen already; add some"
    )


def _nothing_readable(project: Project, number: int) -> ConflictError:
    return ConflictError(
        f"project '{project.name}': the features know no item whole, of {number} looked at; the model may read too "
        "little at once, or the features belong to other answers"
    )


# --- rows of the record -----------------------------------------------------------------------------------------------


def _free(project: Project) -> Select[Any]:
    """Items that can be chosen."""
    items, given = schema.items, schema.assignments
    taken = (given.c.state == "done") | ((given.c.state == "leased") & (given.c.expires_ms > now_ms()))
    begun = exists().where(given.c.item_id == items.c.id, taken)
    return _unjudged(project).where(items.c.selection_rule.not_in(RULES), ~begun)


def num_free(connection: Connection, project: Project) -> int:
    """How many items can be chosen."""
    return connection.execute(select(func.count()).select_from(_free(project).subquery())).scalar_one()


def _waiting(project: Project) -> Select[Any]:
    """Items of earlier choices that nobody has judged."""
    return _unjudged(project).where(schema.items.c.selection_rule.in_(RULES))


def _unjudged(project: Project) -> Select[Any]:
    items = schema.items
    query = select(items.c.id, items.c.prompt_id, items.c.answer_ids).order_by(items.c.id)
    return query.where(
        items.c.project_id == project.id, items.c.state == "open", items.c.is_gold.is_(False), items.c.num_done == 0
    )


def _items(connection: Connection, query: Select[Any]) -> list[Item]:
    return [Item(row.id, row.prompt_id, tuple(row.answer_ids)) for row in connection.execute(query)]


def _labels(connection: Connection, project: Project) -> Iterator[Row[Any, Any]]:
    """Verdicts in force, each rater's first on an item; without gold items, repeats and withdrawn people."""
    labels, person = schema.labels, schema.people
    query = select(labels.c.answer_ids, labels.c.value).join(person, person.c.id == labels.c.person_id)
    yield from connection.execute(
        query.where(
            labels.c.project_id == project.id, labels.c.kind == project.kind, labels.c.superseded_ms.is_(None),
            labels.c.withdrawn_ms.is_(None), labels.c.is_gold.is_(False), labels.c.round == 0,
            person.c.withdrawn_ms.is_(None),
        ).order_by(labels.c.id)
    )  # fmt: skip


def _verdicts(connection: Connection, project: Project) -> list[Said]:
    return [
        Said(tuple(row.answer_ids), targets(project.kind, row.value, len(row.answer_ids), project.attributes))
        for row in _labels(connection, project)
    ]


def _prompts(connection: Connection, answer_ids: set[str]) -> Iterator[Prompted]:
    """The answers by prompt, so that a prompt is computed once."""
    texts: dict[str, dict[str, str]] = {}
    answers, prompts = schema.answers, schema.prompts
    for part in _parts(sorted(answer_ids)):
        query = select(answers.c.id, answers.c.prompt_id, answers.c.text).where(answers.c.id.in_(part))
        for answer in connection.execute(query):
            texts.setdefault(answer.prompt_id, {})[answer.id] = answer.text
    for part in _parts(sorted(texts)):
        for row in connection.execute(select(prompts.c.id, prompts.c.messages).where(prompts.c.id.in_(part))):
            yield Prompted(as_messages(row.messages), texts[row.id])


def _parts(ids: Sequence[str]) -> Iterator[list[str]]:
    waiting = iter(ids)
    while part := list(islice(waiting, AT_ONCE)):
        yield part


def _put_first(connection: Connection, project: Project, chosen: Sequence[tuple[str, Rule, float]]) -> None:
    """Priorities above all that is open, in the order given."""
    items = schema.items
    waiting = (items.c.project_id == project.id) & (items.c.state == "open")
    top = max(connection.execute(select(func.max(items.c.priority)).where(waiting)).scalar() or 0.0, 0.0)
    change = update(items).where(items.c.id == bindparam("item"))
    change = change.values(
        priority=bindparam("above"), selection_rule=bindparam("by"), selection_probability=bindparam("chance")
    )
    rows = [{"item": id, "above": top + len(chosen) - place, "by": rule, "chance": chance}
            for place, (id, rule, chance) in enumerate(chosen)]  # fmt: skip
    connection.execute(change, rows)
