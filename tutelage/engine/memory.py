"""Keep the memory that training frees, instead of giving it back to the system at every step.

glibc hands large blocks back at once, so each step would touch fresh pages again: the first steps of a run, and
any that grows, take two to three times as long. Leaves out other allocators and systems, where this does
nothing.
"""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Tell glibc to serve large blocks from the heap and never to trim it; True where that was possible."""
    if os.name != "posix":
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 * 2**20))
        results = [libc.mallopt(name, value) for name, value in settings]
        return all(results)
    except (OSError, AttributeError):
        return False
