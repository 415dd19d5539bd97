"""Pages about training runs: the list, the form that starts one, one run as it goes on, and what warnings mean.

Leaves out: runs themselves, which the API knows (`tutelage.api.runs`).
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from tutelage.api.wire_runs import RunName
from tutelage.errors import NotFoundError
from tutelage.runs.look import find
from tutelage.store.people import require
from tutelage.studio.pages import View, Viewer, page

router = APIRouter()


def _for_reviewers(viewer: View, template: str, **context: Any) -> HTMLResponse:
    require(viewer.person, "reviewer")
    return page(viewer, template, **context)


@router.get("/runs")
def runs(viewer: Viewer) -> HTMLResponse:
    """Every run, and the curves of some beside each other."""
    return _for_reviewers(viewer, "runs.html")


@router.get("/runs/new")
def new_run(viewer: Viewer) -> HTMLResponse:
    """The form that starts a run."""
    return _for_reviewers(viewer, "run_new.html")


@router.get("/runs/warnings")
def warnings(viewer: Viewer) -> HTMLResponse:
    """What the warnings of a run mean and what to do."""
    return _for_reviewers(viewer, "run_warnings.html")


@router.get("/runs/{run}")
def run(run: RunName, viewer: Viewer) -> HTMLResponse:
    """One run."""
    require(viewer.person, "reviewer")
    try:
        find(viewer.store.workspace, run)
    except NotFoundError:
        return page(viewer, "run_missing.html", status=404, run=run)
    return page(viewer, "run.html", run=run)
