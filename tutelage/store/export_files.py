"""Writing an export: whole or not at all, to the one file that was named, however large.

Lines go to a hidden file beside it, which takes its name once everything is on the disk. Nothing but these two names is
touched, and a link at the name is replaced, not followed.

Leaves out: what is written (`tutelage.store.exports`, `tutelage.store.export_formats`).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from tutelage.errors import ConfigError
from tutelage.store import audit
from tutelage.store.database import Store
from tutelage.store.export_formats import Layout, Line, NoPlace, layout_of
from tutelage.store.exports import Filters, count, find_wanted, records
from tutelage.store.people import Person

ROWS_AT_ONCE = 1000
COLUMNS = {
    "pairs": (
        "tutelage", "record", "id", "messages", "state", "tags", "source", "licence", "author", "reviewer", "revision",
        "meta", "created_ms",
    ),
    "labels": (
        "tutelage", "record", "id", "kind", "prompt", "completions", "completion", "ranks", "strength", "label",
        "rating", "value", "displayed", "reasons", "critique", "rewrite", "rater", "seconds", "guideline_version",
        "round", "is_gold", "request_key", "source", "project", "reference", "meta", "created_ms",
    ),
    "prompts": ("tutelage", "record", "id", "messages", "reference", "meta", "created_ms"),
}  # fmt: skip
"""Of CSV and Parquet; a cell of CSV holds a list or an object as JSON."""
Write = Callable[[Line], None]


@dataclass(slots=True)
class ExportReport:
    """What was written: `num_records` = records written + those the format has no place for."""

    file: str
    kind: str
    num_records: int = 0
    num_lines: int = 0
    """A ranking may become several lines."""
    without_place: Counter[str] = field(default_factory=Counter)
    """Why records were left out, and how many for each reason."""

    @property
    def num_written(self) -> int:
        """Records that are in the file."""
        return self.num_records - self.without_place.total()


def export_file(
    store: Store, person: Person, what: str, out: Path, format: str = "tutelage", filters: Filters | None = None, *,
    overwrite: bool = False, on_progress: Callable[[int, int], None] | None = None,
) -> ExportReport:  # fmt: skip
    """Write `pairs`, `prompts`, `labels:NAME` or `DATASET@N` to `out`; for reviewers and admins.

    Opens its own transactions. `on_progress` gets the records written so far and how many there are. Raises
    `ConfigError` before any work when the file cannot be written or the format has no shape for what it should hold.
    """
    check_out(out, overwrite)
    chosen = filters or Filters()
    with store.read() as connection:
        wanted = find_wanted(connection, person, what, chosen)
        layout = layout_of(format, wanted.kind)
        total = count(connection, wanted, chosen)
        report = ExportReport(str(out), wanted.kind)
        is_packed = out.suffix.lower() == ".gz" and layout.container != "parquet"
        with (
            _whole_file(out) as file,
            _packed(file, is_packed) as stream,
            _writer(layout, wanted.kind, stream) as write,
        ):
            for record in records(connection, wanted, chosen):
                _write_one(report, layout, record, write)
                if on_progress and report.num_records % ROWS_AT_ONCE == 0:
                    on_progress(report.num_records, total)
    with store.write() as connection:
        audit.note(
            connection, person, "file.exported", file=out.name, what=what, format=format, written=report.num_written
        )
    return report


def _write_one(report: ExportReport, layout: Layout, record: Line, write: Write) -> None:
    report.num_records += 1
    try:
        lines = list(layout.shape(record))
    except NoPlace as reason:
        report.without_place[str(reason)] += 1
        return
    for line in lines:
        write(line)
    report.num_lines += len(lines)


def check_out(out: Path, overwrite: bool) -> None:
    """Raise `ConfigError` when the file cannot be written, or is there already."""
    if "://" in str(out):
        raise ConfigError(f"{str(out)[:80]} is an address; give --out the name of a file on this machine")
    if out.is_dir():
        raise ConfigError(f"{out} is a folder; give --out the name of a file")
    if (out.exists() or out.is_symlink()) and not overwrite:
        raise ConfigError(f"{out} already exists; choose another --out, or give --overwrite")
    if not out.parent.is_dir():
        raise ConfigError(f"the folder {out.parent} of --out does not exist; make it first")
    if not os.access(out.parent, os.W_OK):
        raise ConfigError(f"the folder {out.parent} of --out cannot be written to; choose another")


@contextmanager
def _whole_file(out: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes are at `out` once the block has ended well, and nowhere if it has not."""
    hidden = out.with_name(f".{out.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        descriptor = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        hidden.replace(out)
        _sync(out.parent)
    except OSError as error:
        raise ConfigError(
            f"{out} cannot be written: {error.strerror}; free some space or choose another --out"
        ) from error
    finally:
        hidden.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _packed(stream: BinaryIO, is_packed: bool) -> Iterator[BinaryIO]:
    """The stream, compressed where the file's name says so."""
    if not is_packed:
        yield stream
        return
    with gzip.GzipFile(fileobj=stream, mode="wb", mtime=0) as packed:
        yield cast(BinaryIO, packed)


@contextmanager
def _writer(layout: Layout, kind: str, stream: BinaryIO) -> Iterator[Write]:
    """What writes a line in the layout's way."""
    if layout.container == "parquet":
        with _parquet(kind, stream) as write:
            yield write
        return
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    try:
        with {"lines": _lines, "array": _array, "csv": _csv}[layout.container](kind, text) as write:
            yield write
        text.flush()
    finally:
        text.detach()  # the stream is closed by whoever opened it


@contextmanager
def _lines(_: str, text: io.TextIOWrapper) -> Iterator[Write]:
    yield lambda line: _put(text, json.dumps(line, ensure_ascii=False) + "\n")


@contextmanager
def _array(_: str, text: io.TextIOWrapper) -> Iterator[Write]:
    """A JSON array, an element a line."""
    before = iter(["[\n"])
    yield lambda line: _put(text, next(before, ",\n") + json.dumps(line, ensure_ascii=False))
    _put(text, next(before, "") + "\n]\n")


@contextmanager
def _csv(kind: str, text: io.TextIOWrapper) -> Iterator[Write]:
    writer = csv.writer(text)
    writer.writerow(COLUMNS[kind])
    yield lambda line: _put_row(writer, [_cell(line.get(name)) for name in COLUMNS[kind]])


def _put(text: io.TextIOWrapper, chunk: str) -> None:
    text.write(chunk)


def _put_row(writer: Any, row: Sequence[str]) -> None:
    writer.writerow(row)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@contextmanager
def _parquet(kind: str, stream: BinaryIO) -> Iterator[Write]:
    import pyarrow
    import pyarrow.parquet

    schema, rows = _arrow_schema(kind), list[Line]()
    with pyarrow.parquet.ParquetWriter(stream, schema) as writer:

        def flush() -> None:
            columns = {name: [_arrow_value(name, row.get(name)) for row in rows] for name in COLUMNS[kind]}
            writer.write_table(pyarrow.Table.from_pydict(columns, schema=schema))
            rows.clear()

        def write(line: Line) -> None:
            rows.append(line)
            if len(rows) >= ROWS_AT_ONCE:
                flush()

        yield write
        flush()


def _arrow_value(name: str, value: Any) -> Any:
    """Objects whose fields are not known beforehand are JSON in a column of text."""
    if name in ("meta", "value"):
        return json.dumps(value, ensure_ascii=False)
    if name == "completion" and value is not None:
        return _arrow_answer(value)
    if name == "completions" and value is not None:
        return [_arrow_answer(each) for each in value]
    return value


def _arrow_answer(answer: Line) -> Line:
    return answer | {"sampling": json.dumps(answer["sampling"], ensure_ascii=False)}


def _arrow_schema(kind: str) -> Any:
    import pyarrow as arrow

    text, whole = arrow.string(), arrow.int64()
    turns = arrow.list_(arrow.struct([("role", text), ("content", text)]))
    rest = [("model", text), ("sampling", text), ("author", text)]
    answer, turn = arrow.struct([("text", text), *rest]), arrow.struct([("role", text), ("content", text), *rest])
    types = {
        "tutelage": whole, "messages": turns, "prompt": turns, "tags": arrow.list_(text), "reasons": arrow.list_(text),
        "revision": whole, "created_ms": whole, "completions": arrow.list_(answer), "completion": turn,
        "ranks": arrow.list_(whole), "strength": whole, "label": arrow.bool_(), "rating": arrow.float64(),
        "displayed": arrow.list_(whole), "seconds": arrow.float64(), "guideline_version": whole, "round": whole,
        "is_gold": arrow.bool_(),
    }  # fmt: skip
    return arrow.schema([(name, types.get(name, text)) for name in COLUMNS[kind]])
