"""Errors of pages, told in the shell: not here, not allowed, gone wrong. The API keeps its JSON.

Leaves out: what an error is told as (`tutelage.api.problems`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tutelage.api.guards import SAFE_METHODS
from tutelage.api.problems import BROKEN, BUSY, log
from tutelage.errors import NotAllowedError, NotFoundError, TutelageError, UnavailableError
from tutelage.studio.pages import SignInNeededError, bare_page, page, viewer_of

Handler = Callable[[Request, Exception], Response | Awaitable[Response]]
TITLES = {403: "This is not for your role", 404: "There is nothing at this address", 503: "Not now"}
NOT_HERE = "The address may be mistyped, or what was here has another name now."


def register(app: FastAPI) -> None:
    """Let `app` tell errors of pages as pages."""
    for kind in (TutelageError, RequestValidationError, HTTPException, DBAPIError):
        known: Handler = app.exception_handlers[kind]
        app.add_exception_handler(kind, _for_pages(known))
    app.user_middleware.append(Middleware(_Unforeseen))  # inside all others, which look after its answer


def is_of_page(scope: Scope) -> bool:
    """Whether somebody asked to see a page."""
    outside = scope["path"].startswith(("/api", "/static"))
    return scope["type"] == "http" and scope["method"] in SAFE_METHODS and not outside


def _for_pages(known: Handler) -> Handler:
    def handle(request: Request, error: Exception) -> Response:
        if is_of_page(request.scope):
            return error_page(request, *_told(error))
        answer = known(request, error)
        assert isinstance(answer, Response)
        return answer

    return handle


def _told(error: Exception) -> tuple[int, str]:
    """The status, and what to say."""
    if isinstance(error, NotAllowedError):
        return 403, f"{error}. Whoever looks after this workspace can change your role."
    if isinstance(error, (NotFoundError, RequestValidationError)):
        return 404, NOT_HERE
    if isinstance(error, HTTPException):
        return error.status_code, NOT_HERE if error.status_code == 404 else str(error.detail)
    if isinstance(error, UnavailableError):
        log.error("%s", error)
        return 503, BUSY
    if isinstance(error, TutelageError):
        return 400, str(error)
    log.error("the database", exc_info=error)
    return 500, BROKEN


def error_page(request: Request, status: int, text: str) -> Response:
    """The page that tells it, in the shell for somebody who is signed in."""
    told: dict[str, Any] = {"title": TITLES.get(status, "Something went wrong"), "text": text, "code": status}
    try:
        viewer = viewer_of(request)
    except (SignInNeededError, TutelageError, DBAPIError):
        return bare_page("error.html", status=status, **told)
    return page(viewer, "error.html", status=status, **told)


class _Unforeseen:
    """Tells what nobody foresaw as a page, too; its traceback goes to the log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_of_page(scope):
            await self.app(scope, receive, send)
            return
        started = False

        async def noticed(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, noticed)
        except Exception:  # the last guard: whatever broke, the person is told, and the log has it
            if started:
                raise
            log.exception("%s %s", scope["method"], scope["path"])
            answer = await run_in_threadpool(error_page, Request(scope), 500, BROKEN)
            await answer(scope, receive, send)
