"""What a database's own errors mean to a person: one line with the place, the cause and what to do about it.

Passwords never appear: addresses are rendered without them, and a driver's text that repeats one is masked. What is no
fact of the machine (a misspelt column, a broken rule of the tables) is left as it is, for it is a programming error.

Leaves out: when to try again (`tutelage.store.database`).
"""

from __future__ import annotations

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from tutelage.errors import UnavailableError

LONGEST = 300
"""Characters of a driver's message that are passed on."""

_SQLITE = {
    "SQLITE_NOTADB": "is no SQLite database; name another workspace, or restore it from a backup",
    "SQLITE_CORRUPT": "is damaged ({said}); restore it from a backup with `tutelage restore`",
    "SQLITE_FULL": "cannot grow, the disk is full; nothing of this step was kept; make room and do it again",
    "SQLITE_READONLY": "cannot be written ({said}); check who owns it and whether its disk is mounted read-only",
    "SQLITE_PERM": "cannot be opened ({said}); check who owns it",
    "SQLITE_CANTOPEN": "cannot be opened ({said}); check that it is there, that you may write in its folder, and "
    "that the disk is neither full nor read-only",
    "SQLITE_IOERR": "cannot be read or written ({said}); check the disk; nothing of this step was kept",
    "SQLITE_BUSY": "is busy: another program has held it too long; try again, or stop that program",
}
_POSTGRES = {
    "08": "lost the connection ({said}); whether this step was kept is not known; look, then do it again",
    "57P": "closed the connection ({said}); whether this step was kept is not known; look, then do it again",
    "53100": "has a full disk ({said}); nothing of this step was kept; make room and do it again",
    "53": "has no room for another connection ({said}); raise its max_connections, or run fewer workers",
    "42501": "does not permit it ({said}); GRANT this user the right, or use the database's owner",
    "25006": "may only be read ({said}); use the address of the primary server",
    "40": "kept clashing with other writers ({said}); nothing of this step was kept; do it again",
    "55P03": "was locked too long by another writer ({said}); do it again",
    "28": "refuses this user ({said}); check the user and the password in the address",
    "3D000": "has no such database ({said}); make it with `createdb`",
}
_CONNECTING = {
    "password": "check the user and the password in the address",
    "no pg_hba.conf entry": "the server lets this user or machine not in; see its pg_hba.conf",
    "does not exist": "make the database with `createdb`, or the user with `createuser`",
    "resolve host": "check the host in the address",
    "translate host": "check the host in the address",
    "refused": "check that the server runs, and the port in the address",
    "timeout": "check that the server can be reached from here",
    "too many": "raise its max_connections, or run fewer workers",
}


def shown(url: URL) -> str:
    """The address for people's eyes and for logs: without its password."""
    return str(url.database) if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)


def explained(error: DBAPIError, url: URL, *, writing: bool) -> UnavailableError | None:
    """The error as a person can act on it; None for one that no person can."""
    explain = _of_sqlite if url.get_backend_name() == "sqlite" else _of_postgres
    remedy = explain(error, writing)
    return None if remedy is None else UnavailableError(f"{shown(url)} {remedy.format(said=said(error, url))}")


def said(error: DBAPIError, url: URL) -> str:
    """What the driver said, on one line, with no password in it."""
    text = " ".join(str(error.orig).split())
    if url.password:
        text = text.replace(str(url.password), "***")
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _of_sqlite(error: DBAPIError, writing: bool) -> str | None:
    name = str(getattr(error.orig, "sqlite_errorname", ""))
    if name == "SQLITE_READONLY" and not writing:
        return None  # a write inside `Store.read`
    return next((remedy for code, remedy in _SQLITE.items() if name.startswith(code)), None)


def _of_postgres(error: DBAPIError, writing: bool) -> str | None:
    state = sqlstate(error)
    if state == "25006" and not writing:
        return None  # a write inside `Store.read`
    if state:
        return next((remedy for code, remedy in _POSTGRES.items() if state.startswith(code)), None)
    if type(error.orig).__name__ not in ("OperationalError", "ConnectionTimeout"):
        return None
    hints = (hint for words, hint in _CONNECTING.items() if words in str(error.orig))
    return f"cannot be reached ({{said}}); {next(hints, 'check the address')}"


def sqlstate(error: DBAPIError) -> str:
    """PostgreSQL's five characters for what happened; empty where there are none."""
    return str(getattr(error.orig, "sqlstate", None) or "")


def may_pass(error: DBAPIError) -> bool:
    """Whether the same write, done again, may well succeed: others were in the way.

    That a unique value is there already counts on PostgreSQL: two writers looked, found nothing, and both added it. The
    second one finds it when it looks again. SQLite lets one writer in at a time, so there it is a mistake.
    """
    name = str(getattr(error.orig, "sqlite_errorname", ""))
    return name.startswith("SQLITE_BUSY") or sqlstate(error) in ("40001", "40P01", "55P03", "23505")
