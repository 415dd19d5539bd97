"""Pages for writing: my pairs, the pair editor, and files of pairs in and out.

Leaves out: reviewing what was written (`tutelage.studio.review`), and pairs themselves (`tutelage.api.pairs`).
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from tutelage.api.wire import IdPath
from tutelage.store.pair_rules import may_review
from tutelage.store.people import require
from tutelage.studio.pages import View, Viewer, page

router = APIRouter()


def for_writers(viewer: View, template: str, pair_id: str = "") -> HTMLResponse:
    """A page that knows who looks at it, by `data-` attributes of its outermost part."""
    return page(viewer, template, may_review=may_review(viewer.person), pair_id=pair_id)


@router.get("/write")
def write(viewer: Viewer) -> HTMLResponse:
    """My pairs by state, or everybody's."""
    return for_writers(viewer, "write.html")


@router.get("/write/new")
def new_pair(viewer: Viewer) -> HTMLResponse:
    """The editor with nothing in it."""
    return for_writers(viewer, "write_pair.html")


@router.get("/write/files")
def files(viewer: Viewer) -> HTMLResponse:
    """Bring a file in, take pairs out."""
    require(viewer.person, "reviewer")
    return for_writers(viewer, "write_files.html")


@router.get("/write/{pair_id}")
def edit_pair(pair_id: IdPath, viewer: Viewer) -> HTMLResponse:
    """The editor with a pair in it, or the pair to read for whom it is not theirs to change."""
    return for_writers(viewer, "write_pair.html", pair_id)
