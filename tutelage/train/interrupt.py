"""Ctrl-C and SIGTERM end training after the current step instead of in the middle of it.

Leaves out what happens then (the loop saves a checkpoint and stops), and SIGKILL, which nothing can catch: see
`tutelage.train.checkpoint` for why that does no harm.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_MESSAGE = b"\nstopping after this step; press Ctrl-C again to stop at once\n"


@dataclass
class Interrupt:
    """Whether someone has asked the loop to stop; the loop looks at `requested` after every step."""

    requested: bool = False

    def _on_signal(self, _signum: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        os.write(2, _MESSAGE)  # not print(): a handler may run in the middle of another print to the same stream


@contextmanager
def graceful_interrupt() -> Iterator[Interrupt]:
    """Turn the first Ctrl-C or SIGTERM into `.requested`, the second into KeyboardInterrupt; restore handlers after.

    Outside the main thread, where Python allows no handlers, nothing is installed and `.requested` stays False. A
    signal that the process was started to ignore (a background job of a shell) stays ignored.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    caught = [signum for signum in _SIGNALS if signal.getsignal(signum) is not signal.SIG_IGN]
    previous = {signum: signal.signal(signum, interrupt._on_signal) for signum in caught}
    try:
        yield interrupt
    finally:
        for signum, handler in previous.items():
            # None stands for a handler that was not installed from Python and cannot be put back.
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
