"""Pages for reviewing: the queue of pairs that wait for it, and the datasets that accepted ones become.

Leaves out: the rules of reviewing (`tutelage.store.pairs`) and what a snapshot holds (`tutelage.store.datasets`).
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from tutelage.store.people import require
from tutelage.studio.pages import Viewer
from tutelage.studio.write import for_writers

router = APIRouter()


@router.get("/review")
def review(viewer: Viewer) -> HTMLResponse:
    """The queue, the oldest first."""
    require(viewer.person, "reviewer")
    return for_writers(viewer, "review.html")


@router.get("/review/datasets")
def datasets(viewer: Viewer) -> HTMLResponse:
    """Datasets, their snapshots, and what differs between two."""
    require(viewer.person, "reviewer")
    return for_writers(viewer, "review_datasets.html")
