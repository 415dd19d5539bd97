"""How a project goes: what is done, what is left, and how far raters agree with each other, themselves and gold items.

Counts are asked of the database each time. What the newest labels say is kept in memory under what it was computed
from, for as long as the database has the same newest labels.

A reviewer sees every rater's line, a rater their own. Nothing here ranks or excludes anybody: a person decides about a
rater, never a threshold. Agreement is that of the newest `WINDOW` labels; counts are of all. Adjudications are counted
apart and agree with nobody. Leaves out: who may see which label (`tutelage.feedback.seen`).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, case, func, literal, select, text, true

from tutelage.feedback import items
from tutelage.feedback.measures import Measure, measure, opinion, right, same, same_opinion
from tutelage.feedback.projects import Project
from tutelage.stats.agreement import Share, credit_share
from tutelage.store import people, schema
from tutelage.store.people import Person

WINDOW = 10_000


@dataclass(frozen=True, slots=True)
class RaterLine:
    """One rater's work in a project."""

    person_id: str
    name: str
    num_labels: int
    """Repeats and gold items included, adjudications left out."""
    num_skipped: int
    num_cannot_judge: int
    """Among the newest labels."""
    median_seconds: float | None
    with_others: Share | None
    """How often another rater of the same item said the same."""
    with_self: Share | None
    """How often the rater said the same when asked again."""
    gold: Share | None
    """How often the rater said what is known."""
    by_guideline: Mapping[str, int]
    """Labels by version of the guidelines, as text; "" where there were none."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A project's state."""

    project: str
    state: str
    num_items: Mapping[str, int]
    """open and done; for reviewers withdrawn and gold, too."""
    num_wanted: int
    """Labels wanted for all ordinary items that were not withdrawn."""
    num_done: int
    """Those of them that are there."""
    num_labels: int
    num_skipped: int
    num_adjudicated: int
    median_seconds: float | None
    agreement: tuple[Measure, ...]
    with_self: Share | None
    gold: Share | None
    by_guideline: Mapping[str, int]
    raters: tuple[RaterLine, ...]


def progress(connection: Connection, person: Person, project: Project) -> Progress:
    """The project's totals, and the lines of all raters, or of the rater who asks."""
    people.require(person, "rater")
    only = person.id if person.role == "rater" else None
    counts, skipped, newest = _counts(connection, project), _skipped(connection, project), _newest(connection, project)
    names = {each.id: each.name for each in people.everyone(connection)}
    shown = sorted({*counts, *skipped} if only is None else {only}, key=lambda each: names[each])
    num_items, wanted = _items(connection, project)
    if only is not None:
        num_items = {state: num_items[state] for state in ("open", "done")}
    return Progress(
        project.name, project.state, num_items, *wanted,
        num_labels=sum(sum(each.values()) for each in counts.values()), num_skipped=sum(skipped.values()),
        num_adjudicated=_num_adjudicated(connection, project), median_seconds=newest.all.median_seconds,
        agreement=newest.agreement, with_self=newest.all.with_self, gold=newest.all.gold,
        by_guideline=_summed(counts.values()),
        raters=tuple(
            _line(each, names[each], counts.get(each, {}), skipped.get(each, 0), newest.by_person.get(each, NOTHING))
            for each in shown
        ),
    )  # fmt: skip


def _line(person_id: str, name: str, by_guideline: Mapping[str, int], num_skipped: int, own: _Told) -> RaterLine:
    return RaterLine(
        person_id, name, sum(by_guideline.values()), num_skipped, own.num_cannot_judge, own.median_seconds,
        own.with_others, own.with_self, own.gold, dict(sorted(by_guideline.items())),
    )  # fmt: skip


# --- what the newest labels say ---------------------------------------------------------------------------------------


class _Told(NamedTuple):
    """What some labels say together."""

    num_cannot_judge: int
    median_seconds: float | None
    with_others: Share | None
    with_self: Share | None
    gold: Share | None


NOTHING = _Told(0, None, None, None, None)


class _Newest(NamedTuple):
    """What the newest labels of a project say, in all and by rater."""

    agreement: tuple[Measure, ...]
    all: _Told
    by_person: Mapping[str, _Told]


_KEPT: dict[bytes, _Newest] = {}
"""By what it was computed from. A label never changes, so the same ones say the same again."""
MOST_KEPT = 16


def _newest(connection: Connection, project: Project) -> _Newest:
    """What the newest labels say, computed anew where a label came or went, or a gold item did."""
    known = _gold_values(connection, project)
    ids = connection.execute(_recent(project, "id")).scalars().all()
    key = hashlib.blake2b(repr((project, ids, sorted(known.items()))).encode(), digest_size=16).digest()
    found = _KEPT.get(key)
    if found is None:
        names = ("id", "person_id", "item_id", "value", "round", "seconds")
        found = _View(project, connection.execute(_recent(project, *names)).all(), known).told()
    _KEPT.pop(key, None)
    _KEPT[key] = found  # the one used last stands last
    for oldest in list(_KEPT)[:-MOST_KEPT]:
        _KEPT.pop(oldest, None)
    return found


