"""Answers that go on: server-sent events, which end when the server is told to stop.

A server waits at its end for what is under way. A stream would let it wait for as long as it may, with every page that
is open, so streams are told at once: what was sent stands, the answer is finished, and the browser finds nobody when it
comes again.

Leaves out: what is streamed (`run_events`, `chat`), and how long a server waits for the rest
(`tutelage.workspace.server`).
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import FrameType
from typing import Any

from fastapi import FastAPI
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Streams:
    """Those that are open in this process of the server."""

    def __init__(self) -> None:
        self._open: set[asyncio.Future[None]] = set()
        self._is_ending = False

    async def run(self, stream: asyncio.Future[None]) -> bool:
        """Let a stream go on until it is done; whether it is, instead of having been ended."""
        self._open.add(stream)
        if self._is_ending:
            stream.cancel()
        try:
            await asyncio.wait([stream])
        finally:  # or whoever asked has gone
            self._open.discard(stream)
            stream.cancel()
        if stream.cancelled():
            return False
        stream.result()
        return True

    def end(self) -> None:
        """End all of them, and each that comes yet."""
        self._is_ending = True
        for stream in self._open:
            stream.cancel()


class EventStream(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until there is nothing more, the listener has gone, or the server ends."""
        streams: Streams = scope["app"].state.streams
        if not await streams.run(asyncio.ensure_future(super().__call__(scope, receive, send))):
            with suppress(RuntimeError):  # it had not begun to answer
                await send({"type": "http.response.body", "body": b"", "more_body": False})


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """From a server's start to its end: streams end with the first signal, the models' processes after everything."""
    if threading.current_thread() is threading.main_thread():  # which alone hears signals
        _end_at_signals(app.state.streams)
    yield
    pool = getattr(app.state, "pool", None)
    if pool is not None:
        await asyncio.to_thread(pool.close)


def _end_at_signals(streams: Streams) -> None:
    """Put ourselves before the server's own handlers; it puts back at its end what was there before those."""
    loop = asyncio.get_running_loop()

    def before(handler: Any) -> Any:
        def handle(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(streams.end)
            handler(number, frame)

        return handle

    for number in SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler):
            signal.signal(number, before(handler))
