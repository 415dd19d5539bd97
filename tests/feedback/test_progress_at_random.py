"""Progress of projects with labels of every sort is what a plain look at all rows says, on both databases."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

import pytest
from labelling import item, make
from record import BO, CY, DEE
from sqlalchemy import insert, select, update

from tutelage.feedback import items, progress, submit
from tutelage.feedback.measures import is_opinion, measure, right, same
from tutelage.feedback.progress import RaterLine
from tutelage.feedback.progress import progress as asked
from tutelage.feedback.projects import Project
from tutelage.stats.agreement import credit_share
from tutelage.store import schema
from tutelage.store.database import Store
from tutelage.store.people import Person

NUM_ITEMS = 40


def value(draw: random.Random, kind: str) -> dict[str, Any]:
    if kind == "comparison":
        outcome = draw.choice(["first", "first", "second", "tie", "both_bad", "cannot_judge"])
        return {"outcome": outcome} | ({"strength": draw.randint(1, 4)} if outcome in ("first", "second") else {})
    if kind == "ranking":
        return draw.choice([{"ranks": draw.sample(range(4), 4)}, {"ranks": [0, 0, 1, 1]}, {"cannot_judge": True}])
    return {"good": draw.random() < 0.7} if kind == "thumbs" else {"scores": {"helpful": draw.randint(0, 4)}}


def add_labels(store: Store, project: Project, draw: random.Random) -> None:
    """Labels through the queue, from files, corrected, withdrawn, repeated, and decisions of a reviewer."""
    with store.write() as connection:
        for number, item_row in enumerate(connection.execute(select(schema.items)).all()):
            for person in (CY, DEE, BO):
                for round_ in range(draw.choice([0, 1, 1, 1, 2])):
                    id = f"{number:016x}{person.id[-4:]}{round_:012x}"
                    state = draw.choice(["done", "done", "done", "skipped"])
                    connection.execute(insert(schema.assignments).values(
                        id=id, project_id=project.id, item_id=item_row.id, person_id=person.id, round=round_,
                        state=state, displayed=item_row.answer_ids, leased_ms=0, expires_ms=0,
                    ))  # fmt: skip
                    way = draw.choice([{"assignment_id": id}, {"assignment_id": id}, {"source": "file:1"}, {}])
                    connection.execute(insert(schema.labels).values({
                        "id": id, "person_id": person.id, "request_key": id, "kind": project.kind,
                        "project_id": project.id, "item_id": item_row.id, "prompt_id": item_row.prompt_id,
                        "answer_ids": item_row.answer_ids, "displayed": item_row.answer_ids, "round": round_,
                        "value": value(draw, project.kind), "created_ms": 0, "is_gold": item_row.is_gold,
                        "guideline_version": draw.choice([None, 1, 2]), "seconds": draw.choice([None, 2.5, 30.0]),
                        "superseded_ms": draw.choice([None] * 9 + [1]), "withdrawn_ms": draw.choice([None] * 9 + [1]),
                    } | way))  # fmt: skip
            if draw.random() < 0.5:
                connection.execute(update(schema.items).where(schema.items.c.id == item_row.id).values(
                    num_done=draw.randint(0, 3), state=draw.choice(["open", "done", "withdrawn"]),
                ))  # fmt: skip


class Plain:
    """The same, from all rows, one after the other."""

    def __init__(self, store: Store, project: Project) -> None:
        with store.read() as connection:
            self.items = connection.execute(select(schema.items)).all()
            self.skipped = [
                row.person_id for row in connection.execute(select(schema.assignments)) if row.state == "skipped"
            ]
            rows = connection.execute(select(schema.labels).order_by(schema.labels.c.id.desc())).all()
        stand = [row for row in rows if row.superseded_ms is None and row.withdrawn_ms is None]
        self.labels = [row for row in stand if row.assignment_id is not None or row.source]
        self.decided = {row.item_id for row in stand if row.assignment_id is None and not row.source}
        self.project, self.newest = project, self.labels[: progress.WINDOW]
        self.gold = {row.id: row.gold_value for row in self.items if row.is_gold}

    def line(self, person: Person) -> RaterLine:
        mine, newest = ([row for row in rows if row.person_id == person.id] for rows in (self.labels, self.newest))
        versions = Counter("" if row.guideline_version is None else str(row.guideline_version) for row in mine)
        others = [
            self._credits(row, [o for o in self._firsts(row.item_id) if o.person_id != person.id])
            for row in newest
            if row.round == 0 and row.item_id not in self.gold
        ]
        return RaterLine(
            person.id, person.name, len(mine), self.skipped.count(person.id),
            sum(not is_opinion(row.value) for row in newest), self.median_seconds(newest), credit_share(others),
            self.with_self(newest), self.with_gold(newest), dict(versions),
        )  # fmt: skip

    def _firsts(self, item_id: str) -> list[Any]:
        return [row for row in self.newest if row.item_id == item_id and row.round == 0]

    def _credits(self, mine: Any, others: Sequence[Any]) -> list[float]:
        shares = (same(self.project.kind, mine.value, row.value) for row in others)
        return [share for share in shares if share is not None]

    def with_self(self, rows: Sequence[Any]) -> Any:
        again = [row for row in rows if row.round > 0 and row.item_id not in self.gold]
        firsts = [[one for one in self._firsts(row.item_id) if one.person_id == row.person_id] for row in again]
        return credit_share([self._credits(row, one) for row, one in zip(again, firsts, strict=True)])

    def with_gold(self, rows: Sequence[Any]) -> Any:
        shares = [
            right(self.project.kind, row.value, self.gold[row.item_id], self.project.attributes)
            for row in rows
            if row.item_id in self.gold
        ]
        return credit_share([[share] for share in shares if share is not None])

    def median_seconds(self, rows: Sequence[Any]) -> float | None:
        seconds = [row.seconds for row in rows if row.seconds is not None]
        return median(seconds) if seconds else None

    def agreement(self) -> list[Any]:
        by_item: dict[str, list[Any]] = {}
        for row in self.newest:
            if row.round == 0 and row.item_id not in self.gold:
                by_item.setdefault(row.item_id, []).append(row.value)
        return measure(self.project.kind, {id: values for id, values in by_item.items() if len(values) > 1})


@pytest.mark.parametrize("window", [10_000, 50])
@pytest.mark.parametrize("kind", ["comparison", "ranking", "thumbs", "rating"])
def test_progress_is_what_a_plain_look_at_all_rows_says(
    any_store: Store, kind: str, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "WINDOW", window)
    project, draw = make(any_store, NUM_ITEMS, kind, overlap=2), random.Random(f"{kind} {window}")
    with any_store.write() as connection:
        for number in range(NUM_ITEMS, NUM_ITEMS + 8):
            gold = value(draw, kind)
            items.add_gold(connection, BO, project, item(number, kind), gold if is_opinion(gold) else {"ranks": [0] * 4}
                           if kind == "ranking" else {"outcome": "tie"})  # fmt: skip
    add_labels(any_store, project, draw)
    plain = Plain(any_store, project)
    with any_store.read() as connection:
        found, own = asked(connection, BO, project), asked(connection, CY, project)
        assert found == asked(connection, BO, project)  # kept in memory
    ordinary = [row for row in plain.items if row.state != "withdrawn" and not row.is_gold]
    states = Counter("gold" if row.is_gold and row.state != "withdrawn" else row.state for row in plain.items)
    assert Counter(found.num_items) == states
    assert found.num_wanted == sum(row.num_wanted for row in ordinary)
    assert found.num_done == sum(min(row.num_done, row.num_wanted) for row in ordinary)
    assert (found.num_labels, found.num_skipped) == (len(plain.labels), len(plain.skipped))
    assert found.num_adjudicated == len(plain.decided)
    assert found.median_seconds == plain.median_seconds(plain.newest)
    assert found.agreement == tuple(plain.agreement())
    assert (found.with_self, found.gold) == (plain.with_self(plain.newest), plain.with_gold(plain.newest))
    assert found.raters == tuple(plain.line(person) for person in (BO, CY, DEE))
    assert own.raters == (plain.line(CY),)


def test_what_is_kept_goes_with_a_label_that_comes_goes_or_is_known(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, draw = make(store, 5), random.Random(0)
    add_labels(store, project, draw)
    computed = []
    plain_measure = progress.measure
    monkeypatch.setattr(progress, "measure", lambda *args: computed.append(1) or plain_measure(*args))

    def ask() -> int:
        with store.read() as connection:
            asked(connection, BO, project)
            asked(connection, CY, project)
        return len(computed)

    assert ask() == 1
    assert ask() == 1
    with store.write() as connection:
        mine = connection.execute(
            select(schema.labels).where(
                schema.labels.c.assignment_id.is_not(None), schema.labels.c.superseded_ms.is_(None),
                schema.labels.c.withdrawn_ms.is_(None),
            )
        ).first()  # fmt: skip
        assert mine is not None
        person = next(each for each in (BO, CY, DEE) if each.id == mine.person_id)
        submit.correct(connection, person, mine.id, "correction", {"outcome": "both_bad"})
    assert ask() == 2
    with store.write() as connection:
        connection.execute(
            update(schema.labels).where(schema.labels.c.request_key == "correction").values(withdrawn_ms=1)
        )
    assert ask() == 3
    with store.write() as connection:
        connection.execute(
            update(schema.items).where(schema.items.c.id == mine.item_id).values(
                is_gold=True, gold_value={"outcome": "tie"}
            )
        )  # fmt: skip
    assert ask() == 4
    assert ask() == 4
    assert len(progress._KEPT) <= progress.MOST_KEPT
