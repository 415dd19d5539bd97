"""The application: every router behind the guards, one OpenAPI document, and a page that lists it.

`create_app(store)` is all a server needs. Nothing is asked of any other machine: the page at `/docs` is made here.

Leaves out: sockets and processes (`tutelage.workspace.server`).
"""

from __future__ import annotations

from collections.abc import Collection

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from tutelage import __version__
from tutelage.api import (
    chat,
    datasets,
    files,
    home,
    labels,
    lineage,
    listing,
    methods,
    models,
    pairs,
    people,
    problems,
    progress,
    projects,
    queue,
    render,
    run_events,
    runs,
    sampling,
    selection,
    session,
    work,
    writing,
)
from tutelage.api.caller import Record
from tutelage.api.guards import LOCAL_HOSTS, Guard
from tutelage.api.streams import Streams, lifespan
from tutelage.api.uploads import MAX_UPLOAD_BYTES
from tutelage.store import idempotency
from tutelage.store.database import Store
from tutelage.store.secret import secret

ROUTERS: tuple[APIRouter, ...] = (
    session.router, people.router, pairs.router, datasets.router, projects.router, projects.files, queue.router,
    labels.router, selection.router, progress.router, lineage.router, files.router, render.router, writing.router,
    work.router, home.router, models.router, methods.router, runs.router, run_events.router, chat.router,
    sampling.router,
)  # fmt: skip
health = APIRouter(tags=["health"])


def create_app(store: Store, hosts: Collection[str] | None = LOCAL_HOSTS) -> FastAPI:
    """The API over this record. `hosts` are the names it answers to; None = any, for a server that others reach."""
    app = FastAPI(
        title="Tutelage", version=__version__, summary="People, pairs, verdicts, and where every model came from.",
        docs_url=None, redoc_url=None, openapi_url="/api/openapi.json", generate_unique_id_function=_operation,
        redirect_slashes=False, lifespan=lifespan,
    )  # fmt: skip
    with store.write() as connection:
        app.state.key = secret(connection)
        idempotency.forget_old(connection)
    app.state.store, app.state.streams = store, Streams()
    for router in (*ROUTERS, health, listing.router):
        app.include_router(router)
    problems.register(app)
    app.add_middleware(Guard, hosts=hosts, larger=LARGER)
    return app


LARGER = {"/api/imports": MAX_UPLOAD_BYTES, "/api/items": MAX_UPLOAD_BYTES, "/api/prompt-files": 64 * 1024 * 1024}
"""Addresses that take files, and how many bytes of them."""


def _operation(route: APIRoute) -> str:
    return route.name


@health.get("/api/health")
def is_healthy(store: Record) -> dict[str, str]:
    """Whether the server and its database answer."""
    with store.read() as connection:
        connection.exec_driver_sql("SELECT 1")
    return {"status": "ok", "version": __version__}
