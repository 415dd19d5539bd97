"""Back up a workspace while it is in use, and make one again from a backup, on the same kind of database or the other.

Everything is read in one transaction that sees one state of the record, so what a backup holds was true at one
moment, however many people write meanwhile. Restoring writes all or nothing and never over anything.

Leaves out: the archive's file (`tutelage.store.archive`), the rows (`tutelage.store.rows`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sqlalchemy import Connection, delete, select, text
from sqlalchemy.engine import URL

import tutelage
from tutelage.errors import ConflictError, StoreError
from tutelage.store import schema
from tutelage.store.address import CONFIG_FILE, choose_address, folder_made, note_address
from tutelage.store.archive import FOLDERS, LEVEL, Reader, Writer, check_inside, sync_folder
from tutelage.store.database import Store
from tutelage.store.failures import shown
from tutelage.store.ids import now_ms
from tutelage.store.migrate import (
    REVISION,
    VERSION_TABLE,
    WRITTEN_BY,
    create_file,
    current_revision,
    too_new,
    upgrade_within,
)
from tutelage.store.rows import read_rows, references_last, tables_of, write_rows


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds."""

    path: Path
    rows: Mapping[str, int]
    num_files: int
    left_out: tuple[str, ...]
    """Files that were asked for and are not in it: links, what vanished meanwhile, names that no other system takes."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, and from when."""

    rows: Mapping[str, int]
    num_files: int
    made_ms: int
    tutelage: str
    database: str


# --- backing up -------------------------------------------------------------------------------------------------------


def back_up(store: Store, out: Path, *, with_models: bool = False, overwrite: bool = False) -> Backup:
    """Write the whole record to `out`, with the workspace's files (`FOLDERS`) where asked; people may go on working.

    The file is for its owner alone, for it holds everything. Raises `StoreError` when there is no record or `out` is
    there already; a backup that fails leaves no file.
    """
    if current_revision(store) is None:
        raise StoreError(f"{shown(store.url)} holds no record of Tutelage; there is nothing to back up")
    if out.exists() and not overwrite:
        raise ConflictError(f"{out} is there already; choose another name, or --overwrite it")
    with (
        _written_whole(out) as aside,
        zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive,
    ):
        writer = Writer(archive)
        about = _add_tables(writer, store)
        left_out = _add_files(writer, store.workspace, {out, aside}) if with_models else ()
        writer.add_manifest(about)
    rows = {name: part.count for name, part in writer.tables.items()}
    return Backup(out, rows, len(writer.files), left_out)


@contextmanager
def _written_whole(out: Path) -> Iterator[Path]:
    """A file beside `out`, readable by its owner alone, that takes its place when the block ends well."""
    try:
        descriptor, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    except OSError as error:
        raise _not_written(out, error) from error
    os.close(descriptor)
    try:
        yield Path(name)
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        os.replace(name, out)
        sync_folder(out.absolute().parent)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, name):
            raise _not_written(out, error) from error
        raise


def _not_written(out: Path, error: OSError) -> StoreError:
    return StoreError(f"{out} cannot be written: {error.strerror or error}; free some space or choose another --out")


def _add_tables(writer: Writer, store: Store) -> dict[str, object]:
    """Add every table as it is at this moment; what the manifest says about them."""
    with store.read() as connection:
        revision = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
        noted = connection.execute(select(schema.settings.c.value).where(schema.settings.c.name == WRITTEN_BY)).scalar()
        made_ms = now_ms()
        for table in tables_of(connection):
            writer.add_table(table.name, read_rows(connection, table))
    version = noted["tutelage"] if isinstance(noted, dict) else tutelage.__version__
    kind = "sqlite" if store.is_sqlite else "postgresql"
    return {"tutelage": version, "revision": revision, "database": kind, "made_ms": made_ms}


def _add_files(writer: Writer, workspace: Path, but: set[Path]) -> tuple[str, ...]:
    """Add the files of the workspace; what was left out. A run that is going on is taken as its files stand."""
    left_out: list[str] = []
    not_these = {path.absolute() for path in but}
    for path in _files_below(workspace):
        name = path.relative_to(workspace).as_posix()
        if path.absolute() in not_these:
            continue
        try:
            check_inside(name, path)
            if path.is_symlink() or not path.is_file():
                raise StoreError("no plain file")
            writer.add_file(path, name)
        except (StoreError, FileNotFoundError):
            left_out.append(name)
    return tuple(left_out)


def _files_below(workspace: Path) -> Iterator[Path]:
    for top in FOLDERS:
        for folder, folders, files in os.walk(workspace / top):
            folders.sort()
            linked = [name for name in folders if (Path(folder) / name).is_symlink()]  # not entered, but told
            yield from (Path(folder) / name for name in sorted([*files, *linked]))


