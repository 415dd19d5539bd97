"""Markdown of models and people as HTML that is safe to show: no markup of theirs, no scripts, no addresses.

Leaves out: how (`tutelage.evaluate.markdown`).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from tutelage.api.caller import Rater
from tutelage.api.wire import Asked, Text
from tutelage.evaluate.markdown import render_markdown

router = APIRouter(prefix="/api", tags=["render"])


class ToRender(Asked):
    """Texts that may be Markdown."""

    texts: Annotated[list[Text], Field(max_length=100)]


class Rendered(BaseModel):
    """Safe HTML, one for each text."""

    html: list[str]


@router.post("/render")
def render(body: ToRender, _: Rater) -> Rendered:
    """Safe HTML of texts."""
    return Rendered(html=[str(render_markdown(text)) for text in body.texts])
