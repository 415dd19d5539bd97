"""The verbs `init`, `backup`, `restore` and `upgrade`: the workspace's record as a whole.

Leaves out: how it is done (`tutelage.store.founding`, `backup` and `migrate`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tutelage.store.database import Store

WORKSPACE = Path("workspace")


def register(app: App) -> None:
    """Add the verbs to `app`."""
    for verb in (init, backup, restore, upgrade):
        app.command(verb)


def init(*, workspace: Path = WORKSPACE, database: str | None = None, name: str | None = None) -> int:
    """Make a workspace: the record of people, pairs, verdicts and models, and you as its owner.

    Done again, it says what is there and changes nothing.

    Parameters
    ----------
    workspace
        Folder to make it in; models/ and runs/ there stay as they are.
    database
        A team's PostgreSQL, postgresql://user:password@host/database; a SQLite file in the folder without it.
    name
        Your name here; the one you logged in with without it.
    """
    from tutelage.store.address import parse_url
    from tutelage.store.failures import shown
    from tutelage.store.founding import found

    made = found(workspace, parse_url(database) if database else None, name)
    state = "made" if made.is_new else "is there already, nothing was changed"
    print(f"workspace {workspace.absolute()} {state}; its record is {shown(made.url)}")
    print(f"owner     {made.owner.name} ({made.owner.role}), who acts here when nobody is named by --by")
    if name and name != made.owner.name:
        print(f"          '{name}' was not added: tutelage people invite")
    for verb, what in _NEXT:
        print(f"{verb:<26}{what}")
    return 0


_NEXT = (
    ("tutelage import FILE", "brings your pairs, prompts or verdicts in"),
    ("tutelage people invite", "lets somebody else in"),
    ("tutelage studio", "opens it in the browser, for you and for them"),
)


def backup(*, out: Path, with_models: bool = False, overwrite: bool = False, workspace: Path = WORKSPACE) -> int:
    """Write the whole record to one file, while people go on working: `tutelage backup --out monday.zip`.

    Parameters
    ----------
    out
        ZIP file to write; keep it safe, it holds everything.
    with_models
        Take the files of models/, runs/, reports/ and prompts/ too.
    overwrite
        Replace the file if it is there.
    workspace
        Folder that holds the record.
    """
    from tutelage.store.backup import back_up

    with _opened(workspace) as store:
        made = back_up(store, out, with_models=with_models, overwrite=overwrite)
    print(f"backed up {_counts(made.rows)}" + (f"; {made.num_files} files" if with_models else ""))
    for name in made.left_out[:10]:
        print(f"left out  {ascii(name)[1:-1]}: no plain file, gone meanwhile, or a name not every system takes")
    if len(made.left_out) > 10:
        print(f"left out  {len(made.left_out) - 10} more")
    print(f"wrote     {made.path} ({made.path.stat().st_size / 2**20:.1f} MiB), which only you may read")
    return 0


def restore(file: Path, /, *, workspace: Path, database: str | None = None) -> int:
    """Make a workspace from a backup, on SQLite or PostgreSQL, whichever it came from; never over one that is there.

    Parameters
    ----------
    file
        What `tutelage backup` wrote.
    workspace
        Folder to restore to, without a record yet.
    database
        An empty PostgreSQL database; a SQLite file in the folder without it.
    """
    from datetime import UTC, datetime

    from tutelage.store.address import parse_url
    from tutelage.store.backup import restore as restore_file

    made = restore_file(file, workspace, parse_url(database) if database else None)
    when = datetime.fromtimestamp(made.made_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    print(f"restored  {_counts(made.rows)}" + (f"; {made.num_files} files" if made.num_files else ""))
    print(f"as it was {when}, under Tutelage {made.tutelage}")
    print(f"workspace {workspace.absolute()}; its record is {made.database}")
    return 0


def upgrade(*, workspace: Path = WORKSPACE) -> int:
    """Bring a record that an earlier Tutelage wrote to this one's tables; makes a backup first.

    Parameters
    ----------
    workspace
        Folder that holds the record.
    """
    from tutelage.store.migrate import REVISION, check_version, current_revision
    from tutelage.store.migrate import upgrade as upgrade_tables

    with _opened(workspace) as store:
        before = current_revision(store)
        if before is None or before >= REVISION:
            check_version(store)
            print(f"the record is at revision {REVISION}, the newest; nothing was changed")
            return 0
        kept = _back_up_before(store, before)
        upgrade_tables(store)
    print(f"upgraded  from revision {before} to {REVISION}")
    print(f"before it {kept}: a backup; remove it when all is well")
    return 0


def _back_up_before(store: Store, revision: str) -> Path:
    from tutelage.store.backup import back_up
    from tutelage.store.ids import now_ms

    folder = store.workspace / "backups"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return back_up(store, folder / f"revision-{revision}-{now_ms()}.zip").path


def _opened(workspace: Path) -> Store:
    """The record whatever its revision, so that one can be backed up before it is upgraded."""
    from tutelage.errors import StoreError
    from tutelage.store.database import Store, database_url, has_store

    if not has_store(workspace):
        raise StoreError(f"{workspace} has no record of people and their work yet; make it with `tutelage init`")
    return Store(workspace, database_url(workspace))


def _counts(rows: Mapping[str, int]) -> str:
    filled = {name: count for name, count in rows.items() if count}
    parts = ", ".join(f"{name} {count:,}" for name, count in sorted(filled.items()))
    return f"{sum(filled.values()):,} rows: {parts}"
