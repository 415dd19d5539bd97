"""Evaluations of models as processes of their own: `tutelage report`, whose page and numbers stand in the workspace.

    reports/NAME.html         the page, and
    reports/NAME.json         its numbers, written last: where they are the evaluation has finished
    reports/.asked/NAME.json  who asked for what, when
    reports/.asked/NAME.log   what the process said
    reports/.asked/NAME.lock  held by the process as long as it lives

A page that the terminal put there with --json counts too. Whoever asks in a browser may name models of the workspace,
starter models, prompts that come with Tutelage and files in the workspace's folder `prompts/`; no other folder, and
nothing from the hub.

Leaves out: what the numbers say of who is better (`board`).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tutelage.data.starter import COMPARE, SEALED
from tutelage.errors import ConflictError, DataError, NotFoundError, TooManyError
from tutelage.evaluate.numbers import SUFFIX
from tutelage.evaluate.summary import MAX_MODELS
from tutelage.models.catalogue import STARTERS
from tutelage.models.find import kind_of
from tutelage.runs.files import NAME, read_json
from tutelage.runs.process import environment_for, only_starter, spawn
from tutelage.runs.said import ended, lines_of, note_stop
from tutelage.runs.shelf import NOT_ASKED, find_folder
from tutelage.store import audit
from tutelage.store.database import Store
from tutelage.store.ids import now_ms
from tutelage.store.people import Person, require
from tutelage.train.run_folder import is_locked, strict_json, write_durably

State = Literal["running", "finished", "failed", "stopped"]
SHIPPED = {SEALED: "sealed prompts, which no shipped pair teaches", COMPARE: "prompts for comparing answers"}
PROMPT_ENDINGS = (".jsonl", ".json", ".csv", ".txt")
MOST_AT_ONCE = 2
MOST_TOKENS = 4096
RATER = "scripted rater"
"""The only one there is: a script."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be evaluated: models, the one before first, on which prompts."""

    models: tuple[str, ...]
    prompts: str = SEALED
    rated: bool = True
    """Whether the scripted rater says whose answers win."""
    max_new_tokens: int = 256


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation as it stands."""

    name: str
    state: State
    models: tuple[str, ...]
    prompts: str
    rater: str
    by: str
    at_ms: int
    """When it finished, or was asked for."""
    said: str
    """Why it failed, or how far it is."""
    numbers: Mapping[str, Any]
    """What `tutelage.evaluate.numbers` wrote; empty until it has finished."""


class EvaluationFiles:
    """The files of the evaluation `name`; nothing is opened or made by this alone."""

    def __init__(self, workspace: Path, name: str) -> None:
        self.name = name
        self.folder = workspace / "reports"
        self.page = self.folder / f"{name}.html"
        self.numbers = self.folder / f"{name}{SUFFIX}"
        self.asked = self.folder / ".asked"
        self.record, self.log, self.lock = (self.asked / f"{name}.{kind}" for kind in ("json", "log", "lock"))

    @property
    def exists(self) -> bool:
        return self.numbers.is_file() or self.record.is_file()


# What there is -------------------------------------------------------------------------------------------------------


def find(workspace: Path, name: str) -> EvaluationFiles:
    """The files of an evaluation. Raises `NotFoundError`."""
    files = EvaluationFiles(workspace, name)
    if not NAME.fullmatch(name) or not files.exists:
        raise NotFoundError(f"there is no evaluation '{name[:100]}' in this workspace")
    return files


def names(workspace: Path) -> list[str]:
    """Every evaluation, the newest first."""
    folder = workspace / "reports"
    times: dict[str, float] = {}
    for path in (*(folder / ".asked").glob("*.json"), *folder.glob(f"*{SUFFIX}")):
        with contextlib.suppress(FileNotFoundError):
            times[path.stem] = path.stat().st_mtime
    return [name for name in sorted(times, key=lambda name: (-times[name], name)) if NAME.fullmatch(name)]


def see(workspace: Path, name: str) -> Evaluation:
    """One evaluation. Raises `NotFoundError`."""
    files = find(workspace, name)
    asked = read_json(files.record)
    alive = is_locked(files.lock)  # looked at first: a process that ends just now has written its numbers
    if numbers := read_json(files.numbers):
        return _finished(name, numbers, asked)
    state, said = _under_way(files) if alive else ended(lines_of(files.log))
    return Evaluation(
        name=name, state=state, models=_texts(asked.get("models")), prompts=str(asked.get("prompts", "")),
        rater=str(asked.get("rater", "")), by=str(asked.get("by", "")), at_ms=_number(asked.get("at_ms")), said=said,
        numbers={},
    )  # fmt: skip


def see_all(workspace: Path, model: str | None = None) -> list[Evaluation]:
    """Every evaluation, or those of a model, the newest first."""
    found = []
    for name in names(workspace):
        with contextlib.suppress(NotFoundError):  # taken away at this moment
            found.append(see(workspace, name))
    return [each for each in found if model is None or model in each.models]


def _finished(name: str, numbers: Mapping[str, Any], asked: Mapping[str, Any]) -> Evaluation:
    models, prompts = numbers.get("models"), numbers.get("prompts")
    listed = models if isinstance(models, list) else []
    return Evaluation(
        name=name, state="finished", models=_texts([each.get("name") for each in listed if isinstance(each, dict)]),
        prompts=str(prompts.get("name", "")) if isinstance(prompts, dict) else "",
        rater=str(numbers.get("rater") or ""), by=str(asked.get("by", "")), at_ms=_number(numbers.get("at_ms")),
        said="", numbers=numbers,
    )  # fmt: skip


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, list) else ()


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _under_way(files: EvaluationFiles) -> tuple[State, str]:
    """With the last line that says how many answers there are."""
    return "running", next((line for line in reversed(lines_of(files.log)) if line.startswith("answering with ")), "")


# What may be asked for -----------------------------------------------------------------------------------------------


def prompt_files(workspace: Path) -> list[str]:
    """The files in the workspace's folder `prompts/` that may be asked of models; links are none."""
    folder = workspace / "prompts"
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path.name for path in found if path.suffix in PROMPT_ENDINGS and _is_own_file(path)]


