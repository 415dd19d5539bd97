"""The work itself: the next task, a verdict on it, giving it back, more time, and what was entered so far.

`submit-next` is one request and one write. A verdict's `request_key` makes it safe to send again.

Leaves out: who gets what (`tutelage.feedback.queue`), and reading labels back (`tutelage.api.labels`).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from tutelage.api.caller import Rater, Record
from tutelage.api.wire import Done, IdPath, NamePath
from tutelage.api.wire_projects import Draft, Lease, NextTask, Shown, Skip, Submitted, SubmittedNext, Verdict
from tutelage.evaluate.markdown import render_markdown
from tutelage.feedback import projects, queue, submit
from tutelage.feedback.queue import Task
from tutelage.store.ids import now_ms

router = APIRouter(prefix="/api", tags=["queue"])
Rendered = Annotated[bool, Query(description="Whether to give the texts as safe HTML, too, which spares a request.")]


@router.post("/projects/{project}/next")
def next_task(project: NamePath, person: Rater, store: Record, rendered: Rendered = False) -> NextTask:
    """The task one holds, or a new one under a lease."""
    task = store.run(lambda connection: queue.next_item(connection, person, projects.get(connection, project)))
    return NextTask(task=task, shown=_shown(task) if rendered else None)


def _shown(task: Task | None) -> Shown | None:
    if task is None:
        return None
    return Shown(
        messages=[str(render_markdown(each.content)) for each in task.messages],
        answers=[str(render_markdown(text)) for _, text in task.answers],
        now_ms=now_ms(),
    )


@router.get("/tasks/{task_id}")
def get_task(task_id: IdPath, person: Rater, store: Record) -> Task:
    """A task of one's own as it was shown, with its draft."""
    return store.run(lambda connection: queue.task_of(connection, person, task_id))


@router.post("/tasks/{task_id}/submit")
def submit_task(task_id: IdPath, body: Verdict, person: Rater, store: Record) -> Submitted:
    """Write down a verdict; the same request again gives the same label."""
    label_id = store.run(
        lambda connection: submit.submit(
            connection, person, task_id, body.request_key, body.verdict, body.reasons, body.critique, body.rewrite,
            body.seconds,
        )
    )  # fmt: skip
    return Submitted(label_id=label_id)


@router.post("/tasks/{task_id}/submit-next")
def submit_next(
    task_id: IdPath, body: Verdict, person: Rater, store: Record, rendered: Rendered = False
) -> SubmittedNext:
    """Write down a verdict and get the next task of the project, both or neither."""
    label_id, task = store.run(
        lambda connection: submit.submit_next(
            connection, person, task_id, body.request_key, body.verdict, body.reasons, body.critique, body.rewrite,
            body.seconds,
        )
    )  # fmt: skip
    return SubmittedNext(label_id=label_id, task=task, shown=_shown(task) if rendered else None)


@router.post("/tasks/{task_id}/skip")
def skip_task(task_id: IdPath, body: Skip, person: Rater, store: Record) -> Done:
    """Give a task back: others get it, this person does not any more."""
    store.run(lambda connection: queue.skip(connection, person, task_id, body.reason))
    return Done()


@router.post("/tasks/{task_id}/renew")
def renew_task(task_id: IdPath, person: Rater, store: Record) -> Lease:
    """Begin the lease anew."""
    return Lease(expires_ms=store.run(lambda connection: queue.renew(connection, person, task_id)))


@router.put("/tasks/{task_id}/draft")
def save_draft(task_id: IdPath, body: Draft, person: Rater, store: Record) -> Done:
    """Keep what was entered so far."""
    store.run(lambda connection: queue.save_draft(connection, person, task_id, body.draft))
    return Done()
