"""The verbs `project …`: labelling projects, their items and guidelines, and how they go.

Leaves out: the rules (`tutelage.feedback`), what is printed (`tutelage.workspace.project_tables`), and judging itself
(`tutelage.workspace.label`).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App

from tutelage.errors import ConfigError
from tutelage.workspace.acting import WORKSPACE, read, read_text, write
from tutelage.workspace.project_items import gold, items
from tutelage.workspace.project_sample import sample

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tutelage.feedback.projects import Project
    from tutelage.store.people import Person

Kind = Literal["comparison", "ranking", "thumbs", "rating"]


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

    text = read_text(guideline) if guideline else ""
    sampling = {"temperature": temperature, "max_new_tokens": max_new_tokens}

    def work(connection: Connection, person: Person) -> projects.Project:
        return projects.create(
            connection, person, name, kind, question, attributes=[_attribute(each) for each in attribute],
            reasons=reason, overlap=overlap, gold_frac=gold_frac, repeat_frac=repeat_frac,
            lease_seconds=lease_seconds, models=model, sampling=sampling, guideline=text,
        )  # fmt: skip

    made = write(workspace, by, work)
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

    show_projects(read(workspace, by, work), json)
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

    show_project(read(workspace, by, work), json)
    return 0


def guideline(
    name: str,
    file: Path | None = None,
    /,
    *,
    version: int | None = None,
    note: str = "",
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
    note
        With a file: what is new in it, in a sentence that raters read.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.evaluate.markdown import clean_text
    from tutelage.feedback import projects

    if file is not None:
        text = read_text(file)
        number = write(workspace, by, lambda connection, person: projects.add_guideline(
            connection, person, projects.get(connection, name), text, note
        ))  # fmt: skip
        print(f"project {name} has version {number} of its guidelines; labels from now on carry it")
        return 0
    found = read(workspace, by, lambda connection, _: projects.guideline(
        connection, projects.get(connection, name), version
    ))  # fmt: skip
    print(clean_text(found.text) if found else f"project {name} has no guidelines yet")
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

    found = read(workspace, by, lambda connection, person: progress_of(
        connection, person, projects.get(connection, name)
    ))  # fmt: skip
    show_progress(found, json)
    return 0


def _set_state(name: str, state: str, by: str | None, workspace: Path) -> int:
    from tutelage.feedback import projects

    found = write(workspace, by, lambda connection, person: projects.set_state(
        connection, person, projects.get(connection, name), state
    ))  # fmt: skip
    print(f"project {found.name} is {found.state}")
    return 0


def _num_items(connection: Connection, person: Person, project: Project) -> dict[str, int]:
    from tutelage.feedback.items import num_by_state

    found = num_by_state(connection, project)
    return found if person.role != "rater" else {state: found[state] for state in ("open", "done")}


def _attribute(text: str) -> dict[str, Any]:
    name, *numbers = text.split(":")
    try:
        low, high = map(float, numbers)
    except ValueError as error:
        raise ConfigError(f"--attribute {text}: give NAME:LOWEST:HIGHEST, for example helpful:0:4") from error
    whole = low.is_integer() and high.is_integer()
    return {"name": name, "low": int(low) if whole else low, "high": int(high) if whole else high}
