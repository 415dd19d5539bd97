"""The verbs `project …`: labelling projects, their items and guidelines, and how they go.

Leaves out: the rules (`tutelage.feedback`), what is printed (`tutelage.workspace.project_tables`), and judging itself
(`tutelage.workspace.label`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from cyclopts import App

from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tutelage.feedback.projects import Project
    from tutelage.store.people import Person

WORKSPACE = Path("workspace")
Kind = Literal["comparison", "ranking", "thumbs", "rating"]
State = Literal["open", "done", "withdrawn"]
T = TypeVar("T")


def register(app: App) -> None:
    """Add the group to `app`."""
    group = App(name="project", help="Labelling projects: what people are asked, about which answers, and how it goes.")
    for verb in (create, show, items, gold, guideline, sample, pause, close, progress):
        group.command(verb)
    group.command(list_projects, name="list")
    group.command(open_project, name="open")
    app.command(group)


def create(
    name: str,
    /,
    *,
    kind: Kind,
    question: str = "",
    attribute: tuple[str, ...] = (),
    reason: tuple[str, ...] = (),
    overlap: int = 1,
    gold_frac: float = 0.0,
    repeat_frac: float = 0.0,
    lease_seconds: int = 900,
    model: tuple[str, ...] = (),
    temperature: float = 1.0,
    max_new_tokens: int = 256,
    guideline: Path | None = None,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Make a project: `tutelage project create helpful --kind comparison --overlap 3 --guideline helpful.md`.

    Parameters
    ----------
    name
        Its name; `labels:NAME` names its labels for training.
    kind
        What people say: which of two is better, an order of several, good or bad, or scores.
    question
        What people are asked; a plain question by kind without it.
    attribute
        Of a rating: a name with its lowest and highest number, for example helpful:0:4; give it for each attribute.
    reason
        A reason that people may tick; give it for each.
    overlap
        Labels wanted for each item, from different people.
    gold_frac
        Share of tasks that are gold items, whose verdict is known; at most .5.
    repeat_frac
        Share of tasks that the same person has had before; at most .5.
    lease_seconds
        How long a task is kept for a person.
    model
        A model to sample answers from; give it for each.
    temperature
        Of sampling.
    max_new_tokens
        Longest sampled answer, in tokens.
    guideline
        Markdown file with the guidelines, their version 1.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.feedback import projects

    text = _text(guideline) if guideline else ""
    sampling = {"temperature": temperature, "max_new_tokens": max_new_tokens}

    def work(connection: Connection, person: Person) -> projects.Project:
        return projects.create(
            connection, person, name, kind, question, attributes=[_attribute(each) for each in attribute],
            reasons=reason, overlap=overlap, gold_frac=gold_frac, repeat_frac=repeat_frac,
            lease_seconds=lease_seconds, models=model, sampling=sampling, guideline=text,
        )  # fmt: skip

    made = _write(workspace, by, work)
    print(f"project {made.name} ({made.kind}), {made.overlap} label{'s' * (made.overlap > 1)} an item")
    print(
        f"add items: tutelage project sample {made.name} --prompts FILE\n"
        f"       or: tutelage project items {made.name} --data FILE"
    )
    return 0


def list_projects(*, json: bool = False, by: str | None = None, workspace: Path = WORKSPACE) -> int:
    """List the projects with their items.

    Parameters
    ----------
    json
        Print JSON.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.feedback import projects
    from tutelage.workspace.project_tables import show_projects

    def work(connection: Connection, person: Person) -> list[dict[str, Any]]:
        return [
            asdict(projects.seen_by(each, person)) | {"num_items": _num_items(connection, person, each)}
            for each in projects.everything(connection)
        ]

    show_projects(_read(workspace, by, work), json)
    return 0


def show(name: str, /, *, json: bool = False, by: str | None = None, workspace: Path = WORKSPACE) -> int:
    """Show one project: its facts and its newest guidelines.

    Parameters
    ----------
    name
        The project.
    json
        Print JSON.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.feedback import projects
    from tutelage.workspace.project_tables import show_project

    def work(connection: Connection, person: Person) -> dict[str, Any]:
        project = projects.get(connection, name)
        newest = projects.guideline(connection, project)
        return asdict(projects.seen_by(project, person)) | {
            "num_items": _num_items(connection, person, project),
            "guideline": newest._asdict() if newest else None,
        }

    show_project(_read(workspace, by, work), json)
    return 0


def items(
    name: str,
    /,
    *,
    data: Path | None = None,
    state: State | None = None,
    after: str = "",
    limit: int = 50,
    json: bool = False,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """List a project's items, or add those of a file: `tutelage project items helpful --data answers.jsonl`.

    A line of the file holds a prompt and its answers: a list `answers`, `response_a` and `response_b`, or one `answer`
    as `tutelage generate` writes them; answers to the same prompt are then taken together.

    Parameters
    ----------
    name
        The project.
    data
        File with prompts and answers to add; one that is there already is not added again.
    state
        List only these.
    after
        List those behind this id.
    limit
        How many to list.
    json
        Print JSON.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.feedback import items, projects
    from tutelage.workspace.project_tables import show_items

    if data is not None:
        return _add(name, data, by, workspace, gold=False)
    if not 1 <= limit <= 1_000:
        raise ConfigError(f"--limit is {limit}; it must be 1 to 1000")
    found = _read(workspace, by, lambda connection, person: items.listing(
        connection, person, projects.get(connection, name), state=state or "", after=after, limit=limit
    ))  # fmt: skip
    show_items([asdict(each) for each in found], limit, json)
    return 0


