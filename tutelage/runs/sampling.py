"""Sampling answers for a labelling project, as a job: what may be asked for, and the command that does it.

Leaves out: the job itself (`jobs`), sampling (`tutelage.feedback.sample`), and where prompts come from (`prompts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.errors import DataError
from tutelage.feedback import projects
from tutelage.feedback.items import NUM_ANSWERS
from tutelage.feedback.projects import Project
from tutelage.feedback.sample import MOST_ANSWERS, USUAL_ANSWERS
from tutelage.runs import jobs, prompts
from tutelage.runs.asked_models import check_writer
from tutelage.runs.prompt_lines import as_lines
from tutelage.store.database import Store
from tutelage.store.people import Person, require

MOST_TOKENS = 4096
MOST_MODELS = 9
HOTTEST = 5.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose answers to what are wanted."""

    models: tuple[str, ...]
    prompts: str = ""
    """The name of a source (`tutelage.runs.prompts`); empty where they are typed."""
    typed: tuple[str, ...] = ()
    number: int | None = None
    """At most so many of the prompts, drawn by the seed; None = all."""
    num_answers: int | None = None
    """To each prompt; the usual number of the project's kind without it."""
    temperature: float = 1.0
    max_new_tokens: int = 256
    seed: int = 0
    again: bool = False
    """A new round: also on prompts that the project has items of."""


def start(store: Store, person: Person, name: str, wanted: Wanted) -> str:
    """Start sampling for the project and give the job's id. Raises `DataError`, naming the field, for what cannot be.

    Raises besides as `jobs.begin`.
    """
    require(person, "reviewer")
    with store.read() as connection:
        project = projects.get(connection, name)
        num_answers = check(store.workspace, project, wanted)
        chosen = prompts.choose(
            connection, store.workspace, project, wanted.prompts, wanted.typed, number=wanted.number,
            seed=wanted.seed, again=wanted.again,
        )  # fmt: skip
    if chosen.authors:
        store.run(lambda connection: prompts.note_authors(connection, chosen))
    asked = {
        "models": list(wanted.models), "prompts": wanted.prompts, "num_prompts": len(chosen.prompts),
        "num_there": chosen.num_there, "num_sealed": chosen.num_sealed, "num_answers": num_answers,
        "temperature": wanted.temperature, "max_new_tokens": wanted.max_new_tokens, "seed": wanted.seed,
        "again": wanted.again,
    }  # fmt: skip
    arguments = _arguments(project, asked)
    return jobs.begin(store, person, project, "sampling", asked, arguments, as_lines(chosen.prompts))


def check(workspace: Path, project: Project, wanted: Wanted) -> int:
    """The number of answers to each prompt; `DataError`, naming the field, for what no items can be made of."""
    if not wanted.models:
        raise DataError("choose a model that is to answer", field="models")
    if len(set(wanted.models)) < len(wanted.models):
        raise DataError("the same model is named twice; choose each once", field="models")
    if len(wanted.models) > MOST_MODELS:
        raise DataError(f"these are {len(wanted.models)} models; choose at most {MOST_MODELS}", field="models")
    for name in wanted.models:
        check_writer(workspace, name)
    usual = max(USUAL_ANSWERS[project.kind], len(wanted.models))
    number = usual if wanted.num_answers is None else wanted.num_answers
    _check_number(project, number, len(wanted.models))
    if not 1 <= wanted.max_new_tokens <= MOST_TOKENS:
        raise DataError(f"{wanted.max_new_tokens} is not in 1 to {MOST_TOKENS:,}", field="max_new_tokens")
    if not 0 <= wanted.temperature <= HOTTEST:
        raise DataError(f"{wanted.temperature} is not in 0 to {HOTTEST:g}", field="temperature")
    if wanted.temperature == 0 and number > len(wanted.models):
        raise DataError(
            "at 0 a model gives the same answer each time; choose 1, or as many models as answers", field="temperature"
        )
    return number


def _check_number(project: Project, number: int, num_models: int) -> None:
    fewest, most = NUM_ANSWERS[project.kind]
    if most == 1:
        most = MOST_ANSWERS
    if not fewest <= number <= most:
        wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
        field = "num_answers" if num_models <= most else "models"
        raise DataError(f"a {project.kind} is of {wanted} answers to a prompt, and these are {number}", field=field)
    if number < num_models:
        raise DataError(f"each model gives one answer at least, and these are {num_models} models", field="num_answers")


def _arguments(project: Project, asked: Mapping[str, Any]) -> list[str]:
    numbers = ("num_answers", "temperature", "max_new_tokens", "seed")
    return [
        "project", "sample", project.name, *(f"--model={name}" for name in asked["models"]),
        *(f"--{key.replace('_', '-')}={asked[key]}" for key in numbers), *(["--again"] if asked["again"] else []),
    ]  # fmt: skip
