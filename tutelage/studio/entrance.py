"""Signing in, and accepting an invitation.

The invitation's token stands after the `#` of the link, which browsers send to nobody. Leaves out: what the forms do,
which is the API's work (`tutelage.api.session`).
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from tutelage.studio.pages import bare_page

router = APIRouter()


@router.get("/sign-in")
async def sign_in(request: Request) -> HTMLResponse:
    """The sign-in page; whoever was on their way somewhere comes back there."""
    return bare_page("sign_in.html", is_on_the_way=request.query_params.get("next", "/") != "/")


@router.get("/join")
async def join() -> HTMLResponse:
    """The page that an invitation's link opens."""
    return bare_page("join.html")