def gold(
    name: str,
    /,
    *,
    data: Path | None = None,
    item: str | None = None,
    verdict: str | None = None,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Add gold items, whose verdict is known: `tutelage project gold helpful --data gold.jsonl`.

    Parameters
    ----------
    name
        The project.
    data
        File of items as for `project items`, each with `gold`, its verdict: `{"winner": 0, "strength": 3}`. Answers are
        named by their place, from 0.
    item
        Make this item of the project, which nobody was given yet, a gold item.
    verdict
        The verdict for --item, as JSON.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    if (data is None) == (item is None) or (item is None) != (verdict is None):
        raise ConfigError("give --data FILE, or --item ID with --verdict JSON")
    if data is not None:
        return _add(name, data, by, workspace, gold=True)
    from tutelage.feedback import projects
    from tutelage.feedback.items import add_gold, answer_ids
    from tutelage.feedback.verdicts import project_value

    said = _json(verdict or "", "--verdict")

    def work(connection: Connection, person: Person) -> str:
        project = projects.get(connection, name)
        ids = answer_ids(connection, project, str(item))
        return add_gold(connection, person, project, str(item), project_value(project, said, ids, ids))

    print(f"item {_write(workspace, by, work)} is a gold item")
    return 0


def _add(name: str, data: Path, by: str | None, workspace: Path, *, gold: bool) -> int:
    from tutelage.errors import DataError
    from tutelage.feedback import projects
    from tutelage.feedback.item_files import read_items
    from tutelage.feedback.items import add_items
    from tutelage.store.people import everyone

    def read(connection: Connection, _: Person) -> Any:
        names = {each.name: each.id for each in everyone(connection)}
        return read_items(data, projects.get(connection, name), names)

    new = _read(workspace, by, read)
    if gold and any(each.gold_value is None for each in new):
        raise DataError("every record needs 'gold', the verdict it should get", file=data, field="gold")
    if not gold and any(each.gold_value is not None for each in new):
        raise DataError("there are gold verdicts in it; add it by `tutelage project gold`", file=data, field="gold")
    added = _write(workspace, by, lambda connection, person: add_items(
        connection, person, projects.get(connection, name), new
    ))  # fmt: skip
    what = "gold items" if gold else "items"
    print(
        f"{len(added.ids)} {what} added, {added.num_there} were there already, "
        f"{added.num_equal} left out: equal answers"
    )
    return 0


def guideline(
    name: str,
    file: Path | None = None,
    /,
    *,
    version: int | None = None,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Print a project's guidelines, or add a version: `tutelage project guideline helpful helpful.md`.

    Parameters
    ----------
    name
        The project.
    file
        Markdown file with the new guidelines.
    version
        Print this version; the newest without it.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.evaluate.markdown import clean_text
    from tutelage.feedback import projects

    if file is not None:
        text = _text(file)
        number = _write(workspace, by, lambda connection, person: projects.add_guideline(
            connection, person, projects.get(connection, name), text
        ))  # fmt: skip
        print(f"project {name} has version {number} of its guidelines; labels from now on carry it")
        return 0
    found = _read(workspace, by, lambda connection, _: projects.guideline(
        connection, projects.get(connection, name), version
    ))  # fmt: skip
    print(clean_text(found.text) if found else f"project {name} has no guidelines yet")
    return 0


def sample(
    name: str,
    /,
    *,
    prompts: str,
    model: tuple[str, ...] = (),
    num_answers: int | None = None,
    temperature: float | None = None,
    top_p: float = 1.0,
    max_new_tokens: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Sample answers to prompts and add them: `tutelage project sample helpful --prompts prompts.jsonl --model sft`.

    It can be interrupted; the same command goes on. A prompt that has its items already is not sampled again.

    Parameters
    ----------
    name
        The project.
    prompts
        Data file with prompts, a text file with one a line, or `compare`.
    model
        A model to sample from; give it for each. Those of the project without it.
    num_answers
        Answers to each prompt, the models taking turns; 2 for a comparison, 4 for a ranking, 1 else.
    temperature
        Of sampling; the project's without it.
    top_p
        Draw only from the most probable tokens that together have this probability.
    max_new_tokens
        Longest answer, in tokens; the project's without it.
    seed
        Seed of the draws.
    batch_size
        Answers sampled at once.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record, models/ and runs/.
    """
    from tutelage.data import load_prompts
    from tutelage.engine.generate import Sampling
    from tutelage.feedback import projects
    from tutelage.feedback.sample import sample_items
    from tutelage.store.database import open_store
    from tutelage.store.people import acting
    from tutelage.verbs import check_batch_size

    if prompts == "sealed":
        raise ConfigError("'sealed' names the sealed prompts, which are never trained on, so nobody labels them either")
    check_batch_size(batch_size)
    asked = load_prompts(prompts)
    with open_store(workspace) as store:
        with store.read() as connection:
            person, project = acting(connection, by), projects.get(connection, name)
        known = project.sampling
        sampling = Sampling(
            int(max_new_tokens or known.get("max_new_tokens", 256)),
            float(known.get("temperature", 1.0) if temperature is None else temperature), top_p, seed=seed,
        )  # fmt: skip
        wanted = num_answers or {"comparison": 2, "ranking": 4}.get(project.kind, 1)
        found = sample_items(
            store, person, project, asked, model or project.models, sampling, num_answers=wanted,
            workspace=workspace, batch_size=batch_size,
            progress=lambda each, number: print(f"{each}: {number} prompts", file=sys.stderr, flush=True),
        )  # fmt: skip
    print(
        f"{found.num_prompts} prompts: {found.num_there} were there, {found.num_answers} answers sampled, "
        f"{found.num_items} items added, {found.num_equal} left out: equal answers"
    )
    return 0


def pause(name: str, /, *, by: str | None = None, workspace: Path = WORKSPACE) -> int:
    """Hand out no tasks for now; what was begun may be submitted.

    Parameters
    ----------
    name
        The project.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    return _set_state(name, "paused", by, workspace)


def open_project(name: str, /, *, by: str | None = None, workspace: Path = WORKSPACE) -> int:
    """Hand out tasks again.

    Parameters
    ----------
    name
        The project.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    return _set_state(name, "open", by, workspace)


def close(name: str, /, *, by: str | None = None, workspace: Path = WORKSPACE) -> int:
    """Hand out no more tasks; what was begun may be submitted.

    Parameters
    ----------
    name
        The project.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    return _set_state(name, "closed", by, workspace)


def progress(name: str, /, *, json: bool = False, by: str | None = None, workspace: Path = WORKSPACE) -> int:
    """Show what is done and left, how far raters agree, and how each of them goes; a rater sees their own line.

    Parameters
    ----------
    name
        The project.
    json
        Print JSON.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.feedback import projects
    from tutelage.feedback.progress import progress as progress_of
    from tutelage.workspace.project_tables import show_progress

    found = _read(workspace, by, lambda connection, person: progress_of(
        connection, person, projects.get(connection, name)
    ))  # fmt: skip
    show_progress(found, json)
    return 0


def _set_state(name: str, state: str, by: str | None, workspace: Path) -> int:
    from tutelage.feedback import projects

    found = _write(workspace, by, lambda connection, person: projects.set_state(
        connection, person, projects.get(connection, name), state
    ))  # fmt: skip
    print(f"project {found.name} is {found.state}")
    return 0


def _num_items(connection: Connection, person: Person, project: Project) -> dict[str, int]:
    from tutelage.feedback.items import num_by_state

    found = num_by_state(connection, project)
    return found if person.role != "rater" else {state: found[state] for state in ("open", "done")}


def _read(workspace: Path, by: str | None, work: Callable[[Connection, Person], T]) -> T:
    from tutelage.store.database import open_store
    from tutelage.store.people import acting

    with open_store(workspace) as store, store.read() as connection:
        return work(connection, acting(connection, by))


def _write(workspace: Path, by: str | None, work: Callable[[Connection, Person], T]) -> T:
    from tutelage.store.database import open_store
    from tutelage.store.people import acting

    with open_store(workspace) as store:
        return store.run(lambda connection: work(connection, acting(connection, by)))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is no text in UTF-8; save it as such") from error


def _json(text: str, option: str) -> dict[str, Any]:
    from json import loads

    try:
        found = loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{option} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{option} is no JSON object")
    return found


def _attribute(text: str) -> dict[str, Any]:
    name, *numbers = text.split(":")
    try:
        low, high = map(float, numbers)
    except ValueError as error:
        raise ConfigError(f"--attribute {text}: give NAME:LOWEST:HIGHEST, for example helpful:0:4") from error
    whole = low.is_integer() and high.is_integer()
    return {"name": name, "low": int(low) if whole else low, "high": int(high) if whole else high}
