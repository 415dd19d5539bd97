"""What stands in for `tutelage.runs.process.spawn`: a process with other code, or a note of what was asked."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest


def start(
    code: str, arguments: Sequence[str], log: int, lock: int, folder: Path, environment: Mapping[str, str]
) -> int:
    """Start a Python that runs `code`, as `spawn` starts a verb."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(lock,),
        start_new_session=True, cwd=folder, env=dict(environment),
    )  # fmt: skip
    threading.Thread(target=process.wait, daemon=True).start()
    return process.pid


def noted(monkeypatch: pytest.MonkeyPatch, module: Any) -> list[list[str]]:
    """Instead of processes that `module` starts, the arguments with which they would have been started."""
    found: list[list[str]] = []

    def note(arguments: list[str], *_: Any) -> int:
        found.append(arguments)
        return 1

    monkeypatch.setattr(module, "spawn", note)
    return found
