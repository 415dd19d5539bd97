"""One reader for each way of storing records: JSON Lines, JSON, CSV and TSV, Parquet, plain text.

A reader takes an open binary stream and yields raw records with the line (or row) where each starts. What it cannot
read becomes a `Problem`; where it cannot go on after one it raises `ReadProblem`.
Leaves out: opening files and telling the formats apart (`tutelage.data.files`).
"""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from tutelage.data.raw import Problem, RawRecord, ReadProblem
from tutelage.data.shapes import QUESTION_KEYS
from tutelage.data.verdict_shapes import VERDICT_KEYS

LINE_LIMIT_BYTES = 100_000_000
JSON_LIMIT_BYTES = 4_000_000_000
UTF8_MARK = b"\xef\xbb\xbf"

_blank = re.compile(r"[ \t\n\r]*")
_json = json.JSONDecoder()


def guarded(items: Iterable[RawRecord | Problem]) -> Iterator[RawRecord | Problem]:
    """The items, with whatever stops the reading turned into one last problem."""
    try:
        yield from items
    except ReadProblem as error:
        yield replace(error.problem, whole_file=True)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        message = "the compressed data is damaged or cut short; fetch or compress the file again"
        yield Problem("damaged-file", message, whole_file=True)


def raw_lines(stream: BinaryIO, *, pass_long: bool = False) -> Iterator[tuple[int, int, bytes]]:
    """Physical lines as (line number, byte offset, bytes with the line end).

    A line that is too long stops the reading; with `pass_long` it is passed over, and its bytes are empty.
    """
    offset = 0
    for number in itertools.count(1):
        raw = stream.readline(LINE_LIMIT_BYTES + 1)
        if not raw:
            return
        num_bytes = len(raw)
        if num_bytes > LINE_LIMIT_BYTES:
            if not pass_long:
                raise ReadProblem(_long_line(number))
            num_bytes, raw = num_bytes + _to_line_end(stream, raw), b""
        yield number, offset, raw
        offset += num_bytes


def _to_line_end(stream: BinaryIO, raw: bytes) -> int:
    """Read to the end of the line that `raw` begins; gives how many bytes that were."""
    num_bytes = 0
    while raw and not raw.endswith(b"\n"):
        raw = stream.readline(LINE_LIMIT_BYTES)
        num_bytes += len(raw)
    return num_bytes


def _long_line(number: int) -> Problem:
    limit = LINE_LIMIT_BYTES // 1_000_000
    return Problem("long-line", f"this line is longer than {limit} MB; split the record", number)


def decode(raw: bytes, offset: int, line: int) -> str:
    """UTF-8 text of `raw`, which starts at byte `offset` and line `line` of the file."""
    body = raw.removeprefix(UTF8_MARK) if offset == 0 else raw
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        start = error.start + len(raw) - len(body)
        line += raw.count(b"\n", 0, start)
        raise ReadProblem(_wrong_encoding(raw, start, offset, line)) from None


def _wrong_encoding(raw: bytes, start: int, offset: int, line: int) -> Problem:
    utf16 = offset == 0 and raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    guess = "UTF-16" if utf16 else "WINDOWS-1252"
    found = f"byte 0x{raw[start]:02X} at offset {offset + start}"
    remedy = f"convert the file, e.g. `iconv -f {guess} -t UTF-8 OLD > NEW`"
    return Problem("wrong-encoding", f"not UTF-8 ({found}); {remedy}", line)


def read_json_lines(stream: BinaryIO) -> Iterator[RawRecord | Problem]:
    """One record a line; blank lines are passed over, and a bad line does not hide the next."""
    for number, offset, raw in raw_lines(stream, pass_long=True):
        try:
            if not raw:
                raise ReadProblem(_long_line(number))
            text = decode(raw, offset, number)
            if text.strip():
                yield RawRecord(number, parse_json(text, number))
        except ReadProblem as error:
            yield error.problem


