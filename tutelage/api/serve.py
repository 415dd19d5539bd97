"""The application of a server process. Workers are started afresh, so what to serve comes by the environment.

Leaves out: the command that starts them (`tutelage.workspace.server`).
"""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI

from tutelage.api.app import create_app
from tutelage.store.database import open_store

WORKSPACE = "TUTELAGE_SERVE_WORKSPACE"
HOSTS = "TUTELAGE_SERVE_HOSTS"
"""Host names to answer to, divided by commas; empty for any."""


def from_environment() -> FastAPI:
    """The application over the workspace that the environment names."""
    hosts = [name for name in os.environ.get(HOSTS, "").split(",") if name]
    return create_app(open_store(Path(os.environ[WORKSPACE])), hosts or None)
