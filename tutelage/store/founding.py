"""Make a workspace's record: its folder, its tables, its secret, and its owner. Done again, it changes nothing.

Leaves out: everybody else (`tutelage.store.invitations`), and older records (`tutelage.store.migrate`).
"""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, insert, select
from sqlalchemy.engine import URL

from tutelage.store import audit, people, schema
from tutelage.store.address import CONFIG_FILE, choose_address, folder_made, note_address
from tutelage.store.database import Store
from tutelage.store.invitations import checked_name
from tutelage.store.migrate import check_version, current_revision, upgrade
from tutelage.store.people import OWNER, Person
from tutelage.store.secret import secret


@dataclass(frozen=True, slots=True)
class Founded:
    """A workspace that is there now."""

    url: URL
    owner: Person
    is_new: bool
    """Whether its tables were made just now; False where there was a record, which stays as it was."""


def found(workspace: Path, url: URL | None = None, name: str | None = None) -> Founded:
    """Make the workspace, its record in `url` or in SQLite, owned by an admin called `name` or as one has logged in.

    Raises `ConflictError` when its record is at another address, `StoreError` when the database cannot be used.
    """
    owner_name = checked_name(name if name is not None else login_name())
    target = choose_address(workspace, url)
    with folder_made(workspace):
        is_new, owner = _made(Store(workspace, target), owner_name)
    if not (workspace / CONFIG_FILE).exists():
        note_address(workspace, url)
    return Founded(target, owner, is_new)


def _made(store: Store, owner_name: str) -> tuple[bool, Person]:
    """Whether the tables were made just now, and the owner."""
    with store:
        is_new = (store.is_sqlite and not Path(str(store.url.database)).exists()) or current_revision(store) is None
        if is_new:
            upgrade(store)
        check_version(store)
        return is_new, store.run(lambda connection: _owner(connection, owner_name))


def login_name() -> str:
    """How the user logged in to this machine; `owner` where the machine does not know."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "owner"


def _owner(connection: Connection, name: str) -> Person:
    """The owner; made, with the workspace's secret, where there is none."""
    secret(connection)
    settings = schema.settings
    owner_id = connection.execute(select(settings.c.value).where(settings.c.name == OWNER)).scalar()
    if owner_id is not None:
        return people.person_by_id(connection, str(owner_id))
    owner = people.add_person(connection, name, "admin")
    connection.execute(insert(settings).values(name=OWNER, value=owner.id))
    audit.note(connection, owner, "workspace.made", owner.id)
    return owner
