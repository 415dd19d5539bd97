"""The verb `serve`: one model behind the chat API that OpenAI's clients speak, with people's verdicts taken beside it.

Leaves out: the addresses (`tutelage.api.openai`), and chatting in the studio, which has the workspace's models.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

if TYPE_CHECKING:
    from tutelage.serve.pool import Target
    from tutelage.store.database import Store
    from tutelage.store.people import Person

WORKSPACE = Path("workspace")
KEY_VARIABLE = "TUTELAGE_SERVE_KEY"
SHORTEST_KEY = 16
FOR_EVER_SECONDS = 1e9


def register(app: App) -> None:
    """Add the verb to `app`."""
    app.command(serve)


def serve(
    model: str,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8400,
    no_key: bool = False,
    allow_remote: bool = False,
    name: tuple[str, ...] = (),
    by: str | None = None,
    log: bool = False,
    workspace: Path = WORKSPACE,
) -> int:
    """Serve a model to programs that speak OpenAI's chat API, and take verdicts on its answers. Ctrl-C stops it.

    It prints an API key at each start; the environment variable TUTELAGE_SERVE_KEY sets one that stays.

    Parameters
    ----------
    model
        A starter model, a folder, a hub id or a name in the workspace.
    host
        Address to listen at. Any but this machine's own needs --allow-remote.
    port
        Port to listen at; 0 takes a free one.
    no_key
        Ask for no API key; only where no other machine can reach it.
    allow_remote
        Let other machines reach it. The key then travels over the network: put a proxy with HTTPS before it.
    name
        Host name that it answers to, besides localhost; may be given several times. With --allow-remote and without
        it, any.
    by
        In whose name verdicts are written down; the workspace's owner if nobody is named.
    log
        Print a line for every request.
    workspace
        Folder that holds models/, and the record that verdicts go into.
    """
    import uvicorn

    from tutelage.api.openai import Service, create_openai
    from tutelage.serve.pool import Pool
    from tutelage.workspace.server import KEEP_ALIVE_SECONDS, MAX_CONNECTIONS, STOP_SECONDS, _hosts, bind

    key = _key(no_key, host, name, allow_remote)
    hosts = _hosts(host, name, allow_remote)
    target = _target(model, workspace)
    with ExitStack() as closing:
        bound = closing.enter_context(bind(host, port))
        store, person = _record(workspace, by)
        if store is not None:
            closing.callback(store.close)
        pool = Pool(workspace, most=1, idle_seconds=FOR_EVER_SECONDS, resolve=lambda _: target, offline=False)
        closing.callback(pool.close)
        pool.load(model, lambda words: print(f"loading {model}: {words}", flush=True))
        bound.listen()  # who reads the address may come at once
        address = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}/v1"
        _greet(model, address, key, workspace, person)
        server = uvicorn.Server(uvicorn.Config(
            create_openai(Service(model, pool, key, store, person), hosts or None),
            log_level="info" if log else "warning", access_log=log, server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=STOP_SECONDS,
            limit_concurrency=MAX_CONNECTIONS,
        ))  # fmt: skip
        closing.enter_context(suppress(KeyboardInterrupt))  # it has stopped in good order then
        server.run(sockets=[bound])
    return 0


def _key(no_key: bool, host: str, names: tuple[str, ...], allow_remote: bool) -> str | None:
    import os
    import secrets

    from tutelage.errors import ConfigError
    from tutelage.workspace.server import is_local

    if no_key:
        if not is_local(host) or allow_remote or names:
            raise ConfigError("--no-key is for this machine alone; leave out --host, --name and --allow-remote, or it")
        return None
    key = os.environ.get(KEY_VARIABLE)
    if key is None:
        return f"tut-{secrets.token_urlsafe(32)}"
    if len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{KEY_VARIABLE} is no key: give {SHORTEST_KEY} or more plain characters without a blank")
    return key


def _target(model: str, workspace: Path) -> Target:
    """What the model's process is to load: a folder where there is one, else a name that it fetches first."""
    from tutelage.models.find import resolve_model
    from tutelage.serve.pool import Target

    found = resolve_model(model, workspace)
    return Target(str(found.path.absolute()) if found.path is not None else model, 0)


def _record(workspace: Path, by: str | None) -> tuple[Store | None, Person | None]:
    """The record and who acts, where the workspace has one."""
    from tutelage.errors import ConfigError
    from tutelage.store.database import has_store, open_store
    from tutelage.store.people import acting

    if not has_store(workspace):
        if by is not None:
            raise ConfigError(f"--by {by}: {workspace} has no record of people yet; make it with `tutelage init`")
        return None, None
    store = open_store(workspace)
    with ExitStack() as unless_known:
        unless_known.callback(store.close)
        with store.read() as connection:
            person = acting(connection, by)
        unless_known.pop_all()
    return store, person


def _greet(model: str, address: str, key: str | None, workspace: Path, person: Person | None) -> None:
    print(f"serving {model} at {address}; Ctrl-C stops it", flush=True)
    if key is None:
        print("no API key is asked for", flush=True)
    else:
        print(f"API key: {key}", flush=True)
    if person is None:
        print(f"verdicts are not kept: {workspace} has no record yet (`tutelage init` makes it)", flush=True)
    else:
        print(f"verdicts ({address}/feedback) go into the record of {workspace}, by {person.name}", flush=True)
