"""Jobs of a labelling project as processes of their own: sampling answers for it, and choosing its items by a model.

    jobs/PROJECT/JOB/asked.json     who asked for what, when, and the process
    jobs/PROJECT/JOB/prompts.jsonl  of a sampling: what it asks
    jobs/PROJECT/JOB/progress.json  how far it is; its `result`, written last, says that it has finished
    jobs/PROJECT/JOB/log.txt        what the process said
    jobs/PROJECT/JOB/lock           held by the process as long as it lives

A job outlives the studio that started it, and the next studio finds it by its files. One that was stopped, or that
something ended, goes on by the same command: what it does is done once (`tutelage.feedback.sample`). The newest
jobs of a project are kept, older ones are removed when another begins.

Leaves out: what may be asked for (`sampling`, `choices`).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from tutelage.errors import ConflictError, NotFoundError, TooManyError
from tutelage.feedback.projects import Project
from tutelage.runs.asked_models import check_reader, check_writer
from tutelage.runs.files import read_json
from tutelage.runs.process import environment_for, only_starter, spawn
from tutelage.runs.said import STOPPED, ended, lines_of, note_stop
from tutelage.store import audit
from tutelage.store.database import Store
from tutelage.store.ids import new_id, now_ms
from tutelage.store.people import Person, require
from tutelage.train.run_folder import is_locked, strict_json, write_durably

Kind = Literal["sampling", "choice"]
State = Literal["running", "finished", "failed", "stopped"]
BEGINS = "$ tutelage "
"""Begins the line of the log under which stands what a process said."""
MOST_AT_ONCE = 2
KEPT = 50
"""Jobs of a project, the newest, whose files are kept."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it stands."""

    id: str
    kind: Kind
    state: State
    stopping: bool
    """It was asked to stop and has not ended yet."""
    by: str
    at_ms: int
    """When it was asked for."""
    asked: Mapping[str, Any]
    """What for, as it is told to people."""
    done: int
    total: int
    """Answers that this process has to sample; 0 while that is not known."""
    num_items: int
    """Items it has added so far."""
    model: str
    """The one at work."""
    seconds_left: float | None
    said: str
    """Why it failed, or who stopped it."""
    result: Mapping[str, Any]
    """What was done; empty until it has finished."""

    @property
    def can_go_on(self) -> bool:
        return self.state in ("failed", "stopped")


class JobFiles:
    """The files of the job `id` of a project; nothing is opened or made by this alone."""

    def __init__(self, workspace: Path, project: Project, id: str) -> None:
        self.id = id
        self.folder = (workspace / "jobs" / project.id / id).absolute()
        self.record, self.progress = self.folder / "asked.json", self.folder / "progress.json"
        self.prompts, self.log, self.lock = (self.folder / name for name in ("prompts.jsonl", "log.txt", "lock"))


# What there is --------------------------------------------------------------------------------------------------------


def find(workspace: Path, project: Project, id: str) -> JobFiles:
    """The files of a job. Raises `NotFoundError`."""
    files = JobFiles(workspace, project, id)
    if not id.isalnum() or not files.record.is_file():
        raise NotFoundError(f"project '{project.name}' has no job {id[:32]}")
    return files


def names(workspace: Path, project: Project) -> list[str]:
    """The jobs of a project, the newest first."""
    found = (workspace / "jobs" / project.id).glob("*/asked.json")
    return sorted((path.parent.name for path in found), reverse=True)


def see(workspace: Path, project: Project, id: str) -> Job:
    """One job. Raises `NotFoundError`."""
    files = find(workspace, project, id)
    asked = read_json(files.record)
    alive = is_locked(files.lock)  # looked at first: a process that ends just now has written its result
    told = read_json(files.progress)
    lines = _last_words(files)
    state, said, stopping = _state(alive, told, lines)
    plain = {name: int(told.get(name) or 0) for name in ("done", "total", "num_items")}
    return Job(
        id=id, kind=cast(Kind, asked.get("kind", "sampling")), state=state, stopping=stopping,
        by=str(asked.get("by", "")), at_ms=int(asked.get("at_ms") or 0), asked=asked.get("asked") or {},
        model=str(told.get("model") or ""), seconds_left=told.get("seconds_left") if alive else None, said=said,
        result=told.get("result") or {}, **plain,
    )  # fmt: skip


def see_all(workspace: Path, project: Project) -> list[Job]:
    """Every job of a project, the newest first."""
    found = []
    for id in names(workspace, project):
        with contextlib.suppress(NotFoundError):  # taken away at this moment
            found.append(see(workspace, project, id))
    return found


def log_tail(workspace: Path, project: Project, id: str, count: int) -> list[str]:
    """The last lines of what its processes said."""
    return lines_of(find(workspace, project, id).log)[-count:]


def _last_words(files: JobFiles) -> list[str]:
    """What the newest process of it said."""
    lines = lines_of(files.log)
    begins = [place for place, line in enumerate(lines) if line.startswith(BEGINS)]
    return lines[begins[-1] + 1 :] if begins else lines


