"""Following runs live: one watcher a run however many listen, so that two hundred open pages cost little more than one.

A watcher looks at the run's files now and then, in a thread, and gives what is new to every listener's queue. It begins
with the first listener and ends after the last. Messages are lists of whole steps; a listener that is too slow, or a
run that was set back to a checkpoint, is told to read anew.

Leaves out: how messages travel (`tutelage.api.run_events`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tutelage.errors import NotFoundError
from tutelage.runs.curves import answer_of, is_answer, warning_of
from tutelage.runs.files import LAST_BYTES, RunFiles, last_bytes, records_in
from tutelage.runs.look import Sight, numbers, see

LOOK_SECONDS = 0.5
IDLE_SECONDS = 2.0
"""Between two looks at a run that is not running."""
QUEUE = 200
MOST_NEW_BYTES = 4 * 1024 * 1024
"""More than that at once is read anew instead."""

Kind = Literal["state", "points", "samples", "reload"]


@dataclass(frozen=True, slots=True)
class News:
    """Something new of a run."""

    kind: Kind
    data: Any
    step: int | None = None
    """The last step it holds, for `points`."""


class Follower:
    """The new lines of one file since the last look."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset, self.inode = path, 0, 0
        self.rest = b""

    def skip(self) -> None:
        """Take what is there as read."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return
        self.offset, self.inode, self.rest = found.st_size, found.st_ino, b""
        with self.path.open("rb") as file:  # a line that is being written at this moment is not read yet
            start = max(0, self.offset - LAST_BYTES)
            file.seek(start)
            self.rest = file.read(self.offset - start).rpartition(b"\n")[2]

    def read(self) -> list[dict[str, Any]] | None:
        """The records of the new whole lines; None when the file was cut, replaced, or has grown too much at once."""
        try:
            with self.path.open("rb") as file:
                found = os.fstat(file.fileno())
                is_other = bool(self.inode) and found.st_ino != self.inode
                if is_other or found.st_size < self.offset or found.st_size - self.offset > MOST_NEW_BYTES:
                    self.skip()
                    return None
                file.seek(self.offset)
                data = self.rest + file.read(found.st_size - self.offset)
        except FileNotFoundError:
            return []
        self.inode, self.offset = found.st_ino, found.st_size
        whole, _, self.rest = data.rpartition(b"\n")
        return records_in(whole)


class Watcher:
    """One run, looked at for everybody who listens."""

    def __init__(self, workspace: Path, name: str) -> None:
        self.workspace, self.name = workspace, name
        folder = RunFiles(workspace, name).folder
        self.metrics, self.samples = Follower(folder / "metrics.jsonl"), Follower(folder / "samples.jsonl")
        self.listeners: set[asyncio.Queue[News | None]] = set()
        self.sight: Sight | None = None
        self.ready = asyncio.Event()
        self.task = asyncio.create_task(self._watch())

    def begin(self) -> None:
        """Take what is there as known; whoever listens reads that for themselves."""
        self.sight = see(self.workspace, self.name)
        self.metrics.skip()
        self.samples.skip()

    def look(self) -> list[News]:
        """What is new since the last look."""
        points, lines = self.metrics.read(), self.samples.read()
        if points is None or lines is None:
            return [News("reload", {})]
        found: list[News] = []
        if points:
            found.append(of_points(points))
        if lines:
            found.append(News("samples", told(lines)))
        sight = see(self.workspace, self.name)
        if sight != self.sight:
            self.sight = sight
            found.append(News("state", asdict(sight)))
        return found

    async def _watch(self) -> None:
        """Look, tell everybody, wait; until nobody listens or the run is gone."""
        try:
            await asyncio.to_thread(self.begin)
            self.ready.set()
            while self.listeners:
                idle = self.sight is not None and not self.sight.is_alive
                await asyncio.sleep(IDLE_SECONDS if idle else LOOK_SECONDS)
                for news in await asyncio.to_thread(self.look):
                    self.tell(news)
        except (NotFoundError, OSError):  # somebody has removed the run
            pass
        finally:
            self.ready.set()
            self.tell(None)

    def tell(self, news: News | None) -> None:
        """Give it to every listener; one whose queue is full has to come again."""
        for queue in list(self.listeners):
            if queue.full() or news is None:
                self.listeners.discard(queue)
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(news)


def of_points(records: list[dict[str, Any]]) -> News:
    """Lines of metrics.jsonl as they are told of."""
    return News("points", [{"step": each["step"], "metrics": numbers(each)} for each in records], records[-1]["step"])


def told(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Lines of samples.jsonl as they are told of."""
    answers = [{"prompt": line["prompt"], **answer_of(line)} for line in lines if is_answer(line)]
    return {"answers": answers, "warnings": [warning_of(line) for line in lines if "warning" in line]}


def since(path: Path, step: int) -> list[dict[str, Any]] | None:
    """The records of later steps, read from the end of the file; None when they are too many."""
    count = LAST_BYTES
    while count <= MOST_NEW_BYTES:
        data = last_bytes(path, count)
        is_whole = len(data) < count
        found = records_in(data if is_whole else data.partition(b"\n")[2])
        if is_whole or (found and found[0]["step"] <= step):
            return [record for record in found if record["step"] > step]
        count *= 4
    return None


class Watchers:
    """The watchers of one server, by run."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.by_name: dict[str, Watcher] = {}

    @asynccontextmanager
    async def listen(self, name: str) -> AsyncIterator[tuple[Watcher, asyncio.Queue[News | None]]]:
        """A queue of what is new of a run from now on; None in it says to come again."""
        for known in [known for known, watcher in self.by_name.items() if watcher.task.done()]:
            del self.by_name[known]
        watcher = self.by_name.get(name)
        if watcher is None:
            watcher = self.by_name[name] = Watcher(self.workspace, name)
        queue: asyncio.Queue[News | None] = asyncio.Queue(QUEUE)
        watcher.listeners.add(queue)
        try:
            await watcher.ready.wait()
            yield watcher, queue
        finally:
            watcher.listeners.discard(queue)
