"""Verdicts of an import, a batch at a time: the project they go to, the items they are about, the labels themselves.

A verdict is known again by what it says: rater, prompt, answers, value, words. The same one twice in a file is a repeat
(the second of two such labels has round 1); the same file twice adds nothing. A verdict whose item the project has
already counts its answers in that item's order.

Leaves out: projects as people make them (`tutelage.feedback.projects`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection, Row, insert, select, update

from tutelage.data.foreign import IncomingLabel
from tutelage.errors import ConfigError, DataError
from tutelage.store import audit, schema
from tutelage.store.contents import as_json, content_hash
from tutelage.store.ids import new_id, now_ms
from tutelage.store.import_items import Placed, count_done, place_items
from tutelage.store.import_rows import Outcome, Run, check_storable, ids_of_people, in_parts, ordered_ids, refused
from tutelage.store.labels import check_value
from tutelage.store.turns import take_turn

KINDS = ("comparison", "ranking", "thumbs", "rating")
AS_IMPORTED = "as imported"
"""The help of a rating's attribute whose range is that of the numbers seen, and widens with them."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MAX_KEY_CHARACTERS = 100


@dataclass(slots=True)
class Target:
    """The project that labels go to."""

    id: str
    name: str
    kind: str
    attributes: list[dict[str, Any]]

    @property
    def widens(self) -> bool:
        """Whether its attributes take any number."""
        return all(str(each.get("help", "")).startswith(AS_IMPORTED) for each in self.attributes)


def project_name(run: Run) -> str:
    """The project that was named, or one named like the file. Raises `ConfigError` for what is no name."""
    stem = re.sub(r"(\.(jsonl?|ndjson|csv|tsv|tab|parquet|pq|gz))+$", "", run.file, flags=re.IGNORECASE)
    name = run.options.project or re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:100]
    if not _NAME.fullmatch(name):
        told = f"'{name}' is no name for a project" if name else f"'{run.file}' gives a project no name"
        raise ConfigError(f"{told}; give --project NAME: letters, digits, '.', '_' and '-'")
    return name


def find_target(connection: Connection, name: str) -> Target | None:
    """The project of this name, if there is one."""
    row = connection.execute(select(schema.projects).where(schema.projects.c.name == name)).first()
    return None if row is None else Target(row.id, row.name, row.kind, [dict(each) for each in row.attributes])


def add_labels(connection: Connection, run: Run, incoming: Sequence[IncomingLabel]) -> Outcome:
    """Add the labels that are not there yet; the outcome counts every one of them."""
    outcome, name = Outcome(), project_name(run)
    known = [each for each in incoming if each.kind in KINDS]
    if not run.options.dry_run:
        take_turn(connection, "project name", name)
    target = find_target(connection, name)
    made = target is None and bool(known)
    if target is None and known:
        target = Target(new_id(), name, known[0].kind, [])
    checked = list[IncomingLabel]()
    for each in incoming:
        try:
            checked.append(_checked(each, target))
        except DataError as error:
            outcome.left_out.append(refused(each, error))
    if target is None or not checked:
        return outcome
    _widen(target, checked)
    if not run.options.dry_run:
        _keep_target(connection, run, target, made=made)
        take_turn(connection, "items", target.id)
    _add(connection, run, target, checked, outcome)
    return outcome


def _checked(each: IncomingLabel, target: Target | None) -> IncomingLabel:
    """The label; `DataError` when it is no verdict, or none for this project."""
    if each.kind not in KINDS or target is None:
        raise DataError(f"'{each.kind}' is none of {', '.join(KINDS)}", field="kind")
    if each.kind != target.kind:
        told = f"the kind is {each.kind}, and project '{target.name}' collects {target.kind}"
        problem = f"{told}; import it with another --project"
        raise DataError(problem, field="kind")
    check_value(each.kind, each.value, len(each.answers), () if target.widens else target.attributes)
    if each.kind == "ranking" and len(each.answers) < 2:
        raise DataError("a ranking is of two answers or more", field="completions")
    if each.kind == "rating" and len(each.answers) != 1:
        raise DataError(f"a rating is for one answer, and there are {len(each.answers)}", field="completions")
    texts = {answer.text for answer in each.answers}
    check_storable([as_json(each.prompt), [each.reference, each.critique, each.rewrite]], "prompt")
    check_storable([[answer.text, answer.model, dict(answer.sampling)] for answer in each.answers], "completions")
    check_storable([list(each.reasons), dict(each.meta), dict(each.value)], "meta")
    if len(texts) < len(each.answers) and "strength" in each.value:
        raise DataError("the same answer twice, and one is said to be better", field="completions")
    return each


def _widen(target: Target, labels: Sequence[IncomingLabel]) -> None:
    """Let the attributes of a project that an import made hold every number seen."""
    if target.kind != "rating" or not target.widens:
        return
    limits = {each["name"]: each for each in target.attributes}
    for label in labels:
        for name, score in label.value["scores"].items():
            known = limits.setdefault(name, {"name": name, "low": score, "high": score, "help": AS_IMPORTED})
            known["low"], known["high"] = min(known["low"], score), max(known["high"], score)
    target.attributes = list(limits.values())


