"""Writers take turns, whichever process they are in; nobody waits for one who has died, left, or cannot lock files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median

import pytest
from record import BO
from sqlalchemy import insert

from tutelage.errors import UnavailableError
from tutelage.store import database, schema, write_turns
from tutelage.store.database import Store
from tutelage.store.write_turns import Line, WriteTurns

WRITERS = """
import sys, threading, time
from pathlib import Path
from sqlalchemy import insert
from tutelage.store import schema
from tutelage.store.address import parse_url
from tutelage.store.database import Store
waits = []
def work(name):
    for number in range(int(sys.argv[3])):
        asked = time.perf_counter()
        with store.write() as connection:
            waits.append(time.perf_counter() - asked)
            connection.execute(insert(schema.settings).values(name=f"{name}-{number}", value=number))
            time.sleep(0.002)
with Store(Path("."), parse_url(sys.argv[1])) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    threads = [threading.Thread(target=work, args=(f"{sys.argv[2]}-{each}",)) for each in range(3)]
    for each in threads: each.start()
    for each in threads: each.join()
print(*waits)
"""


def start(code: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_no_writer_of_several_processes_is_passed_by_the_others(store: Store) -> None:
    """By SQLite's polling alone the longest wait is some hundred times the median one."""
    address = store.url.render_as_string()
    running = [start(WRITERS, address, name, "25") for name in "abcd"]
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    waits = sorted(float(each) for process in running for each in process.communicate(timeout=300)[0].split())
    assert len(waits) == 300
    assert waits[int(0.95 * len(waits))] < 15 * median(waits)  # some may wait while the machine is busy elsewhere


HOLDER = """
import sys
from pathlib import Path
from tutelage.store.write_turns import WriteTurns
with WriteTurns(Path(sys.argv[1])).turn(60) as came:
    assert came
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_the_turn_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    holder = start(HOLDER, str(tmp_path / "db"))
    turns = WriteTurns(tmp_path / "db")
    with turns.turn(0.05) as came:
        assert not came
    threading.Timer(0.1, lambda: os.kill(holder.pid, signal.SIGKILL)).start()
    with turns.turn(60) as came:
        assert came
    holder.communicate(timeout=60)


def test_one_who_gave_up_does_not_get_the_turn_later(tmp_path: Path) -> None:
    holder = start(HOLDER, str(tmp_path / "db"))
    turns = WriteTurns(tmp_path / "db")
    for _ in range(3):
        with turns.turn(0.02) as came:
            assert not came
    holder.communicate("go\n", timeout=60)
    for _ in range(3):  # whoever waited in vain holds nothing
        with turns.turn(60) as came:
            assert came
    until = time.monotonic() + 60
    while write_turns._DESCRIPTORS and time.monotonic() < until:
        time.sleep(0.01)
    assert not write_turns._DESCRIPTORS


def test_two_stores_of_one_process_take_turns(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.05)
    with Store(store.workspace, store.url) as other:
        with store.write(), pytest.raises(UnavailableError, match="another write has taken over"), other.write():
            pass
        with other.write() as connection:
            connection.execute(insert(schema.settings).values(name="one", value=1))


def test_writing_goes_on_where_the_files_cannot_be_made(store: Store) -> None:
    for suffix in write_turns.SUFFIXES:
        Path(f"{store.url.database}{suffix}").mkdir()  # no file can be opened there, whoever we are
    with store.write() as connection:
        connection.execute(insert(schema.settings).values(name="one", value=1))


def test_writing_goes_on_where_files_cannot_be_locked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(write_turns.fcntl, "flock", no_locks)
    with store.write() as connection:
        connection.execute(insert(schema.audit_log).values(id="x", at_ms=0, person_id=BO.id, action="a", detail={}))
    assert not write_turns._DESCRIPTORS


def test_a_line_is_served_in_order() -> None:
    line, came = Line(), list[int]()
    assert line.acquire(0)

    def wait(number: int) -> None:
        assert line.acquire(60)
        came.append(number)
        line.release()

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(8)]
    for number, thread in enumerate(threads, start=1):
        thread.start()
        while len(line._waiting) < number:
            time.sleep(0.001)
    assert not line.acquire(0.01)  # the ninth does not wait so long
    line.release()
    for thread in threads:
        thread.join(60)
    assert came == list(range(8))
    assert line.acquire(0)


def test_one_who_is_interrupted_leaves_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line()
    assert line.acquire(0)

    class Interrupted:
        def acquire(self, timeout: float | None = None) -> bool:
            if timeout is not None:
                raise KeyboardInterrupt
            return True

    with monkeypatch.context() as patched:
        patched.setattr(write_turns.threading, "Lock", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            line.acquire(60)
    line.release()
    assert line.acquire(0)
