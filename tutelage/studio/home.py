"""The first page: the loop with its counts, what waits for you, and the one next step that would help most."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from tutelage.studio.pages import Viewer, page

router = APIRouter()


@router.get("/")
def home(viewer: Viewer) -> HTMLResponse:
    """The first page."""
    return page(viewer, "home.html")
