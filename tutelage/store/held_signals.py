"""Ctrl-C and SIGTERM wait until a write is done.

Python raises KeyboardInterrupt between any two steps of a program, also between taking a lock and noting that it was
taken. A write that ends so may hold the database, and whatever this process still has to write waits for itself. Writes
are short; a second Ctrl-C does not wait. Leaves out other threads than the main one, which signals do not reach.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[None]:
    """Inside, the first signal waits; at the end its own handler hears of it. Those that have no handler are let be."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Any] = {number: found for number in _SIGNALS if callable(found := signal.getsignal(number))}
    waiting: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if waiting:
            handlers[number](number, frame)
        waiting.append(number)

    try:
        for number in handlers:
            signal.signal(number, hold)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in waiting[:1]:
            handlers[number](number, None)
