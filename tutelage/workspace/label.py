"""The verb `label`: work a project's queue at the terminal.

Leaves out: the work itself (`tutelage.workspace.labelling`).
"""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

WORKSPACE = Path("workspace")


def register(app: App) -> None:
    """Add the verb to `app`."""
    app.command(label)


def label(project: str, /, *, by: str | None = None, workspace: Path = WORKSPACE) -> int:
    """Judge answers at the terminal, one key a verdict: `tutelage label helpful --by ada`.

    Each verdict is in the record before the next task is shown. Ctrl-D stops, and the same command goes on.

    Parameters
    ----------
    project
        The labelling project.
    by
        Who judges; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from rich.console import Console

    from tutelage.feedback import projects
    from tutelage.store.database import open_store
    from tutelage.store.people import acting
    from tutelage.workspace.keyboard import keyboard
    from tutelage.workspace.labelling import Desk

    with open_store(workspace) as store:
        with store.read() as connection:
            person, found = acting(connection, by), projects.get(connection, project)
        Desk(store, person, found, Console(highlight=False), keyboard()).work()
    return 0
