"""What there is to see of the runs of a workspace: which there are, how each stands, how far it is, why it ended.

    starting     its process lives and does not train yet
    running      a process trains into it
    finished     its model is there
    interrupted  it was stopped, or its process is gone without having said anything
    failed       its process ended with an error, which is the last thing it said

An ensemble is as far as its members, which are runs of their own, are together. Everything is read anew from the
folders, so nothing is lost when whoever looks is started again.
Leaves out: the curves (`curves`).
"""

from __future__ import annotations

import contextlib
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from tutelage.errors import ModelError, NotFoundError
from tutelage.models.ensemble import ENSEMBLE_FILE
from tutelage.models.folder import read_origin
from tutelage.runs.files import NAME, STARTING, RunFiles, last_bytes, last_records, read_json, spread_records
from tutelage.train.run_folder import last_trainer_of

State = Literal["starting", "running", "finished", "interrupted", "failed"]
ALIVE = ("starting", "running")
BEGINS = "$ tutelage train "
"""Begins the line of a log under which stands what a process said."""
STOPPED = "asked to stop by "
SILENT = (
    "it ended without saying why: the machine may have run out of memory or been switched off, or somebody ended the "
    "process"
)
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
MOST_MEMBERS = 100
SPARK_POINTS = 40
SPEED_STEPS = 20
"""Steps whose time tells how long the rest will take."""


@dataclass(frozen=True, slots=True)
class Sight:
    """One run as it stands."""

    name: str
    state: State
    stopping: bool
    method: str
    model: str
    data: str
    step: int
    num_steps: int | None
    seconds: float
    seconds_left: float | None
    started_ms: int
    by: str
    error: str
    """Why it failed or was interrupted, where that is known."""
    made: bool
    """Whether its model is there."""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """The last step's."""

    @property
    def is_alive(self) -> bool:
        return self.state in ALIVE


def find(workspace: Path, name: str) -> RunFiles:
    """The files of a run, begun or only asked for. Raises `NotFoundError`."""
    files = RunFiles(workspace, name)
    if not NAME.fullmatch(name) or not (files.exists or files.record):
        raise NotFoundError(f"there is no run '{name[:100]}' in this workspace")
    return files


def names(workspace: Path) -> list[str]:
    """Every run, the newest first."""
    begun = {path.parent.name: path for path in (workspace / "runs").glob("*/config.json")}
    asked = {path.stem: path for path in (workspace / "runs" / STARTING).glob("*.json")}
    times: dict[str, float] = {}
    for name, path in (asked | begun).items():
        with contextlib.suppress(FileNotFoundError):
            times[name] = path.stat().st_mtime
    return [name for name in sorted(times, key=lambda name: (-times[name], name)) if NAME.fullmatch(name)]


def living(workspace: Path) -> list[str]:
    """The runs whose processes were started here and live."""
    found = (path.stem for path in (workspace / "runs" / STARTING).glob("*.lock"))
    return sorted(name for name in found if RunFiles(workspace, name).is_launched)


def see(workspace: Path, name: str) -> Sight:
    """One run. Raises `NotFoundError`."""
    files = find(workspace, name)
    files.settle()
    config, record = read_json(files.folder / "config.json"), files.record
    lines = last_records(files.folder / "metrics.jsonl")
    members = _members(workspace, name, config)
    last = (lines or [line for member in members for line in member[-1:]] or [{}])[-1]
    step, total = int(last.get("step", 0)), config.get("num_steps")
    state = _state(files)
    if members:
        step, total = (
            sum(member[-1]["step"] for member in members if member),
            _steps_of_members(workspace, name, config),
        )
        state = "running" if state == "starting" and step else state
    left = _seconds_left(lines, total - step) if total and state == "running" else None
    options = _options_of(record)
    return Sight(
        name=name, state=state, stopping=state == "running" and _is_stopping(files),
        method=str(config.get("method") or record.get("method", "")),
        model=str(config.get("model") or options.get("model", "")),
        data=str(config.get("data") or options.get("data") or options.get("prompts", "")),
        step=step, num_steps=total, seconds=float(last.get("seconds", 0.0)), seconds_left=left,
        started_ms=_started_ms(files, record), by=str(record.get("by", "")), error=_error(files, state),
        made=state == "finished", metrics=numbers(last),
    )  # fmt: skip


def spark(workspace: Path, name: str) -> tuple[str, list[float]]:
    """A metric that says how it goes, and its course in a few points."""
    records = spread_records(RunFiles(workspace, name).folder / "metrics.jsonl", SPARK_POINTS)
    key = "reward" if any("reward" in record for record in records) else "loss"
    values = [numbers(record).get(key) for record in records]
    return key, [value for value in values if value is not None]


def numbers(record: Mapping[str, Any]) -> dict[str, float | None]:
    """The metrics of a line; what is no finite number is None."""
    found: dict[str, float | None] = {}
    for key, value in record.items():
        if key != "step" and not isinstance(value, (bool, dict, list)):
            found[key] = value if isinstance(value, (int, float)) else None
    return found


