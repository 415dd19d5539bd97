"""Taking a person's work out: their pairs and verdicts leave every dataset made from now on.

Their work is what holds their words or their judgement: pairs they wrote or edited, verdicts they gave, and verdicts of
others on prompts or answers that they wrote. Rows are marked as withdrawn, not erased: snapshots stay as they are, so
that it can still be told what a model was trained on, and training on one that holds withdrawn work is refused. Models
that learned from the work are listed, each with the way by which it did; nothing is done to them.

Leaves out: the person's account, which goes on (`tutelage.store.accounts` deactivates it).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Table, case, insert, or_, select, update

from tutelage.store import schema
from tutelage.store.audit import note
from tutelage.store.ids import new_id, now_ms
from tutelage.store.people import Person, require
from tutelage.store.uses import Held, Use, parts, snapshots_holding, uses_of

ACTION = "people.work_removed"


class Removal(NamedTuple):
    """What was taken out, or would be, and where it had gone before. Work withdrawn earlier is not counted again."""

    person: str
    num_pairs_written: int
    num_pairs_edited: int
    """Of other authors."""
    num_labels_given: int
    num_labels_on_their_words: int
    """Given by others, on prompts or answers that the person wrote."""
    snapshots: list[Held]
    """That hold any of their work, whenever it was withdrawn."""
    retrain: list[Use]
    """Models made with these snapshots, directly or through others."""


class _Work(NamedTuple):
    """Ids of rows, withdrawn ones included."""

    written: list[str]
    edited: list[str]
    given: list[str]
    on_their_words: list[str]


def remove_person(connection: Connection, admin: Person, person: Person, *, dry_run: bool) -> Removal:
    """Withdraw all work of `person`, and list the models to train again; with `dry_run` only list.

    Once more changes nothing but what has come since. Raises `NotAllowedError` unless `admin` is one.
    """
    require(admin, "admin")
    work = _work_of(connection, person)
    pair_ids, label_ids = [*work.written, *work.edited], [*work.given, *work.on_their_words]
    held = snapshots_holding(connection, pair_ids=pair_ids, label_ids=label_ids)
    fresh = [_not_withdrawn(connection, schema.pairs, ids) for ids in work[:2]]
    fresh += [_not_withdrawn(connection, schema.labels, ids) for ids in work[2:]]
    written, edited, given, on_their_words = map(len, fresh)
    removal = Removal(person.name, written, edited, given, on_their_words, held, uses_of(connection, held))
    if not dry_run:
        _withdraw(connection, admin, person, pairs=[*fresh[0], *fresh[1]], labels=[*fresh[2], *fresh[3]])
        note(
            connection, admin, ACTION, person.id, num_pairs=written + edited, num_labels=given + on_their_words,
            num_models=len(removal.retrain),
        )  # fmt: skip
    return removal


def _work_of(connection: Connection, person: Person) -> _Work:
    pairs, revisions, labels = schema.pairs, schema.pair_revisions, schema.labels
    written = _ids(connection, select(pairs.c.id).where(pairs.c.author_id == person.id))
    edited = _ids(connection, select(revisions.c.pair_id).where(revisions.c.editor_id == person.id).distinct())
    given = _ids(connection, select(labels.c.id).where(labels.c.person_id == person.id))
    words = set(_labels_on_words_of(connection, person)) - set(given)
    return _Work(written, sorted(set(edited) - set(written)), given, sorted(words))


def _labels_on_words_of(connection: Connection, person: Person) -> list[str]:
    prompts, answers, labels = schema.prompts, schema.answers, schema.labels
    on_prompts = select(labels.c.id).join(prompts, prompts.c.id == labels.c.prompt_id)
    found = _ids(connection, on_prompts.where(prompts.c.author_id == person.id))
    theirs = dict(
        connection.execute(select(answers.c.id, answers.c.prompt_id).where(answers.c.author_id == person.id)).all()
    )
    for some in parts(sorted(set(theirs.values()))):
        rows = connection.execute(select(labels.c.id, labels.c.answer_ids).where(labels.c.prompt_id.in_(some)))
        found += [row.id for row in rows if not theirs.keys().isdisjoint(row.answer_ids)]
    return found


def _ids(connection: Connection, query: Select[Any]) -> list[str]:
    return [str(id) for id in connection.execute(query).scalars()]


def _not_withdrawn(connection: Connection, table: Table, ids: Sequence[str]) -> list[str]:
    query = select(table.c.id).where(table.c.withdrawn_ms.is_(None))
    return [id for some in parts(ids) for id in _ids(connection, query.where(table.c.id.in_(some)))]


def _withdraw(
    connection: Connection, admin: Person, person: Person, *, pairs: Sequence[str], labels: Sequence[str]
) -> None:
    now = now_ms()
    for some in parts(pairs):
        revisions = connection.execute(
            select(schema.pairs.c.id, schema.pairs.c.revision).where(schema.pairs.c.id.in_(some))
        )
        events = [
            {
                "id": new_id(), "pair_id": id, "revision": revision, "person_id": admin.id, "action": "withdrawn",
                "comment": f"all work of {person.name} was taken out", "at_ms": now,
            }
            for id, revision in revisions
        ]  # fmt: skip
        connection.execute(insert(schema.pair_events), events)
        marked = update(schema.pairs).where(schema.pairs.c.id.in_(some))
        connection.execute(marked.values(withdrawn_ms=now, changed_ms=now))
    for some in parts(labels):
        _ask_again(connection, person, some)
        connection.execute(update(schema.labels).where(schema.labels.c.id.in_(some)).values(withdrawn_ms=now))
    _close_items(connection, person)
    connection.execute(update(schema.people).where(schema.people.c.id == person.id).values(withdrawn_ms=now))


def _ask_again(connection: Connection, person: Person, label_ids: Sequence[str]) -> None:
    """An item that loses the person's verdict wants another one."""
    items, labels = schema.items, schema.labels
    counted = (
        select(labels.c.item_id)
        .where(labels.c.id.in_(label_ids), labels.c.person_id == person.id, labels.c.item_id.is_not(None))
        .where(labels.c.round == 0, labels.c.is_gold.is_(False), labels.c.superseded_ms.is_(None))
    )  # fmt: skip
    short = (items.c.state == "done") & (items.c.num_done - 1 < items.c.num_wanted)
    change = update(items).where(items.c.id.in_(counted), items.c.num_done > 0)
    state = case((short, "open"), else_=items.c.state)
    connection.execute(change.values(num_done=items.c.num_done - 1, state=state))


def _close_items(connection: Connection, person: Person) -> None:
    """Nobody is asked any more about prompts and answers that the person wrote."""
    items, authors, prompts = schema.items, schema.item_authors, schema.prompts
    written = select(authors.c.item_id).where(authors.c.person_id == person.id)
    prompted = select(prompts.c.id).where(prompts.c.author_id == person.id)
    theirs = or_(items.c.id.in_(written), items.c.prompt_id.in_(prompted))
    connection.execute(update(items).where(items.c.state == "open", theirs).values(state="withdrawn"))