# --- restoring --------------------------------------------------------------------------------------------------------


def restore(file: Path, workspace: Path, url: URL | None = None) -> Restored:
    """Make the workspace of a backup in `workspace`, its record in `url` or where the folder says, SQLite otherwise.

    The whole archive is checked before anything is written. Raises `StoreError` when it is damaged or from a later
    Tutelage, and when a record or a model that would be restored is there already. All or nothing.
    """
    with Reader(file) as reader:
        manifest = reader.manifest
        if not manifest.revision.isdecimal() or manifest.revision > REVISION:
            raise StoreError(f"{file} is {too_new(manifest.revision, manifest.tutelage)}")
        target = _target(workspace, url)
        entries = _entries(reader, workspace)
        reader.check()
        with folder_made(workspace), _aside(workspace) as aside:
            _copy_files(reader, aside)
            with _moved(entries, aside, workspace), _new_record(target, workspace) as connection:
                rows = _fill(connection, reader)
        if not (workspace / CONFIG_FILE).exists():
            note_address(workspace, url)
    return Restored(rows, len(manifest.files), manifest.made_ms, manifest.tutelage, shown(target))


def _target(workspace: Path, url: URL | None) -> URL:
    """Where the record will be; `StoreError` when there is one."""
    target = choose_address(workspace, url)
    if target.get_backend_name() == "sqlite":
        if (path := Path(str(target.database))).exists():
            raise ConflictError(f"{path} is there already, and restoring writes over nothing; choose an empty folder")
        return target
    with Store(workspace, target) as store:
        if current_revision(store) is not None:
            raise ConflictError(f"{shown(target)} holds a record already, and restoring writes over nothing; "
                                "choose an empty database")  # fmt: skip
    return target


def _entries(reader: Reader, workspace: Path) -> list[PurePosixPath]:
    """The models, runs and so on of the archive, none of which is there yet."""
    entries = sorted({PurePosixPath(*PurePosixPath(name).parts[:2]) for name in reader.manifest.files})
    for entry in entries:
        if (workspace / entry).exists() or (workspace / entry).is_symlink():
            raise ConflictError(
                f"{workspace / entry} is there already, and restoring writes over nothing; move it away"
            )
    return entries


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix=".restoring-", dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _copy_files(reader: Reader, aside: Path) -> None:
    for name in reader.manifest.files:
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        with (aside / name).open("xb") as file:
            reader.copy(name, file)
            os.fsync(file.fileno())


@contextmanager
def _new_record(target: URL, workspace: Path) -> Iterator[Connection]:
    """A connection to a new database that becomes the workspace's record when the block ends well."""
    if target.get_backend_name() != "sqlite":
        with Store(workspace, target) as store, store.rebuild() as connection:
            yield connection
        return
    final = Path(str(target.database))
    final.absolute().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _aside(final.absolute().parent) as aside:
        create_file(made := aside / final.name)
        with Store(workspace, target.set(database=str(made))) as store, store.rebuild() as connection:
            yield connection
        if final.exists():  # another restore came first
            raise ConflictError(f"{final} is there already, and restoring writes over nothing")
        os.rename(made, final)
        sync_folder(final.absolute().parent)


def _fill(connection: Connection, reader: Reader) -> dict[str, int]:
    """Make the tables as they were, put the rows into them, and bring them to this program's revision."""
    upgrade_within(connection, revision=reader.manifest.revision)
    tables = tables_of(connection)
    if odd := {table.name for table in tables} ^ set(reader.manifest.tables):
        raise StoreError(f"{reader.path}: the table {min(odd)} does not belong to revision {reader.manifest.revision}")
    with references_last(connection, tables):
        for table in reversed(tables):
            connection.execute(delete(table))
        rows = {table.name: write_rows(connection, table, reader.rows(table.name)) for table in tables}
    upgrade_within(connection)
    if connection.dialect.name == "sqlite":
        connection.execute(text("PRAGMA analysis_limit=1000"))
    connection.execute(text("ANALYZE"))  # else its plans are those for empty tables
    return rows


@contextmanager
def _moved(entries: list[PurePosixPath], aside: Path, workspace: Path) -> Iterator[None]:
    """Put models, runs and so on in their places, and take them back when the block fails: all of them or none."""
    with ExitStack() as back:
        for entry in entries:
            place = workspace / entry
            place.parent.mkdir(exist_ok=True)
            os.rename(aside / entry, place)
            back.callback(os.rename, place, aside / entry)
        yield
        back.pop_all()
