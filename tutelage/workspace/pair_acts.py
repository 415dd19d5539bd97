"""What the verbs of pairs share: acting as somebody on the record, and printing.

Leaves out: the verbs (`tutelage.workspace.pairs`, `tutelage.workspace.pair_review`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from json import dumps as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import RenderableType
    from sqlalchemy import Connection

    from tutelage.store.people import Person

T = TypeVar("T")


def read(workspace: Path, by: str | None, work: Callable[[Connection, Person], T]) -> T:
    """What `work` gives, as whoever acts at this terminal (`tutelage.store.people.acting`)."""
    from tutelage.store.database import open_store
    from tutelage.store.people import acting

    with open_store(workspace) as store, store.read() as connection:
        return work(connection, acting(connection, by))


def write(workspace: Path, by: str | None, work: Callable[[Connection, Person], T]) -> T:
    """As `read`, with the changes kept together; `work` may be called several times."""
    from tutelage.store.database import open_store
    from tutelage.store.people import acting

    with open_store(workspace) as store:
        return store.run(lambda connection: work(connection, acting(connection, by)))


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
