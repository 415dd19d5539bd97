"""A file that is sent: written to a folder of its own as it streams in, and gone when the request has ended.

It is the request's body, not a form, so nothing is read before it is known who sends it. The name it had is only what
records call it: of it the folder sees an ending, and only a known one.

Leaves out: what is in it (`tutelage.store.imports`).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query, Request
from pydantic import AfterValidator

from tutelage.api.caller import Reviewer
from tutelage.api.wire import clean

MAX_UPLOAD_BYTES = 256 * 1024 * 1024
_ENDING = re.compile(r"\.(?:jsonl|ndjson|json|csv|tsv|parquet|txt)(?:\.gz)?\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was sent."""

    path: Path
    name: str
    """As its sender called it, without any folder."""


def plain_name(name: str) -> str:
    """The name without folders and without what cannot be shown."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(each for each in last if each.isprintable()).strip(". ") or "upload"


FileName = Annotated[
    str,
    Query(min_length=1, max_length=200, description="What the file is called; its ending tells how it is read."),
    AfterValidator(clean),
]


async def received(request: Request, person: Reviewer, filename: FileName) -> AsyncIterator[Upload]:
    """The body of the request as a file."""
    del person  # whoever may not send a file is refused before its first byte is read
    name = plain_name(filename)
    ending = _ENDING.search(name)
    with tempfile.TemporaryDirectory(prefix="tutelage-upload-") as folder:
        path = Path(folder) / f"upload{ending.group().lower() if ending else ''}"
        with path.open("wb") as file:
            async for part in request.stream():
                file.write(part)
        yield Upload(path, name)


Received = Annotated[Upload, Depends(received)]
BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {
    "type": "string", "format": "binary",
}}}}}  # fmt: skip
"""How the OpenAPI document tells of the body."""