def parse_json(text: str, line: int) -> Any:
    """The value of a JSON text that starts on `line`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReadProblem(_invalid_json(error, line)) from None


def _invalid_json(error: ValueError | RecursionError, line: int) -> Problem:
    if isinstance(error, json.JSONDecodeError):
        where = f"invalid JSON at column {error.colno}: {error.msg}"
        return Problem("invalid-json", where, line + error.lineno - 1)
    reason = "nested too deeply" if isinstance(error, RecursionError) else "a number with too many digits"
    return Problem("invalid-json", f"JSON that cannot be read: {reason}", line)


def read_json(stream: BinaryIO) -> Iterator[RawRecord | Problem]:
    """The elements of an array, of the one list in an object such as {"data": [...]}, or the object itself."""
    data = stream.read(JSON_LIMIT_BYTES + 1)
    if len(data) > JSON_LIMIT_BYTES:
        limit = JSON_LIMIT_BYTES // 1_000_000_000
        raise ReadProblem(Problem("long-line", f"this JSON file is larger than {limit} GB; save it as JSON Lines"))
    text = decode(data, 0, 1)
    del data
    start = _skip_blank(text, 0)
    if text[start : start + 1] == "[":
        yield from _array(text, start)
    else:
        yield from _object(text, start)


def _object(text: str, start: int) -> Iterator[RawRecord | Problem]:
    value = parse_json(text, 1)
    line = 1 + text.count("\n", 0, start)
    if not isinstance(value, dict) or any(key.strip().lower() in QUESTION_KEYS | VERDICT_KEYS for key in value):
        yield RawRecord(line, value)
        return
    lists = [key for key, member in value.items() if isinstance(member, list)]
    if len(lists) != 1:
        found = ", ".join(f"'{key}'" for key in lists) or "none"
        message = f"an object around the records must hold exactly one list; lists found: {found}"
        raise ReadProblem(Problem("no-records", message, line))
    yield from _array(text, _member_start(text, start, lists[0]), whole=False)


def _member_start(text: str, start: int, name: str) -> int:
    """Where the value of `name` starts in the (valid) object at `start`."""
    position = _skip_blank(text, start + 1)
    while True:
        key, position = _json.raw_decode(text, position)
        position = _skip_blank(text, _skip_blank(text, position) + 1)
        if key == name:
            return position
        _, position = _json.raw_decode(text, position)
        position = _skip_blank(text, _skip_blank(text, position) + 1)


def _array(text: str, start: int, *, whole: bool = True) -> Iterator[RawRecord]:
    """The elements of the array at `start`; `whole` says that nothing may follow it."""
    line, counted = 1, 0
    position = _skip_blank(text, start + 1)
    at_end = text[position : position + 1] == "]"
    while not at_end:
        line += text.count("\n", counted, position)
        counted = position
        value, position = _element(text, position)
        yield RawRecord(line, value)
        position = _skip_blank(text, position)
        at_end = text[position : position + 1] == "]"
        if not at_end and text[position : position + 1] != ",":
            raise ReadProblem(_invalid_json(json.JSONDecodeError("Expecting ',' delimiter", text, position), 1))
        if not at_end:
            position = _skip_blank(text, position + 1)
    after = _skip_blank(text, position + 1)
    if whole and after < len(text):
        raise ReadProblem(_invalid_json(json.JSONDecodeError("Extra data", text, after), 1))


def _element(text: str, position: int) -> tuple[Any, int]:
    try:
        return _json.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise ReadProblem(_invalid_json(error, 1)) from None
    except (ValueError, RecursionError) as error:
        raise ReadProblem(_invalid_json(error, 1 + text.count("\n", 0, position))) from None


def _skip_blank(text: str, position: int) -> int:
    match = _blank.match(text, position)
    return match.end() if match else position


def read_table(stream: BinaryIO, delimiter: str | None = None) -> Iterator[RawRecord | Problem]:
    """Rows under a header line; a CSV without commas in its header may use semicolons or tabs."""
    csv.field_size_limit(max(csv.field_size_limit(), LINE_LIMIT_BYTES))
    lines = (decode(raw, offset, number) for number, offset, raw in raw_lines(stream))
    first = next(lines, "")
    separator = delimiter or next((mark for mark in ",;\t" if mark in first), ",")
    reader = csv.reader(itertools.chain([first], lines), delimiter=separator, strict=True)
    line, header = 1, None
    try:
        for row in reader:
            start, line = line, reader.line_num + 1
            if not any(row):
                continue
            if header is None:
                header = _header(row, start)
            else:
                yield _row(header, row, start)
    except csv.Error as error:
        raise ReadProblem(Problem("invalid-csv", f"cells that cannot be told apart: {error}", line)) from None


def _header(row: list[str], line: int) -> list[str]:
    """The names of the columns; of two with one name a record could hold only the last."""
    counts = Counter(name.strip().lower() for name in row if name.strip())
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        raise ReadProblem(Problem("wrong-columns", f"two columns are called '{twice}'; rename or remove one", line))
    return row


def _row(header: list[str], row: list[str], line: int) -> RawRecord | Problem:
    if len(row) == len(header):
        return RawRecord(line, dict(zip(header, row, strict=True)))
    counts = f"{len(row)} cells in this row, {len(header)} in the header"
    return Problem("wrong-columns", f"{counts}; put quotes around a cell that holds a separator or a line break", line)


def read_parquet(stream: BinaryIO) -> Iterator[RawRecord | Problem]:
    """Rows of a Parquet file, numbered from 1."""
    import pyarrow
    import pyarrow.parquet

    row = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(stream).iter_batches(batch_size=1024):
            for value in batch.to_pylist():
                row += 1
                yield RawRecord(row, value)
    except (pyarrow.ArrowException, OSError, ValueError):
        raise ReadProblem(Problem("damaged-file", "the Parquet data is damaged or cut short; write it again")) from None


def read_text(stream: BinaryIO) -> Iterator[RawRecord | Problem]:
    """One prompt a line; blank lines are passed over."""
    for number, offset, raw in raw_lines(stream):
        text = decode(raw, offset, number).strip()
        if text:
            yield RawRecord(number, {"prompt": text})
