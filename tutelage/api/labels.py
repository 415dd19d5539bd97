"""Labels: one's own read back, corrected, given outside the queue; those of an item; a reviewer's decision.

A rater sees others' verdicts on an item only after giving their own, and never whose they are.

Leaves out: tasks (`tutelage.api.queue`), and counts of labels (`tutelage.api.progress`).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from tutelage.api.caller import Rater, Record, Reviewer
from tutelage.api.paging import page_of
from tutelage.api.wire import After, IdPath, Limit, Page, messages_of
from tutelage.api.wire_projects import FreeVerdict, Submitted, Verdict
from tutelage.errors import NotAllowedError
from tutelage.feedback import label_pages, projects, seen, submit
from tutelage.feedback.items import NewAnswer
from tutelage.feedback.label_pages import ListedLabel
from tutelage.feedback.seen import SeenLabel
from tutelage.store.people import person_by_id

router = APIRouter(prefix="/api", tags=["labels"])
ProjectName = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
RaterId = Annotated[str | None, Query(pattern="^[0-9a-f]{32}$", description="Only this person's labels.")]


@router.get("/labels")
def list_labels(
    person: Rater,
    store: Record,
    project: ProjectName = None,
    rater: RaterId = None,
    after: After = "",
    limit: Limit = 100,
) -> Page[ListedLabel]:
    """Labels by id, those corrected since among them: a rater's own, everybody's for reviewers."""
    with store.read() as connection:
        of = projects.get(connection, project) if project else None
        by = person_by_id(connection, rater) if rater and person.role != "rater" else None
        if rater and by is None and rater != person.id:
            raise NotAllowedError("a rater reads their own labels; a reviewer reads everybody's")
        return page_of(label_pages.listing(connection, person, of, by, after=after, limit=limit), limit)


@router.get("/items/{item_id}/labels")
def labels_of_item(item_id: IdPath, person: Rater, store: Record) -> list[SeenLabel]:
    """The labels of an item: for reviewers, and for a rater who has submitted theirs."""
    with store.read() as connection:
        return seen.labels_of_item(connection, person, item_id)


@router.post("/items/{item_id}/decision", status_code=201)
def decide_item(item_id: IdPath, body: Verdict, person: Reviewer, store: Record) -> Submitted:
    """A reviewer's decision on an item that raters have judged; the verdict names answers by id."""
    label_id = store.run(
        lambda connection: submit.adjudicate(
            connection, person, item_id, body.request_key, body.verdict, body.reasons, body.critique, body.rewrite,
            body.seconds,
        )
    )  # fmt: skip
    return Submitted(label_id=label_id)


@router.post("/labels", status_code=201)
def give_free_label(body: FreeVerdict, person: Rater, store: Record) -> Submitted:
    """A verdict outside the queue, such as a thumb in a chat."""
    answers = [NewAnswer(each.text, each.model, each.sampling) for each in body.answers]
    label_id = store.run(
        lambda connection: submit.free_label(
            connection, person, body.request_key, body.kind, messages_of(body.messages), answers, body.verdict,
            body.reasons, body.critique, body.rewrite, body.seconds, source=body.source, meta=body.meta,
        )
    )  # fmt: skip
    return Submitted(label_id=label_id)


@router.post("/labels/{label_id}/correct", status_code=201)
def correct_label(label_id: IdPath, body: Verdict, person: Rater, store: Record) -> Submitted:
    """A new label in the place of one's own; the old one stays in the record."""
    new_id = store.run(
        lambda connection: submit.correct(
            connection, person, label_id, body.request_key, body.verdict, body.reasons, body.critique, body.rewrite,
            body.seconds,
        )
    )  # fmt: skip
    return Submitted(label_id=new_id)
