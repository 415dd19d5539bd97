"""The folder of one training run: its configuration, a line of metrics a step, samples, and the lock on it.

Every file is strictly valid JSON or JSON lines. JSON has no word for NaN and the infinities, so they are written as the
texts "NaN", "Infinity" and "-Infinity"; `read_metrics` gives them back as floats.

Leaves out checkpoints (`tutelage.train.checkpoint`), what goes into a line (the loop), and Windows (locks and durable
renames are POSIX).
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tutelage.errors import ConfigError, DataError, TrainingError

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LOCK_TRIES, _LOCK_WAIT_SECONDS = 5, 0.05


class RunFolder:
    """One run on disk. Reading needs no lock; `create`, `resume` and everything that writes take it until `close`."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._lock_fd: int | None = None
        self._open_files: dict[str, int] = {}
        _all_runs.add(self)

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any]) -> Self:
        """Make the folder, lock it and write config.json. Raises ConfigError when the name is taken."""
        run = cls(path)
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot make the run folder {path}: {error.strerror}; choose another --out") from error
        run.lock()
        if (run.path / "config.json").exists():
            run.close()
            raise ConfigError(f"{path} already holds a run; go on with it by --resume, or choose another --out")
        with _full_disk_is_a_training_error(run.path / "config.json"):
            write_durably(run.path / "config.json", strict_json(config, indent=2))
        return run

    @classmethod
    def resume(cls, path: Path) -> Self:
        """Lock an existing run to go on with it. Raises ConfigError when there is none or another process has it."""
        if not (Path(path) / "config.json").is_file():
            raise ConfigError(f"{path} holds no run to resume (no config.json); check --out, or leave out --resume")
        run = cls(path)
        run.lock()
        return run

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints of this run lie."""
        return self.path / "checkpoints"

    def lock(self) -> None:
        """Make this process the only one that writes here; the system lets go when the process ends, however it ends.

        Raises ConfigError naming the process that holds the lock.
        """
        if self._lock_fd is not None:
            return
        fd = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        if not _takes(fd):
            holder = os.read(fd, 32).decode("ascii", "replace").strip()
            os.close(fd)
            raise ConfigError(
                f"{self.path} is being trained into by {f'process {holder}' if holder else 'another process'}; "
                "wait until it ends, or choose another --out"
            )
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._lock_fd = fd

    def append_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl; it must hold `step`. Handed to the system at once, durable at `sync`."""
        self._append("metrics.jsonl", metrics)

    def append_sample(self, sample: Mapping[str, Any]) -> None:
        """Append one line to samples.jsonl; it must hold `step`."""
        self._append("samples.jsonl", sample)

    def sync(self) -> None:
        """Make every line so far survive a power cut; called before a checkpoint of the same step is written."""
        for name, fd in self._open_files.items():
            with _full_disk_is_a_training_error(self.path / name):
                os.fsync(fd)
                sync_folder(self.path)

    def rewind(self, step: int) -> None:
        """Drop the lines of later steps and a torn last line, so that a resumed run writes each step exactly once."""
        self.lock()
        self._close_files()
        for name in ("metrics.jsonl", "samples.jsonl"):
            path = self.path / name
            if path.exists():
                kept = [line for line, record in _whole_lines(path) if record["step"] <= step]
                with _full_disk_is_a_training_error(path):
                    write_durably(path, b"".join(line + b"\n" for line in kept))

    def read_config(self) -> dict[str, Any]:
        """The configuration that the run was created with."""
        file = self.path / "config.json"
        try:
            config: dict[str, Any] = json.loads(file.read_bytes())
        except ValueError as error:
            raise ConfigError(f"{file} is damaged ({error}); restore it from a copy, or start a new run") from error
        return config

    def read_metrics(self) -> list[dict[str, Any]]:
        """Every whole line of metrics.jsonl; a last line that is still being written is left out."""
        path = self.path / "metrics.jsonl"
        records = [record for _, record in _whole_lines(path)] if path.exists() else []
        return [{key: _restored(value) for key, value in record.items()} for record in records]

    def close(self) -> None:
        """Close the files and let go of the lock."""
        self._close_files()
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, name: str, record: Mapping[str, Any]) -> None:
        if not isinstance(record.get("step"), int):
            raise ValueError(f"a line of {name} needs a whole number 'step', got {record.get('step')!r}")
        line = strict_json(record)
        with _full_disk_is_a_training_error(self.path / name):
            if name not in self._open_files:
                self.lock()
                self._open_files[name] = os.open(self.path / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            _write_all(self._open_files[name], line)

    def _close_files(self) -> None:
        while self._open_files:
            os.close(self._open_files.popitem()[1])


def _takes(fd: int) -> bool:
    """Whether the lock can be had: tried for a moment, for whoever only looks (`is_locked`) has it for less."""
    for number in range(_LOCK_TRIES):
        time.sleep(_LOCK_WAIT_SECONDS if number else 0)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return True
    return False


def is_locked(file: Path) -> bool:
    """Whether a living process holds the lock that stands in `file`; looking takes it for a moment, and never waits."""
    try:
        fd = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def trainer_of(path: Path) -> int | None:
    """The process that trains into the run folder `path` now; None when none does."""
    return last_trainer_of(path) if is_locked(Path(path) / ".lock") else None


def last_trainer_of(path: Path) -> int | None:
    """The process that trained last into the run folder `path`, whether it still does or not; None when none did."""
    try:
        text = (Path(path) / ".lock").read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isdecimal() else None


def strict_json(value: Any, *, indent: int | None = None) -> bytes:
    """`value` as strictly valid UTF-8 JSON ending in a newline; NaN and the infinities become texts."""
    text = json.dumps(_without_non_finite(value), ensure_ascii=False, allow_nan=False, indent=indent)
    # A lone surrogate cannot be UTF-8; its backslash escape is exactly the escape that JSON has for it.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def write_durably(path: Path, data: bytes) -> None:
    """Replace the file at `path` in one instant: whoever reads finds the old content or the new, after a crash too."""
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _without_non_finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _without_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_non_finite(item) for item in value]
    return value


def _restored(value: Any) -> Any:
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value


def _whole_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if record := _record(line):
            yield line, record
        elif number < len(lines):  # the last piece has no newline yet: killed, or writing, in mid-line
            raise DataError("not a JSON object with a number 'step'; delete the line", file=path, line=number)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


@contextmanager
def _full_disk_is_a_training_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"cannot write {path}: {error.strerror}; put that right, then go on with --resume"
        ) from error


_all_runs: weakref.WeakSet[RunFolder] = weakref.WeakSet()


def _let_go_in_child() -> None:
    """A forked data worker that outlives a killed trainer must not keep the run locked."""
    for run in _all_runs:
        run.close()


os.register_at_fork(after_in_child=_let_go_in_child)
