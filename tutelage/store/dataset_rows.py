"""Which rows a dataset takes now, and the rows a snapshot holds, each with its lines of training.

A row of a snapshot is the id of a revision or a label with its facts. Rows are read page by page, by key.

Leaves out: naming and numbering (`tutelage.store.datasets`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, or_, select, text

from tutelage.errors import ConfigError, NotFoundError
from tutelage.store import schema
from tutelage.store.contents import as_messages
from tutelage.store.labels import says_other
from tutelage.store.pair_rules import is_complete
from tutelage.store.pair_views import STATES, tags_of
from tutelage.store.training_lines import Judged, Line, NothingToLearn, label_lines, pair_line, rating_of

PAGE = 500
_PAIRS, _REVISIONS, _LABELS, _PEOPLE = schema.pairs, schema.pair_revisions, schema.labels, schema.people
Found = tuple[Mapping[str, Any], list[Line]]
"""A row of a snapshot and its lines."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for."""

    states: tuple[str, ...] = ("accepted",)
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    gold: bool = False
    repeats: bool = False

    def __post_init__(self) -> None:
        for state in self.states:
            if state not in STATES:
                raise ConfigError(f"'{state}' is no state of a pair; there are {', '.join(STATES)}")
        if not self.states:
            raise ConfigError("no state of a pair is asked for; give one, for example accepted")

    def check_fits(self, name: str, kind: str) -> None:
        """Raise `ConfigError` where something was asked for that the dataset's kind has not."""
        of_pairs, of_labels = self.states != ("accepted",) or self.tags or self.sources, self.gold or self.repeats
        if kind == "labels" and of_pairs:
            raise ConfigError(f"{name} takes labels; states, tags and sources choose pairs, so leave them out")
        if kind == "pairs" and of_labels:
            raise ConfigError(
                f"{name} takes pairs; gold items and repeats are of labels, so leave them out, or name labels:PROJECT"
            )

    def asked(self, kind: str) -> dict[str, Any]:
        """As a snapshot notes it."""
        if kind == "labels":
            return {"gold": self.gold, "repeats": self.repeats}
        return {"states": list(self.states), "tags": list(self.tags), "sources": list(self.sources)}


def _removed_people(connection: Connection) -> set[str]:
    """Everyone whose work is left out."""
    return set(connection.execute(select(_PEOPLE.c.id).where(_PEOPLE.c.withdrawn_ms.is_not(None))).scalars())


# Pairs ----------------------------------------------------------------------------------------------------------------


def chosen_pairs(connection: Connection, choice: Choice, left_out: Counter[str]) -> Iterator[Found]:
    """The pairs that are asked for, by age."""
    gone, after = _removed_people(connection), ""
    query = _pair_query(choice)
    while rows := connection.execute(query.where(_PAIRS.c.id > after)).all():
        ids = [row.id for row in rows]
        tags, touched = tags_of(connection, ids), _edited_by(connection, ids, gone)
        for row in rows:
            messages = as_messages(row.messages)
            if row.author_id in gone or row.id in touched:
                left_out["a person's work was removed"] += 1
            elif not is_complete(messages):
                left_out["there is no answer yet"] += 1
            else:
                facts = {
                    "author": row.author, "source": row.source, "licence": row.licence, "tags": tags.get(row.id, []),
                }  # fmt: skip
                yield {"pair_revision_id": row.revision_id, "facts": facts}, [pair_line(row.id, messages, facts)]
        after = rows[-1].id