def _keep_target(connection: Connection, run: Run, target: Target, *, made: bool) -> None:
    table = schema.projects
    if made:
        row = {
            "id": target.id, "name": target.name, "kind": target.kind, "question": f"Imported from {run.file}",
            "attributes": target.attributes, "reasons": [], "overlap": 1, "gold_frac": 0.0, "repeat_frac": 0.0,
            "lease_seconds": 900, "models": [], "sampling": {}, "state": "open", "created_by": run.person.id,
            "created_ms": now_ms(),
        }  # fmt: skip
        connection.execute(insert(table).values(**row))
        audit.note(connection, run.person, "project.created", target.id, name=target.name, kind=target.kind)
    elif target.kind == "rating" and target.widens:
        connection.execute(update(table).where(table.c.id == target.id).values(attributes=target.attributes))


def _add(connection: Connection, run: Run, target: Target, labels: Sequence[IncomingLabel], outcome: Outcome) -> None:
    people = ids_of_people(connection, run, [each.rater for each in labels])
    keys = [_key(run, target, each) for each in labels]
    given = [each.request_key[:MAX_KEY_CHARACTERS] for each in labels if each.request_key]
    there = _there(connection, set(people.values()) - {""}, [*keys, *given])
    new = list[tuple[str, IncomingLabel]]()
    for key, each in zip(keys, labels, strict=True):
        person, own = people[each.rater], each.request_key
        is_there = (person, key) in there or _is_same(there.get((person, own)), each)
        if is_there or f"{each.rater}\0{key}" in run.seen:
            outcome.already += 1
            continue
        is_free = (person, own) not in there and f"{each.rater}\0{own}" not in run.seen
        name = own if 0 < len(own) <= MAX_KEY_CHARACTERS and is_free else key
        new.append((name, each))
        run.seen |= {f"{each.rater}\0{key}", f"{each.rater}\0{name}"}
    outcome.added = len(new)
    if new and not run.options.dry_run:
        _write(connection, run, target, new, people)


def _key(run: Run, target: Target, each: IncomingLabel) -> str:
    """The name under which a verdict is known again: by what it says, and which of several alike it is.

    Where the file has the submit's own name, two lines with the same one are one verdict.
    """
    said = [
        target.name, each.rater, each.kind, as_json(each.prompt), [answer.text for answer in each.answers],
        dict(each.value), list(each.reasons), each.critique, each.rewrite, each.request_key,
    ]  # fmt: skip
    same = content_hash(said)
    run.repeats[same] += 0 if each.request_key else 1
    return f"import:{content_hash([same, run.repeats[same]])}"


def _there(connection: Connection, people: set[str], keys: Sequence[str]) -> dict[tuple[str, str], Row[Any]]:
    table, found = schema.labels, dict[tuple[str, str], Row[Any]]()
    columns = (table.c.person_id, table.c.request_key, table.c.kind, table.c.reasons, table.c.critique, table.c.rewrite)
    if not people:
        return found
    for part in in_parts(sorted(set(keys))):
        for row in connection.execute(select(*columns).where(table.c.request_key.in_(part))).all():
            if row.person_id in people:
                found[row.person_id, row.request_key] = cast(Row[Any], row)
    return found


def _is_same(row: Row[Any] | None, each: IncomingLabel) -> bool:
    """Whether the label under this request key says what `each` says."""
    if row is None or not each.request_key:
        return False
    said = (each.kind, list(each.reasons), each.critique, each.rewrite)
    return said == (row.kind, row.reasons, row.critique, row.rewrite)


def _write(
    connection: Connection,
    run: Run,
    target: Target,
    new: Sequence[tuple[str, IncomingLabel]],
    people: Mapping[str, str],
) -> None:
    placed = place_items(connection, run, target.id, [each for _, each in new])
    rows, done = [], dict[str, int]()
    for (key, each), place, id in zip(new, placed, ordered_ids(len(new)), strict=True):
        person = people[each.rater]
        round = run.rounds.get((place.item_id, person), 0) if each.rater else 0  # nobody knows whether it is a repeat
        run.rounds[place.item_id, person] = round + 1
        done[place.item_id] = done.get(place.item_id, 0) + (round == 0)
        rows.append(_row(run, target, key, each, place) | {"id": id, "person_id": person, "round": round})
    connection.execute(insert(schema.labels), rows)
    count_done(connection, done)


def _row(run: Run, target: Target, key: str, each: IncomingLabel, place: Placed) -> dict[str, Any]:
    shown = each.displayed or tuple(range(len(each.answers)))
    own = {answer: at for at, answer in enumerate(place.order)}
    return {
        "request_key": key, "kind": each.kind, "project_id": target.id, "item_id": place.item_id,
        "assignment_id": None, "prompt_id": place.prompt_id, "answer_ids": place.answer_ids,
        "displayed": [place.answer_ids[own[at]] for at in shown] if each.displayed else place.answer_ids,
        "value": in_order(each.kind, each.value, place.order), "reasons": list(each.reasons),
        "critique": each.critique, "rewrite": each.rewrite, "guideline_version": each.guideline_version,
        "seconds": each.seconds, "is_gold": each.is_gold, "supersedes": None, "source": run.source_of(each),
        "meta": dict(each.meta), "created_ms": each.created_ms or now_ms(),
    }  # fmt: skip


def in_order(kind: str, value: Mapping[str, Any], order: Sequence[int]) -> dict[str, Any]:
    """A verdict that counts the answers in another order: `order[i]` is the place that answer i of that order had."""
    if kind == "comparison" and list(order) == [1, 0]:
        swapped = {"first": "second", "second": "first"}
        return {**value, "outcome": swapped.get(value["outcome"], value["outcome"])}
    if kind == "ranking" and "ranks" in value:
        return {**value, "ranks": [value["ranks"][at] for at in order]}
    return dict(value)
