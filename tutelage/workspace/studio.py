"""The verb `studio`: the web app in which people teach the model, over the workspace's record.

Leaves out: the pages (`tutelage.studio`) and the API alone (`tutelage.workspace.server`).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from cyclopts import App

WORKSPACE = Path("workspace")


def register(app: App) -> None:
    """Add the verb to `app`."""
    app.command(studio)


def studio(
    *,
    host: str = "127.0.0.1",
    port: int = 8300,
    workers: int = 1,
    allow_remote: bool = False,
    name: tuple[str, ...] = (),
    open_browser: bool = False,
    log: bool = False,
    workspace: Path = WORKSPACE,
) -> int:
    """Open the studio: the web app in which people write pairs, judge answers, and watch the model get better.

    A workspace that has no record of people yet gets one. Ctrl-C stops it once the requests under way are answered;
    whatever is streamed to pages ends at once, and runs go on.

    Parameters
    ----------
    host
        Address to listen at. Any but this machine's own needs --allow-remote.
    port
        Port to listen at; 0 takes a free one.
    workers
        Processes that answer.
    allow_remote
        Let other machines reach it. Passwords then travel over the network: put a proxy with HTTPS before it.
    name
        Host name that it answers to, besides localhost; may be given several times. With --allow-remote and without
        it, any.
    open_browser
        Open it in this machine's browser.
    log
        Print a line for every request.
    workspace
        Folder that holds the record, models/ and runs/.
    """
    from tutelage.store.database import has_store
    from tutelage.workspace.server import Serving, serve
    from tutelage.workspace.setup import init

    if not has_store(workspace):
        init(workspace=workspace)

    def ready(address: str) -> None:
        import webbrowser

        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(address)

    how = Serving(host, port, workers, allow_remote, name, log)
    serve(how, workspace, pages=True, ready=ready if open_browser else None)
    return 0
