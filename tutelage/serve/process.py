"""One model's process as the server sees it: asks go in, what happens comes out to whoever asked.

Two threads stand between the pipes and the server, so that neither a slow model nor a full pipe ever holds the event
loop up. Leaves out: which processes there are (`tutelage.serve.pool`), and what runs in them (`tutelage.serve.worker`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tutelage.errors import ModelError
from tutelage.serve.asking import Ask, Told, ask_line, line

GONE = "gone"
"""The process ended by itself, because nobody had asked anything, before it saw this ask: ask again."""


class Listener:
    """Where what happens to one ask arrives, in the event loop of whoever asked."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._told: asyncio.Queue[Told] = asyncio.Queue()

    def put(self, told: Told) -> None:
        """From any thread; a loop that has ended hears nothing."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._told.put_nowait, told)

    async def get(self, seconds: float) -> Told | None:
        """What happened next, or None if nothing did for so long."""
        if not self._told.empty():
            return self._told.get_nowait()
        try:
            return await asyncio.wait_for(self._told.get(), seconds)
        except TimeoutError:
            return None


class Process:
    """A model's process, from its start on."""

    def __init__(
        self, model: str, target: str, workspace: Path, *, idle_seconds: float, environment: Mapping[str, str]
    ) -> None:
        """`target` is what the process is to load; `model` is what people call it."""
        self.model = model
        self.began = self.last_used = time.monotonic()
        self.words = "starting"
        self.is_ready = self.has_ended = False
        self.load_seconds: float | None = None
        self._failure = ""
        self._listeners: dict[int, Listener] = {}
        self._seen: set[int] = set()
        self._lock = threading.Lock()
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._process = _start(target, workspace, idle_seconds, environment)
        for work in (self._read, self._write):
            threading.Thread(target=work, name=f"model {model}", daemon=True).start()

    @property
    def is_busy(self) -> bool:
        return bool(self._listeners)

    @property
    def process_id(self) -> int:
        return self._process.pid

    def ask(self, id: int, ask: Ask, listener: Listener) -> bool:
        """Hand an ask in; False when the process has ended."""
        with self._lock:
            if self.has_ended:
                return False
            self._listeners[id] = listener
        self.last_used = time.monotonic()
        self._outgoing.put(ask_line(id, ask))
        return True

    def forget(self, id: int) -> None:
        """Nobody waits for this ask any more: stop it, if it is not done."""
        with self._lock:
            waited = self._listeners.pop(id, None)
            self._seen.discard(id)
        self.last_used = time.monotonic()
        if waited is not None:
            self._outgoing.put(line({"do": "stop", "id": id}))

    def share(self, num_threads: int) -> None:
        """How many cores to use from the next token on."""
        self._outgoing.put(line({"do": "threads", "num": num_threads}))

    def end(self) -> None:
        """End the process at once; it holds nothing that is not elsewhere."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    # The two threads ----------------------------------------------------------------------------------------------

    def _write(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            while (text := self._outgoing.get()) is not None:
                pipe.write(text)
                pipe.flush()
        with contextlib.suppress(BrokenPipeError):
            pipe.close()

    def _read(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        for text in pipe:
            with contextlib.suppress(ValueError):  # half a line of a process that was killed
                self._hear(json.loads(text))
        self._process.wait()
        pipe.close()
        self._outgoing.put(None)
        self._tell_the_end()

    def _hear(self, record: dict[str, Any]) -> None:
        kind = record.pop("event")
        if kind == "loading":
            self.words = record["text"]
        elif kind == "ready":
            self.is_ready, self.load_seconds = True, time.monotonic() - self.began
        elif kind == "failed":
            self._failure = record["error"]
        else:
            self._pass_on(record.pop("id"), Told(kind, record))

    def _pass_on(self, id: int, told: Told) -> None:
        with self._lock:
            listener = self._listeners.get(id)
            self._seen.add(id)
            if told.is_last:
                self._listeners.pop(id, None)
                self._seen.discard(id)
                self.last_used = time.monotonic()
        if listener is not None:
            listener.put(told)

    def _tell_the_end(self) -> None:
        with self._lock:
            self.has_ended = True
            left, self._listeners = self._listeners, {}
        for id, listener in left.items():
            by_itself = self._process.returncode == 0 and id not in self._seen
            listener.put(
                Told(GONE, {}) if by_itself else Told("error", {"error": self.why(), "field": None, "theirs": False})
            )

    def why(self) -> str:
        """Why there will be no answer, in plain words."""
        if self._failure:
            return self._failure
        code = self._process.returncode
        killed = f"it was ended from outside ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
        hint = "; perhaps there is too little memory for it" if code == -signal.SIGKILL else ""
        return f"'{self.model}' stopped in the middle: {killed}{hint}. It is loaded anew when you try again"


def _start(
    target: str, workspace: Path, idle_seconds: float, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:  # fmt: skip
    """The process. A session of its own keeps the terminal's Ctrl-C from it; it ends when its input does."""
    folder = workspace.absolute() / "models"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "tutelage.serve.worker", target, str(workspace.absolute()), str(idle_seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, cwd=folder,
            env=os.environ | dict(environment),
        )  # fmt: skip
    except OSError as error:
        raise ModelError(f"the model's process could not be started: {error.strerror or error}") from error
