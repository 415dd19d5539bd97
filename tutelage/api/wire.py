"""What may stand in a request, before anything is done with it: lengths, characters, numbers, depth.

Text holds no NUL and no half of a character, numbers are finite, and nothing is nested deeper than needed, so that what
passes here can be stored in every database and written into every file. The patterns are matched by an engine that
takes linear time.

Leaves out: what a request means; the models of each part stand in `wire_*.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Header, Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tutelage.types import Message, Role

MAX_TEXT = 200_000
MAX_DEPTH = 16
MAX_VALUES = 10_000
MAX_WHOLE = 2**53


def clean(text: str) -> str:
    """The text; ValueError for a NUL or half a character."""
    if "\x00" in text:
        raise ValueError("holds a NUL character; leave it out")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("holds half a character (a lone surrogate); leave it out")
    return text


def clean_json(value: Any) -> Any:
    """The JSON value; ValueError where it is too deep, too large, or holds what cannot be stored."""
    waiting, count = [(value, 0)], 0
    while waiting:
        one, depth = waiting.pop()
        count += 1
        if depth > MAX_DEPTH or count > MAX_VALUES:
            raise ValueError(f"has more than {MAX_VALUES} values or is nested deeper than {MAX_DEPTH}")
        _check_one(one)
        inner = list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else []
        waiting += [(each, depth + 1) for each in inner]
    return value


def _check_one(value: Any) -> None:
    if isinstance(value, str):
        clean(value)
    elif isinstance(value, dict):
        for key in value:
            clean(str(key))
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number that JSON has")
    elif isinstance(value, int) and abs(value) > MAX_WHOLE:
        raise ValueError(f"a whole number is at most {MAX_WHOLE}")


Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(clean)]
"""Up to 200,000 characters."""
Short = Annotated[str, Field(max_length=200), AfterValidator(clean)]
Note = Annotated[str, Field(max_length=5_000), AfterValidator(clean)]
Id = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
After = Annotated[str, Query(pattern="^([0-9a-f]{32})?$", description="Only records after the one with this id.")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
"""Of a project or a dataset: what may stand after `labels:` and before `@`."""
Tag = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(clean)]
Key = Annotated[str, Field(pattern="^[!-~]{1,100}$")]
"""The asker's own name for a request: 1 to 100 printable ASCII characters without a space."""
Object = Annotated[dict[str, Any], AfterValidator(clean_json)]
Whole = Annotated[int, Field(ge=0, le=2**31 - 1)]
Seconds = Annotated[float, Field(ge=0, le=10_000_000, allow_inf_nan=False)]
Frac = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

IdPath = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
NamePath = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Search = Annotated[str | None, Query(max_length=200), AfterValidator(lambda text: text and clean(text))]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many records.")]
IdempotencyKey = Annotated[
    str | None,
    Header(pattern="^[!-~]{1,100}$", description="The same key again gives the first answer and does nothing twice."),
]


class Asked(BaseModel):
    """A request's body: a field that is not known is an error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Turn(Asked):
    """One turn of a conversation."""

    role: Role
    content: Text


Turns = Annotated[list[Turn], Field(max_length=200)]


def messages_of(turns: Sequence[Turn]) -> tuple[Message, ...]:
    """The turns as everything else uses them."""
    return tuple(Message(turn.role, turn.content) for turn in turns)


T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """Some records, and where the next ones begin."""

    records: list[T]
    next: str | None = None
    """What to give as `after` for the next page; null at the end."""


class Done(BaseModel):
    """It was done."""

    done: bool = True
