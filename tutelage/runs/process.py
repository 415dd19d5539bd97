"""Starting a verb of the command line as a process of its own, which outlives whoever started it.

It is given a list of arguments, never a line for a shell, and it inherits a lock that it holds until it ends, so that
anybody can tell that it lives; its own session keeps the studio's Ctrl-C from it. It works in an empty folder, so that
no name can mean a file there.

Leaves out: which verb, and what may be asked of it (`launch`, `evaluations`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tutelage.errors import ConfigError, ConflictError
from tutelage.store.database import Store

NICE = 5
"""How far such a process stands behind the people who label on the same machine."""
LOCK_TRIES, LOCK_WAIT_SECONDS = 5, 0.05


@contextmanager
def only_starter(lock: Path, busy: str) -> Iterator[int]:
    """The lock, which the process that is started inherits. `ConflictError` saying `busy` while one lives."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(fd, busy)
        yield fd
    finally:
        os.close(fd)


def _take(fd: int, busy: str) -> None:
    for number in range(LOCK_TRIES):
        time.sleep(LOCK_WAIT_SECONDS if number else 0)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # taken, or only looked at for a moment
            continue
        return
    raise ConflictError(busy)


def spawn(arguments: Sequence[str], log: int, lock: int, folder: Path, environment: Mapping[str, str]) -> int:
    """Start `tutelage ARGUMENTS` in `folder`, writing what it says into the file `log`; gives the process's number."""
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tutelage", *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            pass_fds=(lock,), start_new_session=True, cwd=folder, env=dict(environment),
        )  # fmt: skip
    except OSError as error:
        raise ConfigError(f"the process could not be started: {error.strerror or error}") from error
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
    threading.Thread(target=process.wait, name=f"wait {process.pid}", daemon=True).start()  # or it stays a zombie
    return process.pid


def environment_for(store: Store) -> dict[str, str]:
    """That of this process, with the record's address, whatever way it was found."""
    address = store.url.render_as_string(hide_password=False)
    return os.environ | {"TUTELAGE_DATABASE": address, "PYTHONUNBUFFERED": "1", "COLUMNS": "120"}
