"""A file of people's work becomes rows of the record: counts in are counts out, and what was left out is listed.

Everything read is added, was there already, or is left out with its line, field and reason; a bad record never stops
the good ones, unless the import is strict, and then nothing is written. Large files go in batches, a transaction each:
an import that is interrupted keeps its whole batches, and the same import again goes on after them.

Leaves out: reading the formats (`tutelage.data.foreign_open`) and the rows of each kind (the modules beside this one).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, update

from tutelage.data.foreign import (
    KINDS,
    NEEDLESS,
    Incoming,
    IncomingLabel,
    IncomingPair,
    IncomingPrompt,
    LeftOut,
)
from tutelage.data.foreign_open import FORMATS, Opened, open_foreign, refuse_address
from tutelage.errors import ConfigError, DataError, NotFoundError
from tutelage.store import audit, people, schema
from tutelage.store.database import Store
from tutelage.store.ids import now_ms
from tutelage.store.import_labels import add_labels, project_name
from tutelage.store.import_pairs import add_pairs
from tutelage.store.import_prompts import add_prompts
from tutelage.store.import_rows import ImportOptions, Outcome, Run
from tutelage.store.pair_rules import check_no_nul, check_origin, check_tags
from tutelage.store.people import Person

STATES = ("draft", "submitted", "accepted")
BATCH_THINGS = 500
BATCH_CHARACTERS = 4_000_000
MAX_LISTED = 10_000
"""Things left out that are listed one by one; of more, only the number is kept."""


@dataclass(slots=True)
class ImportReport:
    """What became of a file: `num_read` = `num_added` + `num_already` + `num_left_out`."""

    import_id: str
    file: str
    format: str
    dry_run: bool = False
    project: str = ""
    """Where its labels went."""
    num_read: int = 0
    num_added: int = 0
    num_already: int = 0
    num_left_out: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    """The first `MAX_LISTED` of them."""
    added: Counter[str] = field(default_factory=Counter)
    """How many pairs, labels and prompts are new."""

    def take(self, kind: str, outcome: Outcome) -> None:
        """Count what became of some things of one kind."""
        if kind:
            self.added[kind] += outcome.added
        self.num_added += outcome.added
        self.num_already += outcome.already
        self.num_left_out += len(outcome.left_out)
        self.left_out += outcome.left_out[: MAX_LISTED - len(self.left_out)]


Progress = Callable[[ImportReport], None]


def import_file(
    store: Store, person: Person, path: str | Path, options: ImportOptions | None = None, *, name: str = "",
    on_progress: Progress | None = None,
) -> ImportReport:  # fmt: skip
    """Import a file; for reviewers and admins. `name` is what the record calls it, else the file's own name.

    Opens its own transactions, one a batch. Raises `DataError` for a file that cannot be opened or holds nothing and,
    where `options.strict`, at the first bad record; `ConfigError` for options that make no sense together.
    """
    options = options or ImportOptions()
    people.require(person, "reviewer")
    _check(options)
    digest = _digest(path)
    opened = open_foreign(path, options.format, name)  # type: ignore[arg-type]  # checked above
    run = Run(person, options, opened.file.name, opened.format)
    if options.project:
        project_name(run)
    job = _Job(run, digest, on_progress)
    if options.dry_run:
        with store.read() as connection:
            job.rehearse(connection, opened)
    elif options.strict:
        with store.write_long() as connection:
            job.whole(connection, opened)
    else:
        job.in_batches(store, opened)
    if not options.dry_run:
        store.refresh_statistics(job.report.num_added)
    return job.report


def _check(options: ImportOptions) -> None:
    """Raise `ConfigError` for what no import can be."""
    for name, value, known in (
        ("kind", options.kind, KINDS), ("state", options.state, STATES), ("format", options.format, FORMATS),
    ):  # fmt: skip
        if value is not None and value not in known:
            raise ConfigError(f"--{name} {value}: none of {', '.join(known)}")
    if options.kind in ("pairs", "prompts") and options.project:
        raise ConfigError(f"--project is where labels go, and {options.kind} go to none; leave it out")
    if options.kind in ("labels", "prompts") and options.state:
        raise ConfigError(f"--state is of pairs, and {options.kind} have none; leave it out")
    try:
        check_tags(options.tags)
        check_origin(options.source or "", options.licence or "")
        check_no_nul(options.source or "", "source")
    except DataError as error:
        raise ConfigError(f"--{error.field}: {error.problem}") from error


def _digest(path: str | Path) -> str:
    """SHA-256 of the file; empty where it is none, or cannot be read, which is told better where it is opened."""
    refuse_address(str(path))
    try:
        if not Path(path).is_file():  # a pipe or a device would be read for ever
            return ""
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


class _Job:
    """One import, from its first batch to its last count."""

    def __init__(self, run: Run, digest: str, on_progress: Progress | None) -> None:
        self.run, self.digest, self.on_progress = run, digest, on_progress
        self.report = ImportReport(run.import_id, run.file, run.format, run.options.dry_run)
        self.is_noted = False

    def in_batches(self, store: Store, opened: Opened) -> None:
        """Each batch in a transaction of its own; what was done is noted even where the import is interrupted."""
        is_whole = False
        self._tell()
        try:
            for batch in self._batches(opened):
                with store.write() as connection:
                    outcomes = self._add(connection, batch)
                    self._note(connection, batch, outcomes)
                self._took(batch, outcomes)
            is_whole = True
        finally:
            if self.is_noted:
                with store.write() as connection:
                    if self._recount(connection):
                        self._close(connection, is_whole=is_whole)

    def whole(self, connection: Connection, opened: Opened) -> None:
        """All or nothing: the first bad record undoes the rest."""
        for batch in self._batches(opened):
            outcomes = self._add(connection, batch)
            self._note(connection, batch, outcomes)
            self._took(batch, outcomes)
            _refuse_bad([each for _, outcome in outcomes for each in outcome.left_out])
        self._close(connection, is_whole=True)

    def rehearse(self, connection: Connection, opened: Opened) -> None:
        """Count what would be done."""
        for batch in self._batches(opened):
            outcomes = self._add(connection, batch)
            self._took(batch, outcomes)
            if self.run.options.strict:
                _refuse_bad([each for _, outcome in outcomes for each in outcome.left_out])

    def _batches(self, opened: Opened) -> Iterator[list[Incoming]]:
        batch, size = list[Incoming](), 0
        kind: Any = self.run.options.kind
        is_empty = True
        for each in opened.incoming(kind):
            is_empty = False
            batch.append(each)
            size += _size(each)
            if len(batch) >= BATCH_THINGS or size >= BATCH_CHARACTERS:
                yield batch
                batch, size = [], 0
        if is_empty:
            raise DataError("holds nothing to import; write at least one record into it", file=opened.file.name)
        if batch:
            yield batch

    def _add(self, connection: Connection, batch: Sequence[Incoming]) -> list[tuple[str, Outcome]]:
        pairs = [each for each in batch if isinstance(each, IncomingPair)]
        labels = [each for each in batch if isinstance(each, IncomingLabel)]
        prompts = [each for each in batch if isinstance(each, IncomingPrompt)]
        outcomes = [("", Outcome(left_out=[each for each in batch if isinstance(each, LeftOut)]))]
        if pairs:
            outcomes.append(("pairs", add_pairs(connection, self.run, pairs)))
        if labels:
            self.report.project = project_name(self.run)
            outcomes.append(("labels", add_labels(connection, self.run, labels)))
        if prompts:
            outcomes.append(("prompts", add_prompts(connection, self.run, prompts)))
        return outcomes

    def _took(self, batch: Sequence[Incoming], outcomes: Sequence[tuple[str, Outcome]]) -> None:
        """Count a batch once it is kept."""
        self.report.num_read += len(batch)
        for kind, outcome in outcomes:
            self.report.take(kind, outcome)
        self._tell()

    def _tell(self) -> None:
        if self.on_progress:
            self.on_progress(self.report)

    def _recount(self, connection: Connection) -> bool:
        """Take the counts from the record, for Ctrl-C may come before a batch that is kept is counted here.

        False where no batch was kept.
        """
        table = schema.imports
        columns = (table.c.num_read, table.c.num_added, table.c.num_already, table.c.num_left_out)
        row = connection.execute(select(*columns).where(table.c.id == self.run.import_id)).first()
        for name, number in row._mapping.items() if row is not None else ():
            setattr(self.report, name, number)
        return row is not None

    def _note(self, connection: Connection, batch: Sequence[Incoming], outcomes: Sequence[tuple[str, Outcome]]) -> None:
        """The counts as they are with this batch, in its own transaction."""
        so_far = self.report
        counts = {
            "num_read": so_far.num_read + len(batch),
            "num_added": so_far.num_added + sum(outcome.added for _, outcome in outcomes),
            "num_already": so_far.num_already + sum(outcome.already for _, outcome in outcomes),
            "num_left_out": so_far.num_left_out + sum(len(outcome.left_out) for _, outcome in outcomes),
        }
        table = schema.imports
        if self.is_noted:
            connection.execute(update(table).where(table.c.id == self.run.import_id).values(**counts))
            return
        row = {
            "id": self.run.import_id, "file": self.run.file, "content_hash": self.digest,
            "kind": self.run.options.kind or "", "format": self.run.format, "left_out": [],
            "person_id": self.run.person.id, "at_ms": now_ms(), "finished_ms": None,
        }  # fmt: skip
        connection.execute(insert(table).values(**row, **counts))
        self.is_noted = True

    def _close(self, connection: Connection, *, is_whole: bool) -> None:
        table, report = schema.imports, self.report
        kinds = [kind for kind, number in report.added.items() if kind and number]
        values = {
            "left_out": [as_row(each) for each in report.left_out], "finished_ms": now_ms() if is_whole else None,
            "kind": self.run.options.kind or (kinds[0] if len(kinds) == 1 else ""),
        }  # fmt: skip
        connection.execute(update(table).where(table.c.id == self.run.import_id).values(**values))
        audit.note(
            connection, self.run.person, "file.imported", self.run.import_id, file=report.file, read=report.num_read,
            added=report.num_added, left_out=report.num_left_out, whole=is_whole,
        )  # fmt: skip


def _size(each: Incoming) -> int:
    """About how many characters a thing holds."""
    if isinstance(each, LeftOut):
        return len(each.problem)
    turns = each.prompt if isinstance(each, IncomingLabel) else each.messages
    answers = sum(len(answer.text) for answer in each.answers) if isinstance(each, IncomingLabel) else 0
    return sum(len(turn.content) for turn in turns) + answers


def _refuse_bad(left_out: Sequence[LeftOut]) -> None:
    bad = next((each for each in left_out if each.code not in NEEDLESS), None)
    if bad is not None:
        problem = f"{bad.problem}; nothing was written (--strict)"
        raise DataError(problem, file=bad.source.file, line=bad.source.line or None, field=bad.field)


def as_row(each: LeftOut) -> dict[str, Any]:
    """Something left out as it is stored."""
    return {
        "line": each.source.line or None, "record": each.record or None, "field": each.field, "code": each.code,
        "problem": each.problem,
    }  # fmt: skip


def listing(connection: Connection, person: Person, *, before: str = "", limit: int = 50) -> list[dict[str, Any]]:
    """Imports from the newest to the oldest, those before the import `before`; for reviewers and admins."""
    people.require(person, "reviewer")
    table = schema.imports
    columns = [column for column in table.c if column.name != "left_out"]
    query = select(*columns, schema.people.c.name.label("person"))
    query = query.join(schema.people, schema.people.c.id == table.c.person_id).order_by(table.c.id.desc()).limit(limit)
    if before:
        query = query.where(table.c.id < before)
    return [dict(row) for row in connection.execute(query).mappings()]


def get(connection: Connection, person: Person, import_id: str) -> dict[str, Any]:
    """One import with what it left out, by the beginning of its id; for reviewers and admins."""
    people.require(person, "reviewer")
    table = schema.imports
    rows = connection.execute(
        select(table).where(table.c.id.startswith(import_id, autoescape=True)).limit(2)
    ).mappings()
    found = [dict(row) for row in rows]
    if len(found) != 1:
        raise NotFoundError(f"no import {import_id}" if not found else f"more than one import begins with {import_id}")
    return found[0]
