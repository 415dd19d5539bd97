"""A pair as a text that a person edits: a heading for each turn, the words below it; and the editor that opens it.

    pair 0192…, revision 3. Write below the headings; what stands above the first one is not kept.

    === user ===
    How tall is a giraffe?

    === assistant ===
    About five metres.

Blank lines around a turn are not kept. A line of the words that looks like a heading has a backslash before it. The
file stays where it is until the pair is saved, so that nothing typed is lost.

Leaves out: saving (`tutelage.workspace.pairs`).
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from tutelage.errors import ConfigError, DataError
from tutelage.types import ROLES, Message, Role

EMPTY = (Message("user", ""), Message("assistant", ""))
_HEADING = re.compile(r"===\s*([A-Za-z]+)\s*===\s*")
_ESCAPED = re.compile(r"\\+===\s*[A-Za-z]+\s*===\s*")
_FIRST_LINE = re.compile(r"pair (\S+), revision ([0-9]{1,9})\b")


def form_of(messages: Sequence[Message], pair_id: str = "", revision: int = 0) -> str:
    """The text to edit; of a new pair without id and revision."""
    begin = f"pair {pair_id}, revision {revision}" if pair_id else "a new pair"
    lines = [f"{begin}. Write below the headings; what stands above the first one is not kept.", ""]
    for turn in messages:
        lines += [f"=== {turn.role} ===", *map(_escaped, turn.content.split("\n")), ""]
    return "\n".join(lines) + "\n"


def _escaped(line: str) -> str:
    return "\\" + line if _HEADING.fullmatch(line) or _ESCAPED.fullmatch(line) else line


def read_form(text: str) -> list[Message]:
    """The turns of an edited text; `DataError` with the line of a heading that names no role."""
    turns: list[tuple[Role, list[str]]] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        heading = _HEADING.fullmatch(line)
        if heading:
            role = heading[1].lower()
            if role not in ROLES:
                raise DataError(f"line {number}: '{heading[1]}' is no role; there are {', '.join(ROLES)}")
            turns.append((cast(Role, role), []))
        elif turns:
            turns[-1][1].append(line[1:] if _ESCAPED.fullmatch(line) else line)
    if not turns:
        raise DataError("no heading such as === user === stands alone on its line; write one above each turn")
    return [Message(role, "\n".join(lines).strip("\n")) for role, lines in turns]


def revision_of(text: str) -> tuple[str, int] | None:
    """(pair id, revision) that a text was made from; None of a new pair."""
    found = _FIRST_LINE.match(text)
    return (found[1], int(found[2])) if found else None


def file_for(folder: Path, name: str, text: str) -> Path:
    """The file to edit: the one that an earlier attempt left, or a new one that others may not read."""
    path = folder / f"{name}.txt"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return path
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}; put that right and try again") from error
    return path


def open_editor(path: Path) -> None:
    """Let the person edit the file; `ConfigError` when there is no editor or it fails."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        done = subprocess.run([*shlex.split(command), str(path)], check=False)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(
            f"the editor '{command}' does not start ({why}); set EDITOR. The text is in {path}"
        ) from error
    if done.returncode:
        raise ConfigError(
            f"the editor '{command}' ended with {done.returncode}; nothing was saved. The text is in {path}"
        )


def read_file(path: Path) -> str:
    """The text of a form; `ConfigError` when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{path} cannot be read: {reason}") from error
