"""The verbs `snapshot`, `datasets` and `diff`: datasets with a name and immutable numbered snapshots.

Leaves out: what a snapshot holds (`tutelage.store.datasets`), and training on it (`tutelage train --data NAME@3`).
"""

from __future__ import annotations

from dataclasses import asdict
from json import dumps as json_text
from pathlib import Path
from typing import Literal

from cyclopts import App

WORKSPACE = Path("workspace")
State = Literal["draft", "submitted", "returned", "accepted", "rejected"]


def register(app: App) -> None:
    """Add the verbs to `app`."""
    for verb in (snapshot, datasets, diff):
        app.command(verb)


def snapshot(
    name: str,
    /,
    *,
    state: tuple[State, ...] = ("accepted",),
    tag: tuple[str, ...] = (),
    source: tuple[str, ...] = (),
    gold: bool = False,
    repeats: bool = False,
    why: str = "",
    json: bool = False,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Take a snapshot of a dataset: `tutelage snapshot curated` gives curated@1, which `tutelage train --data` reads.

    A snapshot never changes. Where nothing has changed since the newest one, that is the answer.

    Parameters
    ----------
    name
        A name of your own for pairs, or labels:PROJECT for a project's labels.
    state
        Of pairs: those in this state; may be given several times.
    tag
        Of pairs: only those with this tag; with all where several are given.
    source
        Of pairs: only those whose source begins so; may be given several times.
    gold
        Of labels: with those of gold items.
    repeats
        Of labels: with the quiet repeats that measure how far raters agree with themselves.
    why
        What it is for, in your own words.
    json
        Print JSON.
    by
        Who takes it; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store.database import open_store
    from tutelage.store.datasets import take_snapshot
    from tutelage.store.people import acting

    with open_store(workspace) as store:
        with store.read() as connection:
            person = acting(connection, by)
        taken = take_snapshot(
            store, person, name, states=state, tags=tag, sources=source, gold=gold, repeats=repeats, why=why
        )
    if json:
        print(json_text(asdict(taken), ensure_ascii=False))
        return 0
    from rich.console import Console

    from tutelage.workspace.pair_tables import left_out_lines, number_of, plain

    console = Console()
    console.print(plain(f"{taken.label}: {number_of(taken.num_records, taken.kind)}"))
    for line in left_out_lines(taken):
        console.print(plain(line))
    return 0


def datasets(
    name: str | None = None,
    /,
    *,
    after: str | None = None,
    limit: int = 100,
    json: bool = False,
    workspace: Path = WORKSPACE,
) -> int:
    """List datasets with their newest snapshots, or all snapshots of one.

    Parameters
    ----------
    name
        A dataset.
    after
        Go on behind this name, or below this number of a snapshot: the last of the page before.
    limit
        Rows to show.
    json
        Print JSON lines.
    workspace
        Folder that holds the record.
    """
    from tutelage.errors import ConfigError
    from tutelage.store import datasets as store_datasets
    from tutelage.store.database import open_store
    from tutelage.workspace.pair_tables import dataset_table, snapshot_table

    if not 1 <= limit <= 1000:
        raise ConfigError(f"--limit is {limit}; it must be 1 to 1000")
    with open_store(workspace) as store, store.read() as connection:
        if name is None:
            found = store_datasets.listing(connection, after=after, limit=limit)
            table = dataset_table(found)
        else:
            before = _number(after)
            of_one = store_datasets.snapshots_of(connection, name, before=before, limit=limit)
            table = snapshot_table(of_one)
    rows = found if name is None else of_one
    if json:
        for each in rows:
            print(json_text(asdict(each), ensure_ascii=False))
        return 0
    from rich.console import Console

    Console().print(table if rows else "there are no datasets yet; `tutelage snapshot NAME` makes one")
    return 0


def _number(text: str | None) -> int | None:
    from tutelage.errors import ConfigError

    if text is None:
        return None
    if not text.isdecimal():
        raise ConfigError(f"--after is {text!r}; of a dataset's snapshots give a number")
    return int(text)


def diff(old: str, new: str, /, *, limit: int = 20, json: bool = False, workspace: Path = WORKSPACE) -> int:
    """Show what came, went and changed between two snapshots: `tutelage diff curated@2 curated@3`.

    Parameters
    ----------
    old
        A snapshot.
    new
        A later one; its name without a number is the newest.
    limit
        Records of each sort to show; the counts are of all.
    json
        Print JSON.
    workspace
        Folder that holds the record.
    """
    from tutelage.store.database import open_store
    from tutelage.store.dataset_diff import diff as compare

    with open_store(workspace) as store, store.read() as connection:
        found = compare(connection, old, new, limit=max(limit, 0))
    if json:
        print(json_text(asdict(found), ensure_ascii=False))
        return 0
    from rich.console import Console

    from tutelage.workspace.pair_tables import show_diff

    show_diff(found, Console())
    return 0
