"""What a person who judges looks at besides tasks: what waits for them, their own labels, and what those became.

For reviewers also the items on which raters disagree.

Leaves out: tasks (`tutelage.api.queue`), and verdicts (`tutelage.api.labels`).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from tutelage.api.caller import Rater, Record, Reviewer
from tutelage.api.lineage import Uses, told_uses
from tutelage.api.paging import page_of
from tutelage.api.projects import AfterName
from tutelage.api.wire import After, IdPath, NamePath, Page
from tutelage.feedback import disagreements, own, projects, work
from tutelage.feedback.disagreements import Disputed
from tutelage.feedback.own import GivenLabel
from tutelage.feedback.work import Work
from tutelage.store import lineage

router = APIRouter(prefix="/api", tags=["work"])
Since = Annotated[int, Query(ge=0, le=2**53, description="Milliseconds since 1970: `num_since` counts from there.")]
FewAtOnce = Annotated[int, Query(ge=1, le=100, description="At most so many records.")]


class WroteAnswer(BaseModel):
    """Which model wrote an answer; empty where a person did, or nobody knows."""

    answer_id: str
    model: str


class OwnUses(BaseModel):
    """What one's own labels and pairs went into."""

    num_labels: int
    """Labels of one's own in snapshots, each once however many hold it."""
    labels: Uses
    num_pairs: int
    pairs: Uses


@router.get("/work")
def list_work(
    person: Rater, store: Record, since_ms: Since = 0, after: AfterName = "", limit: FewAtOnce = 100
) -> Page[Work]:
    """Projects by name, with what waits there for oneself and how much one has done."""
    with store.read() as connection:
        found = work.work_in_all(connection, person, since_ms, after=after, limit=limit)
        return page_of(found, limit, key="project")


@router.get("/projects/{project}/work")
def get_work(project: NamePath, person: Rater, store: Record, since_ms: Since = 0) -> Work:
    """What waits in a project for oneself, and how much one has done."""
    with store.read() as connection:
        return work.work_of(connection, person, projects.get(connection, project), since_ms)


@router.get("/projects/{project}/mine")
def list_own_labels(
    project: NamePath, person: Rater, store: Record, after: After = "", limit: FewAtOnce = 20
) -> Page[GivenLabel]:
    """One's own labels of a project, the newest first, with what was shown."""
    with store.read() as connection:
        there = projects.get(connection, project)
        return page_of(own.newest_first(connection, person, there, before=after, limit=limit), limit)


@router.get("/labels/{label_id}")
def get_own_label(label_id: IdPath, person: Rater, store: Record) -> GivenLabel:
    """A label of one's own with what was shown."""
    with store.read() as connection:
        return own.given(connection, person, label_id)


@router.post("/labels/{label_id}/reveal")
def reveal_label(label_id: IdPath, person: Rater, store: Record) -> list[WroteAnswer]:
    """Which models wrote the answers that one has judged; a correction says afterwards that one knew."""
    found = store.run(lambda connection: own.reveal(connection, person, label_id))
    return [WroteAnswer(**each._asdict()) for each in found]


@router.get("/uses")
def get_own_uses(person: Rater, store: Record) -> OwnUses:
    """The snapshots and models that one's own labels and pairs went into."""
    with store.read() as connection:
        labels = lineage.forward_of_person(connection, person.id, "labels")
        pairs = lineage.forward_of_person(connection, person.id, "pairs")
        return OwnUses(
            num_labels=labels[1], labels=told_uses(labels[0]), num_pairs=pairs[1], pairs=told_uses(pairs[0])
        )  # fmt: skip


@router.get("/projects/{project}/disagreements")
def list_disagreements(
    project: NamePath, person: Reviewer, store: Record, after: After = "", limit: FewAtOnce = 20
) -> Page[Disputed]:
    """Items on which raters disagree and nobody has decided yet, with both verdicts."""
    with store.read() as connection:
        there = projects.get(connection, project)
        found, looked_to = disagreements.disagreements(connection, person, there, after=after, limit=limit)
        return Page(records=found, next=looked_to or None)


class Counted(BaseModel):
    """How many there are, as far as was counted."""

    number: int
    has_more: bool


@router.get("/projects/{project}/disagreements/count")
def count_disagreements(project: NamePath, person: Reviewer, store: Record, most: FewAtOnce = 20) -> Counted:
    """On how many items raters disagree, without their texts; counted as far as `most`."""
    with store.read() as connection:
        found = disagreements.count(connection, person, projects.get(connection, project), most=most + 1)
    return Counted(number=min(found, most), has_more=found > most)
