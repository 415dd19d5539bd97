"""Prompts as files: what a job is given to read, and what people send into the workspace's folder `prompts/`.

Leaves out: which prompts a job asks (`prompts`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tutelage.data import load_prompts
from tutelage.errors import DataError
from tutelage.feedback.sample import check_prompts
from tutelage.runs.prompts import MOST_PROMPTS, Source
from tutelage.store.contents import as_json
from tutelage.train.run_folder import strict_json, write_durably
from tutelage.types import Prompt

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def as_lines(prompts: Sequence[Prompt]) -> bytes:
    """Prompts as a file that `load_prompts` reads back as they are."""
    return b"".join(strict_json(_line(prompt)) for prompt in prompts)


def _line(prompt: Prompt) -> dict[str, Any]:
    line: dict[str, Any] = {**prompt.meta, "messages": as_json(prompt.messages)}
    if prompt.id:
        line["id"] = prompt.id
    if prompt.reference:
        line["reference"] = prompt.reference
    if prompt.checks:
        line["checks"] = [dict(each) for each in prompt.checks]
    return line


def keep_file(workspace: Path, path: Path, name: str) -> Source:
    """Put the prompts of a file that was sent into the folder `prompts/`, under its name or one like it.

    The same prompts again are the file that is there. Raises `DataError`, its file the name, for what holds none.
    """
    try:
        found = load_prompts(path)
        check_prompts(found)
    except DataError as error:
        raise DataError(error.problem, file=name, line=error.line, field=error.field) from error
    if len(found) > MOST_PROMPTS:
        raise DataError(
            f"it holds {len(found):,} prompts, and at most {MOST_PROMPTS:,} are asked at once; send it in parts",
            file=name,
        )
    kept = _keep(workspace / "prompts", name, as_lines(found))
    return Source(kept, "a file in prompts/", len(found))


def _keep(folder: Path, name: str, data: bytes) -> str:
    folder.mkdir(exist_ok=True)
    stem = _UNSAFE.sub("-", name.partition(".")[0]).strip("-.")[:60] or "prompts"
    number = 1
    while True:
        path = folder / (f"{stem}.jsonl" if number == 1 else f"{stem}-{number}.jsonl")
        if not path.exists() and not path.is_symlink():
            write_durably(path, data)
            return path.name
        if path.is_file() and not path.is_symlink() and path.read_bytes() == data:
            return path.name
        number += 1
