"""The application of a server process. Workers are started afresh, so what to serve comes by the environment.

Leaves out: the commands that start them (`tutelage.workspace.server`, `tutelage.workspace.studio`).
"""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI

from tutelage.api.app import create_app
from tutelage.store.database import open_store
from tutelage.studio.app import create_studio

WORKSPACE = "TUTELAGE_SERVE_WORKSPACE"
HOSTS = "TUTELAGE_SERVE_HOSTS"
"""Host names to answer to, divided by commas; empty for any."""
PAGES = "TUTELAGE_SERVE_PAGES"
"""Whether the studio's pages are served besides the API; empty for no."""


def from_environment() -> FastAPI:
    """The application over the workspace that the environment names."""
    hosts = [name for name in os.environ.get(HOSTS, "").split(",") if name]
    create = create_studio if os.environ.get(PAGES) else create_app
    return create(open_store(Path(os.environ[WORKSPACE])), hosts or None)
