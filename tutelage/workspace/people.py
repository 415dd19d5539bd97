"""The verbs `people …`: who there is, inviting, roles, passwords and API tokens.

Whoever may open the workspace's database acts here without a password, as its owner or as `--by NAME`; the roles hold
all the same. Leaves out: the rules (`tutelage.store.accounts` and its neighbours).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from cyclopts import App

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from tutelage.store.people import Person

WORKSPACE = Path("workspace")
Role = Literal["rater", "reviewer", "admin"]
T = TypeVar("T")


def register(app: App) -> None:
    """Add the group to `app`."""
    group = App(name="people", help="Accounts: who works here, in which role, and how they sign in.")
    for verb in (invite, role, deactivate, password, token):
        group.command(verb)
    group.command(list_people, name="list")
    app.command(group)


def list_people(*, json: bool = False, by: str | None = None, workspace: Path = WORKSPACE) -> int:
    """List people and their roles, and open invitations for those who may see them.

    Parameters
    ----------
    json
        Print JSON.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store.database import open_store

    with open_store(workspace) as store, store.read() as connection:
        people, invitations = _everyone(connection, by)
    if json:
        _print_json({"people": people, "invitations": invitations})
    else:
        _show(people, invitations)
    return 0


def _everyone(connection: Connection, by: str | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    from dataclasses import asdict

    from tutelage.store import accounts, invitations
    from tutelage.store.people import acting

    person = acting(connection, by)
    people: list[dict[str, Any]] = []
    while page := accounts.page(connection, person, after=people[-1]["id"] if people else "", limit=1000):
        people += [asdict(each) | {"has_password": accounts.has_password(connection, each)} for each in page]
    if person.role != "admin":
        return people, []
    open_ones: list[dict[str, Any]] = []
    after = ""
    while part := invitations.listing(connection, person, after=after, limit=1000):
        open_ones += [asdict(each) for each in part if each.is_open]
        after = part[-1].id
    return people, open_ones


def _show(people: list[dict[str, Any]], invitations: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from tutelage.evaluate.markdown import clean_text

    table = Table("name", "role", "signs in", "id", title="People", title_justify="left")
    for each in people:
        able = "out of use" if not each["active"] else "with a password" if each["has_password"] else "no password yet"
        table.add_row(escape(clean_text(each["name"])), each["role"], able, each["id"])
    Console().print(table)
    if invitations:
        waiting = Table("role", "note", "open until", "id", title="Open invitations", title_justify="left")
        for each in invitations:
            waiting.add_row(each["role"], escape(clean_text(each["note"])), _day(each["expires_ms"]), each["id"])
        Console().print(waiting)


def invite(
    role: Role = "rater",
    /,
    *,
    note: str = "",
    days: int = 7,
    revoke: str | None = None,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Invite somebody: prints a token that makes one account, once. `tutelage people invite reviewer --note "Bo"`.

    Parameters
    ----------
    role
        What they may do; each role may do all that those before it may.
    note
        Whom it is for, in your own words.
    days
        How long it can be accepted, 1 to 90 days.
    revoke
        Take back the open invitation with this id instead.
    by
        Who invites; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import invitations
    from tutelage.store.people import acting

    if revoke is not None:
        taken_back = revoke
        _write(workspace, lambda connection: invitations.revoke(connection, acting(connection, by), taken_back))
        print("the invitation can be accepted no more")
        return 0
    made, text = _write(
        workspace,
        lambda connection: invitations.invite(connection, acting(connection, by), role, note=note, days=days),
    )
    print(f"{text}\nmakes one {made.role}, until {_day(made.expires_ms)}; it is shown only now.", _HOW_TO_ACCEPT % text)
    return 0


_HOW_TO_ACCEPT = (
    "In a browser it is accepted at the studio's address with this behind it: /join#%s; in a script, by "
    "tutelage.client.accept_invitation."
)


def role(name: str, role: Role, /, *, by: str | None = None, workspace: Path = WORKSPACE) -> int:
    """Give somebody another role: `tutelage people role cy reviewer`. The last admin stays one.

    Parameters
    ----------
    name
        Whose.
    role
        Their new role.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import accounts
    from tutelage.store.people import acting, person_named

    _write(
        workspace,
        lambda connection: accounts.change_role(
            connection, acting(connection, by), person_named(connection, name), role
        ),
    )
    print(f"{_plain(name)} is {role} now")
    return 0


def deactivate(name: str, /, *, undo: bool = False, by: str | None = None, workspace: Path = WORKSPACE) -> int:
    """Take an account out of use: it cannot sign in, its sessions and tokens end, its work stays in the record.

    Parameters
    ----------
    name
        Whose.
    undo
        Take it back into use; API tokens have to be made anew.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import accounts
    from tutelage.store.people import acting, person_named

    _write(
        workspace,
        lambda connection: accounts.set_active(
            connection, acting(connection, by), person_named(connection, name), undo
        ),
    )
    print(f"the account of {_plain(name)} is {'in use again' if undo else 'out of use'}")
    return 0


def password(name: str | None = None, /, *, by: str | None = None, workspace: Path = WORKSPACE) -> int:
    """Set a password: asked for twice, or read as one line where no terminal is there. Their sessions end.

    Parameters
    ----------
    name
        Whose; one's own where nobody is named.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import accounts, passwords
    from tutelage.store.database import open_store
    from tutelage.store.people import acting, person_named

    with open_store(workspace) as store:
        with store.read() as connection:
            actor = acting(connection, by)
            person = person_named(connection, name) if name else actor
        words = _ask_password(person)
        passwords.check_password(words)
        store.run(lambda connection: accounts.set_password(connection, actor, person, words))
    print(f"{_plain(person.name)} signs in with it now")
    return 0


def _ask_password(person: Person) -> str:
    import sys
    from getpass import getpass

    from tutelage.errors import ConfigError

    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass(f"New password of {_plain(person.name)}: ")
    if getpass("The same again: ") != first:
        raise ConfigError("the two were not the same; nothing was changed")
    return first


def token(
    name: str | None = None,
    /,
    *,
    days: int | None = None,
    revoke: str | None = None,
    by: str | None = None,
    json: bool = False,
    workspace: Path = WORKSPACE,
) -> int:
    """Make an API token for scripts, `tutelage people token laptop`; without a name, list those there are.

    Parameters
    ----------
    name
        What the token is for.
    days
        How long it works; without it, until it is revoked.
    revoke
        End the token with this id instead.
    by
        Whose token; the workspace's owner's where nobody is named.
    json
        Print the list as JSON.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import sessions
    from tutelage.store.people import acting

    if revoke is not None:
        ended = revoke
        _write(workspace, lambda connection: sessions.revoke_token(connection, acting(connection, by), ended))
        print("the token opens nothing any more")
        return 0
    if name is None:
        return _list_tokens(workspace, by, json)
    label = name
    _, text = _write(workspace, lambda connection: sessions.add_token(connection, acting(connection, by), label, days))
    print(f"{text}\nis shown only now; send it as `Authorization: Bearer …`, or give it to tutelage.client.Client")
    return 0


def _list_tokens(workspace: Path, by: str | None, as_json: bool) -> int:
    from dataclasses import asdict

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from tutelage.evaluate.markdown import clean_text
    from tutelage.store import sessions
    from tutelage.store.database import open_store
    from tutelage.store.people import acting

    with open_store(workspace) as store, store.read() as connection:
        tokens = sessions.tokens_of(connection, acting(connection, by))
    if as_json:
        _print_json([asdict(each) for each in tokens])
        return 0
    table = Table("name", "made", "used", "works", "id")
    for each in tokens:
        works = "revoked" if each.revoked_ms else f"until {_day(each.expires_ms)}" if each.expires_ms else "always"
        table.add_row(
            escape(clean_text(each.name)), _day(each.created_ms), _day(each.last_used_ms), works, each.id
        )  # fmt: skip
    Console().print(table)
    return 0


def _write(workspace: Path, work: Callable[[Connection], T]) -> T:
    from tutelage.store.database import open_store

    with open_store(workspace) as store:
        return store.run(work)


def _day(ms: int | None) -> str:
    from datetime import UTC, datetime

    return "never" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")


def _plain(text: str) -> str:
    from tutelage.evaluate.markdown import clean_text

    return clean_text(text)


def _print_json(value: object) -> None:
    import json

    print(json.dumps(value, indent=2))
