"""Real signals to a real process: the first asks, the second stops at once."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from tutelage.train.interrupt import graceful_interrupt

# A loop of "steps" of one line each; the parent's answer on stdin ends a step, so that no test depends on time.
LOOP = """
import signal, sys
from tutelage.train.interrupt import graceful_interrupt

signal.signal(signal.SIGINT, {before})
with graceful_interrupt() as interrupt:
    for step in range(1, 6):
        print("in step", step, flush=True)
        sys.stdin.readline()
        print("end of step", step, interrupt.requested, flush=True)
        if interrupt.requested:
            break
print("handlers restored", signal.getsignal(signal.SIGINT) == {before}, flush=True)
print("default again", signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, flush=True)
"""
MESSAGE = "\nstopping after this step; press Ctrl-C again to stop at once\n"


def start(before: str = "signal.default_int_handler") -> tuple[subprocess.Popen[str], Callable[[str], None]]:
    child = subprocess.Popen(
        [sys.executable, "-c", LOOP.format(before=before)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def expect(line: str) -> None:
        assert child.stdout is not None
        assert child.stdout.readline() == line + "\n"

    return child, expect


def end_step(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def finish(child: subprocess.Popen[str]) -> tuple[str, str]:
    """What is left on stdout and stderr; communicate() would lose what readline() has buffered."""
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    with child, child.stdin, child.stdout, child.stderr:
        return child.stdout.read(), child.stderr.read()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_the_step_end(signum: signal.Signals) -> None:
    child, expect = start()
    expect("in step 1")
    end_step(child)
    expect("end of step 1 False")
    expect("in step 2")
    child.send_signal(signum)
    end_step(child)
    expect("end of step 2 True")
    output, errors = finish(child)
    assert output == "handlers restored True\ndefault again True\n"
    assert errors == MESSAGE
    assert child.returncode == 0


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_stops_at_once(second: signal.Signals) -> None:
    child, expect = start()
    expect("in step 1")
    child.send_signal(signal.SIGINT)
    assert child.stderr is not None
    assert child.stderr.readline() + child.stderr.readline() == MESSAGE  # the first has arrived: they do not merge
    child.send_signal(second)
    output, errors = finish(child)
    assert output == ""
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert child.returncode == -signal.SIGINT


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    child, expect = start(before="signal.SIG_IGN")
    expect("in step 1")
    child.send_signal(signal.SIGINT)
    end_step(child)
    expect("end of step 1 False")
    expect("in step 2")
    child.send_signal(signal.SIGTERM)
    end_step(child)
    expect("end of step 2 True")
    output, _ = finish(child)
    assert output == "handlers restored True\ndefault again True\n"


def test_outside_the_main_thread_it_does_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with graceful_interrupt() as interrupt:
            seen.append((interrupt.requested, signal.getsignal(signal.SIGTERM) == before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, True)]


def test_handlers_come_back_after_an_exception() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def interrupted_then_broken() -> None:
        with graceful_interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGTERM)
            assert interrupt.requested
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        interrupted_then_broken()
    assert signal.getsignal(signal.SIGTERM) == before