def _pair_query(choice: Choice) -> Select[Any]:
    newest = (_REVISIONS.c.pair_id == _PAIRS.c.id) & (_REVISIONS.c.number == _PAIRS.c.revision)
    columns = (_PAIRS.c.id, _PAIRS.c.author_id, _PAIRS.c.source, _PAIRS.c.licence, _REVISIONS.c.messages)
    query = (
        select(*columns, _REVISIONS.c.id.label("revision_id"), _PEOPLE.c.name.label("author"))
        .select_from(_PAIRS)
        .join(_REVISIONS, newest)
        .join(_PEOPLE, _PEOPLE.c.id == _PAIRS.c.author_id)
        .where(_PAIRS.c.state.in_(choice.states), _PAIRS.c.withdrawn_ms.is_(None))
    )
    for tag in choice.tags:
        tagged = select(schema.pair_tags.c.pair_id).where(schema.pair_tags.c.tag == tag)
        query = query.where(_PAIRS.c.id.in_(tagged))
    if choice.sources:
        query = query.where(or_(*(_PAIRS.c.source.startswith(each, autoescape=True) for each in choice.sources)))
    return query.order_by(_PAIRS.c.id).limit(PAGE)


def _edited_by(connection: Connection, ids: Sequence[str], people: set[str]) -> set[str]:
    """Those of the pairs that one of these people wrote a revision of."""
    if not people:
        return set()
    query = select(_REVISIONS.c.pair_id).where(_REVISIONS.c.pair_id.in_(ids), _REVISIONS.c.editor_id.in_(people))
    return set(connection.execute(query).scalars())


def frozen_pairs(connection: Connection, rows: Sequence[Row[Any]]) -> Iterator[Line]:
    """The lines of these rows of a snapshot."""
    query = select(_REVISIONS.c.id, _REVISIONS.c.pair_id, _REVISIONS.c.messages)
    wanted = query.where(_REVISIONS.c.id.in_([row.pair_revision_id for row in rows]))
    found = {each.id: each for each in connection.execute(wanted)}
    for row in rows:
        revision = found[row.pair_revision_id]
        yield pair_line(revision.pair_id, as_messages(revision.messages), row.facts)


# Labels ---------------------------------------------------------------------------------------------------------------


def split_labels(connection: Connection, name: str) -> tuple[Row[Any], str | None]:
    """The project of `labels:PROJECT`, and the attribute of `labels:PROJECT/ATTRIBUTE`; `NotFoundError` without one."""
    project_name, slash, attribute = name.removeprefix("labels:").partition("/")
    table = schema.projects
    project = connection.execute(select(table).where(table.c.name == project_name)).first()
    if project is None:
        names = connection.execute(select(table.c.name).order_by(table.c.name).limit(10)).scalars().all()
        there = f"there are: {', '.join(names)}" if names else "there is none yet"
        raise NotFoundError(f"no labelling project '{project_name}'; {there}")
    known = [each["name"] for each in project.attributes] if project.kind == "rating" else []
    if slash and attribute not in known:
        there = f"there are: {', '.join(known)}" if known else "it has none; leave it out"
        raise NotFoundError(f"project '{project_name}' rates no attribute '{attribute}'; {there}")
    return project, attribute if slash else None


def chosen_labels(
    connection: Connection, project: Row[Any], attribute: str | None, choice: Choice, left_out: Counter[str]
) -> Iterator[Found]:
    """The labels of a project that say something, by age; where a reviewer decided, only those that say the same."""
    gone, after = _removed_people(connection), ""
    query = _label_query().where(
        _LABELS.c.project_id == project.id, _LABELS.c.superseded_ms.is_(None), _LABELS.c.withdrawn_ms.is_(None)
    )
    query = query if choice.gold else query.where(_LABELS.c.is_gold.is_(False))
    query = query if choice.repeats else query.where(_LABELS.c.round == 0)
    query = query.order_by(_LABELS.c.id).limit(PAGE)
    while rows := connection.execute(query.where(_LABELS.c.id > after)).all():
        answers, decided = _answers(connection, rows), _decisions(connection, project, rows, gone)
        for row in rows:
            if gone & _people_of(row, answers):
                left_out["a person's work was removed"] += 1
                continue
            facts = _facts(row, project.attributes, attribute)
            try:
                lines = label_lines(_judged(row, answers, facts))
            except NothingToLearn as why:
                left_out[str(why)] += 1
                continue
            if row.item_id in decided and says_other(row.kind, row.value, decided[row.item_id], attribute):
                left_out["a reviewer decided otherwise"] += 1
                continue
            yield {"label_id": row.id, "facts": facts}, lines
        after = rows[-1].id


