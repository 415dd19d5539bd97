"""How a test asks another library: a script run in that library's environment, JSON in and JSON out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-peers" / "bin" / "python"


def ask(script: str, *jobs: dict[str, Any]) -> list[Any]:
    """What the script beside this file gives for each job."""
    if not PYTHON.exists():
        pytest.fail(f"there is no {PYTHON.relative_to(ROOT)}; run `make test-peers`, which makes it")
    path = Path(__file__).with_name(script)
    result = subprocess.run([PYTHON, path], input=json.dumps(jobs), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    found: list[Any] = json.loads(result.stdout.splitlines()[-1])
    assert len(found) == len(jobs)
    return found
