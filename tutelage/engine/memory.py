"""Two settings of the libraries below, for a process that trains on the CPU.

glibc hands large blocks back to the system at once, so each step would touch fresh pages again: the first steps of a
run, and any that grows, would take two to three times as long. And oneDNN keeps a kernel of half a megabyte for each
shape it met, by default the last 1,024 of them. Leaves out other allocators and systems, where this does nothing.
"""

from __future__ import annotations

import ctypes
import os

KEPT_KERNELS = 128
"""More than one row needs: a product for each layer's matrix, and seven for each block of attention."""
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4


def bound_kernel_cache() -> None:
    """Tell oneDNN how many kernels to keep, unless the user did; it looks only once, as torch is imported."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KEPT_KERNELS))


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
