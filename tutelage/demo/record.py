"""The demo's part of the workspace's record: the starter pairs, the verdicts, where each model came from.

The demo trains from these, so that a model leads back to every pair and verdict and to whose they are. Done again,
nothing is added that is there. Leaves out: making the record's tables (`tutelage.store.founding`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.data.starter import pair_files
from tutelage.errors import NotFoundError

if TYPE_CHECKING:
    from tutelage.store.datasets import Snapshot

SOURCE = "the pairs that come with Tutelage"
LICENCE = "Apache-2.0"
TAG = "starter"
DATASET = "starter-pairs"


def enter_pairs(workspace: Path) -> Snapshot:
    """Put the starter pairs into the record, accepted; gives the snapshot of them, the first where there are several.

    Makes the record where there is none yet; whoever runs this is then its owner. Raises `StoreError` where it cannot
    be made or written.
    """
    from tutelage.store.database import open_store
    from tutelage.store.datasets import snapshot_of, take_snapshot
    from tutelage.store.founding import found
    from tutelage.store.import_rows import ImportOptions
    from tutelage.store.imports import import_file
    from tutelage.store.people import acting

    found(workspace)
    options = ImportOptions(kind="pairs", state="accepted", source=SOURCE, licence=LICENCE, tags=(TAG,))
    with open_store(workspace) as store:
        with store.read() as connection:
            owner = acting(connection)
        for path in pair_files():
            import_file(store, owner, path, options)
        try:
            with store.read() as connection:
                return snapshot_of(connection, f"{DATASET}@1")
        except NotFoundError:
            return take_snapshot(store, owner, DATASET, tags=(TAG,), sources=(SOURCE,), why="for the demo")


def enter_verdicts(workspace: Path, project: str, path: Path) -> Snapshot:
    """Put a file's verdicts into a project of the record; gives the snapshot of what the project has then."""
    from tutelage.store.database import open_store
    from tutelage.store.datasets import take_snapshot
    from tutelage.store.import_rows import ImportOptions
    from tutelage.store.imports import import_file
    from tutelage.store.people import acting

    with open_store(workspace) as store:
        with store.read() as connection:
            owner = acting(connection)
        import_file(store, owner, path, ImportOptions(kind="labels", project=project))
        return take_snapshot(store, owner, f"labels:{project}", why="for the demo")


def enter_models(workspace: Path) -> None:
    """Note where the models of the workspace came from."""
    from tutelage.store.database import open_store
    from tutelage.store.lineage import rescan

    with open_store(workspace) as store:
        store.run(lambda connection: rescan(connection, workspace))
