"""The verbs `lineage` (where a model came from, what came of a pair or label) and `remove-work`.

Leaves out: finding it out (`tutelage.store.lineage`) and drawing it (`tutelage.workspace.lineage_tree`).
"""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.store.database import Store
    from tutelage.store.lineage import Forward, Made, Removal

WORKSPACE = Path("workspace")


def register(app: App) -> None:
    """Add the verbs to `app`."""
    app.command(lineage)
    app.command(remove_work, name="remove-work")


def lineage(
    model: str | None = None,
    /,
    *,
    label: str | None = None,
    pair: str | None = None,
    rescan: bool = False,
    json: bool = False,
    workspace: Path = WORKSPACE,
) -> int:
    """Show what a model was made from, down to pairs, verdicts and people: `tutelage lineage MODEL`.

    With --label or --pair the other way: the snapshots that hold it and the models made with them. A workspace without
    a record shows what the models' origin files say.

    Parameters
    ----------
    model
        A model of the workspace.
    label
        The id of a label, to go forward from.
    pair
        The id of a pair, to go forward from.
    rescan
        First read every model's origin file into the record again.
    json
        Print JSON.
    workspace
        Folder that holds the record, models/ and runs/.
    """
    if sum(one is not None for one in (model, label, pair)) != 1 and not (rescan and model is label is pair is None):
        raise ConfigError("give one of MODEL, --label ID and --pair ID")
    from tutelage.store.address import has_store

    if not has_store(workspace):
        return _from_files(model, label or pair, rescan, json, workspace)
    from tutelage.store.database import open_store

    with open_store(workspace) as store:
        _index(store, everything=rescan, quiet=json)
        if model is not None:
            _show_model(_ancestors(store, model), json)
        elif label or pair:
            _show_forward(store, label, pair, json)
    return 0


def _from_files(model: str | None, id: str | None, rescan: bool, as_json: bool, workspace: Path) -> int:
    if model is None:
        what = f"'{id}' cannot be looked up" if id else "--rescan has nothing to fill"
        raise ConfigError(f"{what}: {workspace} has no record of people and their work; make it with `tutelage init`")
    from tutelage.store.ancestry import ancestors_from_files

    _show_model(ancestors_from_files(workspace, model), as_json)
    return 0


def _index(store: Store, *, everything: bool, quiet: bool) -> None:
    """Read the origin files of models that the record does not know, or of all."""
    from tutelage.store.lineage import rescan as read_all
    from tutelage.store.lineage import unknown_models

    if not everything:
        with store.read() as connection:
            if not unknown_models(connection, store.workspace):
                return
    done, unreadable = store.run(lambda connection: read_all(connection, store.workspace))
    for problem in unreadable:
        print(f"left out: {problem}", file=sys.stderr)
    if everything and not quiet:
        from tutelage.workspace.lineage_tree import number_of

        print(f"read the origin files of {number_of(len(done), 'model')}")


def _ancestors(store: Store, model: str) -> Made:
    from tutelage.store.lineage import ancestors

    with store.read() as connection:
        return ancestors(connection, model)


def _show_model(made: Made, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print(json_module.dumps(asdict(made), indent=2))
        return
    from rich.console import Console

    from tutelage.workspace.lineage_tree import tree_of

    Console().print(tree_of(made))


def _show_forward(store: Store, label: str | None, pair: str | None, as_json: bool) -> None:
    from tutelage.store.lineage import forward

    with store.read() as connection:
        found = forward(connection, label_id=label, pair_id=pair)
    if as_json:
        print(json_module.dumps(_plain(found), indent=2))
        return
    from rich.console import Console

    from tutelage.workspace.lineage_tree import snapshot_lines, uses_table

    console = Console()
    what = "label" if label else "pair"
    if not found.held:
        console.print(f"no snapshot holds this {what}, so no model learned from it")
        return
    console.print(snapshot_lines(f"snapshots that hold this {what}", found.held, counts=False))
    console.print(uses_table(found.uses) if found.uses else "no model was trained on them")


def _plain(found: Forward | Removal) -> dict[str, Any]:
    plain = dict(found._asdict())
    for name, value in plain.items():
        if isinstance(value, list):
            plain[name] = [one._asdict() for one in value]
    for use in [*plain.get("uses", ()), *plain.get("retrain", ())]:
        use["path"] = [step._asdict() for step in use["path"]]
    return plain


def remove_work(
    name: str,
    /,
    *,
    dry_run: bool = False,
    json: bool = False,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Take all of a person's work out of later datasets, and list the models to train again.

    Pairs they wrote or edited, verdicts they gave, and verdicts on prompts and answers they wrote are marked as
    withdrawn; nothing is erased. Snapshots that hold them stay in the record, and training on one of them is refused.
    Only an admin may.

    Parameters
    ----------
    name
        The person.
    dry_run
        Only say what would be withdrawn.
    json
        Print JSON.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record, models/ and runs/.
    """
    from tutelage.store.database import open_store
    from tutelage.store.lineage import remove_person
    from tutelage.store.people import acting, person_named

    with open_store(workspace) as store:
        _index(store, everything=False, quiet=json)
        removal = store.run(
            lambda connection: remove_person(
                connection, acting(connection, by), person_named(connection, name), dry_run=dry_run
            )
        )
    if json:
        print(json_module.dumps(_plain(removal) | {"dry_run": dry_run}, indent=2))
        return 0
    _tell(removal, dry_run)
    return 0


def _tell(removal: Removal, dry_run: bool) -> None:
    from rich.console import Console
    from rich.markup import escape

    from tutelage.evaluate.markdown import clean_text
    from tutelage.workspace.lineage_tree import snapshot_lines, uses_table

    console = Console()
    verb = "would be withdrawn" if dry_run else "withdrawn"
    console.print(f"work of [bold]{escape(clean_text(removal.person))}[/bold], {verb}:")
    for number, what in (
        (removal.num_pairs_written, "pairs they wrote"),
        (removal.num_pairs_edited, "pairs of others that they edited"),
        (removal.num_labels_given, "labels they gave"),
        (removal.num_labels_on_their_words, "labels of others on prompts or answers that they wrote"),
    ):
        console.print(f"  {number:>6} {what}")
    if removal.snapshots:
        refused = "will be refused then" if dry_run else "is refused from now on"
        title = f"snapshots that hold their work; training on these {refused}"
        console.print(snapshot_lines(title, removal.snapshots))
    console.print(uses_table(removal.retrain, "train again") if removal.retrain else "no model learned from their work")
