"""What the parts of an import share: who runs it, how it is to be done, and what became of each thing read.

Leaves out: the job as a whole (`tutelage.store.imports`).
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Connection, insert, select

from tutelage.data.foreign import LeftOut
from tutelage.data.raw import one_line
from tutelage.errors import DataError
from tutelage.store import schema
from tutelage.store.contents import insert_missing
from tutelage.store.ids import new_id, now_ms
from tutelage.store.people import Person
from tutelage.types import Source

MAX_NAME_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How a file is to be imported."""

    kind: str | None = None
    """`pairs`, `labels` or `prompts`; None = what the file holds."""
    project: str | None = None
    """Where labels go; None = a project named like the file."""
    state: str | None = None
    """The state of new pairs; None = what the file says, else submitted."""
    source: str | None = None
    """Where the work comes from, in the importer's words; it stands before the file's name and line."""
    licence: str | None = None
    tags: tuple[str, ...] = ()
    format: str | None = None
    """The tool that wrote the file; None = told by its content."""
    strict: bool = False
    """One bad record, and nothing at all is written."""
    dry_run: bool = False
    """Say what would be done, and write nothing."""
    match_people: bool | None = None
    """Whether somebody in the file who has a member's name is that member; None = in Tutelage's own format only."""


@dataclass(slots=True)
class Outcome:
    """What became of the things of one batch: as many as there were."""

    added: int = 0
    already: int = 0
    left_out: list[LeftOut] = field(default_factory=list)


class Located(Protocol):
    """Anything that a reader brought."""

    @property
    def source(self) -> Source: ...


def refused(each: Located, error: DataError) -> LeftOut:
    """A record that the store cannot keep."""
    return LeftOut(each.source, "not-kept", one_line(error.problem), error.field)


@dataclass(slots=True)
class Run:
    """One import while it runs."""

    person: Person
    options: ImportOptions
    file: str
    format: str
    import_id: str = field(default_factory=new_id)
    added: Counter[str] = field(default_factory=Counter)
    people: dict[str, str] = field(default_factory=dict)
    """Ids by the names that the file uses."""
    seen: set[str] = field(default_factory=set)
    """What a dry run would have written already."""
    repeats: Counter[str] = field(default_factory=Counter)
    """How often the same verdict of the same rater came."""
    rounds: dict[tuple[str, str], int] = field(default_factory=dict)
    """Labels of an item by a person so far."""

    def source_of(self, each: Located, origin: str = "") -> str:
        """What stands as the source of a row."""
        place = f"{self.file}:{each.source.line}"
        if self.options.source:
            return f"{self.options.source} ({place})"
        return origin or place

    @property
    def matches_people(self) -> bool:
        """Whether names in the file mean members of this workspace."""
        given = self.options.match_people
        return self.format == "tutelage" if given is None else given


def ordered_ids(number: int) -> Iterator[str]:
    """Ids of rows made at one moment, in their order."""
    now = now_ms()
    for place in range(number):
        yield f"{now:012x}{place:08x}{secrets.token_hex(6)}"


def in_parts(values: Sequence[Any], size: int = 500) -> Iterator[Sequence[Any]]:
    """The values in parts that fit one statement."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def check_storable(value: Any, field: str) -> None:
    """Raise `DataError` for a JSON value that no database keeps: a NUL, half a character, a number without end."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError("holds half a character (a lone surrogate); write the text again", field=field) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"is no JSON value: {one_line(str(error))}", field=field) from None
    if "\\u0000" in text and _has_nul(value):
        raise DataError("holds a NUL character (U+0000), which a database does not keep; remove it", field=field)


def _has_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(each) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return any(map(_has_nul, value))
    return isinstance(value, str) and "\0" in value


def ids_of_people(connection: Connection, run: Run, names: Sequence[str]) -> dict[str, str]:
    """The person behind each name of the file; those who are not here become people who cannot sign in.

    Nobody's name ("") is a rater of this file who is not known. A name that a member has means somebody else, who is
    called after the file as well, unless the run matches people. In a dry run, who is not here has the id "".
    """
    new = [name for name in dict.fromkeys(names) if name not in run.people]
    for part in in_parts(new):
        run.people |= _resolved(connection, run, part)
    return {name: run.people[name] for name in names}


def _resolved(connection: Connection, run: Run, names: Sequence[str]) -> dict[str, str]:
    label = run.options.source or run.file
    wanted = {name: (shown_name(name) or shown_name(f"unknown rater of {label}")) for name in names}
    apart = {plain: shown_name(f"{label}: {plain}") for plain in wanted.values()}
    there = _there(connection, [*wanted.values(), *apart.values()])
    final = {name: _name_for(run, plain, apart[plain], there) for name, plain in wanted.items()}
    missing = sorted({name for name in final.values() if name not in there})
    if missing and not run.options.dry_run:
        insert_missing(connection, schema.people, [_new_person(name) for name in missing])
        there |= _there(connection, missing)
    return {name: there[plain][0] if plain in there else "" for name, plain in final.items()}


def shown_name(name: str) -> str:
    """A name fit for the list of people: one line, not endless, nothing that a database refuses."""
    return one_line(name.replace("\0", ""), MAX_NAME_CHARACTERS).strip()


def _name_for(run: Run, plain: str, apart: str, there: dict[str, tuple[str, bool]]) -> str:
    """A name that nobody here has, or that an earlier import brought; a member's only where people are matched."""
    if plain not in there or not there[plain][1] or run.matches_people:
        return plain
    return apart


def _there(connection: Connection, names: Sequence[str]) -> dict[str, tuple[str, bool]]:
    """(id, whether this is a member: somebody who is active or once had a password) by name."""
    table, found = schema.people, {}
    for part in in_parts(sorted(set(names))):
        query = select(table.c.id, table.c.name, table.c.active, table.c.password_hash).where(table.c.name.in_(part))
        for row in connection.execute(query):
            found[row.name] = (row.id, bool(row.active) or row.password_hash is not None)
    return found


def _new_person(name: str) -> dict[str, Any]:
    return {"id": new_id(), "name": name, "role": "rater", "active": False, "created_ms": now_ms()}


def write_all(connection: Connection, *many: tuple[Any, list[dict[str, Any]]]) -> None:
    """Insert the rows of each table, in order."""
    for table, rows in many:
        if rows:
            connection.execute(insert(table), rows)
