"""What a run shows while it works: a bar with loss, tokens a second and time left, or lines where there is no terminal.

Leaves out what is recorded (`run_folder`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

LINE_EVERY_SECONDS = 15.0


class Progress:
    """A context manager; `update` once a step. On a terminal a live bar, elsewhere a line now and then."""

    def __init__(self, num_steps: int, start_step: int = 0, quiet: bool = False) -> None:
        self.num_steps, self.start_step, self.quiet = num_steps, start_step, quiet
        self._begun = self._last_line = time.monotonic()
        self._bar: Any = None
        self._shown: dict[str, float] = {}

    def __enter__(self) -> Self:
        if not self.quiet and sys.stderr.isatty():
            self._bar = _make_bar()
            self._task = self._bar.add_task("", total=self.num_steps, completed=self.start_step, loss="", speed="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show a step. The loss shown is smoothed; metrics.jsonl has the exact one."""
        text = self._smoothed(metrics)
        speed = f"{metrics['tokens_per_second']:.0f} tokens/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, loss=text, speed=speed)
        elif not self.quiet and self._line_is_due(step):
            left = (time.monotonic() - self._begun) / (step - self.start_step) * (self.num_steps - step)
            print(f"step {step}/{self.num_steps}  {text}  {speed}  {_duration(left)} left", file=sys.stderr, flush=True)

    def _smoothed(self, metrics: Mapping[str, float]) -> str:
        """The loss, or what says more of a method that samples."""
        wanted = ("reward", "kl", "length") if "reward" in metrics else ("loss",)
        names = [name for name in wanted if name in metrics]
        for name in names:
            before = self._shown.get(name, metrics[name])
            self._shown[name] = 0.8 * before + 0.2 * metrics[name]
        return "  ".join(
            f"{name} {self._shown[name]:.3g}" if name != "loss" else f"loss {self._shown[name]:.3f}" for name in names
        )

    def _line_is_due(self, step: int) -> bool:
        now = time.monotonic()
        due = step in (self.start_step + 1, self.num_steps) or now - self._last_line >= LINE_EVERY_SECONDS
        if due:
            self._last_line = now
        return due


@contextmanager
def counting(label: str, total: int, quiet: bool = False, *, at_once: int = 1) -> Iterator[Callable[[int], None]]:
    """A bar for `total` things of one kind, or a line now and then; yields what to call with the number done since.

    `at_once` of them are worked on side by side, and no time left is said before so many are done (`time_left`).
    """
    if quiet or not sys.stderr.isatty():
        yield _Lines(label, total, quiet, at_once).advance
        return
    with _counting_bar(at_once) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.advance(task, done)


def time_left(elapsed_seconds: float, done: int, total: int, at_once: int = 1) -> str:
    """`3:20` from the number done so far, or `--:--` while that says nothing.

    Of things worked on side by side the short ones end first, and what has gone into the others does not show in their
    number: 64 answers begun together, one of them done after 5 seconds, are not 64 times 5 seconds of work.
    """
    if done < max(at_once, 1) and done < total:
        return "--:--"
    return _duration(elapsed_seconds / done * (total - done)) if done else "0:00"


def _counting_bar(at_once: int) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Left(ProgressColumn):
        def render(self, task: Any) -> Text:
            elapsed = task.finished_time if task.finished else task.elapsed
            return Text(time_left(elapsed or 0.0, int(task.completed), int(task.total or 0), at_once))

    return Bar(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("· left"),
        Left(), console=Console(stderr=True),
    )  # fmt: skip


class _Lines:
    """A line on standard error every 15 seconds, with the time left."""

    def __init__(self, label: str, total: int, quiet: bool, at_once: int) -> None:
        self.label, self.total, self.quiet, self.at_once, self.done = label, total, quiet, at_once, 0
        self._begun = self._last_line = time.monotonic()

    def advance(self, done: int) -> None:
        self.done += done
        now = time.monotonic()
        if not self.quiet and now - self._last_line >= LINE_EVERY_SECONDS:
            self._last_line = now
            left = time_left(now - self._begun, self.done, self.total, self.at_once)
            print(f"{self.label} {self.done}/{self.total}  {left} left", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _make_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[speed]}"), TimeElapsedColumn(), TextColumn("· left"), TimeRemainingColumn(),
        console=Console(stderr=True),
    )  # fmt: skip
