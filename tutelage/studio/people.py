"""Pages about people: who is here, one's own work, everybody's progress, guidelines, and what was done to accounts.

Leaves out: accounts themselves (`tutelage.api.people`), and one's own settings (`tutelage.studio.account`).
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from tutelage.api.wire import IdPath
from tutelage.store.people import ROLES, person_by_id, require
from tutelage.studio.pages import Entry, View, Viewer, page

router = APIRouter()
TABS = (
    Entry("/people", "Who is here", "rater"),
    Entry("/people/mine", "My work", "rater"),
    Entry("/people/guidelines", "Guidelines", "rater"),
    Entry("/people/progress", "Progress", "reviewer"),
    Entry("/people/log", "Log", "admin"),
)
MEANINGS = {
    "rater": "writes pairs and judges answers",
    "reviewer": "also reviews pairs, makes projects and datasets, and trains",
    "admin": "also invites people and looks after accounts",
}
"""What each role may do; each may do all that those before it may."""


def _page(viewer: View, template: str, tab: str, **context: Any) -> HTMLResponse:
    rank = ROLES.index(viewer.person.role)
    tabs = [each for each in TABS if ROLES.index(each.role) <= rank]
    return page(viewer, template, tabs=tabs, tab=tab, meanings=MEANINGS, **context)


@router.get("/people")
def people(viewer: Viewer) -> HTMLResponse:
    """Who is here; for admins also invitations."""
    return _page(viewer, "people.html", "/people")


@router.get("/people/mine")
def mine(viewer: Viewer) -> HTMLResponse:
    """One's own work, and what it did."""
    return _page(viewer, "people_mine.html", "/people/mine")


@router.get("/people/guidelines")
def guidelines(viewer: Viewer) -> HTMLResponse:
    """Guidelines with their versions."""
    return _page(viewer, "people_guidelines.html", "/people/guidelines")


@router.get("/people/progress")
def progress(viewer: Viewer) -> HTMLResponse:
    """Progress by project and rater; for reviewers."""
    require(viewer.person, "reviewer")
    return _page(viewer, "people_progress.html", "/people/progress")


@router.get("/people/log")
def log(viewer: Viewer) -> HTMLResponse:
    """What was done to accounts, data and projects; for admins."""
    require(viewer.person, "admin")
    return _page(viewer, "people_log.html", "/people/log")


@router.get("/people/{person_id}")
def one(person_id: IdPath, viewer: Viewer) -> HTMLResponse:
    """One account: role, password, use, and taking the person's work out; for admins."""
    require(viewer.person, "admin")
    with viewer.store.read() as connection:
        them = person_by_id(connection, person_id)
    return _page(viewer, "people_one.html", "/people", them=them, roles=ROLES)
