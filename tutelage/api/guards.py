"""What every request passes before it reaches a handler, and every answer before it leaves.

The host it asks for must be one of ours (against DNS rebinding), a browser must have sent it from our own pages
(against forged requests), and its body has a limit that holds while it streams in. Answers forbid scripts from
elsewhere, guessing of types, framing and keeping of data. An error that nobody foresaw becomes one line.

Leaves out: who is asking (`tutelage.api.caller`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tutelage.api.problems import BROKEN, log, problem

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
MAX_BODY_BYTES = 4 * 1024 * 1024
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """The outermost layer of the application. `hosts` None lets any host name pass."""

    def __init__(
        self, app: ASGIApp, hosts: Collection[str] | None = LOCAL_HOSTS, larger: Mapping[str, int] | None = None,
        say: Callable[[int, str], Response] = problem,
    ) -> None:  # fmt: skip
        self.app = app
        self.say = say
        """Makes the answer of a refusal from its status and its words."""
        self.hosts = hosts
        self.larger = larger or {}
        """Addresses whose bodies may be larger than `MAX_BODY_BYTES`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _add_headers(message, scope["path"])
            await send(message)

        limit = self.larger.get(scope["path"], MAX_BODY_BYTES)
        refused = self._refusal(Headers(scope=scope), scope["method"], limit)
        if refused is not None:
            await self.say(*refused)(scope, receive, send_guarded)
            return
        try:
            await self.app(scope, _limited(receive, limit), send_guarded)
        except Exception:  # whatever it is: the log has it, and who asked gets a plain answer with nothing of it
            log.exception("%s %s", scope["method"], scope["path"])
            if started:
                raise
            await self.say(500, BROKEN)(scope, receive, send_guarded)

    def _refusal(self, headers: Headers, method: str, limit: int) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self.hosts is not None and _host_name(host) not in self.hosts:
            return 400, f"this server is not called {host[:100]!r}; it answers to {', '.join(self.hosts)}"
        if method not in SAFE_METHODS and not _from_here(headers, host):
            return 403, "this request was sent by a page of another site"
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > limit:
            return 413, _too_large(limit)
        return None


def _host_name(host: str) -> str:
    """The name without the port: `localhost` of `localhost:8300`, `::1` of `[::1]:8300`."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _from_here(headers: Headers, host: str) -> bool:
    """Whether no browser says that a page of another site sent this."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return False
    return headers.get("sec-fetch-site", "none") in ("same-origin", "none")


def _too_large(limit: int) -> str:
    return f"the body is larger than the limit of {limit:,} bytes; send less at once"


def _limited(receive: Receive, limit: int) -> Receive:
    """`receive` that stops a body once it is larger than `limit`, whatever its length was said to be."""
    count = 0

    async def receive_limited() -> Message:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        if count > limit:
            raise HTTPException(413, _too_large(limit))
        return message

    return receive_limited


def _add_headers(message: Message, path: str) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if path.startswith("/api"):
        headers["Cache-Control"] = "no-store"
