"""How a project goes: what is done, what is left, and how far raters agree with each other, themselves and gold items.

A reviewer sees every rater's line, a rater their own. Nothing here ranks or excludes anybody: a person decides about a
rater, never a threshold. Agreement is that of the newest `WINDOW` labels; counts are of all. Adjudications are counted
apart and agree with nobody. Leaves out: who may see which label (`tutelage.feedback.seen`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import Connection, Row, case, false, func, select, true

from tutelage.feedback import items
from tutelage.feedback.measures import Measure, is_opinion, measure, right, same
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
    recent, counts = _recent(connection, project), _counts(connection, project)
    skipped, wanted = _skipped(connection, project), _wanted(connection, project)
    names = {each.id: each.name for each in people.everyone(connection)}
    known = _gold_values(connection, project)
    shown = sorted({*counts, *skipped} if only is None else {only}, key=lambda each: names[each])
    view, num_items = _View(project, recent, known), items.num_by_state(connection, project)
    if only is not None:
        num_items = {state: num_items[state] for state in ("open", "done")}
    return Progress(
        project.name, project.state, num_items, *wanted,
        num_labels=sum(sum(each.values()) for each in counts.values()), num_skipped=sum(skipped.values()),
        num_adjudicated=_num_adjudicated(connection, project), median_seconds=_median(recent),
        agreement=tuple(view.agreement()), with_self=view.with_self(recent), gold=view.gold(recent),
        by_guideline=_summed(counts.values()),
        raters=tuple(view.line(each, names[each], counts.get(each, {}), skipped.get(each, 0)) for each in shown),
    )  # fmt: skip


class _View:
    """The newest labels of a project, by item."""

    def __init__(self, project: Project, labels: Sequence[Row[Any]], known: Mapping[str, Mapping[str, Any]]) -> None:
        self.project, self.labels, self.known = project, labels, known
        self.first: dict[str, dict[str, Row[Any]]] = defaultdict(dict)
        """By item and person, the label of the first time."""
        self.by_person: dict[str, list[Row[Any]]] = defaultdict(list)
        for label in labels:
            self.by_person[label.person_id].append(label)
            if label.round == 0:
                self.first[label.item_id][label.person_id] = label

    def agreement(self) -> list[Measure]:
        ordinary = {item: by for item, by in self.first.items() if item not in self.known and len(by) > 1}
        return measure(self.project.kind, {item: [each.value for each in by.values()] for item, by in ordinary.items()})

    def with_others(self, person_id: str) -> Share | None:
        groups = []
        for mine in self.by_person[person_id]:
            if mine.round == 0 and mine.item_id not in self.known:
                others = [each for who, each in self.first[mine.item_id].items() if who != person_id]
                groups.append(_given(same(self.project.kind, mine.value, each.value) for each in others))
        return credit_share(groups)

    def with_self(self, labels: Sequence[Row[Any]]) -> Share | None:
        again = [each for each in labels if each.round > 0 and each.item_id not in self.known]
        firsts = [(self.first[each.item_id].get(each.person_id), each) for each in again]
        return credit_share([_given([same(self.project.kind, a.value, b.value)]) for a, b in firsts if a is not None])

    def gold(self, labels: Sequence[Row[Any]]) -> Share | None:
        tested = [each for each in labels if each.item_id in self.known]
        kind, attributes = self.project.kind, self.project.attributes
        return credit_share(
            [_given([right(kind, each.value, self.known[each.item_id], attributes)]) for each in tested]
        )

    def line(self, person_id: str, name: str, by_guideline: Mapping[str, int], num_skipped: int) -> RaterLine:
        mine = self.by_person[person_id]
        return RaterLine(
            person_id, name, sum(by_guideline.values()), num_skipped,
            sum(not is_opinion(each.value) for each in mine), _median(mine), self.with_others(person_id),
            self.with_self(mine), self.gold(mine), dict(sorted(by_guideline.items())),
        )  # fmt: skip


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
_STANDS = _LABELS.c.superseded_ms.is_(None) & _LABELS.c.withdrawn_ms.is_(None)
# A rater's verdict came through the queue or from a file; what came neither way is a reviewer's decision.
_COUNTED = (_LABELS.c.assignment_id.is_not(None) | (_LABELS.c.source != "")) & _STANDS


def _recent(connection: Connection, project: Project) -> Sequence[Row[Any]]:
    names = ("id", "person_id", "item_id", "value", "round", "seconds")
    query = select(*(_LABELS.c[name] for name in names)).where(_LABELS.c.project_id == project.id, _COUNTED)
    return connection.execute(query.order_by(_LABELS.c.id.desc()).limit(WINDOW)).all()


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
    query = query.where(table.c.project_id == project.id, table.c.state == "skipped").group_by(table.c.person_id)
    return {row[0]: row[1] for row in connection.execute(query)}


def _wanted(connection: Connection, project: Project) -> tuple[int, int]:
    """(labels wanted, those of them that are there)."""
    table = schema.items
    there = func.sum(case((table.c.num_done > table.c.num_wanted, table.c.num_wanted), else_=table.c.num_done))
    query = select(func.coalesce(func.sum(table.c.num_wanted), 0), func.coalesce(there, 0))
    ordinary = (table.c.project_id == project.id) & (table.c.state != "withdrawn") & (table.c.is_gold == false())
    wanted, done = connection.execute(query.where(ordinary)).one()
    return int(wanted), int(done)


def _num_adjudicated(connection: Connection, project: Project) -> int:
    """Items on which a reviewer decided."""
    decided = _LABELS.c.assignment_id.is_(None) & (_LABELS.c.source == "") & _STANDS
    query = select(func.count(_LABELS.c.item_id.distinct())).where(_LABELS.c.project_id == project.id, decided)
    return connection.execute(query).scalar_one()


def _gold_values(connection: Connection, project: Project) -> dict[str, Mapping[str, Any]]:
    table = schema.items
    query = select(table.c.id, table.c.gold_value).where(table.c.project_id == project.id, table.c.is_gold == true())
    return {row.id: row.gold_value for row in connection.execute(query)}
