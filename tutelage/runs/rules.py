"""What a run may be asked for by a form in a browser. Whoever fills it in may train; they may not reach further.

    method    one that is installed, by name; never a file
    model     a model of the workspace or a starter model (reference, critic and teacher too); no folder, nothing from
              the hub
    data      a dataset of the record (`curated@3`, `labels:helpful`), or what comes with Tutelage; no file, nothing
              from the hub
    reward    reward models of the workspace and checks that read no file; no code of one's own, no judge, no schema
    options   those that the form offers: never ones that run code, reach another service or name a folder

This holds for everybody, for an admin too: the terminal is where more is possible, since whoever works there has the
machine's rights anyway. It holds for going on with a run as well. Values are judged by the dataclasses that
training itself uses.

Leaves out: who may ask (`launch`), and whether the data suits the method, which training says.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from tutelage.data.starter import COMPARE, STARTER
from tutelage.errors import ConfigError, DataError, NotFoundError, TutelageError
from tutelage.feedback import projects
from tutelage.models.catalogue import STARTERS
from tutelage.models.find import ModelInfo, kind_of, list_models
from tutelage.rewards.spec import JUDGE, Spec, parse_specs
from tutelage.rewards.verifiers import VERIFIERS, make_verifier
from tutelage.runs import words
from tutelage.runs.files import NAME
from tutelage.runs.forms import NOT_ONLINE, OFF, Field, MethodForm, method_class, method_form
from tutelage.store import datasets
from tutelage.store.dataset_names import LABELS, is_name, split_name
from tutelage.train.alarms import check_stop_on
from tutelage.train.config import TrainConfig, build_run

_LAYERS = re.compile(r"[A-Za-z0-9_.,-]{1,500}")
_OPTION = re.compile(r"--([a-z][a-z0-9.-]*)|\b(lora\.[a-z_]+)")
_MOST_REWARDS = 10
RESERVED = {"new", "warnings", JUDGE, *VERIFIERS}
"""Addresses of pages, and what would mean something else where a reward is named."""
PAIRS, PROMPTS = (STARTER,), (COMPARE, STARTER)
"""What comes with Tutelage: to learn from, and to practise on."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A run that may be started: its method and the options that were given."""

    method: str
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.options["out"])


def check(connection: Connection, workspace: Path, method: str, options: Mapping[str, Any]) -> Asked:
    """The run that a form asks for; options that are empty count as not given.

    Raises `NotFoundError` for a method that is not there, and `DataError` naming the field for everything else.
    """
    form = method_form(method)
    given = {name: value for name, value in options.items() if value not in (None, "", [])}
    _check_names(form, given)
    fields = {field.name: field for field in form.fields}
    for name, value in given.items():
        _check_value(connection, workspace, fields[name], value)
    try:
        build_run(method_class(method), {**given, "workspace": str(workspace)}, where=method)
    except TutelageError as error:
        raise DataError(str(error).removeprefix(f"{method}: "), field=_field_of(str(error), fields)) from error
    return Asked(method, given)


def _check_names(form: MethodForm, given: Mapping[str, Any]) -> None:
    known = [field.name for field in form.fields]
    for name in given:
        if name in OFF:
            raise DataError(f"only the terminal has this option: it {OFF[name]}", field=name)
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise DataError(f"{form.name} has no option '{name}' here; did you mean '{near}'?", field=name)
    for field in form.fields:
        if field.required and field.name not in given:
            raise DataError("is needed; fill it in", field=field.name)


def _field_of(message: str, known: Iterable[str]) -> str | None:
    """The option that a message is about: the first that it names."""
    for match in _OPTION.finditer(message):
        name = (match[1] or match[2]).replace("-", "_")
        if name in known:
            return name
    return next((name for name in known if f"'{name}'" in message), None)


def _check_value(connection: Connection, workspace: Path, field: Field, value: Any) -> None:
    try:
        if field.kind in ("model", "data", "prompts", "name", "text"):
            if not isinstance(value, str):
                raise ConfigError("is no text; give a name")
            _check_text(connection, workspace, field, value)
        elif field.kind in ("reward", "names"):
            texts = [value] if isinstance(value, str) else value
            if not (isinstance(texts, list | tuple) and all(isinstance(each, str) for each in texts)):
                raise ConfigError("is no list of texts")
            _check_rewards(workspace, texts) if field.kind == "reward" else check_stop_on(texts)
    except DataError:
        raise
    except TutelageError as error:
        raise DataError(str(error), field=field.name) from error


