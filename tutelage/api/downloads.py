"""A file that is made for one answer: written whole, streamed, and gone afterwards.

It is written before the first byte leaves, so that nobody gets half a file, and a slow reader holds no transaction.

Leaves out: what is in it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.responses import FileResponse


def written(write: Callable[[Path], object]) -> Path:
    """The file that `write` makes at the path it is given, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="tutelage-download-"))
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        write(folder / "file")
        undo.pop_all()
    return folder / "file"


def sent(path: Path, name: str) -> FileResponse:
    """The answer that streams the file as a download called `name`, and removes it and its folder at the end."""
    gone = BackgroundTask(shutil.rmtree, path.parent, ignore_errors=True)
    return FileResponse(path, filename=name, media_type="application/octet-stream", background=gone)
