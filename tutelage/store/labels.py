"""Verdicts of people on answers: what one may say, writing it down once, and correcting it.

The `value` of a label counts answers in their canonical order (`answer_ids`), never in the order they were shown:

    comparison  {"outcome": "first" | "second", "strength": 1 … 4}    4 = much better, 1 = hardly
                {"outcome": "tie" | "both_bad" | "cannot_judge"}
    ranking     {"ranks": [0, 1, 1, 2]}  0 = best, equal = a tie, or {"cannot_judge": true}
    thumbs      {"good": true | false}
    rating      {"scores": {"helpful": 3, "correct": 4}}              by the attributes of the project

Rows are only added. A correction is a new label that names the one it supersedes.

Leaves out: who may judge what next (`tutelage.feedback.queue`) and files (`tutelage.store.exports`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, Row, insert, select, update

from tutelage.errors import ConflictError, DataError, NotFoundError
from tutelage.store import schema
from tutelage.store.ids import new_id, now_ms

Kind = Literal["comparison", "ranking", "thumbs", "rating"]
SIDED = ("first", "second")
UNSIDED = ("tie", "both_bad", "cannot_judge")
STRENGTHS = {4: "much better", 3: "better", 2: "slightly better", 1: "hardly better"}


@dataclass(frozen=True, slots=True)
class NewLabel:
    """A verdict that is to be written down."""

    person_id: str
    request_key: str
    """The submitter's own name for this submit: the same key again gives the label that is there."""
    kind: Kind
    prompt_id: str
    answer_ids: Sequence[str]
    value: Mapping[str, Any]
    displayed: Sequence[str] = ()
    """Answer ids in the order they were shown; the canonical order where nothing is known."""
    reasons: Sequence[str] = ()
    critique: str = ""
    rewrite: str = ""
    seconds: float | None = None
    guideline_version: int | None = None
    project_id: str | None = None
    item_id: str | None = None
    assignment_id: str | None = None
    round: int = 0
    is_gold: bool = False
    supersedes: str | None = None
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