def _decisions(
    connection: Connection, project: Row[Any], rows: Sequence[Row[Any]], gone: set[str]
) -> dict[str, Mapping[str, Any]]:
    """By item what was decided, the newest decision where there are several; that of a removed person is none."""
    ids = {row.item_id for row in rows} - {None}
    query = select(_LABELS.c.item_id, _LABELS.c.person_id, _LABELS.c.value, _LABELS.c.meta)
    query = query.where(_LABELS.c.project_id == project.id, _LABELS.c.item_id.in_(ids), text(schema.DECISIONS))
    found = connection.execute(query.order_by(_LABELS.c.id))
    return {row.item_id: row.value for row in found if "adjudicates" in row.meta and row.person_id not in gone}


def _label_query() -> Select[Any]:
    prompts, projects = schema.prompts, schema.projects
    return (
        select(
            _LABELS, prompts.c.messages, prompts.c.author_id.label("asked_by"), _PEOPLE.c.name.label("rater"),
            projects.c.name.label("project"),
        )
        .join(prompts, prompts.c.id == _LABELS.c.prompt_id)
        .join(_PEOPLE, _PEOPLE.c.id == _LABELS.c.person_id)
        .join(projects, projects.c.id == _LABELS.c.project_id)
    )  # fmt: skip


def _answers(connection: Connection, rows: Sequence[Row[Any]]) -> dict[str, Row[Any]]:
    table = schema.answers
    ids = sorted({answer_id for row in rows for answer_id in row.answer_ids})
    found: dict[str, Row[Any]] = {}
    for start in range(0, len(ids), PAGE):
        query = select(table).where(table.c.id.in_(ids[start : start + PAGE]))
        found |= {row.id: row for row in connection.execute(query)}
    return found


def _people_of(row: Row[Any], answers: Mapping[str, Row[Any]]) -> set[str]:
    """The rater, and whoever wrote the prompt or an answer."""
    return {row.person_id, row.asked_by, *(answers[each].author_id for each in row.answer_ids)}


def _facts(row: Row[Any], attributes: Sequence[Mapping[str, Any]], attribute: str | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"rater": row.rater, "project": row.project}
    if "adjudicates" in row.meta:
        facts["decision"] = True
    if row.kind == "rating":
        facts["number"] = rating_of(row.value["scores"], attributes, attribute)
    return facts


def _judged(row: Row[Any], answers: Mapping[str, Row[Any]], facts: Mapping[str, Any]) -> Judged:
    given = {
        "project": facts["project"], "guideline_version": row.guideline_version, "reasons": list(row.reasons),
        "critique": row.critique, "seconds": row.seconds, "scores": row.value.get("scores"),
        "models": [answers[each].model for each in row.answer_ids], "source": row.source,
        "outcome": row.value.get("outcome") if row.value.get("outcome") == "both_bad" else None,
        "gold": row.is_gold, "round": row.round, "decision": facts.get("decision"),
    }  # fmt: skip
    meta = {name: value for name, value in given.items() if value}
    texts = [answers[each].text for each in row.answer_ids]
    return Judged(
        row.id, row.kind, row.value, row.rewrite, as_messages(row.messages), texts, facts["rater"], meta,
        facts.get("number"),
    )  # fmt: skip


def frozen_labels(connection: Connection, rows: Sequence[Row[Any]]) -> Iterator[Line]:
    """The lines of these rows of a snapshot."""
    query = _label_query().where(_LABELS.c.id.in_([row.label_id for row in rows]))
    found = {each.id: each for each in connection.execute(query)}
    answers = _answers(connection, list(found.values()))
    for row in rows:
        yield from label_lines(_judged(found[row.label_id], answers, row.facts))
