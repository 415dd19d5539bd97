"""The training methods and the form of each: options with kinds, defaults and help, and what there is to choose from.

Leaves out: starting a run (`tutelage.api.runs`).
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice

from fastapi import APIRouter
from sqlalchemy import Connection

from tutelage.api.caller import Record, Reviewer
from tutelage.api.wire_runs import ChoiceTold, FieldTold, FormTold, GroupTold, MethodName, MethodsTold, MethodTold
from tutelage.feedback import projects
from tutelage.models.find import ModelInfo
from tutelage.runs import rules, words
from tutelage.runs.forms import method_form, method_names
from tutelage.store import datasets
from tutelage.train.alarms import ANY, RULES

router = APIRouter(prefix="/api/methods", tags=["runs"])
MOST_CHOICES = 500
SHIPPED = {
    "starter": "pairs of question and answer that come with Tutelage",
    "compare": "prompts that come with Tutelage",
}


@router.get("")
def list_methods(person: Reviewer) -> MethodsTold:
    """Every training method, by what it learns from, in plain words."""
    del person
    forms = [method_form(name) for name in method_names()]
    told = [MethodTold(**{key: getattr(form, key) for key in MethodTold.model_fields}) for form in forms]
    return MethodsTold(groups=[GroupTold(**group._asdict()) for group in words.GROUPS], methods=told)


@router.get("/{method}")
def get_method(method: MethodName, person: Reviewer, store: Record) -> FormTold:
    """A method's options, with the models, datasets and rewards that may be chosen."""
    del person
    form = method_form(method)
    with store.read() as connection:
        known = _datasets(connection)
    own = {key: getattr(form, key) for key in FormTold.model_fields if hasattr(form, key) and key != "fields"}
    return FormTold(
        **own, fields=[FieldTold(**asdict(field)) for field in form.fields],
        models=_models(rules.models(store.workspace)), data=_shipped(rules.PAIRS) + known,
        prompts=_shipped(rules.PROMPTS) + known, rewards=_models(rules.models(store.workspace, judges=True)),
        checks=[ChoiceTold(value=each.name, text=each.text, argument=each.argument) for each in words.CHECKS],
        stop_on=[*RULES, ANY],
    )  # fmt: skip


def _shipped(names: tuple[str, ...]) -> list[ChoiceTold]:
    return [ChoiceTold(value=name, text=SHIPPED[name]) for name in names]


def _models(found: list[ModelInfo]) -> list[ChoiceTold]:
    return [ChoiceTold(value=each.name, text=f"{each.kind}, {each.origin}"[:200]) for each in found[:MOST_CHOICES]]


def _datasets(connection: Connection) -> list[ChoiceTold]:
    """Datasets with a snapshot, and the labels of every project, of which training takes a snapshot itself."""
    taken = datasets.listing(connection, limit=MOST_CHOICES)
    found = {each.name: f"{each.newest.num_records:,} {each.kind}, newest is @{each.newest.number}" for each in taken}
    for project in islice(projects.everything(connection), MOST_CHOICES):
        found.setdefault(f"labels:{project.name}", f"what people judged in {project.name} ({project.kind})")
    return [ChoiceTold(value=name, text=text) for name, text in sorted(found.items())]
