"""The wire models of question/answer pairs.

Leaves out: what the turns of a pair must be like (`tutelage.store.pair_rules`).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from tutelage.api.wire import Asked, Note, Object, Short, Tag, Turns, Whole

Tags = Annotated[list[Tag], Field(max_length=50)]
Licence = Annotated[Short, Field(max_length=100)]


class NewPair(Asked):
    """A pair to draft, or with `submit` to hand in at once."""

    messages: Turns
    source: Note = "written here"
    licence: Licence = ""
    tags: Tags = Field(default_factory=list)
    meta: Object = Field(default_factory=dict)
    submit: bool = False


class EditPair(Asked):
    """New words for a pair, made on top of one of its revisions."""

    messages: Turns
    note: Note = ""
    base_revision: Annotated[Whole, Field(ge=1)]


class DescribePair(Asked):
    """Where a pair comes from; what is left out stays."""

    source: Note | None = None
    licence: Licence | None = None


class Comment(Asked):
    """What is said with a step."""

    comment: Note = ""


class Review(Asked):
    """A reviewer's decision, on the revision that was read."""

    comment: Note = ""
    base_revision: Annotated[Whole, Field(ge=1)] | None = None


class Accept(Review):
    """A reviewer's yes."""

    allow_own: bool = False
    """Accept one's own words where nobody else could."""


class Reopen(Asked):
    """A reviewer's second thought."""

    base_revision: Annotated[Whole, Field(ge=1)] | None = None


class CheckTurns(Asked):
    """Turns to look through."""

    messages: Turns


class Found(BaseModel):
    """Something that is wrong (error), suspicious (warning) or worth knowing (note)."""

    severity: str
    code: str
    field: str | None
    message: str


class ChangeTags(Asked):
    """Tags to put on and to take off."""

    add: Tags = Field(default_factory=list)
    remove: Tags = Field(default_factory=list)


class FindNear(Asked):
    """Turns as somebody types them."""

    messages: Turns
    except_pair: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None
    limit: Annotated[int, Field(ge=1, le=50)] = 5


class NearPair(BaseModel):
    """A pair that asks nearly the same."""

    pair_id: str
    similarity: float
    text: str


class NearPairs(BaseModel):
    """The near pairs that one may read, and how many more there are."""

    pairs: list[NearPair]
    num_hidden: int


class TextChange(BaseModel):
    """A stretch of text that stayed (equal), came (insert) or went (delete)."""

    turn: int
    op: str
    text: str
    role: str