def check_value(
    kind: str, value: Mapping[str, Any], num_answers: int, attributes: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Raise `DataError`, naming the field, unless `value` is a verdict of this kind on so many answers."""
    known = {"comparison": _comparison, "ranking": _ranking, "thumbs": _thumbs}
    if not isinstance(value, Mapping):
        raise DataError("a verdict is an object", field="value")
    if kind == "rating":
        _rating(value, attributes)
    else:
        known[kind](value, num_answers)


def _only(value: Mapping[str, Any], *names: str) -> None:
    for name in value:
        if name not in names:
            raise DataError(f"not part of this verdict; known: {', '.join(names)}", field=f"value.{name}")


def _comparison(value: Mapping[str, Any], num_answers: int) -> None:
    _only(value, "outcome", "strength")
    outcome, strength = value.get("outcome"), value.get("strength")
    if num_answers != 2:
        raise DataError(f"a comparison is of two answers, and there are {num_answers}", field="answer_ids")
    if outcome not in (*SIDED, *UNSIDED):
        raise DataError(f"{outcome!r} is none of {', '.join((*SIDED, *UNSIDED))}", field="value.outcome")
    if outcome in UNSIDED and strength is not None:
        raise DataError(f"'{outcome}' has no strength; leave it out", field="value.strength")
    if outcome in SIDED and (isinstance(strength, bool) or strength not in STRENGTHS):
        raise DataError(f"{strength!r} is none of 1, 2, 3, 4", field="value.strength")


def _ranking(value: Mapping[str, Any], num_answers: int) -> None:
    _only(value, "ranks", "cannot_judge")
    if value.get("cannot_judge") is True and "ranks" not in value:
        return
    ranks = value.get("ranks")
    whole = isinstance(ranks, Sequence) and all(isinstance(rank, int) and not isinstance(rank, bool) for rank in ranks)
    if not whole or ranks is None or len(ranks) != num_answers:
        raise DataError(f"give a whole number for each of the {num_answers} answers, 0 = best", field="value.ranks")
    if sorted(set(ranks)) != list(range(max(ranks) + 1)):
        raise DataError(
            f"{list(ranks)} leaves a rank out; every rank from 0 to the largest occurs", field="value.ranks"
        )


def _thumbs(value: Mapping[str, Any], num_answers: int) -> None:
    _only(value, "good")
    if num_answers != 1:
        raise DataError(f"a thumb is for one answer, and there are {num_answers}", field="answer_ids")
    if not isinstance(value.get("good"), bool):
        raise DataError(f"{value.get('good')!r} is neither true nor false", field="value.good")


def _rating(value: Mapping[str, Any], attributes: Sequence[Mapping[str, Any]]) -> None:
    _only(value, "scores")
    scores = value.get("scores")
    if not isinstance(scores, Mapping) or not scores:
        raise DataError("give a number for each attribute", field="value.scores")
    limits = {each["name"]: (each["low"], each["high"]) for each in attributes}
    for name, score in scores.items():
        place = f"value.scores.{name}"
        if isinstance(score, bool) or not isinstance(score, (int, float)) or not math.isfinite(score):
            raise DataError(f"{score!r} is no number", field=place)
        if limits and name not in limits:
            raise DataError(f"no such attribute; known: {', '.join(limits)}", field=place)
        if limits and not limits[name][0] <= score <= limits[name][1]:
            raise DataError(f"{score} is outside {limits[name][0]} to {limits[name][1]}", field=place)
    if missing := [name for name in limits if name not in scores]:
        raise DataError("missing", field=f"value.scores.{missing[0]}")


def says_other(kind: str, value: Mapping[str, Any], decided: Mapping[str, Any], attribute: str | None = None) -> bool:
    """Whether a verdict is another than the one that was decided on, whatever its strength; of ratings in `attribute`.

    Without an attribute all scores count.
    """
    part = {"comparison": "outcome", "ranking": "ranks", "thumbs": "good", "rating": "scores"}[kind]
    mine, theirs = value.get(part), decided.get(part)
    if attribute is not None and mine and theirs:
        return bool(mine.get(attribute) != theirs.get(attribute))
    return bool(mine != theirs)


def add_label(connection: Connection, new: NewLabel) -> str:
    """Write a verdict down and give its id; the same request of the same person again gives the same id.

    `new.value` has been checked (`check_value`). Raises `ConflictError` when the request key was used for another
    verdict, or when the label to supersede has been superseded already.
    """
    there = find_request(connection, new.person_id, new.request_key)
    return write_label(connection, new) if there is None else said_again(there, new)


def said_again(there: Row[Any], new: NewLabel) -> str:
    """The id of the label that the request of `new` made; `ConflictError` where that says something else."""
    if not _says_the_same(there, new):
        raise ConflictError(f"the request key '{new.request_key}' was used for another verdict; use a new one")
    return str(there.id)


def write_label(connection: Connection, new: NewLabel) -> str:
    """`add_label` for a request that has made none, as the caller has found."""
    label_id, now = new_id(), now_ms()
    if new.supersedes is not None:
        _supersede(connection, new, now)
    connection.execute(insert(schema.labels).values(**_row(new, label_id, now)))
    return label_id


def find_request(connection: Connection, person_id: str, request_key: str) -> Row[Any] | None:
    """The label that this request of this person made, if it did."""
    table = schema.labels
    query = select(table).where(table.c.person_id == person_id, table.c.request_key == request_key)
    return connection.execute(query).first()


def _says_the_same(row: Row[Any], new: NewLabel) -> bool:
    mine = (list(new.answer_ids), dict(new.value), list(new.reasons), new.critique, new.rewrite)
    return mine == (row.answer_ids, row.value, row.reasons, row.critique, row.rewrite)


def _supersede(connection: Connection, new: NewLabel, now: int) -> None:
    table = schema.labels
    old = connection.execute(select(table).where(table.c.id == new.supersedes)).first()
    if old is None or old.person_id != new.person_id:
        raise NotFoundError(f"no label {new.supersedes} of yours to correct")
    if list(old.answer_ids) != list(new.answer_ids):
        raise ConflictError(f"label {old.id} is about other answers; a correction is about the same ones")
    free = (table.c.id == old.id) & table.c.superseded_ms.is_(None)
    if connection.execute(update(table).where(free).values(superseded_ms=now)).rowcount != 1:
        raise ConflictError(f"label {old.id} has been corrected already; correct the newest one")


def _row(new: NewLabel, label_id: str, now: int) -> dict[str, Any]:
    names = (
        "person_id", "request_key", "kind", "prompt_id", "critique", "rewrite", "seconds", "guideline_version",
        "project_id", "item_id", "assignment_id", "round", "is_gold", "supersedes", "source",
    )  # fmt: skip
    plain = {name: getattr(new, name) for name in names}
    lists = {"answer_ids": list(new.answer_ids), "displayed": list(new.displayed or new.answer_ids)}
    return plain | lists | {
        "id": label_id, "value": dict(new.value), "reasons": list(new.reasons), "meta": dict(new.meta),
        "created_ms": now,
    }  # fmt: skip
