"""The verbs `project items`, `gold` and `sample`: what a project asks about.

Leaves out: projects themselves (`tutelage.workspace.projects`).
"""

from __future__ import annotations

import sys
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
    what = "gold items" if gold else "items"
    print(
        f"{len(added.ids)} {what} added, {added.num_there} were there already, "
        f"{added.num_equal} left out: equal answers"
    )
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


def _json(text: str, option: str) -> dict[str, Any]:
    from json import loads

    try:
        found = loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{option} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{option} is no JSON object")
    return found
