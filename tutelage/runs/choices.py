"""Choosing by a model which items of a project come first, as a job; chance alone needs none, and no job.

Leaves out: the job itself (`jobs`), and the rules (`tutelage.feedback.selection`).
"""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.errors import DataError
from tutelage.feedback import projects
from tutelage.feedback.selection import RULES
from tutelage.runs import jobs
from tutelage.runs.asked_models import check_reader
from tutelage.store.database import Store
from tutelage.store.people import Person, require

MOST_ITEMS = 100_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be chosen, by which rule and whose eyes."""

    rule: str
    reward: str
    number: int
    random_frac: float = 0.25
    seed: int = 0


def start(store: Store, person: Person, name: str, wanted: Wanted) -> str:
    """Start the choice and give the job's id. Raises `DataError`, naming the field, and as `jobs.begin`."""
    require(person, "reviewer")
    if wanted.rule not in RULES or wanted.rule == "random":
        raise DataError(f"'{wanted.rule[:60]}' is none of {', '.join(RULES[1:])}", field="rule")
    if not 1 <= wanted.number <= MOST_ITEMS:
        raise DataError(f"{wanted.number} is not in 1 to {MOST_ITEMS:,}", field="number")
    if not 0 <= wanted.random_frac <= 1:
        raise DataError(f"{wanted.random_frac} is no share between 0 and 1", field="random_frac")
    check_reader(store.workspace, wanted.reward)
    with store.read() as connection:
        project = projects.get(connection, name)
    asked = {
        "rule": wanted.rule, "reward": wanted.reward, "number": wanted.number, "random_frac": wanted.random_frac,
        "seed": wanted.seed,
    }  # fmt: skip
    arguments = ["choose", project.name, *(f"--{key.replace('_', '-')}={value}" for key, value in asked.items())]
    return jobs.begin(store, person, project, "choice", asked, arguments)
