"""The verbs of `pairs …` that change a pair's state and what is said about it: review, tags, source and licence.

Leaves out: the rules (`tutelage.store.pairs`), writing and reading (`tutelage.workspace.pairs`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.errors import ConfigError
from tutelage.workspace.acting import show, write

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tutelage.store.people import Person

WORKSPACE = Path("workspace")


def submit(
    pairs: tuple[str, ...], /, *, comment: str = "", by: str | None = None, workspace: Path = WORKSPACE
) -> int:  # fmt: skip
    """Hand drafts or returned pairs in for review.

    Parameters
    ----------
    pairs
        Their ids, or the beginnings of them.
    comment
        A word to the reviewers.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs as store

    return _each(workspace, by, pairs, "submitted", lambda c, p, id: store.submit(c, p, id, comment=comment))


def accept(
    pairs: tuple[str, ...],
    /,
    *,
    comment: str = "",
    own: bool = False,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Accept submitted pairs: for reviewers, and not what they wrote themselves.

    Parameters
    ----------
    pairs
        Their ids, or the beginnings of them.
    comment
        A word to the author.
    own
        Also pairs that you wrote or edited last; only where nobody else could review them.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs as store

    return _each(
        workspace, by, pairs, "accepted",
        lambda c, p, id: store.accept(c, p, id, comment=comment, allow_own=own),
    )  # fmt: skip


def send_back(
    pairs: tuple[str, ...], /, *, comment: str, by: str | None = None, workspace: Path = WORKSPACE
) -> int:  # fmt: skip
    """Ask the authors of pairs to work on them again.

    Parameters
    ----------
    pairs
        Their ids, or the beginnings of them.
    comment
        What is to be done.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs as store

    return _each(workspace, by, pairs, "sent back", lambda c, p, id: store.send_back(c, p, id, comment=comment))


def reject(
    pairs: tuple[str, ...], /, *, comment: str, by: str | None = None, workspace: Path = WORKSPACE
) -> int:  # fmt: skip
    """Turn pairs down.

    Parameters
    ----------
    pairs
        Their ids, or the beginnings of them.
    comment
        Why.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs as store

    return _each(workspace, by, pairs, "rejected", lambda c, p, id: store.reject(c, p, id, comment=comment))


def reopen(pairs: tuple[str, ...], /, *, by: str | None = None, workspace: Path = WORKSPACE) -> int:
    """Take your own newest decision about pairs back: they wait for review again.

    Parameters
    ----------
    pairs
        Their ids, or the beginnings of them.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs as store

    return _each(workspace, by, pairs, "reopened", store.reopen)


def withdraw(
    pairs: tuple[str, ...], /, *, comment: str = "", by: str | None = None, workspace: Path = WORKSPACE
) -> int:  # fmt: skip
    """Take pairs out of every list and every later snapshot; the record keeps them. There is no way back.

    Parameters
    ----------
    pairs
        Their ids, or the beginnings of them.
    comment
        Why.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs as store

    return _each(workspace, by, pairs, "withdrawn", lambda c, p, id: store.withdraw(c, p, id, comment=comment))


def tag(
    pair: str,
    tags: tuple[str, ...] = (),
    /,
    *,
    remove: tuple[str, ...] = (),
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Put tags on a pair, or take some off: `tutelage pairs tag ID short animals --remove draft`.

    Parameters
    ----------
    pair
        Its id, or the beginning of it.
    tags
        Tags to put on it.
    remove
        A tag to take off; may be given several times.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs

    def change(connection: Connection, person: Person) -> Sequence[str]:
        pair_id = pairs.find_id(connection, person, pair)
        pairs.tag(connection, person, pair_id, *tags)
        pairs.untag(connection, person, pair_id, *remove)
        return pairs.get(connection, person, pair_id).tags

    from tutelage.workspace.pair_tables import plain

    show(plain("tags: " + (", ".join(write(workspace, by, change)) or "none")))
    return 0


def describe(
    pair: str,
    /,
    *,
    source: str | None = None,
    licence: str | None = None,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Say where a pair comes from, and under which licence it may be used.

    Parameters
    ----------
    pair
        Its id, or the beginning of it.
    source
        Where it comes from.
    licence
        Its licence, e.g. CC-BY-4.0.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs

    def change(connection: Connection, person: Person) -> str:
        pair_id = pairs.find_id(connection, person, pair)
        pairs.describe(connection, person, pair_id, source=source, licence=licence)
        return pair_id

    if source is None and licence is None:
        raise ConfigError("give --source, --licence or both")
    print(f"described {write(workspace, by, change)}")
    return 0


def _each(
    workspace: Path,
    by: str | None,
    pairs: Sequence[str],
    done: str,
    change: Callable[[Connection, Person, str], None],
) -> int:
    """Do it to every one of the pairs, or to none."""
    from tutelage.store.pairs import find_id

    def work(connection: Connection, person: Person) -> list[str]:
        ids = [find_id(connection, person, each) for each in pairs]
        for pair_id in dict.fromkeys(ids):
            change(connection, person, pair_id)
        return ids

    if not pairs:
        raise ConfigError("no pair is named; `tutelage pairs list` shows their ids")
    for pair_id in write(workspace, by, work):
        print(f"{done} {pair_id}")
    return 0
