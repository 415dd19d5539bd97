"""Where a workspace's record is kept: the address of its database, and the file that notes it.

Leaves out: connecting to it (`tutelage.store.database`).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from tutelage.errors import ConflictError, StoreError

DATABASE_FILE = "tutelage.db"
CONFIG_FILE = "workspace.json"
ENVIRONMENT = "TUTELAGE_DATABASE"
EXAMPLE = "postgresql+psycopg://user:password@host/database"
DRIVER = "postgresql+psycopg"


def database_url(workspace: Path) -> URL:
    """Where the record of `workspace` is kept: TUTELAGE_DATABASE, what `tutelage init` noted, or the SQLite file."""
    if given := os.environ.get(ENVIRONMENT):
        return parse_url(given, ENVIRONMENT)
    if noted := noted_address(workspace):
        return parse_url(noted, str(workspace / CONFIG_FILE))
    return URL.create("sqlite", database=str(workspace / DATABASE_FILE))


def choose_address(workspace: Path, url: URL | None) -> URL:
    """Where a record is to be made: at `url`, or where the workspace says; `ConflictError` when the two differ."""
    there = database_url(workspace)
    if url is None or url == there:
        return there
    if os.environ.get(ENVIRONMENT):
        raise ConflictError(f"{ENVIRONMENT} and --database name two databases; unset one of them")
    if noted_address(workspace) or (workspace / DATABASE_FILE).exists():
        raise ConflictError(
            f"{workspace} has its record at another address; to move it: `tutelage backup --out FILE`, then "
            "`tutelage restore FILE --workspace NEW --database URL`"
        )
    return url


def parse_url(text: str, where: str = "--database") -> URL:
    """The address of a database, with our driver; `StoreError` for one that is none or of another kind.

    The text may hold a password, so no message repeats it.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise StoreError(f"{where}: not an address of a database; for example {EXAMPLE}") from error
    name = url.drivername.partition("+")[0]
    if name in ("postgresql", "postgres"):
        return url.set(drivername=DRIVER)
    if name != "sqlite":
        raise StoreError(f"{where}: {name} is not supported; use SQLite (leave it out) or {EXAMPLE}")
    if not url.database or url.database == ":memory:":
        raise StoreError(f"{where}: a record in memory would be lost; leave it out, or give sqlite:////FOLDER/FILE")
    return url.set(drivername="sqlite", database=str(Path(url.database).absolute()))


def noted_address(workspace: Path) -> str:
    """The address that `tutelage init` noted; empty where the record is the SQLite file."""
    path = workspace / CONFIG_FILE
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("database") or "")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError, AttributeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no JSON object"
        raise StoreError(
            f"{path} cannot be read ({why}); restore it, or remove it and run `tutelage init` with the same --database"
        ) from error


def note_address(workspace: Path, url: URL | None) -> None:
    """Write the workspace's file, which nobody else may read; `url` is None for the SQLite file in the folder."""
    noted = {"database": url.render_as_string(hide_password=False)} if url is not None else {}
    with tempfile.NamedTemporaryFile(dir=workspace, prefix=f".{CONFIG_FILE}.", delete=False) as file:  # made 0600
        file.write(json.dumps(noted, indent=2).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(file.name, workspace / CONFIG_FILE)


@contextmanager
def folder_made(workspace: Path) -> Iterator[None]:
    """The workspace's folder, made where it is missing; what fails in the block leaves no empty one behind."""
    is_there = workspace.exists()
    if is_there and not workspace.is_dir():
        raise StoreError(f"{workspace} is a file, and a workspace is a folder; name another")
    workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as undo:
        if not is_there:
            undo.callback(_remove_empty, workspace)
        yield
        undo.pop_all()


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def has_store(workspace: Path) -> bool:
    """Whether `tutelage init` was run here, or a database is named by the environment."""
    named = bool(os.environ.get(ENVIRONMENT))
    return named or (workspace / CONFIG_FILE).is_file() or (workspace / DATABASE_FILE).is_file()
