"""The verbs of the workspace's record on the command line, a module for each group; `register` adds them to the app.

A module has `register(app)` and imports what is heavy (the database among it) only inside its verbs. Leaves out: what
the verbs do, which is the work of `tutelage.store` and `tutelage.feedback`.
"""

from __future__ import annotations

from importlib import import_module

from cyclopts import App

GROUPS: tuple[str, ...] = (
    "setup",
    "files",
    "people",
    "server",
    "choose",
    "lineage",
    "projects",
    "label",
    "pairs",
    "datasets",
    "studio",
    "serve",
)


def register(app: App) -> None:
    """Add every group's verbs to `app`."""
    for name in GROUPS:
        import_module(f"tutelage.workspace.{name}").register(app)
