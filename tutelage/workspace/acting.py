"""What the verbs on the record have in common: who acts at the terminal, and how what they found is printed.

Leaves out: what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from json import dumps as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from sqlalchemy import Connection

    from tutelage.store.people import Person

WORKSPACE = Path("workspace")
T = TypeVar("T")


def read(workspace: Path, by: str | None, work: Callable[[Connection, Person], T]) -> T:
    """What `work` gives of the workspace's record, for whoever acts."""
    from tutelage.store.database import open_store
    from tutelage.store.people import acting

    with open_store(workspace) as store, store.read() as connection:
        return work(connection, acting(connection, by))


def write(workspace: Path, by: str | None, work: Callable[[Connection, Person], T]) -> T:
    """What `work` gives, which changes the record, for whoever acts; `work` may be called several times."""
    from tutelage.store.database import open_store
    from tutelage.store.people import acting

    with open_store(workspace) as store:
        return store.run(lambda connection: work(connection, acting(connection, by)))


def read_text(file: Path) -> str:
    """The text of a file; `ConfigError` where it is none."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is no text in UTF-8; save it as such") from error


def show(what: RenderableType) -> None:
    """Print with rich."""
    from rich.console import Console

    Console().print(what)


def print_json(found: Sequence[Any]) -> int:
    """Print dataclasses as JSON lines."""
    from dataclasses import asdict

    for each in found:
        print(json_text(asdict(each), ensure_ascii=False))
    return 0
