"""Pages about models: the list with its leaderboard, one model, and the report that an evaluation wrote.

A report is a page of our own making, but it stands in a file and is full of what models said. It is served into a
sandbox: its script may run only where it is the one that the page itself names by its hash, and it reaches neither the
studio's cookies nor its API.

Leaves out: what the pages show, which their scripts ask of the API (`tutelage.api.models`).
"""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse

from tutelage.api.wire_models import EvaluationName, ModelName
from tutelage.errors import NotFoundError
from tutelage.runs import evaluations, shelf
from tutelage.store.people import require
from tutelage.studio.pages import Viewer, page

router = APIRouter()
_HASHES = re.compile(rb"style-src '(sha256-[A-Za-z0-9+/]{43}=)'; script-src '(sha256-[A-Za-z0-9+/]{43}=)'")
_HEAD_BYTES = 4096
_NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@router.get("/models")
def models(viewer: Viewer) -> HTMLResponse:
    """Every model, and who answers better."""
    return page(viewer, "models.html", insider=viewer.person.role != "rater")


@router.get("/models/{model}")
def model(model: ModelName, viewer: Viewer) -> HTMLResponse:
    """One model."""
    try:
        with viewer.store.read() as connection:
            shelf.model(connection, viewer.store.workspace, model)
    except NotFoundError:
        return page(viewer, "model_missing.html", status=404, model=model)
    return page(viewer, "model.html", model=model, insider=viewer.person.role != "rater")


@router.get("/reports/{evaluation}", response_model=None)
def report(evaluation: EvaluationName, viewer: Viewer) -> FileResponse | HTMLResponse:
    """The page that an evaluation wrote, in a sandbox."""
    require(viewer.person, "reviewer")
    path = evaluations.EvaluationFiles(viewer.store.workspace, evaluation).page
    if not path.is_file() or path.is_symlink():
        return page(viewer, "report_missing.html", status=404, evaluation=evaluation)
    headers = {
        "Content-Security-Policy": _policy(path), "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "unsafe-none",  # browsers refuse a sandbox beside any other
    }  # fmt: skip
    return FileResponse(path, media_type="text/html; charset=utf-8", headers=headers)


def _policy(path: Path) -> str:
    """What the page may do: its own style and script by their hashes, or where it names none, no script at all."""
    with path.open("rb") as file:
        found = _HASHES.search(file.read(_HEAD_BYTES))
    if found is None:
        return f"sandbox; {_NOTHING_ELSE}; style-src 'unsafe-inline'"
    style, script = (each.decode("ascii") for each in found.groups())
    return f"sandbox allow-scripts; {_NOTHING_ELSE}; style-src '{style}'; script-src '{script}'"
