"""The page about one's own account: password, API tokens, shortcuts, light or dark, and leaving every browser.

Leaves out: what others see of oneself (`tutelage.studio.people`).
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from tutelage.studio.pages import Viewer, page

router = APIRouter()


@router.get("/account")
def account(viewer: Viewer) -> HTMLResponse:
    """One's own settings."""
    return page(viewer, "account.html")
