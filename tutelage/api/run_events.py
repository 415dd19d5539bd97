"""A run followed live, as server-sent events: states, points of the curves, samples, and a sign of life.

    event: state     the run as `GET /api/runs/RUN` tells it under `run`
    event: points    [{step, metrics}], with the last step as the event's id
    event: samples   {answers: [{prompt, step, answer, stopped}], warnings: […]}
    event: reload    read curves and samples anew: too much is new, or the run was set back to a checkpoint

Whoever comes again with `Last-Event-ID` gets the points after that step and the samples from that step on; a sample may
so come twice. No thread is held for a connection. A stream ends after a while, and the browser comes again by itself,
so that a session that has ended hears no more.

Leaves out: finding out what is new (`tutelage.runs.tail`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Header, Request

from tutelage.api.caller import Record, Reviewer
from tutelage.api.streams import EventStream
from tutelage.api.wire_runs import AfterStep, RunName
from tutelage.runs.files import RunFiles
from tutelage.runs.look import find
from tutelage.runs.tail import News, Watcher, Watchers, of_points, since, told

router = APIRouter(prefix="/api/runs", tags=["runs"])
LastEventId = Annotated[str | None, Header(pattern="^[0-9]{1,10}$", description="The step that was heard of last.")]
HEARTBEAT_SECONDS = 15.0
STREAM_SECONDS = 120.0
COME_AGAIN_MS = 1000


@router.get("/{run}/events", response_class=EventStream)
async def follow_run(
    run: RunName, person: Reviewer, store: Record, request: Request, after: AfterStep = 0,
    last_event_id: LastEventId = None,
) -> EventStream:  # fmt: skip
    """Follow a run: server-sent events `state`, `points`, `samples` and `reload`."""
    del person
    files = await asyncio.to_thread(find, store.workspace, run)
    step = int(last_event_id) if last_event_id is not None else after
    return EventStream(_events(_watchers(request, store), files, step), headers={"X-Accel-Buffering": "no"})


def _watchers(request: Request, store: Record) -> Watchers:
    """Those of this process."""
    state = request.app.state
    if not hasattr(state, "watchers"):
        state.watchers = Watchers(store.workspace)
    assert isinstance(state.watchers, Watchers)
    return state.watchers


async def _events(watchers: Watchers, files: RunFiles, step: int) -> AsyncIterator[bytes]:
    end = time.monotonic() + STREAM_SECONDS
    async with watchers.listen(files.name) as (watcher, queue):
        yield f"retry: {COME_AGAIN_MS}\n\n".encode()
        for news in await asyncio.to_thread(_missed, watcher, files, step):
            yield encoded(news)
        while (left := end - time.monotonic()) > 0:
            try:
                news_or_end = await asyncio.wait_for(queue.get(), min(HEARTBEAT_SECONDS, left))
            except TimeoutError:
                yield b": still here\n\n"
                continue
            if news_or_end is None:
                return
            yield encoded(news_or_end)


def _missed(watcher: Watcher, files: RunFiles, step: int) -> list[News]:
    """How the run stands, and what has come since a step."""
    found = [News("state", asdict(watcher.sight))] if watcher.sight is not None else []
    points = since(files.folder / "metrics.jsonl", step)
    lines = since(files.folder / "samples.jsonl", step - 1)
    if points is None or lines is None:
        return [*found, News("reload", {})]
    if points:
        found.append(of_points(points))
    return [*found, News("samples", told(lines))] if lines else found


def encoded(news: News) -> bytes:
    """An event as it travels; JSON has no bare line break, so it is one line."""
    number = f"id: {news.step}\n" if news.step is not None else ""
    return f"event: {news.kind}\n{number}data: {json.dumps(news.data)}\n\n".encode()
