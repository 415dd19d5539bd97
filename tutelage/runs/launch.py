"""Starting, stopping and resuming runs as processes of their own, which outlive whoever started them.

A process is a `tutelage train …` (`process`). It holds the lock `runs/.starting/NAME.lock` from its parent on until it
ends, so that anybody can tell that it lives.

Stopping is SIGTERM, which the loop takes as it takes Ctrl-C: the step ends, a checkpoint is written. (SIGINT itself is
ignored by what a script has started in the background.) The second time it stops at once.

Leaves out: what may be asked for (`rules`), and how far runs are (`look`).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tutelage.errors import ConflictError, TooManyError
from tutelage.runs import rules
from tutelage.runs.files import RunFiles
from tutelage.runs.look import BEGINS, STOPPED, find, living
from tutelage.runs.process import environment_for, only_starter, spawn
from tutelage.runs.rules import Asked
from tutelage.store import audit
from tutelage.store.database import Store
from tutelage.store.ids import now_ms
from tutelage.store.people import Person, require
from tutelage.train.config import TrainConfig
from tutelage.train.run_folder import RunFolder, strict_json, trainer_of, write_durably

MOST_AT_ONCE = 4


def start(store: Store, person: Person, method: str, options: Mapping[str, Any]) -> str:
    """Start a run and give its name. Raises as `rules.check` does, and `ConflictError` for a name that is taken."""
    require(person, "reviewer")
    with store.read() as connection:
        asked = rules.check(connection, store.workspace, method, options)
    files = RunFiles(store.workspace, asked.name)
    with _only_starter(files) as lock:
        _check_free(files)
        _check_room(store.workspace, files.name)
        store.run(lambda c: audit.note(c, person, "runs.started", asked.name, method=method))
        with contextlib.suppress(FileNotFoundError):
            (files.starting / f"{files.name}.log").unlink()
        _launch(store, files, person, method, _tokens(asked.options), lock)
    return asked.name


def resume(store: Store, person: Person, name: str) -> None:
    """Go on with a run that was interrupted or failed; `ConflictError` for one that runs or has finished."""
    require(person, "reviewer")
    files = find(store.workspace, name)
    files.settle()
    with _only_starter(files) as lock:
        if not files.exists:
            raise ConflictError(f"'{name}' failed before it began, so there is nothing to go on with; start it anew")
        if files.model.exists():
            raise ConflictError(f"'{name}' has finished: its model is there")
        if files.is_training:
            raise ConflictError(f"'{name}' is running")
        _check_room(store.workspace, files.name)
        with store.read() as connection:
            method = rules.check_resume(connection, store.workspace, RunFolder(files.folder).read_config())
        store.run(lambda c: audit.note(c, person, "runs.resumed", name, method=method))
        _launch(store, files, person, method, [f"--out={name}", "--resume"], lock)


def stop(store: Store, person: Person, name: str) -> bool:
    """Ask a run to end after its step; asked again, at once. Whether it was the first time.

    Raises `ConflictError` when it does not run.
    """
    require(person, "reviewer")
    files = find(store.workspace, name)
    process = trainer_of(files.folder)
    if process is None and files.is_launched:
        process = files.record.get("process")
    if not isinstance(process, int):
        raise ConflictError(f"'{name}' does not run, so there is nothing to stop")
    first = files.stop_record().get("process") != process
    store.run(lambda c: audit.note(c, person, "runs.stopped", name, at_once=not first))
    if files.exists:
        said = {"process": process, "by": person.name, "at_ms": now_ms()}
        write_durably(files.folder / "stop.json", strict_json(said))
    with contextlib.suppress(FileNotFoundError), files.log.open("rb+") as log:
        log.seek(0, os.SEEK_END)
        log.write(f"{STOPPED}{person.name}\n".encode())
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
    return first


def command_of(asked: Asked, workspace: Path) -> str:
    """The same run as a line for the terminal."""
    return shlex.join(["tutelage", "train", asked.method, *_elsewhere(workspace), *_tokens(asked.options)])


def resume_command(method: str, name: str, workspace: Path) -> str:
    """What goes on with a run at the terminal."""
    return shlex.join(["tutelage", "train", method, *_elsewhere(workspace), f"--out={name}", "--resume"])


def _elsewhere(workspace: Path) -> list[str]:
    return [] if workspace.absolute() == TrainConfig.workspace.absolute() else [f"--workspace={workspace}"]


def _tokens(options: Mapping[str, Any]) -> list[str]:
    """`--name=value` each, so that no value can be taken for an option."""
    tokens: list[str] = []
    for key, value in options.items():
        name = key.replace("_", "-")
        if isinstance(value, bool):
            tokens.append(f"--{name}" if value else f"--no-{name}")
        else:
            tokens += [f"--{name}={each}" for each in (value if isinstance(value, list | tuple) else [value])]
    return tokens


# The process ---------------------------------------------------------------------------------------------------------


def _only_starter(files: RunFiles) -> AbstractContextManager[int]:
    """The lock of the name, which the process that is started inherits. `ConflictError` while one lives."""
    return only_starter(
        files.lock, f"'{files.name}' is running or about to; wait until it ends, or choose another name"
    )  # fmt: skip


def _check_free(files: RunFiles) -> None:
    if files.exists or files.model.exists() or files.is_training:
        raise ConflictError(f"there is a run or a model called '{files.name}' already; choose another name")


def _check_room(workspace: Path, but: str) -> None:
    running = [name for name in living(workspace) if name != but]
    if len(running) >= MOST_AT_ONCE:
        raise TooManyError(f"{', '.join(running)} are running, which is all at once; wait until one ends, or stop one")


def _launch(store: Store, files: RunFiles, person: Person, method: str, tokens: Sequence[str], lock: int) -> None:
    arguments = ["train", method, f"--workspace={store.workspace.absolute()}", *tokens]
    path = files.folder / "log.txt" if files.exists else files.starting / f"{files.name}.log"
    with path.open("ab") as log:
        line = BEGINS + shlex.join([method, *_elsewhere(store.workspace), *tokens])
        log.write(f"{line}\n".encode())
        log.flush()
        process = spawn(arguments, log.fileno(), lock, files.starting, environment_for(store))
    files.write_record(
        {"method": method, "options": list(tokens), "by": person.name, "at_ms": now_ms(), "process": process}
    )  # fmt: skip
