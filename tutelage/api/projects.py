"""Labelling projects: made, opened and closed, their guidelines and their items.

Raters see projects without the models and the share of gold items, and no items but those they are given.

Leaves out: working on items (`tutelage.api.queue`) and what comes of it (`tutelage.api.progress`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from sqlalchemy import Connection

from tutelage.api.caller import Rater, Record, Reviewer
from tutelage.api.paging import page_of
from tutelage.api.uploads import BODY, Received
from tutelage.api.wire import After, Done, IdempotencyKey, IdPath, Limit, Name, NamePath, Page, messages_of
from tutelage.api.wire_projects import (
    AddedItems,
    AddItems,
    GuidelineVersion,
    ItemToAdd,
    MakeGold,
    NewGuideline,
    NewProject,
    SetState,
)
from tutelage.errors import DataError
from tutelage.feedback import item_files, items, projects
from tutelage.feedback.items import Item, NewAnswer, NewItem
from tutelage.feedback.projects import Project
from tutelage.store.idempotency import once
from tutelage.store.people import Person, everyone

router = APIRouter(prefix="/api/projects", tags=["projects"])
files = APIRouter(prefix="/api", tags=["projects"])
AfterName = Annotated[str, Query(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$", description="Only names after it.")]
Version = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.get("")
def list_projects(person: Rater, store: Record, after: AfterName = "", limit: Limit = 100) -> Page[Project]:
    """Projects by name."""
    with store.read() as connection:
        found = projects.listing(connection, after=after, limit=limit)
        return page_of([projects.seen_by(each, person) for each in found], limit, key="name")


@router.post("", status_code=201)
def create_project(
    body: NewProject, person: Reviewer, store: Record, idempotency_key: IdempotencyKey = None
) -> Project:
    """A new labelling project."""

    def work(connection: Connection) -> Project:
        asked = {"create_project": body.model_dump(mode="json")}
        name = once(connection, person, idempotency_key, asked, lambda: _create(connection, person, body))
        return projects.get(connection, name)

    return store.run(work)


def _create(connection: Connection, person: Person, body: NewProject) -> str:
    facts = body.model_dump(mode="json")
    return projects.create(connection, person, **facts).name


@router.get("/{project}")
def get_project(project: NamePath, person: Rater, store: Record) -> Project:
    """One project, by name or id."""
    with store.read() as connection:
        return projects.seen_by(projects.get(connection, project), person)


@router.put("/{project}/state")
def set_project_state(project: NamePath, body: SetState, person: Reviewer, store: Record) -> Project:
    """Open, pause or close a project."""
    return store.run(
        lambda connection: projects.set_state(connection, person, projects.get(connection, project), body.state)
    )


@router.get("/{project}/guidelines")
def list_guidelines(project: NamePath, person: Rater, store: Record) -> list[GuidelineVersion]:
    """Every version of the guidelines, the newest first."""
    with store.read() as connection:
        found = projects.guidelines(connection, projects.get(connection, project))
        return [GuidelineVersion(**each._asdict()) for each in found]


@router.get("/{project}/guidelines/{version}")
def get_guideline(project: NamePath, version: Version, person: Rater, store: Record) -> GuidelineVersion:
    """One version of the guidelines."""
    with store.read() as connection:
        found = projects.guideline(connection, projects.get(connection, project), version)
        assert found is not None
        return GuidelineVersion(**found._asdict())


@router.post("/{project}/guidelines", status_code=201)
def add_guideline(project: NamePath, body: NewGuideline, person: Reviewer, store: Record) -> GuidelineVersion:
    """A new version of the guidelines; the newest one's text again is that one."""

    def work(connection: Connection) -> GuidelineVersion:
        there = projects.get(connection, project)
        version = projects.add_guideline(connection, person, there, body.text, body.note)
        found = projects.guideline(connection, there, version)
        assert found is not None
        return GuidelineVersion(**found._asdict())

    return store.run(work)


@router.get("/{project}/items")
def list_items(
    project: NamePath,
    person: Reviewer,
    store: Record,
    state: Literal["open", "done", "withdrawn"] | None = None,
    after: After = "",
    limit: Limit = 100,
) -> Page[Item]:
    """Items by id, with their models and gold verdicts."""
    with store.read() as connection:
        there = projects.get(connection, project)
        return page_of(items.listing(connection, person, there, state=state or "", after=after, limit=limit), limit)


@router.get("/{project}/items/counts")
def count_items(project: NamePath, person: Reviewer, store: Record) -> dict[str, int]:
    """How many items are open, done, withdrawn and gold."""
    with store.read() as connection:
        return items.num_by_state(connection, projects.get(connection, project))


@router.post("/{project}/items", status_code=201)
def add_items(
    project: NamePath, body: AddItems, person: Reviewer, store: Record, idempotency_key: IdempotencyKey = None
) -> AddedItems:
    """Add items, up to 500 at once; all of them or none. What is there already stays as it is."""

    def work(connection: Connection) -> dict[str, Any]:
        there = projects.get(connection, project)
        plain = items.add_items(connection, person, there, [_item(each) for each in body.items if each.gold is None])
        gold = [
            items.add_gold(connection, person, there, _item(each), each.gold)
            for each in body.items
            if each.gold is not None
        ]
        return {"ids": [*plain.ids, *gold], "num_there": plain.num_there, "num_equal": plain.num_equal}

    asked = {"add_items": project, **body.model_dump(mode="json")}
    return AddedItems(
        **store.run(lambda connection: once(connection, person, idempotency_key, asked, lambda: work(connection)))
    )


def _item(asked: ItemToAdd) -> NewItem:
    answers = [NewAnswer(each.text, each.model, each.sampling) for each in asked.answers]
    return NewItem(
        messages_of(asked.messages), answers, reference=asked.reference, meta=asked.meta, priority=asked.priority
    )


@files.post("/items", status_code=201, openapi_extra=BODY)
def add_items_of_file(
    upload: Received, project: Annotated[Name, Query()], person: Reviewer, store: Record
) -> AddedItems:
    """Add the items of the file in the body; all of them or none. What is there already stays as it is."""
    with store.read() as connection:
        there = projects.get(connection, project)
        names = {each.name: each.id for each in everyone(connection)}
    try:
        found = item_files.read_items(upload.path, there, names)
    except DataError as error:  # by the name that its sender knows
        raise DataError(error.problem, file=upload.name, line=error.line, field=error.field) from error
    return AddedItems(**store.run(lambda connection: items.add_items(connection, person, there, found))._asdict())


@router.put("/{project}/items/{item_id}/gold")
def make_gold(project: NamePath, item_id: IdPath, body: MakeGold, person: Reviewer, store: Record) -> Done:
    """Make an item that nobody was given yet a gold item."""
    store.run(
        lambda connection: items.add_gold(connection, person, projects.get(connection, project), item_id, body.value)
    )
    return Done()


@router.post("/{project}/items/{item_id}/withdraw")
def withdraw_item(project: NamePath, item_id: IdPath, person: Reviewer, store: Record) -> Done:
    """Hand an item out no more; its labels stay."""
    store.run(lambda connection: items.withdraw(connection, person, projects.get(connection, project), item_id))
    return Done()
