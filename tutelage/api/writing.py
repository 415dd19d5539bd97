"""What helps whoever writes: the guideline for writers in its versions, and what differs between two conversations.

Leaves out: pairs themselves (`tutelage.api.pairs`), and the guidelines of labelling projects.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import AfterValidator, Field

from tutelage.api.caller import Rater, Record, Reviewer
from tutelage.api.wire import Asked, Turns, Whole, clean, messages_of
from tutelage.api.wire_pairs import TextChange
from tutelage.store import writing_guide
from tutelage.store.word_diff import conversation_diff
from tutelage.store.writing_guide import MAX_CHARACTERS, Guide

router = APIRouter(prefix="/api", tags=["writing"])


class NewGuide(Asked):
    """New words for the guideline, made from one of its versions."""

    text: Annotated[str, Field(max_length=MAX_CHARACTERS), AfterValidator(clean)]
    base_version: Whole
    note: Annotated[str, Field(max_length=500), AfterValidator(clean)] = ""
    """What is new in it."""


class ToCompare(Asked):
    """Two versions of a conversation."""

    old: Turns
    new: Turns


@router.get("/guidelines/writing")
def get_writing_guideline(_: Rater, store: Record) -> Guide:
    """How pairs should be written here. Version 0 is the built-in text."""
    with store.read() as connection:
        return writing_guide.newest(connection)


@router.get("/guidelines/writing/{version}")
def get_writing_guideline_version(
    version: Annotated[int, Path(ge=0, le=10**9 - 1)], _: Rater, store: Record
) -> Guide:  # fmt: skip
    """One version of how pairs should be written."""
    with store.read() as connection:
        return writing_guide.version_of(connection, version)


@router.put("/guidelines/writing")
def put_writing_guideline(body: NewGuide, person: Reviewer, store: Record) -> Guide:
    """A new version of how pairs should be written; 409 when somebody was quicker."""
    return store.run(
        lambda connection: writing_guide.put(
            connection, person, body.text, base_version=body.base_version, note=body.note
        )
    )


@router.post("/diff")
def diff_texts(body: ToCompare, _: Rater) -> list[TextChange]:
    """What changed from one version of a conversation to another, word by word. Nothing is kept."""
    changes = conversation_diff(messages_of(body.old), messages_of(body.new))
    return [TextChange(**each._asdict()) for each in changes]