def _check_text(connection: Connection, workspace: Path, field: Field, value: str) -> None:
    if field.kind == "model":
        _check_model(workspace, value)
    elif field.kind == "name":
        _check_out(value)
    elif field.kind == "text":
        if not _LAYERS.fullmatch(value):
            raise ConfigError(f"'{value[:50]}' is no list of layers; write e.g. q_proj,v_proj")
    else:
        _check_data(connection, value, PROMPTS if field.kind == "prompts" else PAIRS)


def _check_out(name: str) -> None:
    if name in RESERVED:
        raise ConfigError(f"'{name}' means something else already; choose another name")
    if not NAME.fullmatch(name) or ".." in name or name in STARTERS:
        raise ConfigError(
            f"'{name[:100]}' cannot name a model; use up to 100 letters, digits, '.', '_' and '-', beginning with a "
            "letter or digit, and no starter model's name"
        )


# Models --------------------------------------------------------------------------------------------------------------


def _check_model(workspace: Path, name: str) -> None:
    if name not in STARTERS and not is_model(workspace, name):
        raise ConfigError(
            f"there is no model '{name[:100]}' in the workspace, and it is no starter model; choose one of the list, "
            "or bring it in at the terminal"
        )


def is_model(workspace: Path, name: str) -> bool:
    """Whether a model folder of the workspace has this name; a link that leads out of it is none."""
    folder = workspace / "models"
    path = folder / name
    return bool(NAME.fullmatch(name)) and path.is_dir() and path.resolve().parent == folder.resolve()


def models(workspace: Path, *, judges: bool = False) -> list[ModelInfo]:
    """The models that may be started from, or with `judges` those that score answers."""
    scores = ("reward model", "ensemble")
    found = (each for each in list_models(workspace) if (each.kind in scores) is judges)
    return [each for each in found if each.name in STARTERS or is_model(workspace, each.name)]


# Data ----------------------------------------------------------------------------------------------------------------


def _check_data(connection: Connection, text: str, shipped: tuple[str, ...]) -> None:
    if text in shipped:
        return
    name, number = split_name(text)
    if not is_name(name):
        raise ConfigError(
            f"'{text[:100]}' is no dataset; choose one of the list: a file is read at the terminal, or imported first"
        )
    if name.startswith(LABELS) and number is None:
        projects.get(connection, name.removeprefix(LABELS).partition("/")[0])
        return
    datasets.snapshot_of(connection, text)


# Rewards -------------------------------------------------------------------------------------------------------------


def _check_rewards(workspace: Path, texts: Iterable[str]) -> None:
    specs = parse_specs(list(texts))
    if len(specs) > _MOST_REWARDS:
        raise ConfigError(f"these are {len(specs)} rewards; the most is {_MOST_REWARDS}")
    for spec in specs:
        _check_reward(workspace, spec)


def _check_reward(workspace: Path, spec: Spec) -> None:
    name, colon, argument = spec.text.partition(":")
    if spec.kind == "verifier" and name in {check.name for check in words.CHECKS}:
        make_verifier(name, argument if colon else None)
    elif spec.kind != "model":
        raise ConfigError(
            f"'{spec.text[:100]}' reads a file or runs code; a form may ask for reward models of the workspace and for "
            f"the checks {', '.join(check.name for check in words.CHECKS)}; the terminal may ask for more"
        )
    elif not is_model(workspace, spec.text):
        raise ConfigError(f"there is no reward model '{spec.text[:100]}' in the workspace; choose one of the list")
    elif (kind := kind_of(workspace / "models" / spec.text)) not in ("reward model", "ensemble"):
        raise ConfigError(f"'{spec.text}' is a {kind}, not a reward model; train one by the method reward")


def check_resume(connection: Connection, workspace: Path, config: Mapping[str, Any]) -> str:
    """The method of a run that may go on; `ConfigError` where it has what only the terminal may ask for."""
    method = str(config.get("method", ""))
    try:
        fields = {field.name: field for field in method_form(method).fields}
        _check_hidden(method, config, fields)
        for name, field in fields.items():
            if config.get(name) not in (None, "", []):
                _check_value(connection, workspace, field, config[name])
    except (NotFoundError, DataError) as error:
        raise ConfigError(f"this run can only go on at the terminal: {error}") from error
    return method


def _check_hidden(method: str, config: Mapping[str, Any], shown: Iterable[str]) -> None:
    """Refuse options that no form has; of a method that samples, `data` is another name of its prompts."""
    cls = method_class(method)
    usual = _defaults(TrainConfig) | _defaults(cls)
    for name in {*OFF, *usual} - {*shown, "workspace", "resume"} - (NOT_ONLINE if cls.online else set()):
        if config.get(name) not in (None, "", [], False, usual.get(name)):
            raise DataError(OFF.get(name, "no form has it"), field=name)


def _defaults(kind: type[Any]) -> dict[str, Any]:
    return {item.name: item.default for item in dataclasses.fields(kind)}
