"""Pages by key: a page says where the next one begins, and none counts its way through what came before.

Leaves out: the queries, which take `after` and `limit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tutelage.api.wire import Page

T = TypeVar("T")


def page_of(records: Sequence[T], limit: int, key: str = "id") -> Page[T]:
    """The records as a page, with the `key` of the last one where there may be more."""
    last = str(getattr(records[-1], key)) if records and len(records) >= limit else None
    return Page(records=list(records), next=last)