class _View:
    """The newest labels of a project, by item."""

    def __init__(self, project: Project, labels: Sequence[Row[Any]], known: Mapping[str, Mapping[str, Any]]) -> None:
        self.project, self.labels, self.known = project, labels, known
        self.opinions = {each.id: opinion(project.kind, each.value) for each in labels}
        self.first: dict[str, dict[str, Row[Any]]] = defaultdict(dict)
        """By item and person, the label of the first time."""
        self.by_person: dict[str, list[Row[Any]]] = defaultdict(list)
        for label in labels:
            self.by_person[label.person_id].append(label)
            if label.round == 0:
                self.first[label.item_id][label.person_id] = label

    def told(self) -> _Newest:
        by_person = {person: self._told(mine, self._with_others(person)) for person, mine in self.by_person.items()}
        return _Newest(tuple(self._agreement()), self._told(self.labels, None), by_person)

    def _told(self, labels: Sequence[Row[Any]], with_others: Share | None) -> _Told:
        unsure = sum(self.opinions[each.id] is None for each in labels)
        return _Told(unsure, _median(labels), with_others, self._with_self(labels), self._gold(labels))

    def _agreement(self) -> list[Measure]:
        ordinary = {item: by for item, by in self.first.items() if item not in self.known and len(by) > 1}
        return measure(self.project.kind, {item: [each.value for each in by.values()] for item, by in ordinary.items()})

    def _with_others(self, person_id: str) -> Share | None:
        groups = []
        for label in self.by_person[person_id]:
            mine = self.opinions[label.id]
            if label.round == 0 and label.item_id not in self.known and mine is not None:
                others = [self.opinions[each.id] for who, each in self.first[label.item_id].items() if who != person_id]
                groups.append(_given(same_opinion(mine, each) for each in others if each is not None))
        return credit_share(groups)

    def _with_self(self, labels: Sequence[Row[Any]]) -> Share | None:
        again = [each for each in labels if each.round > 0 and each.item_id not in self.known]
        firsts = [(self.first[each.item_id].get(each.person_id), each) for each in again]
        return credit_share([_given([same(self.project.kind, a.value, b.value)]) for a, b in firsts if a is not None])

    def _gold(self, labels: Sequence[Row[Any]]) -> Share | None:
        tested = [each for each in labels if each.item_id in self.known]
        kind, attributes = self.project.kind, self.project.attributes
        return credit_share(
            [_given([right(kind, each.value, self.known[each.item_id], attributes)]) for each in tested]
        )


def _given(credits: Iterable[float | None]) -> list[float]:
    return [each for each in credits if each is not None]


def _median(labels: Sequence[Row[Any]]) -> float | None:
    seconds = [each.seconds for each in labels if each.seconds is not None]
    return median(seconds) if seconds else None


def _summed(many: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = defaultdict(int)
    for each in many:
        for version, number in each.items():
            total[version] += number
    return dict(sorted(total.items()))


_LABELS = schema.labels
# A rater's verdict came through the queue or from a file; what came neither way is a reviewer's decision. Said in the
# words of their indexes, with no parameter in it, or they are not found.
_COUNTED, _DECIDED = text(schema.RATERS), text(schema.DECISIONS)
_SKIPPED = literal("skipped", literal_execute=True)


def _recent(project: Project, *names: str) -> Select[Any]:
    query = select(*(_LABELS.c[name] for name in names)).where(_LABELS.c.project_id == project.id, _COUNTED)
    return query.order_by(_LABELS.c.id.desc()).limit(WINDOW)


def _counts(connection: Connection, project: Project) -> dict[str, dict[str, int]]:
    """Labels by person and version of the guidelines."""
    query = select(_LABELS.c.person_id, _LABELS.c.guideline_version, func.count())
    query = query.where(_LABELS.c.project_id == project.id, _COUNTED)
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for person_id, version, number in connection.execute(
        query.group_by(_LABELS.c.person_id, _LABELS.c.guideline_version)
    ):
        found[person_id]["" if version is None else str(version)] = number
    return found


def _skipped(connection: Connection, project: Project) -> dict[str, int]:
    table = schema.assignments
    query = select(table.c.person_id, func.count())
    query = query.where(table.c.project_id == project.id, table.c.state == _SKIPPED).group_by(table.c.person_id)
    return {row[0]: row[1] for row in connection.execute(query)}


def _items(connection: Connection, project: Project) -> tuple[dict[str, int], tuple[int, int]]:
    """(items by state, (labels wanted of all ordinary ones, those of them that are there)), from one look at them."""
    table = schema.items
    there = case((table.c.num_done > table.c.num_wanted, table.c.num_wanted), else_=table.c.num_done)
    query = select(
        table.c.state, table.c.is_gold, func.count().label("number"), func.sum(table.c.num_wanted).label("wanted"),
        func.sum(there).label("there"),
    ).where(table.c.project_id == project.id)  # fmt: skip
    found = connection.execute(query.group_by(table.c.state, table.c.is_gold)).all()
    ordinary = [row for row in found if row.state != "withdrawn" and not row.is_gold]
    wanted = sum(int(row.wanted) for row in ordinary), sum(int(row.there) for row in ordinary)
    return items.by_state((row.state, row.is_gold, row.number) for row in found), wanted


def _num_adjudicated(connection: Connection, project: Project) -> int:
    """Items on which a reviewer decided."""
    query = select(func.count(_LABELS.c.item_id.distinct())).where(_LABELS.c.project_id == project.id, _DECIDED)
    return connection.execute(query).scalar_one()


def _gold_values(connection: Connection, project: Project) -> dict[str, Mapping[str, Any]]:
    table = schema.items
    query = select(table.c.id, table.c.gold_value).where(table.c.project_id == project.id, table.c.is_gold == true())
    named = query.where(table.c.state.in_(("open", "done", "withdrawn")))  # all of them, but now an index finds them
    return {row.id: row.gold_value for row in connection.execute(named)}
