"""A verdict as a rater says it, and as the record keeps it.

A rater names answers by their ids or by the place they were shown at, counted from 0; the record counts answers in
their canonical order (`tutelage.store.labels`):

    comparison  {"winner": ANSWER, "strength": 1 … 4}  or  {"outcome": "tie" | "both_bad" | "cannot_judge"}
    ranking     {"order": [ANSWER, [ANSWER, ANSWER], ANSWER]}, best first, ties as lists;  or  {"cannot_judge": true}
    thumbs      {"good": true | false}
    rating      {"scores": {"helpful": 3, "correct": 4}}

Leaves out: writing it down (`tutelage.feedback.submit`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.errors import DataError
from tutelage.feedback.projects import Project
from tutelage.feedback.words import storable_json
from tutelage.store.labels import UNSIDED, check_value


def as_value(
    kind: str,
    verdict: Mapping[str, Any],
    answer_ids: Sequence[str],
    displayed: Sequence[str],
    attributes: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The verdict as the record keeps it, checked; `DataError` names the field that is wrong."""
    if not isinstance(verdict, Mapping):
        raise DataError("a verdict is an object", field="verdict")
    if kind == "comparison":
        value = _comparison(verdict, answer_ids, displayed)
    elif kind == "ranking":
        value = _ranking(verdict, answer_ids, displayed)
    else:
        value = dict(verdict)
    check_value(kind, value, len(answer_ids), attributes)
    return dict(storable_json(value, "verdict"))


def project_value(
    project: Project, verdict: Mapping[str, Any], answer_ids: Sequence[str], displayed: Sequence[str]
) -> dict[str, Any]:
    """`as_value` for the kind and attributes of a project."""
    return as_value(project.kind, verdict, answer_ids, displayed, project.attributes)


def as_said(kind: str, value: Mapping[str, Any], answer_ids: Sequence[str], displayed: Sequence[str]) -> dict[str, Any]:
    """The record's value as a rater says it, with the answers named by their place in `displayed`."""
    places = [displayed.index(each) for each in answer_ids]
    if kind == "comparison" and value["outcome"] not in UNSIDED:
        return {"winner": places[("first", "second").index(value["outcome"])], "strength": value["strength"]}
    if kind == "ranking" and "ranks" in value:
        groups: dict[int, list[int]] = {}
        for place, rank in sorted(zip(places, value["ranks"], strict=True)):
            groups.setdefault(rank, []).append(place)
        return {"order": [groups[rank] for rank in sorted(groups)]}
    return dict(value)


def _known(verdict: Mapping[str, Any], *names: str) -> None:
    for name in verdict:
        if name not in names:
            raise DataError(f"not part of this verdict; known: {', '.join(names)}", field=f"verdict.{name}")


def _comparison(verdict: Mapping[str, Any], answer_ids: Sequence[str], displayed: Sequence[str]) -> dict[str, Any]:
    _known(verdict, "winner", "outcome", "strength")
    winner, outcome, strength = (verdict.get(name) for name in ("winner", "outcome", "strength"))
    if winner is None:
        if outcome not in UNSIDED:
            raise DataError(f"name the winner, or one of {', '.join(UNSIDED)} as outcome", field="verdict.winner")
        return {"outcome": outcome} if strength is None else {"outcome": outcome, "strength": strength}
    if outcome is not None:
        raise DataError(f"there is a winner, so it is not '{outcome}' too", field="verdict.outcome")
    place = answer_ids.index(_answer(winner, displayed, "verdict.winner"))
    return {"outcome": ("first", "second")[place] if place < 2 else None, "strength": strength}


def _ranking(verdict: Mapping[str, Any], answer_ids: Sequence[str], displayed: Sequence[str]) -> dict[str, Any]:
    _known(verdict, "order", "cannot_judge")
    if "order" not in verdict:
        return dict(verdict)
    order = verdict["order"]
    if not isinstance(order, Sequence) or isinstance(order, str):
        raise DataError("give a list of answers, the best first", field="verdict.order")
    ranks: dict[str, int] = {}
    for rank, place in enumerate(order):
        together = place if isinstance(place, Sequence) and not isinstance(place, str) else [place]
        if not together:
            raise DataError("an empty list stands for no answer", field=f"verdict.order[{rank}]")
        for named in together:
            answer = _answer(named, displayed, f"verdict.order[{rank}]")
            if answer in ranks:
                raise DataError(f"answer {named} is named twice", field=f"verdict.order[{rank}]")
            ranks[answer] = rank
    if len(ranks) < len(answer_ids):
        raise DataError(f"{len(ranks)} of {len(answer_ids)} answers are named; name each once", field="verdict.order")
    return {"ranks": [ranks[answer] for answer in answer_ids]}


def _answer(named: Any, displayed: Sequence[str], field: str) -> str:
    """The id of the answer that is named by its id or by its place on the screen."""
    if isinstance(named, int) and not isinstance(named, bool) and 0 <= named < len(displayed):
        return displayed[named]
    if isinstance(named, str) and named in displayed:
        return named
    raise DataError(f"{named!r} names no answer; give an id, or 0 to {len(displayed) - 1}", field=field)
