"""The application with its pages: the API, the pages' routers, and the files that browsers load.

Leaves out: what a page shows (one module a page) and the API (`tutelage.api`).
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from tutelage.api.app import create_app
from tutelage.api.guards import LOCAL_HOSTS
from tutelage.store.database import Store
from tutelage.studio import errors
from tutelage.studio.pages import SignInNeededError, to_sign_in

STATIC = Path(__file__).with_name("static")
PAGES = ("entrance", "home", "people", "account", "judge", "runs", "models", "write", "review", "chat")
"""Modules of this room that have a `router`."""


def create_studio(store: Store, hosts: Collection[str] | None = LOCAL_HOSTS) -> FastAPI:
    """The API and the pages over this record; `hosts` as of `create_app`."""
    app = create_app(store, hosts)
    for name in PAGES:
        app.include_router(import_module(f"tutelage.studio.{name}").router, include_in_schema=False)
    app.add_exception_handler(SignInNeededError, to_sign_in)
    errors.register(app)
    # Files alone are compressed: the length of a page must not tell what secret stands in it beside others' words.
    app.mount("/static", GZipMiddleware(_Files(directory=STATIC), minimum_size=1000), name="static")
    return app


class _Files(StaticFiles):
    """Files that a browser asks about each time, and is told "not modified": an update is seen at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response
