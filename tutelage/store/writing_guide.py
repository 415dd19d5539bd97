"""How pairs should be written in this workspace: one text for all writers, in versions that are kept.

Version 0 is what this package says where nobody has written one. Each version is a row of the workspace's settings, so
that two people cannot both write version 3.

Leaves out: guidelines for judging, which belong to a project (`tutelage.feedback.projects`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from tutelage.errors import ConflictError, DataError, NotFoundError
from tutelage.store import audit, schema
from tutelage.store.ids import now_ms
from tutelage.store.pair_rules import check_no_nul
from tutelage.store.people import Person, require
from tutelage.store.turns import take_turn

MAX_CHARACTERS = 50_000
MAX_NOTE = 500
_PREFIX = "writing-guideline."
_BUILT_IN = """\
## A good pair

- **The question** is one that somebody would really ask, in their words. It says all that is needed to answer it.
- **The answer** is the one you would be glad to get: right first, then clear, then short.
- Begin with the answer itself. Leave out "Great question!" and what nobody asked for.
- Say what you do not know. "I am not sure, but …" is better than something made up.
- Use a list or a table where it makes reading easier, and plain sentences everywhere else.
- Write nothing that tells who a real person is, and nothing you may not give away.

## An example

> **How long do I boil an egg so that the yolk stays soft?**
>
> Six minutes, for a medium egg from the fridge put into boiling water. Then hold it under cold water, or it goes on
> cooking.

A few hundred such pairs teach more than thousands of hurried ones.
"""


@dataclass(frozen=True, slots=True)
class Guide:
    """One version of the guideline for writers."""

    version: int
    """From 1; 0 is the built-in one."""
    text: str
    """Markdown."""
    created_by: str
    created_ms: int
    note: str = ""
    """What is new in it, in its author's words."""


BUILT_IN = Guide(0, _BUILT_IN, "", 0)


def newest(connection: Connection) -> Guide:
    """The guideline in force."""
    table = schema.settings
    query = select(table).where(_is_guide()).order_by(table.c.name.desc()).limit(1)
    row = connection.execute(query).first()
    return _guide(connection, row.name, row.value) if row else BUILT_IN


def version_of(connection: Connection, version: int) -> Guide:
    """One version; `NotFoundError` for one that was never written."""
    if version == 0:
        return BUILT_IN
    table = schema.settings
    row = connection.execute(select(table).where(table.c.name == _name(version))).first()
    if row is None:
        raise NotFoundError(f"the writing guideline has no version {version}")
    return _guide(connection, row.name, row.value)


def put(connection: Connection, person: Person, text: str, *, base_version: int, note: str = "") -> Guide:
    """A new version, made from `base_version`; for reviewers. The same words again are no new version.

    Raises `ConflictError` when somebody has written a newer one since, `DataError` for a text that cannot be kept.
    """
    require(person, "reviewer")
    check_no_nul(text, "text")
    check_no_nul(note, "note")
    if not text.strip():
        raise DataError("empty; say in a few words what a good pair is", field="text")
    if len(text) > MAX_CHARACTERS:
        raise DataError(
            f"{len(text):,} characters, and at most {MAX_CHARACTERS:,} can be kept; shorten it", field="text"
        )
    take_turn(connection, "writing guideline")
    before = newest(connection)
    if before.version != base_version:
        raise ConflictError(
            f"the guideline is at version {before.version}, and this was made from version {base_version}; "
            "read the newest one and put your change on top of it"
        )
    if before.text == text:
        return before
    value = {"text": text, "note": note.strip()[:MAX_NOTE], "created_by": person.id, "created_ms": now_ms()}
    connection.execute(insert(schema.settings).values(name=_name(base_version + 1), value=value))
    audit.note(connection, person, "writing_guideline.changed", version=base_version + 1)
    return newest(connection)


def _name(version: int) -> str:
    return f"{_PREFIX}{version:09d}"


def _is_guide() -> Any:
    return schema.settings.c.name.startswith(_PREFIX, autoescape=True)


def _guide(connection: Connection, name: str, value: Mapping[str, Any]) -> Guide:
    people = schema.people
    author = connection.execute(select(people.c.name).where(people.c.id == value["created_by"])).scalar()
    number = int(name.removeprefix(_PREFIX))
    return Guide(number, value["text"], author or "", value["created_ms"], value.get("note", ""))
