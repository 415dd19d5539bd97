"""The verbs `import`, `imports` and `export`: people's work from files into the record, and out of it.

Leaves out: what they do (`tutelage.store.imports`, `tutelage.store.export_files`).
"""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App

if TYPE_CHECKING:
    from tutelage.store.export_files import ExportReport
    from tutelage.store.imports import ImportReport

WORKSPACE = Path("workspace")
MAX_SHOWN = 20
"""Things left out that are shown at once; `tutelage imports ID` shows them all."""
SHORT_ID = 14
"""Digits of an import's id that a list shows: the time and a little more."""
ImportFormat = Literal["plain", "tutelage", "label-studio", "argilla", "open-assistant"]
ExportFormat = Literal[
    "tutelage", "trl", "trl-prompt-completion", "trl-unpaired", "sharegpt", "alpaca", "label-studio", "argilla", "csv",
    "parquet",
]  # fmt: skip


def register(app: App) -> None:
    """Add the verbs to `app`."""
    app.command(import_work, name="import")
    app.command(list_imports, name="imports")
    app.command(export)


def import_work(
    file: str,
    /,
    *,
    kind: Literal["pairs", "labels", "prompts"] | None = None,
    project: str | None = None,
    state: Literal["draft", "submitted", "accepted"] | None = None,
    source: str | None = None,
    licence: str | None = None,
    tag: tuple[str, ...] = (),
    format: ImportFormat | None = None,
    strict: bool = False,
    dry_run: bool = False,
    match_people: bool | None = None,
    json: bool = False,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Bring people's work in: `tutelage import pairs.jsonl`, `tutelage import export.json --project helpful`.

    Everything read is added, was there already, or is left out and listed; the same file again adds nothing.

    Parameters
    ----------
    file
        Path of a file: JSON Lines, JSON, CSV, TSV or Parquet, or an export of Label Studio, Argilla or Open-Assistant.
    kind
        What to take; without it, what the file holds.
    project
        The labelling project that verdicts go to, made when it is not there; without it, one named like the file.
    state
        State of the new pairs; without it what the file says, else submitted, to be reviewed.
    source
        Where the work comes from, in your words; it stands before the file's name and line.
    licence
        Licence of the pairs or prompts.
    tag
        A tag for the pairs or prompts; may be given several times.
    format
        Which tool wrote the file; without it, that is told by the content.
    strict
        Write nothing at all when a single record is bad.
    dry_run
        Only say what would be done.
    match_people
        Take somebody in the file who has a member's name for that member. Only exports of Tutelage do so by themselves.
    json
        Print JSON.
    by
        Who imports; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store.database import open_store
    from tutelage.store.import_rows import ImportOptions
    from tutelage.store.imports import import_file
    from tutelage.store.people import acting

    options = ImportOptions(
        kind, project, state, source, licence, tag, format, strict=strict, dry_run=dry_run, match_people=match_people
    )
    last: list[ImportReport] = []
    with open_store(workspace) as store:
        with store.read() as connection:
            person = acting(connection, by)
        try:
            with _counting("read") as tell:
                report = import_file(store, person, file, options, on_progress=_noting(last, tell))
        except KeyboardInterrupt:
            kept = last[0].num_added if last and not (strict or dry_run) else 0
            print(f"interrupted: {kept:,} added so far stay; the same command goes on with the rest", file=sys.stderr)
            raise
    _print_json(_as_json(report)) if json else _show_import(report)
    return 0 if report.num_added or report.num_already or _is_harmless(report) else 2


def _noting(last: list[ImportReport], tell: Callable[[int], None]) -> Callable[[ImportReport], None]:
    def note(report: ImportReport) -> None:
        last[:] = [report]
        tell(report.num_read)

    return note


def _is_harmless(report: ImportReport) -> bool:
    """Whether what was left out had nothing wrong with it."""
    from tutelage.data.foreign import NEEDLESS

    return all(each.code in NEEDLESS for each in report.left_out)


@contextmanager
def _counting(what: str) -> Iterator[Callable[[int], None]]:
    """A line on standard error that counts, where somebody looks at it."""
    if not sys.stderr.isatty():
        yield lambda number: None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield lambda number: status.update(f"{number:,} {what}")


def _as_json(report: ImportReport) -> dict[str, Any]:
    from tutelage.store.imports import as_row

    plain = ("file", "format", "dry_run", "project", "num_read", "num_added", "num_already", "num_left_out")
    added = {kind: number for kind, number in report.added.items() if kind and number}
    return {
        "id": report.import_id, **{name: getattr(report, name) for name in plain}, "added": added,
        "left_out": [as_row(each) for each in report.left_out],
    }  # fmt: skip


def _show_import(report: ImportReport) -> None:
    from tutelage.evaluate.markdown import clean_text
    from tutelage.store.imports import as_row

    kinds = [f"{number:,} {_counted(kind, number)}" for kind, number in report.added.items() if kind and number]
    would = " (dry run: nothing was written)" if report.dry_run else ""
    print(f"{clean_text(report.file)}: {report.num_read:,} read as {report.format}{would}")
    print(f"  added          {report.num_added:,}" + (f"  ({', '.join(kinds)})" if kinds else ""))
    print(f"  there already  {report.num_already:,}")
    print(f"  left out       {report.num_left_out:,}")
    if report.project:
        print(f"  project        {report.project}")
    if report.left_out:
        _show_left_out([as_row(each) for each in report.left_out[:MAX_SHOWN]])
    if report.num_left_out > MAX_SHOWN:
        more = report.num_left_out - MAX_SHOWN
        print(f"and {more:,} more" + ("" if report.dry_run else f"; tutelage imports {report.import_id} lists them"))


def _counted(kind: str, number: int) -> str:
    return kind.removesuffix("s") if number == 1 else kind


def _show_left_out(rows: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from tutelage.evaluate.markdown import clean_text

    # Where a JSON file is one long line, the record says where it is.
    places = ("line", "record") if any((row["record"] or row["line"]) != row["line"] for row in rows) else ("line",)
    table = Table(*places, "field", "problem", title="Left out", title_justify="left")
    for row in sorted(rows, key=lambda row: (row["line"] or 0, row["record"] or 0)):
        field = escape(clean_text(str(row["field"] or "")))
        problem = escape(clean_text(f"{row['problem']} [{row['code']}]"))
        table.add_row(*(str(row[name] or "") for name in places), field, problem)
    Console().print(table)


def list_imports(
    import_id: str | None = None,
    /,
    *,
    json: bool = False,
    limit: int = 50,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """List what was imported; with an id, everything that import left out.

    Parameters
    ----------
    import_id
        An import, by the beginning of its id.
    json
        Print JSON.
    limit
        How many of the newest imports to list.
    by
        Who asks; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import imports
    from tutelage.store.database import open_store
    from tutelage.store.people import acting

    with open_store(workspace) as store, store.read() as connection:
        person = acting(connection, by)
        one = imports.get(connection, person, import_id) if import_id else None
        many = [] if import_id else imports.listing(connection, person, limit=limit)
    if json:
        _print_json(one or {"imports": many})
    elif one:
        _show_one(one)
    else:
        _show_many(many)
    return 0


def _show_one(row: dict[str, Any]) -> None:
    from tutelage.evaluate.markdown import clean_text

    numbers = ", ".join(f"{row[f'num_{name}']:,} {name.replace('_', ' ')}" for name in ("read", "added", "left_out"))
    ended = "" if row["finished_ms"] else "; interrupted"
    print(f"{clean_text(row['file'])}, {_moment(row['at_ms'])}: {numbers}, {row['num_already']:,} there already{ended}")
    if row["left_out"]:
        _show_left_out(row["left_out"])
    if (unlisted := row["num_left_out"] - len(row["left_out"])) > 0 and row["finished_ms"]:
        print(f"and {unlisted:,} more that were not listed; mend these and import the file again")


def _show_many(rows: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from tutelage.evaluate.markdown import clean_text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("id", "when"):
        table.add_column(name, no_wrap=True)
    for name in ("file", "read", "added", "left out", "by"):
        table.add_column(name, overflow="fold")
    for row in rows:
        numbers = [f"{row[name]:,}" for name in ("num_read", "num_added", "num_left_out")]
        when = _moment(row["at_ms"]) + ("" if row["finished_ms"] else "…")
        file, person = (escape(clean_text(row[name])) for name in ("file", "person"))
        table.add_row(row["id"][:SHORT_ID], when, file, *numbers, person)
    Console().print(table if rows else "nothing was imported yet; `tutelage import FILE` brings a file in")


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def export(
    what: str,
    /,
    *,
    out: Path,
    format: ExportFormat = "tutelage",
    state: tuple[str, ...] = (),
    tag: tuple[str, ...] = (),
    since: str | None = None,
    overwrite: bool = False,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Write work to a file: `tutelage export pairs --state accepted --out pairs.jsonl`, `export labels:helpful …`.

    Parameters
    ----------
    what
        pairs, prompts, labels:PROJECT, or a snapshot as DATASET@NUMBER.
    out
        The file to write, whole or not at all; a name that ends in .gz is compressed.
    format
        tutelage keeps every field, csv and parquet the same as a table; the others keep what they have a place for.
    state
        Only pairs in this state; may be given several times.
    tag
        Only pairs with this tag; given several times, with all of them.
    since
        Only what was made (pairs: changed) since this day or moment, e.g. 2026-03-01 or 2026-03-01T12:30.
    overwrite
        Replace the file if it is there.
    by
        Who exports; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store.database import open_store
    from tutelage.store.export_files import check_out, export_file
    from tutelage.store.exports import Filters
    from tutelage.store.people import acting

    check_out(out, overwrite)
    filters = Filters(state, tag, _since_ms(since) if since else None)
    with open_store(workspace) as store:
        with store.read() as connection:
            person = acting(connection, by)
        with _counting("written") as tell:
            report = export_file(
                store, person, what, out, format, filters, overwrite=overwrite, on_progress=lambda done, _: tell(done)
            )
    _show_export(report)
    return 0


def _since_ms(text: str) -> int:
    from tutelage.errors import ConfigError

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--since {text}: no day or moment; write 2026-03-01 or 2026-03-01T12:30") from None
    return int(moment.timestamp() * 1000)


def _show_export(report: ExportReport) -> None:
    lines = f" on {report.num_lines:,} lines" if report.num_lines != report.num_written else ""
    print(f"wrote {report.file}: {report.num_written:,} of {report.num_records:,} {report.kind}{lines}")
    for reason, number in report.without_place.most_common():
        print(f"  left out {number:,}: {reason}")


def _print_json(value: Any) -> None:
    print(json_module.dumps(value, indent=2, ensure_ascii=False))
