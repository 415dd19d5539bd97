"""The verbs `project items` and `gold`: what a project asks about.

Leaves out: projects themselves (`tutelage.workspace.projects`), and sampling answers
(`tutelage.workspace.project_sample`).
"""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tutelage.errors import ConfigError
from tutelage.workspace.acting import WORKSPACE, read, write

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tutelage.store.people import Person

State = Literal["open", "done", "withdrawn"]


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
    if after and re.fullmatch("[0-9a-f]{32}", after) is None:
        raise ConfigError(f"--after is {after!r}, and an id has 32 hexadecimal digits; take the last one of a list")
    found = read(workspace, by, lambda connection, person: items.listing(
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

    print(f"item {write(workspace, by, work)} is a gold item")
    return 0


def _add(name: str, data: Path, by: str | None, workspace: Path, *, gold: bool) -> int:
    from tutelage.errors import DataError
    from tutelage.feedback import projects
    from tutelage.feedback.item_files import read_items
    from tutelage.feedback.items import add_items
    from tutelage.store.people import everyone

    def parse(connection: Connection, _: Person) -> Any:
        names = {each.name: each.id for each in everyone(connection)}
        return read_items(data, projects.get(connection, name), names)

    new = read(workspace, by, parse)
    if gold and any(each.gold_value is None for each in new):
        raise DataError("every record needs 'gold', the verdict it should get", file=data, field="gold")
    if not gold and any(each.gold_value is not None for each in new):
        raise DataError("there are gold verdicts in it; add it by `tutelage project gold`", file=data, field="gold")
    added = write(workspace, by, lambda connection, person: add_items(
        connection, person, projects.get(connection, name), new
    ))  # fmt: skip
    what = f"{'gold ' if gold else ''}item{'s' if len(added.ids) != 1 else ''}"
    equal = f", {added.num_equal} left out: equal answers" if added.num_equal else ""
    print(f"{len(added.ids)} {what} added, {added.num_there} there already{equal}")
    return 0


def _json(text: str, option: str) -> dict[str, Any]:
    from json import loads

    try:
        found = loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{option} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{option} is no JSON object")
    return found
