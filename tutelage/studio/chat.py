"""The chat: any model of the workspace, or two side by side, and verdicts on what they answer.

Leaves out: the answers and what becomes of verdicts (`tutelage.api.chat`); conversations are kept by the browser.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from tutelage.studio.pages import Viewer, page

router = APIRouter()


@router.get("/chat")
async def chat(viewer: Viewer) -> HTMLResponse:
    """The chat."""
    return page(viewer, "chat.html")
