"""What people type, before it is stored: texts that every database can hold, no longer than is sensible.

Leaves out: how it is shown (`tutelage.evaluate.markdown`).
"""

from __future__ import annotations

import json
from typing import Any

from tutelage.errors import DataError

MAX_TEXT_CHARS = 100_000
MAX_DRAFT_CHARS = 300_000
MAX_KEY_CHARS = 100


def storable(text: str, field: str) -> str:
    """The text; `DataError` where it holds what no database stores: the character 0, or half of one."""
    if "\x00" in text:
        raise DataError("it holds the character U+0000, which cannot be stored; take it out", field=field)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"it holds U+{ord(text[error.start]):04X}, half a character, at {error.start}", field=field
        ) from error
    return text


def no_longer_than(text: str, limit: int, field: str) -> str:
    """The text; `DataError` where it has more characters than `limit`."""
    if len(text) > limit:
        raise DataError(f"it has {len(text):,} characters, and at most {limit:,} are kept", field=field)
    return text


def typed(text: str, field: str, limit: int = MAX_TEXT_CHARS) -> str:
    """A text as a person typed it, checked."""
    return no_longer_than(storable(text, field), limit, field)


def request_key(key: str) -> str:
    """The submitter's name for a submit, checked."""
    if not key:
        raise DataError("name the request, so that it can be said again without being done twice", field="request_key")
    return typed(key, "request_key", MAX_KEY_CHARS)


def storable_json(value: Any, field: str, limit: int = MAX_DRAFT_CHARS) -> Any:
    """A JSON value; `DataError` where it is none, is too long or holds what no database stores."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"no JSON value: {error}", field=field) from error
    if "\\u0000" in text:  # spelled out by JSON; the same six characters typed by hand have a backslash more
        storable(_texts(value), field)
    typed(text, field, limit)
    return value


def _texts(value: Any) -> str:
    """All texts in a JSON value, keys among them."""
    if isinstance(value, dict):
        return "".join(f"{key}{_texts(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return "".join(map(_texts, value))
    return value if isinstance(value, str) else ""
