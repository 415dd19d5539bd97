"""Where a run keeps what: its folder, and beside it what is known of a run before there is one.

    runs/NAME/                 the run (`tutelage.train.run_folder`)
    runs/NAME/started.json     how it was started last: by whom, when, with what
    runs/NAME/log.txt          what it said on its standard output and error
    runs/NAME/stop.json        who asked it to stop
    runs/.starting/NAME.json   the same two until the run has a folder that will stay
    runs/.starting/NAME.log
    runs/.starting/NAME.lock   held by the process as long as it lives

Leaves out: what they say of the state of the run (`look`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

from tutelage.train.run_folder import is_locked, strict_json, write_durably

STARTING = ".starting"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
LAST_BYTES = 64 * 1024
LONGEST_LINE = 4 * 1024 * 1024


class RunFiles:
    """The files of the run `name`; nothing is opened or made by this alone."""

    def __init__(self, workspace: Path, name: str) -> None:
        self.workspace, self.name = workspace, name
        self.folder = workspace / "runs" / name
        self.starting = workspace / "runs" / STARTING
        self.lock = self.starting / f"{name}.lock"

    @property
    def exists(self) -> bool:
        """Whether the run itself has begun to be."""
        return (self.folder / "config.json").is_file()

    @property
    def model(self) -> Path:
        """Where the model is that it makes."""
        return self.workspace / "models" / self.name

    @property
    def is_launched(self) -> bool:
        """Whether the process that was started for it lives."""
        return is_locked(self.lock)

    @property
    def is_training(self) -> bool:
        """Whether a process trains into it, whoever started that."""
        return is_locked(self.folder / ".lock")

    @property
    def log(self) -> Path:
        """Where what it said is now."""
        own = self.folder / "log.txt"
        return own if own.is_file() else self.starting / f"{self.name}.log"

    @property
    def record(self) -> dict[str, Any]:
        """How it was started; empty for a run of the terminal."""
        return read_json(self.folder / "started.json") or read_json(self.starting / f"{self.name}.json")

    def settle(self) -> None:
        """Put log and record into the run's folder once that is there to stay; a run that fails early takes it away."""
        begun = (self.folder / "metrics.jsonl").is_file() or not (self.is_launched or self.is_training)
        if not (self.exists and begun):
            return
        for there, here in ((f"{self.name}.log", "log.txt"), (f"{self.name}.json", "started.json")):
            with contextlib.suppress(FileNotFoundError):  # somebody else looks at the same moment
                (self.starting / there).rename(self.folder / here)

    def write_record(self, record: dict[str, Any]) -> None:
        """Note how it was started."""
        path = self.folder / "started.json" if self.exists else self.starting / f"{self.name}.json"
        write_durably(path, strict_json(record))

    def stop_record(self) -> dict[str, Any]:
        """Who asked which process of it to stop."""
        return read_json(self.folder / "stop.json")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a small file; empty when it is not there or damaged."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def last_bytes(path: Path, count: int = LAST_BYTES) -> bytes:
    """The end of a file; empty when it is not there."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - count))
            return file.read(count)
    except OSError:
        return b""


def records_in(data: bytes) -> list[dict[str, Any]]:
    """The whole lines among the bytes that are objects with a step."""
    found = []
    for line in data.split(b"\n"):
        try:
            record = json.loads(line) if line else None
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            found.append(record)
    return found


def last_records(path: Path) -> list[dict[str, Any]]:
    """Some of the last lines of a file of JSON lines, in their order; all of a small one."""
    count = LAST_BYTES
    while True:
        data = last_bytes(path, count)
        found = records_in(data)
        if found or len(data) < count or count > LONGEST_LINE:
            return found
        count *= 8


def spread_records(path: Path, count: int) -> list[dict[str, Any]]:
    """About `count` lines from all over the file, found without reading it whole."""
    try:
        size = path.stat().st_size
        if size <= LAST_BYTES:
            return records_in(path.read_bytes())
        with path.open("rb") as file:
            found = [record for number in range(count) if (record := _record_at(file, size * number // count))]
    except OSError:
        return []
    unique = {record["step"]: record for record in found + last_records(path)[-1:]}
    return [unique[step] for step in sorted(unique)]


def _record_at(file: Any, place: int) -> dict[str, Any] | None:
    file.seek(place)
    if place:
        file.readline(LONGEST_LINE)
    found = records_in(file.readline(LONGEST_LINE))
    return found[0] if found else None