def _is_own_file(path: Path) -> bool:
    return bool(NAME.fullmatch(path.name)) and path.is_file() and not path.is_symlink()


def check(workspace: Path, wanted: Wanted) -> None:
    """Raise `DataError`, naming the field, for what may not be evaluated so."""
    if not 1 <= len(wanted.models) <= MAX_MODELS:
        raise DataError(f"these are {len(wanted.models)} models; choose one to {MAX_MODELS}", field="models")
    if len(set(wanted.models)) < len(wanted.models):
        raise DataError("the same model is named twice; choose each once", field="models")
    for name in wanted.models:
        _check_model(workspace, name)
    if wanted.rated and len(wanted.models) < 2:
        raise DataError("the rater compares answers of models; choose two or more", field="models")
    if wanted.prompts not in SHIPPED and wanted.prompts not in prompt_files(workspace):
        raise DataError(
            f"'{wanted.prompts[:100]}' is none of {', '.join(SHIPPED)}, and no file in the workspace's folder prompts/ "
            f"that ends in {', '.join(PROMPT_ENDINGS)}", field="prompts",
        )  # fmt: skip
    if not 1 <= wanted.max_new_tokens <= MOST_TOKENS:
        raise DataError(f"{wanted.max_new_tokens} is not in 1 to {MOST_TOKENS:,}", field="max_new_tokens")


def _check_model(workspace: Path, name: str) -> None:
    if name in STARTERS:
        return
    folder = find_folder(workspace, name)
    if folder is None or not NAME.fullmatch(name):
        raise DataError(
            f"there is no model '{name[:100]}' in the workspace, and it is no starter model; choose one of the list",
            field="models",
        )
    if (kind := kind_of(folder)) in NOT_ASKED:
        raise DataError(f"'{name}' gives no answers: it is a {kind}; choose a language model", field="models")


# Starting and stopping -----------------------------------------------------------------------------------------------


def start(store: Store, person: Person, wanted: Wanted) -> str:
    """Start an evaluation and give its name. Raises as `check` does, and `TooManyError` while enough are running."""
    require(person, "reviewer")
    check(store.workspace, wanted)
    running = [each for each in (store.workspace / "reports" / ".asked").glob("*.lock") if is_locked(each)]
    if len(running) >= MOST_AT_ONCE:
        raise TooManyError(f"{len(running)} evaluations are running, which is all at once; wait until one ends")
    files = EvaluationFiles(store.workspace, _free_name(store.workspace, wanted.models))
    with only_starter(files.lock, f"an evaluation called '{files.name}' is about to start; try again") as lock:
        store.run(lambda c: audit.note(c, person, "evaluations.started", files.name, models=", ".join(wanted.models)))
        _launch(store, files, person, wanted, lock)
    return files.name


def stop(store: Store, person: Person, name: str) -> None:
    """End an evaluation at once; nothing of it is kept. Raises `ConflictError` when it does not run."""
    require(person, "reviewer")
    files = find(store.workspace, name)
    process = read_json(files.record).get("process")
    if not is_locked(files.lock) or not isinstance(process, int):
        raise ConflictError(f"'{name}' does not run, so there is nothing to stop")
    store.run(lambda c: audit.note(c, person, "evaluations.stopped", name))
    note_stop(files.log, person.name)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)


def _free_name(workspace: Path, models: Sequence[str]) -> str:
    """ "ppo-vs-sft", or "ppo-vs-sft-2" when there is one already."""
    words = [_UNSAFE.sub("-", name).strip("-.")[:40] or "model" for name in (models[-1], *models[:1])][: len(models)]
    plain = "-vs-".join(words)
    number = 1
    while EvaluationFiles(workspace, name := plain if number == 1 else f"{plain}-{number}").exists:
        number += 1
    return name


def _launch(store: Store, files: EvaluationFiles, person: Person, wanted: Wanted, lock: int) -> None:
    prompts = wanted.prompts if wanted.prompts in SHIPPED else store.workspace.absolute() / "prompts" / wanted.prompts
    arguments = [
        "report", "--models", *wanted.models, f"--prompts={prompts}", f"--out={files.page.absolute()}", "--json",
        f"--max-new-tokens={wanted.max_new_tokens}", f"--workspace={store.workspace.absolute()}",
        *(["--rater=scripted"] if wanted.rated else []),
    ]  # fmt: skip
    with files.log.open("wb") as log:
        process = spawn(arguments, log.fileno(), lock, files.asked, environment_for(store))
    asked = {
        "models": list(wanted.models), "prompts": wanted.prompts, "rater": RATER if wanted.rated else "",
        "by": person.name, "at_ms": now_ms(), "process": process,
    }  # fmt: skip
    write_durably(files.record, strict_json(asked))
