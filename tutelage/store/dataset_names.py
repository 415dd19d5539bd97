"""Names of datasets and their snapshots: `curated`, `curated@3`, `labels:helpful`, `labels:helpful/correct@2`.

Leaves out: whether there is one of that name (`tutelage.store.datasets`).
"""

from __future__ import annotations

import re

LABELS = "labels:"
"""Begins the name of a dataset of a project's labels."""
RESERVED = ("starter", "sealed", "compare", "pairs", "prompts", "labels", "records")
"""Names that mean something else where data is named."""
_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,79}}|labels:{_WORD}(/{_WORD})?")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def is_name(text: str) -> bool:
    """Whether a dataset may be called so; never anything with a dot or a slash that could be a file."""
    return _NAME.fullmatch(text) is not None and text not in RESERVED


def split_name(text: str) -> tuple[str, int | None]:
    """(name, number) of `curated@3`; without a number, None."""
    name, at, number = text.rpartition("@")
    return (name, int(number)) if at and _NUMBER.fullmatch(number) else (text, None)
