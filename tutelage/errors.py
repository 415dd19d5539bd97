"""The one error tree: every mistake a user can make ends here, as a single line that says what to do about it.

Leaves out: programming errors, which stay ordinary Python exceptions with a traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path


class TutelageError(Exception):
    """A user's mistake or a fact of the machine; the command line prints it in one line and exits with code 2."""

    exit_code = 2


class ConfigError(TutelageError):
    """An option, recipe key or combination of options that cannot be used."""


class DataError(TutelageError):
    """Something wrong in a data file, located by file, line and field where they are known."""

    def __init__(
        self, problem: str, *, file: str | Path | None = None, line: int | None = None, field: str | None = None
    ) -> None:
        self.problem = problem
        self.file = str(file) if file is not None else None
        self.line = line
        self.field = field
        super().__init__(self._one_line())

    def _one_line(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place += f":{self.line}"
        if self.field is not None:
            place += f" field '{self.field}'" if place else f"field '{self.field}'"
        return f"{place}: {self.problem}" if place else self.problem


class ModelError(TutelageError):
    """A model that cannot be found, loaded, verified, adapted or saved."""


class CheckpointError(TutelageError):
    """A checkpoint that cannot be written or read back whole."""


class TrainingError(TutelageError):
    """Training that has to stop: a loss that is not finite, a batch with nothing to train on."""


class StoreError(TutelageError):
    """The workspace's record cannot be opened or used as asked."""


class UnavailableError(StoreError):
    """The database is busy, cannot be reached, or is not what it was; the request may be right."""


class NotFoundError(StoreError):
    """No such person, pair, item, label, dataset or project, or none that the asker may know of."""


class NotAllowedError(StoreError):
    """The asker's role, or their part in the matter, does not permit it."""


class ConflictError(StoreError):
    """It clashes with what is recorded already: a name that is taken, a state that has moved on."""


class SignInError(StoreError):
    """Nobody is signed in, or the name, password or token is not right."""


class TooManyError(StoreError):
    """Too many attempts or requests of late; later it works again."""


_REMEDIES: Mapping[int | None, str] = {
    errno.EACCES: "you may not write or read there; name another place, or have its permissions changed",
    errno.EPERM: "the system does not permit it; name another place, or have its permissions changed",
    errno.EROFS: "name a place that can be written to",
    errno.ENOSPC: "free some space, or name a place on another disk",
    errno.EDQUOT: "free some space, or name a place on another disk",
    errno.EEXIST: "something of that name is there already; move it away, or choose another name",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "part of this path is a file, and a folder is needed; choose another path",
    errno.EISDIR: "it is a folder, and a file is needed; choose another path",
    errno.ENAMETOOLONG: "choose a shorter one",
    errno.EMFILE: "too many files are open; raise the limit with `ulimit -n`",
}


def told_of_system(error: OSError) -> str:
    """One line for what the system refused where no verb could say more: the path, the reason, and what helps."""
    told = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno)
    return f"{told}; {remedy}" if remedy else told
