"""The demo's workspace as people find it in the studio: the starter pairs, the verdicts, where each model came from.

Done again it adds nothing that is there. Leaves out: making the record's tables (`tutelage.store.founding`).
"""

from __future__ import annotations

from pathlib import Path

from tutelage.data.starter import pair_files

SOURCE = "the pairs that come with Tutelage"
LICENCE = "Apache-2.0"


def enter_record(workspace: Path, project: str, verdicts: Path) -> tuple[int, int]:
    """Put the starter pairs (accepted) and the verdicts of a file into the record; gives how many there are of each.

    Makes the record where there is none yet; whoever runs this is then its owner. Raises `StoreError` where it cannot
    be made or written.
    """
    from tutelage.store.database import open_store
    from tutelage.store.founding import found
    from tutelage.store.import_rows import ImportOptions
    from tutelage.store.imports import import_file
    from tutelage.store.lineage import rescan
    from tutelage.store.people import acting

    found(workspace)
    pairs = ImportOptions(kind="pairs", state="accepted", source=SOURCE, licence=LICENCE, tags=("starter",))
    labels = ImportOptions(kind="labels", project=project)
    with open_store(workspace) as store:
        with store.read() as connection:
            owner = acting(connection)
        reports = [import_file(store, owner, path, pairs) for path in pair_files()]
        judged = import_file(store, owner, verdicts, labels)
        store.run(lambda connection: rescan(connection, workspace))
    return sum(one.num_added + one.num_already for one in reports), judged.num_added + judged.num_already
