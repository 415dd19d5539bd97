"""Names for new rows, which sort by the time they were made at, and that time. Leaves out the rows."""

from __future__ import annotations

import os
import secrets
import threading
import time


class _LastId:
    """What the newest id of this process is made of: its milliseconds, and the number behind them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._ms, self._number = 0, 0

    def next(self, ms: int) -> tuple[int, int]:
        """The next one: a number drawn anew in a new millisecond, and in the same one higher by a drawn step."""
        with self._guard:
            if ms == self._ms:
                self._number += 1 + secrets.randbits(64)
            else:
                self._ms, self._number = ms, secrets.randbits(79)
            return self._ms, self._number


_last_id = _LastId()


def _forget_last_id() -> None:
    global _last_id
    _last_id = _LastId()


os.register_at_fork(after_in_child=_forget_last_id)  # its lock may be held by a thread that is not here


def new_id() -> str:
    """A name for a new row: 32 hexadecimal digits that begin with the time in milliseconds, the rest drawn.

    Those that one process makes within a millisecond sort in the order in which they were made, too.
    """
    ms, number = _last_id.next(now_ms())
    return f"{ms:012x}{number:020x}"


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000
