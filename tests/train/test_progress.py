"""What a run shows: plain lines now and then, a live bar on a terminal, nothing when quiet."""

import os
import pty
import re
import subprocess
import sys

import pytest

from tutelage.train import progress
from tutelage.train.progress import Progress, _duration, counting, time_left


class Clock:
    """Time that passes only when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def metrics(loss: float) -> dict[str, float]:
    return {"loss": loss, "tokens_per_second": 350.4}


def test_the_first_step_the_last_and_one_every_fifteen_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    with Progress(10) as shown:
        for step in range(1, 11):
            clock.now += 4
            shown.update(step, metrics(2.0))
    # Steps end after 4, 8, 12 … seconds; a line is due at step 1, then 15 seconds later at the earliest: 5 and 9.
    assert capsys.readouterr().err.splitlines() == [
        "step 1/10  loss 2.000  350 tokens/s  0:36 left",
        "step 5/10  loss 2.000  350 tokens/s  0:20 left",
        "step 9/10  loss 2.000  350 tokens/s  0:04 left",
        "step 10/10  loss 2.000  350 tokens/s  0:00 left",
    ]


def test_time_left_counts_only_the_steps_of_this_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    with Progress(1000, start_step=900) as shown:
        clock.now += 50
        shown.update(901, metrics(2.0))
    assert capsys.readouterr().err == "step 901/1000  loss 2.000  350 tokens/s  1:22:30 left\n"


def test_the_loss_shown_is_smoothed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Clock(monkeypatch)
    with Progress(3) as shown:
        for step, loss in enumerate((4.0, 2.0, 1.0), start=1):
            shown.update(step, metrics(loss))
    # .8 * 4 + .2 * 2 = 3.6; .8 * 3.6 + .2 * 1 = 3.08
    assert [line.split()[3] for line in capsys.readouterr().err.splitlines()] == ["4.000", "3.080"]


def test_quiet_shows_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress(2, quiet=True) as shown:
        shown.update(1, metrics(1.0))
        shown.update(2, metrics(1.0))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (90061, "25:01:01")],
)
def test_durations(seconds: float, text: str) -> None:
    assert _duration(seconds) == text


BAR = """
import sys
from tutelage.train.progress import Progress
with Progress(4, start_step=1, quiet=sys.argv[1] == "quiet") as shown:
    for step in (2, 3, 4):
        shown.update(step, {"loss": 1.5, "tokens_per_second": 350.4})
"""


def on_a_terminal(*arguments: str, program: str = BAR) -> str:
    """What a process writes to a terminal that is its standard error."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    child = subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux reports the other end's closing as an error
            part = b""
        if not part:
            break
        written += part
    os.close(ours)
    assert child.wait() == 0
    return written.decode()


def test_a_terminal_gets_a_bar() -> None:
    text = on_a_terminal("loud")
    last = text.rpartition("training")[2]
    for part in ("4/4", "loss 1.500", "350 tokens/s", "left"):
        assert part in last
    assert "step " not in text


def test_a_quiet_run_shows_nothing_on_a_terminal_either() -> None:
    assert on_a_terminal("quiet") == ""


# Counting things done side by side -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elapsed", "done", "total", "at_once", "shown"),
    [
        (5.0, 0, 96, 64, "--:--"),
        (5.0, 1, 96, 64, "--:--"),  # the shortest of 64: not 95 times 5 seconds
        (29.0, 63, 96, 64, "--:--"),
        (32.0, 64, 96, 64, "0:16"),  # 32 left at .5 seconds each
        (32.0, 95, 96, 96, "--:--"),  # all at once: nothing to extrapolate from
        (32.0, 96, 96, 96, "0:00"),
        (20.0, 10, 10, 64, "0:00"),  # fewer than fit at once
        (0.0, 0, 0, 64, "0:00"),
        (3.0, 1, 4, 1, "0:09"),  # one after another
        (3.0, 0, 4, 1, "--:--"),
        (7200.0, 64, 128, 64, "2:00:00"),
    ],
)
def test_time_left_is_said_when_there_is_something_to_extrapolate_from(
    elapsed: float, done: int, total: int, at_once: int, shown: str
) -> None:
    assert time_left(elapsed, done, total, at_once) == shown


def test_lines_of_answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock(monkeypatch)
    with counting("answering", 96, at_once=64) as advance:
        for seconds, done in ((16, 1), (16, 62), (16, 1), (16, 32)):
            clock.now += seconds
            advance(done)
    assert capsys.readouterr().err.splitlines() == [
        "answering 1/96  --:-- left",
        "answering 63/96  --:-- left",
        "answering 64/96  0:24 left",  # 48 seconds for 64, half as much for 32
        "answering 96/96  0:00 left",
    ]


COUNTING = """
import sys
from tutelage.train.progress import counting
with counting("answering", 6, at_once=4) as advance:
    for done in {steps}:
        advance(done)
"""


@pytest.mark.parametrize(("steps", "left"), [((1, 2), "--:--"), ((1, 2, 1), r"\d+:\d\d"), ((6,), "0:00")])
def test_a_terminal_gets_the_same_time_left(steps: tuple[int, ...], left: str) -> None:
    text = on_a_terminal(program=COUNTING.format(steps=steps))
    last = text.rpartition("answering")[2]
    assert f"{sum(steps)}/6" in last
    assert re.search(f"left {left}", last)
