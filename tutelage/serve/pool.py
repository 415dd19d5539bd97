"""The models that are loaded: started when somebody asks them, at most so many, the one that rests longest goes first.

Whoever asks waits in one line: a model that is loaded takes the next ask at once, unless somebody before it waits for
room. A model answers one ask after the other, and two models at the same time share the cores. A process that crashed
is started anew by the next ask. Nothing here waits in the event loop, and every process ends with the server, however
that ends, for its input ends with it.

Several servers of one workspace have a pool each. Leaves out: the process itself (`tutelage.serve.process`).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

from tutelage.errors import ModelError, TutelageError
from tutelage.models.talkers import find, state_of
from tutelage.serve.asking import Ask, Told
from tutelage.serve.process import GONE, Listener, Process

MOST_MODELS = 2
IDLE_SECONDS = 600.0
LOOK_SECONDS = 0.05
"""How often whoever waits for room looks whether there is some."""
SIGN_SECONDS = 1.0
"""How often somebody who waits is told so."""


class Target(NamedTuple):
    """What a name stands for."""

    path: str
    state: int
    """Changes when the name stands for another model."""


class Pool:
    """The processes of the models of one workspace."""

    def __init__(
        self, workspace: Path, *, most: int = MOST_MODELS, idle_seconds: float = IDLE_SECONDS,
        resolve: Callable[[str], Target] | None = None, offline: bool = True,
    ) -> None:  # fmt: skip
        """`resolve` says what a name stands for, or raises; by default a model of the workspace, or a starter."""
        self.workspace, self.most, self.idle_seconds = workspace, most, idle_seconds
        self._resolve = resolve or self._by_name
        self._environment = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if offline else {}
        self._processes: dict[tuple[str, Target], Process] = {}
        self._line: OrderedDict[int, None] = OrderedDict()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._load_seconds: dict[str, float] = {}
        self._closed = False

    def _by_name(self, name: str) -> Target:
        folder = find(name, self.workspace)
        return Target(str(folder.absolute()), state_of(folder))

    def loaded(self) -> list[str]:
        """The models that could answer without being loaded first."""
        with self._lock:
            return [each.model for each in self._processes.values() if each.is_ready and not each.has_ended]

    def load(self, model: str, told: Callable[[str], None]) -> None:
        """Start a model and wait until it is ready; `told` hears how far it is. Raises `ModelError` when it fails."""
        target, said = self._resolve(model), ""
        with self._lock:
            process = self._found(model, target) or self._started(model, target)
        while process is not None and not process.is_ready:
            if process.has_ended:
                raise ModelError(process.why())
            if process.words != said:
                said = process.words
                told(said)
            time.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """End every process."""
        with self._lock:
            self._closed = True
            left, self._processes = list(self._processes.values()), {}
        for process in left:
            process.end()

    async def answer(self, model: str, ask: Ask) -> AsyncGenerator[Told, None]:
        """What happens: `waiting` and `loading` now and then, `begun`, `text`, and at the end `done` or `error`.

        Whoever closes the generator stops the answer (`contextlib.aclosing`, for a loop that is left closes nothing).
        """
        number = next(self._numbers)
        try:
            again = True
            while again:
                again = False
                target = await asyncio.to_thread(self._resolve, model)
                async with aclosing(self._answer_once(number, model, target, ask)) as answers:
                    async for told in answers:
                        if told.kind == GONE:
                            again = True
                            break
                        yield told
        except TutelageError as error:
            yield Told("error", {"error": str(error), "field": None, "theirs": True})
        finally:
            with self._lock:
                self._line.pop(number, None)

    async def _answer_once(self, number: int, model: str, target: Target, ask: Ask) -> AsyncGenerator[Told, None]:
        listener, began, said = Listener(), time.monotonic(), 0.0
        while (process := await self._try(number, model, target, ask, listener)) is None:
            if time.monotonic() - said >= SIGN_SECONDS:
                said = time.monotonic()
                yield Told("waiting", {"seconds": round(said - began), "text": "other models are answering"})
            await asyncio.sleep(LOOK_SECONDS)
        try:
            async with aclosing(self._follow(process, listener, began)) as events:
                async for told in events:
                    yield told
        finally:
            process.forget(number)
            self._share()

    async def _try(self, number: int, model: str, target: Target, ask: Ask, listener: Listener) -> Process | None:
        """`_claim` in a thread; whoever leaves meanwhile has what the thread claimed given back."""
        claim = asyncio.ensure_future(asyncio.to_thread(self._claim, number, model, target, ask, listener))
        try:
            return await asyncio.shield(claim)
        except asyncio.CancelledError:
            claim.add_done_callback(lambda done: self._give_back(number, done))
            raise

    def _give_back(self, number: int, claim: asyncio.Future[Process | None]) -> None:
        with self._lock:
            self._line.pop(number, None)
        if not claim.cancelled() and claim.exception() is None and (process := claim.result()) is not None:
            process.forget(number)

    async def _follow(self, process: Process, listener: Listener, began: float) -> AsyncGenerator[Told, None]:
        has_begun, seconds = False, SIGN_SECONDS if process.is_ready else 0.0  # that it is loading is said at once
        while True:
            told = await listener.get(seconds)
            seconds = SIGN_SECONDS
            if told is None:
                if not has_begun:
                    yield self._sign(process, began)
                continue
            has_begun = True
            yield told
            if told.is_last or told.kind == GONE:
                if process.load_seconds is not None:
                    self._load_seconds[process.model] = process.load_seconds
                return

    def _sign(self, process: Process, began: float) -> Told:
        seconds = round(time.monotonic() - began)
        if process.is_ready:
            return Told("waiting", {"seconds": seconds, "text": "it answers somebody else first"})
        usual = self._load_seconds.get(process.model)
        data = {"seconds": seconds, "text": process.words, "usual_seconds": usual and round(usual)}
        return Told("loading", data)

    # Who may have a process ---------------------------------------------------------------------------------------

    def _claim(self, number: int, model: str, target: Target, ask: Ask, listener: Listener) -> Process | None:
        """The process that has taken the ask, or None while it must wait."""
        with self._lock:
            self._line.setdefault(number)
            if self._closed:
                raise TutelageError("the server is stopping")
            if next(iter(self._line)) != number:
                return None
            process = self._found(model, target) or self._started(model, target)
            if process is None or not process.ask(number, ask, listener):
                return None
            self._line.pop(number)
        self._share()
        return process

    def _found(self, model: str, target: Target) -> Process | None:
        for key, process in list(self._processes.items()):
            if process.has_ended:
                del self._processes[key]
        return self._processes.get((model, target))

    def _started(self, model: str, target: Target) -> Process | None:
        """A new process, if there is room or an idle one can make some."""
        if len(self._processes) >= self.most:
            idle = [key for key, process in self._processes.items() if not process.is_busy]
            if not idle:
                return None
            self._processes.pop(min(idle, key=lambda key: self._processes[key].last_used)).end()
        made = Process(
            model, target.path, self.workspace, idle_seconds=self.idle_seconds, environment=self._environment
        )
        self._processes[model, target] = made
        return made

    def _share(self) -> None:
        """Tell those that answer how many cores each has."""
        with self._lock:
            busy = [process for process in self._processes.values() if process.is_busy]
        for process in busy:
            process.share(max(1, num_cores() // len(busy)))


def num_cores() -> int:
    """Those that this process may use."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if limit.isdecimal() and int(limit):
        return int(limit)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