def _state(alive: bool, told: Mapping[str, Any], lines: Sequence[str]) -> tuple[State, str, bool]:
    if told.get("result"):
        return "finished", "", False
    if alive:
        asked = any(line.startswith(STOPPED) for line in lines)
        reading = next((line for line in reversed(lines) if line.startswith("reading answers with ")), "")
        return "running", reading, asked
    return *ended(lines), False


# Starting, stopping, going on -----------------------------------------------------------------------------------------


def begin(
    store: Store, person: Person, project: Project, kind: Kind, asked: Mapping[str, Any], arguments: Sequence[str],
    prompts: bytes = b"",
) -> str:  # fmt: skip
    """Start a job and give its id; `arguments` are those of `tutelage`, `prompts` a file for its `--prompts`.

    Raises `ConflictError` while the project has one that runs, and `TooManyError` while enough run elsewhere.
    """
    require(person, "reviewer")
    files = JobFiles(store.workspace, project, new_id())
    with _room(store.workspace, project):
        _forget_old(store.workspace, project)
        files.folder.mkdir(parents=True)
        if prompts:
            write_durably(files.prompts, prompts)
        record = {
            "kind": kind, "project": project.name, "by": person.name, "at_ms": now_ms(), "asked": dict(asked),
            "arguments": [*arguments, *([f"--prompts={files.prompts}"] if prompts else [])],
        }  # fmt: skip
        store.run(lambda connection: audit.note(connection, person, f"{kind}.started", project.id, job=files.id))
        _launch(store, files, person, record)
    return files.id


def resume(store: Store, person: Person, project: Project, id: str) -> None:
    """Go on with a job that was stopped or failed; `ConflictError` for one that runs or has finished."""
    require(person, "reviewer")
    files = find(store.workspace, project, id)
    job = see(store.workspace, project, id)
    if not job.can_go_on:
        raise ConflictError("this job is running" if job.state == "running" else "this job has finished")
    record = read_json(files.record)
    _check_models(store.workspace, job)
    with _room(store.workspace, project):
        store.run(lambda connection: audit.note(connection, person, f"{job.kind}.resumed", project.id, job=id))
        _launch(store, files, person, record)


def stop(store: Store, person: Person, project: Project, id: str) -> bool:
    """End a job; what it has done is kept. Asked again, at once. Whether it was the first time.

    Raises `ConflictError` when it does not run.
    """
    require(person, "reviewer")
    files = find(store.workspace, project, id)
    process = read_json(files.record).get("process")
    if not is_locked(files.lock) or not isinstance(process, int):
        raise ConflictError("this job does not run, so there is nothing to stop")
    first = not see(store.workspace, project, id).stopping
    store.run(lambda connection: audit.note(connection, person, "job.stopped", project.id, job=id, at_once=not first))
    note_stop(files.log, person.name)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM if first else signal.SIGKILL)
    return first


def _check_models(workspace: Path, job: Job) -> None:
    for name in job.asked.get("models", []):
        check_writer(workspace, str(name))
    if reward := job.asked.get("reward"):
        check_reader(workspace, str(reward))


@contextlib.contextmanager
def _room(workspace: Path, project: Project) -> Iterator[None]:
    """Nobody else starts one meanwhile, and there is room for another."""
    with only_starter(workspace / "jobs" / "starting.lock", "another job is just being started; try again"):
        living = [lock.parent for lock in (workspace / "jobs").glob("*/*/lock") if _is_working(lock)]
        if any(folder.parent.name == project.id for folder in living):
            raise ConflictError(
                f"answers for '{project.name}' are being sampled or chosen already; wait until that ends, or stop it"
            )
        if len(living) >= MOST_AT_ONCE:
            raise TooManyError(
                f"{len(living)} such jobs run in other projects, which is all at once; wait until one ends"
            )
        yield


def _is_working(lock: Path) -> bool:
    """Whether a process is at it; one that has written its result is only still clearing up."""
    return is_locked(lock) and "result" not in read_json(lock.with_name("progress.json"))


def _forget_old(workspace: Path, project: Project) -> None:
    for id in names(workspace, project)[KEPT - 1 :]:
        shutil.rmtree(JobFiles(workspace, project, id).folder, ignore_errors=True)


def _launch(store: Store, files: JobFiles, person: Person, record: Mapping[str, Any]) -> None:
    given = list(record["arguments"])
    arguments = [*given, f"--by={person.name}", f"--progress={files.progress}",
                 f"--workspace={store.workspace.absolute()}"]  # fmt: skip
    write_durably(files.record, strict_json(dict(record)))
    write_durably(files.progress, strict_json({}))
    with (
        only_starter(files.lock, "this job is just being started; try again") as lock,
        files.log.open("ab") as log,
    ):
        log.write(f"{BEGINS}{shlex.join(given)}\n".encode())
        log.flush()
        process = spawn(arguments, log.fileno(), lock, files.folder, environment_for(store))
    write_durably(files.record, strict_json({**record, "process": process}))
