"""The verb `choose`: which items of a labelling project come first.

Leaves out: the rules (`tutelage.feedback.selection`) and what they do to the record (`tutelage.feedback.choosing`).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from json import dumps as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.feedback.choosing import Choice, Look
    from tutelage.feedback.features import Pooling
    from tutelage.feedback.view import Features

WORKSPACE = Path("workspace")


def register(app: App) -> None:
    """Add the verb to `app`."""
    app.command(choose)


def choose(
    project: str,
    /,
    *,
    number: int,
    rule: Literal["random", "uncertainty", "gap", "d-optimal"] = "d-optimal",
    reward: str | None = None,
    random_frac: float = 0.25,
    seed: int | None = None,
    look_at: int = 5000,
    clusters: int = 8,
    pooling: Literal["last", "mean"] = "last",
    max_tokens: int = 2048,
    progress: Path | None = None,
    by: str | None = None,
    json: bool = False,
    workspace: Path = WORKSPACE,
) -> int:
    """Choose what a project labels next: `tutelage choose helpful --rule d-optimal --reward rm --number 200`.

    The chosen items come first in the queue; each keeps by which rule and with what probability it was chosen.

    Parameters
    ----------
    project
        The labelling project.
    number
        How many items to choose.
    rule
        By what: chance alone, the least sure verdict, the largest plausible gap, or what the head learns most from.
    reward
        Whose hidden states are the features: a reward model, or any language model while there is none.
    random_frac
        Share of the batch that is drawn at random, to measure on; 0.2 to 0.3 is usual.
    seed
        Seed of every draw; drawn and told where none is given.
    look_at
        Most open items to look at, drawn at random; each answer of theirs is read by the model once.
    clusters
        Clusters of prompts, none of which gives more than twice its share; 1 means no quota.
    pooling
        The hidden state that ends the answer, which a reward model's head reads, or the mean over the answer.
    max_tokens
        Longest prompt and answer, in tokens; an item with a longer one is not chosen.
    progress
        JSON file that says at the end how many were chosen from how many.
    by
        Who acts; the workspace's owner where nobody is named.
    json
        Print the choice as JSON, every item with its rule and probability.
    workspace
        Folder that holds the record, models/ and runs/.
    """
    from tutelage.feedback import choosing, projects
    from tutelage.feedback.selection import check_options
    from tutelage.store.database import open_store
    from tutelage.store.people import acting

    check_options(rule, number, random_frac, clusters)
    model, seed = _model_for(rule, reward), _drawn() if seed is None else seed
    with open_store(workspace) as store:
        features: Features | None = None
        looked_at: Sequence[str] | None = None
        if model is not None:
            with store.read() as connection:
                person, asked_for = acting(connection, by), projects.get(connection, project)
                seen = choosing.look(connection, person, asked_for, look_at=look_at, seed=seed)
            features, looked_at = _states(model, seen, workspace, pooling, max_tokens, json), seen.items
        with store.write() as connection:
            chosen = choosing.choose(
                connection, acting(connection, by), projects.get(connection, project), rule, features, number,
                random_frac=random_frac, seed=seed, looked_at=looked_at, num_clusters=clusters,
            )  # fmt: skip
    _note(progress, chosen)
    _tell(chosen, project, rule, seed, json)
    return 0


def _note(progress: Path | None, chosen: Choice) -> None:
    from tutelage.workspace.project_sample import write_progress

    told = chosen._asdict() | {"num_items": len(chosen.items), "num_random": chosen.num_random}
    del told["items"]
    write_progress(progress, {"result": told})


def _model_for(rule: str, reward: str | None) -> str | None:
    """The model to read answers with; None for chance alone."""
    if rule == "random":
        return None
    if reward is None:
        raise ConfigError(
            f"--rule {rule} needs --reward MODEL; name a reward model, or while there is none a language model"
        )
    return reward


def _drawn() -> int:
    return secrets.randbelow(2**31)


def _states(model: str, seen: Look, workspace: Path, pooling: Pooling, max_tokens: int, quiet: bool) -> Features:
    from tutelage.feedback.features import Asked, answer_states
    from tutelage.types import Message

    asked = [
        Asked(one.messages, {name: (Message("assistant", text),) for name, text in one.texts.items()})
        for one in seen.prompts
    ]
    return answer_states(model, asked, workspace=workspace, pooling=pooling, max_tokens=max_tokens, quiet=quiet)


def _tell(chosen: Choice, project: str, rule: str, seed: int, as_json: bool) -> None:
    if as_json:
        print(json_text({"project": project, "rule": rule, "seed": seed, **chosen._asdict()}))
        return
    others = "" if rule == "random" else f", the others by {rule}"
    print(f"chosen for {project}: {len(chosen.items)} items, {chosen.num_random} of them at random{others}")
    print(f"from {chosen.num_looked_at} of {chosen.num_open} open items that nobody has judged; seed {seed}")
    if rule != "random":
        waiting = f"{chosen.num_waiting} items of earlier choices wait to be judged"
        print(f"the head learned from {chosen.num_verdicts} verdicts; {waiting}")
    if chosen.num_unreadable:
        print(f"left out: {chosen.num_unreadable} items that the model cannot read (too long, or a control token)")