def log_tail(workspace: Path, name: str, num_lines: int) -> list[str]:
    """The last lines of what a run said."""
    text = last_bytes(find(workspace, name).log, 256 * 1024).decode("utf-8", "replace")
    return [_printable(line) for line in text.removesuffix("\n").split("\n")[-num_lines:]] if text else []


def _printable(line: str) -> str:
    """Without escape codes, and of a line that was drawn over, what was seen last."""
    seen = _ESCAPE.sub("", line.rstrip("\r").rpartition("\r")[2])
    return "".join(c if c.isprintable() or c == "\t" else " " for c in seen)[:2000]


def _state(files: RunFiles) -> State:
    if files.is_training:
        return "running"
    if _has_made_its_model(files):  # its process may still be telling the record of it
        return "finished"
    if files.is_launched:
        return "running" if _is_ending(files) else "starting"
    return "failed" if _last_error(files) else "interrupted"


def _is_ending(files: RunFiles) -> bool:
    """Whether the process that was started for it has trained already and only has to end."""
    process = files.record.get("process")
    return process is not None and process == last_trainer_of(files.folder)


def _has_made_its_model(files: RunFiles) -> bool:
    try:
        origin = read_origin(files.model) if files.model.is_dir() else {}
    except ModelError:
        return False
    is_ensemble = origin.get("kind") == "ensemble" and (files.model / ENSEMBLE_FILE).is_file()
    return is_ensemble or origin.get("run") == files.name


def _names_of_members(name: str, config: Mapping[str, Any]) -> list[str]:
    """The runs of an ensemble's members, begun or not; none for a run that is no ensemble."""
    count, seed = config.get("ensemble"), config.get("seed")
    if not (isinstance(count, int) and isinstance(seed, int) and 1 < count <= MOST_MEMBERS):
        return []
    return [f"{name}-seed{number}" for number in range(seed, seed + count)]


def _members(workspace: Path, name: str, config: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """The last lines of each member's metrics."""
    names = _names_of_members(name, config)
    return [last_records(RunFiles(workspace, each).folder / "metrics.jsonl") for each in names]


def _steps_of_members(workspace: Path, name: str, config: Mapping[str, Any]) -> int | None:
    """All steps of all members together; every one takes as many as the first."""
    names = _names_of_members(name, config)
    steps = read_json(RunFiles(workspace, names[0]).folder / "config.json").get("num_steps")
    return steps * len(names) if isinstance(steps, int) else None


def _is_stopping(files: RunFiles) -> bool:
    asked = files.stop_record().get("process")
    return asked is not None and asked == last_trainer_of(files.folder)


def _said_last(files: RunFiles) -> list[str]:
    """The lines that the newest process said."""
    lines = [line for line in last_bytes(files.log).decode("utf-8", "replace").splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if line.startswith(BEGINS)]
    return lines[starts[-1] + 1 :] if starts else lines


def _last_error(files: RunFiles) -> str:
    """What a process that failed said last: a line of ours, or the end of a traceback."""
    lines = _said_last(files)
    if not lines:
        return ""
    if lines[-1].startswith("tutelage: "):
        return lines[-1].removeprefix("tutelage: ")[:2000]
    traced = any(line.startswith("Traceback (most recent call last)") for line in lines)
    return lines[-1][:2000] if traced else ""


def _error(files: RunFiles, state: State) -> str:
    if state == "failed":
        return _last_error(files)
    if state != "interrupted" or not files.log.is_file():
        return ""
    said = _said_last(files)
    asked = [line.removeprefix(STOPPED) for line in said if line.startswith(STOPPED)]
    if asked:
        return f"{asked[0]} stopped it"
    return "" if any(line.startswith("stop") for line in said) else SILENT


def _started_ms(files: RunFiles, record: Mapping[str, Any]) -> int:
    if isinstance(record.get("at_ms"), int):
        return int(record["at_ms"])
    with contextlib.suppress(OSError):
        return int((files.folder / "config.json").stat().st_mtime * 1000)
    return 0


def _options_of(record: Mapping[str, Any]) -> dict[str, str]:
    """What was asked for, of a run that has no folder yet."""
    tokens = (str(token)[2:].partition("=") for token in record.get("options", ()))
    return {name: value for name, _, value in tokens}


def _seconds_left(lines: Sequence[Mapping[str, Any]], num_left: int) -> float | None:
    """By the last steps' time; None before there are two."""
    recent = [line for line in lines[-SPEED_STEPS - 1 :] if isinstance(line.get("seconds"), (int, float))]
    spent = [b["seconds"] - a["seconds"] for a, b in pairwise(recent) if b["seconds"] >= a["seconds"]]
    return statistics.fmean(spent) * max(num_left, 0) if spent else None
