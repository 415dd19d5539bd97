"""The verb `server`: the workspace's JSON API, for scripts and the pages that are built on it.

Bound to this machine unless asked otherwise. Any number of workers may serve one database, since all that is true is in
it. Leaves out: the API itself (`tutelage.api`), and encryption, which is a proxy's work.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cyclopts import App

if TYPE_CHECKING:
    import socket

    from tutelage.store.database import Store

WORKSPACE = Path("workspace")
KEEP_ALIVE_SECONDS = 30
STOP_SECONDS = 10
MAX_CONNECTIONS = 1000


def register(app: App) -> None:
    """Add the verb to `app`."""
    app.command(server)


def server(
    *,
    host: str = "127.0.0.1",
    port: int = 8300,
    workers: int = 1,
    allow_remote: bool = False,
    name: tuple[str, ...] = (),
    log: bool = False,
    workspace: Path = WORKSPACE,
) -> int:
    """Serve the workspace's API: `tutelage server`. Ctrl-C stops it once the requests under way are answered.

    Parameters
    ----------
    host
        Address to listen at. Any but this machine's own needs --allow-remote.
    port
        Port to listen at; 0 takes a free one.
    workers
        Processes that answer.
    allow_remote
        Let other machines reach the server. Passwords then travel over the network: put a proxy with HTTPS before it.
    name
        Host name that the server answers to, besides localhost; may be given several times. With --allow-remote and
        without it, any.
    log
        Print a line for every request.
    workspace
        Folder that holds the record.
    """
    serve(Serving(host, port, workers, allow_remote, name, log), workspace)
    return 0


class Serving(NamedTuple):
    """How to serve; the fields are the options of the verbs."""

    host: str
    port: int
    workers: int
    allow_remote: bool
    name: tuple[str, ...]
    log: bool


def serve(how: Serving, workspace: Path, *, pages: bool = False, ready: Callable[[str], None] | None = None) -> None:
    """Serve until stopped; `ready` is told the address (with an invitation in it for an owner without a password)."""
    import os

    import uvicorn

    from tutelage.studio.serve import HOSTS, PAGES
    from tutelage.studio.serve import WORKSPACE as SERVED

    hosts = _hosts(how.host, how.name, how.allow_remote)
    port = _free_port(how.host, how.port)
    address = f"http://{f'[{how.host}]' if ':' in how.host else how.host}:{port}"
    entrance = _greet(workspace, address, pages)
    if ready is not None:
        ready(entrance)
    os.environ |= {SERVED: str(workspace.absolute()), HOSTS: ",".join(hosts), PAGES: "1" if pages else ""}
    uvicorn.run(
        "tutelage.studio.serve:from_environment", factory=True, host=how.host, port=port,
        workers=_checked(how.workers), log_level="info" if how.log else "warning", access_log=how.log,
        server_header=False, timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=STOP_SECONDS,
        limit_concurrency=MAX_CONNECTIONS,
    )  # fmt: skip


def _checked(workers: int) -> int:
    from tutelage.errors import ConfigError

    if not 1 <= workers <= 64:
        raise ConfigError(f"--workers: {workers} is outside 1 to 64")
    return workers


def is_local(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hosts(host: str, names: tuple[str, ...], allow_remote: bool) -> tuple[str, ...]:
    """The host names to answer to; none stands for any."""
    from tutelage.api.guards import LOCAL_HOSTS
    from tutelage.errors import ConfigError

    if not is_local(host) and not allow_remote:
        raise ConfigError(
            f"--host {host} can be reached by other machines; give --allow-remote too if that is meant, and put a "
            "proxy with HTTPS before it, for passwords would cross the network as they are"
        )
    if not is_local(host) and not names:
        return ()
    return tuple(dict.fromkeys([*LOCAL_HOSTS, host.lower(), *(each.lower() for each in names)]))


def _free_port(host: str, port: int) -> int:
    """The port, or a free one for 0; `ConfigError` when somebody listens there already."""
    with bind(host, port) as probe:
        return int(probe.getsockname()[1])


def bind(host: str, port: int) -> socket.socket:
    """A socket that holds the port, a free one for 0, and does not listen yet; `ConfigError` when it is taken."""
    import socket

    from tutelage.errors import ConfigError

    if not 0 <= port <= 65535:
        raise ConfigError(f"--port: {port} is outside 0 to 65535")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, port))
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise ConfigError(f"cannot listen at {host} port {port}: {error.strerror or error}; choose another") from error
    return bound


def _greet(workspace: Path, address: str, pages: bool) -> str:
    """Say where it is served, and how an owner without a password comes in; gives the address to open."""
    from tutelage.store.database import open_store

    with open_store(workspace) as store:
        welcome = _first_invitation(store)
    if not pages:
        print(f"serving {workspace} at {address} (its addresses: {address}/docs)", flush=True)
    else:
        print(f"the studio of {workspace} is at {address}; Ctrl-C stops it", flush=True)
    if welcome is None:
        return address
    name, token = welcome
    if pages:
        print(f"{name} has no password yet; set one, once, within a day, at {address}/join#{token}", flush=True)
        return f"{address}/join#{token}"
    how = "set one by `tutelage people password`, or once, within a day, with this invitation"
    print(f"{name} has no password yet; {how}:\n{token}", flush=True)
    return address


def _first_invitation(store: Store) -> tuple[str, str] | None:
    """The owner's name and an invitation to set their password, where they have none."""
    from sqlalchemy import Connection

    from tutelage.errors import NotFoundError
    from tutelage.store import accounts, invitations
    from tutelage.store.people import acting

    def work(connection: Connection) -> tuple[str, str] | None:
        try:
            owner = acting(connection)
        except NotFoundError:
            return None
        if accounts.has_password(connection, owner):
            return None
        return owner.name, invitations.invite_to_set_password(connection, owner, owner, days=1)[1]

    return store.run(work)
