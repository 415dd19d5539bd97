"""Who writes next into SQLite: one writer after the other, in the order they came, across threads and processes.

SQLite has one lock for writers and lets those who wait poll for it with sleeps, so that under load some wait very long
while others pass them. Here they queue first: the threads of a process in a line, and the first of each line at two
locked files beside the database. Who waits for the turn holds the place of the next, so a process that has just
written cannot take the turn again before one that was waiting. The system lets go of both when a process dies.

This is for fairness only: what two writers must not do at once, SQLite's own lock prevents. So where the files cannot
be made or locked (a folder that is not ours, some network drives), writers poll as SQLite has it.

Leaves out: transactions (`tutelage.store.database`).
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # a system without it
    fcntl = None  # type: ignore[assignment]

SUFFIXES = ("-next", "-turn")
"""Of the two files beside a database: who holds the first is the next to write, who holds the second writes."""


class Line:
    """A lock whose waiters get it in the order in which they came."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._is_taken = False

    def acquire(self, timeout: float) -> bool:
        """Wait for one's place; False where it took longer than `timeout` seconds."""
        with self._guard:
            if not self._is_taken:
                self._is_taken = True
                return True
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        try:
            came = mine.acquire(timeout=max(0.0, timeout))
        except BaseException:  # Ctrl-C: nobody may wait for one who has left
            if not self._left(mine):
                self.release()
            raise
        return came or not self._left(mine)

    def _left(self, mine: threading.Lock) -> bool:
        """Leave the line; False for one whose turn had just come."""
        with self._guard:
            if mine not in self._waiting:
                return False
            self._waiting.remove(mine)
            return True

    def release(self) -> None:
        """Let the next one in."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False


class WriteTurns:
    """The turns of one process at one database; without a file those of its threads alone."""

    def __init__(self, database: Path | None) -> None:
        self._files = [Path(f"{database}{suffix}") for suffix in SUFFIXES] if database and fcntl else []
        self._line = Line()

    @contextmanager
    def turn(self, timeout: float) -> Iterator[bool]:
        """Hold the turn while the block runs; False, and no turn, where it did not come within `timeout` seconds."""
        until = time.monotonic() + timeout
        if not self._line.acquire(timeout):
            yield False
            return
        try:
            with self._turn_of_all(until) as came:
                yield came
        finally:
            self._line.release()

    @contextmanager
    def _turn_of_all(self, until: float) -> Iterator[bool]:
        """The turn among processes. The place of the next is given up as soon as the turn is there."""
        if not self._files:
            yield True
            return
        with _locked(self._files[0], until) as is_next:
            turn = _Locked(self._files[1], until) if is_next else None
        try:
            yield turn is not None and turn.came
        finally:
            if turn is not None:
                turn.release()


@contextmanager
def _locked(file: Path, until: float) -> Iterator[bool]:
    held = _Locked(file, until)
    try:
        yield held.came
    finally:
        held.release()


_DESCRIPTORS: set[int] = set()
"""Those that are open, which a fork must not keep: a lock lives as long as any copy of its descriptor."""


class _Locked:
    """A locked file. `came` is False where somebody else held it too long, and True where it cannot be locked."""

    def __init__(self, file: Path, until: float) -> None:
        self._came, self._given_up, self._guard = threading.Event(), False, threading.Lock()
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
            _DESCRIPTORS.add(self._descriptor)
            self.came = self._wait(self._descriptor, until)
        except (OSError, RuntimeError):  # RuntimeError: no room for another thread
            self.came = True

    def _wait(self, descriptor: int, until: float) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            threading.Thread(target=self._block, args=(descriptor,), daemon=True).start()
        try:
            came = self._came.wait(max(0.0, until - time.monotonic()))
        except BaseException:  # Ctrl-C
            if not self._give_up():
                self.release()
            raise
        return came or not self._give_up()

    def _block(self, descriptor: int) -> None:
        """Wait in the system's own queue, which knows no end: in a thread, which may be left behind."""
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with self._guard:
            self._came.set()
            left_behind = self._given_up
        if left_behind:
            _close(descriptor)

    def _give_up(self) -> bool:
        """Leave the lock to be closed when it comes; False where it has just come."""
        with self._guard:
            if self._came.is_set():
                return False
            self._given_up, self._descriptor = True, None
            return True

    def release(self) -> None:
        """Let the next one in."""
        if self._descriptor is not None:
            _close(self._descriptor)
            self._descriptor = None


def _close(descriptor: int) -> None:
    if descriptor not in _DESCRIPTORS:  # this is a fork, and it is another file's by now
        return
    _DESCRIPTORS.remove(descriptor)
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _after_fork() -> None:
    while _DESCRIPTORS:
        with suppress(OSError):
            os.close(_DESCRIPTORS.pop())


os.register_at_fork(after_in_child=_after_fork)
