"""From a path to raw records: finds the file, tells the formats apart by content, and refuses what must not be opened.

Leaves out: the readers themselves (`tutelage.data.readers`), the shipped files (`tutelage.data.starter`) and what a
record means (`tutelage.data.formats`).
"""

from __future__ import annotations

import difflib
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from tutelage.data import readers
from tutelage.data.instances import unfolded
from tutelage.data.raw import Problem, RawFile, RawRecord, ReadProblem
from tutelage.errors import ConfigError, DataError

READABLE = "JSON Lines, JSON, CSV, TSV or Parquet"
PICKLE_SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib"}
PLAIN_TEXT = "plain text"

Opener = Callable[[], IO[bytes]]


def open_path(path: str | Path) -> RawFile:
    """Open a data file; raises `DataError` for a path that is missing, a folder, a pickle or of no known format."""
    file = Path(path)
    try:
        _refuse_missing(file, str(path))
        _refuse_pickle(file, str(path))
        return open_stream(str(path), partial(_open_binary, file), _suffix(file))
    except PermissionError:
        raise DataError("cannot be read: permission denied", file=path) from None


def open_stream(name: str, opener: Opener, suffix: str) -> RawFile:
    """Open data under a display name; `opener` gives a fresh (compressed or plain) stream each time."""
    try:
        with _decompressed(opener) as stream:
            head = stream.read(4096)
        container = _container(opener, head, suffix)
    except (EOFError, zlib.error, gzip.BadGzipFile, ReadProblem):
        container = "JSON Lines"  # the reader meets the same problem and says where
    if container is None:
        kind = f"unknown file type '{suffix}'" if suffix else "no file extension"
        raise DataError(f"{kind}, and the content is not {READABLE}; convert it to one of these", file=name)
    if container == "empty":
        empty = Problem("empty-file", "the file is empty (0 bytes); write at least one record into it", whole_file=True)
        return RawFile(name, "empty", [empty])
    return RawFile(name, container, _items(opener, container), "row" if container == "Parquet" else "line")


def open_records(records: Sequence[Mapping[str, Any] | str]) -> RawFile:
    """Records that are already in Python; a bare string counts as a prompt."""
    items: Iterable[RawRecord] = (
        RawRecord(number, {"prompt": record} if isinstance(record, str) else record)
        for number, record in enumerate(records, start=1)
    )
    return RawFile("records", "Python records", unfolded(items), "record")


def open_hub(source: str) -> RawFile:
    """Rows of a dataset on the hub, named `hub:owner/name` or `hub:owner/name:split` (default split: train)."""
    name, _, split = source.removeprefix("hub:").partition(":")
    if name.count("/") != 1 or name.startswith("/") or name.endswith("/"):
        raise DataError(f"'{source}' does not name a hub dataset; write hub:owner/name or hub:owner/name:split")
    try:
        import datasets
    except ImportError:
        message = f"'{source}' needs the 'datasets' package; install it with: pip install 'tutelage[hub]'"
        raise ConfigError(message) from None
    try:
        rows = datasets.load_dataset(name, split=split or "train")
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"cannot be loaded from the hub: {reason}", file=source) from None
    items = (RawRecord(number, dict(row)) for number, row in enumerate(rows, start=1))
    return RawFile(source, "hub dataset", unfolded(items), "row")


def _refuse_missing(file: Path, name: str) -> None:
    if file.is_dir():
        inside = sorted(child.name for child in file.iterdir() if child.is_file())
        example = f", e.g. '{file / inside[0]}'" if inside else ""
        raise DataError(f"is a folder, not a file; name one file in it{example}", file=name)
    if file.is_file():
        return
    if file.exists():
        raise DataError("is not a regular file; save the data to a file first", file=name)
    if file.is_symlink():
        raise DataError(f"leads to '{file.readlink()}', which is not there; check the link", file=name)
    if not file.parent.is_dir():
        raise DataError(f"no such file, and no folder '{file.parent}'; check the path", file=name)
    names = [child.name for child in file.parent.iterdir()]
    nearest = difflib.get_close_matches(file.name, names, n=1, cutoff=0.4)
    remedy = f"the nearest name in '{file.parent}' is '{nearest[0]}'" if nearest else "check the path"
    raise DataError(f"no such file; {remedy}", file=name)


def _refuse_pickle(file: Path, name: str) -> None:
    with file.open("rb") as stream:
        head = stream.read(2)
    pickled = len(head) == 2 and head[0] == 0x80 and 2 <= head[1] <= 5
    if pickled or file.suffix.lower() in PICKLE_SUFFIXES:
        raise DataError(f"a pickle can run code when it is opened, so it is refused; save it as {READABLE}", file=name)


def _suffix(file: Path) -> str:
    """The suffix that names the format: `.jsonl` for `pairs.jsonl.gz`."""
    plain = file.with_suffix("") if file.suffix.lower() == ".gz" else file
    return plain.suffix.lower()


def _open_binary(file: Path) -> BinaryIO:
    return file.open("rb")


@contextmanager
def _decompressed(opener: Opener) -> Iterator[BinaryIO]:
    """A fresh stream, through gzip when the first two bytes say so."""
    with opener() as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        yield cast(BinaryIO, gzip.GzipFile(fileobj=stream) if compressed else stream)


def _container(opener: Opener, head: bytes, suffix: str) -> str | None:
    """How the records are stored: by content where that is certain, else by suffix; None when neither tells."""
    if not head:
        return "empty"
    if head.startswith(b"PAR1") or suffix in (".parquet", ".pq"):
        return "Parquet"
    by_suffix = {".csv": "CSV", ".tsv": "TSV", ".tab": "TSV"}
    if suffix in by_suffix:
        return by_suffix[suffix]
    start = head.removeprefix(readers.UTF8_MARK).lstrip()[:1]
    if start in (b"[", b"{"):
        return _json_container(opener, start, suffix)
    json_suffixes = {".jsonl": "JSON Lines", ".ndjson": "JSON Lines", ".json": "JSON", ".txt": PLAIN_TEXT}
    return json_suffixes.get(suffix)


def _json_container(opener: Opener, start: bytes, suffix: str) -> str:
    """Many files named `.json` hold JSON Lines, and the other way round: the first two lines decide."""
    if start == b"{" and suffix in (".jsonl", ".ndjson"):
        return "JSON Lines"
    with _decompressed(opener) as stream:
        filled = (line for line in readers.raw_lines(stream) if line[2].strip(b" \t\r\n\xef\xbb\xbf"))
        try:
            first, second = next(filled, None), next(filled, None)
        except ReadProblem:  # one very long line is a whole JSON file
            return "JSON"
    return "JSON Lines" if first and second and _is_json(first) else "JSON"


def _is_json(numbered: tuple[int, int, bytes]) -> bool:
    number, offset, raw = numbered
    try:
        readers.parse_json(readers.decode(raw, offset, number), number)
    except ReadProblem:
        return False
    return True


def _items(opener: Opener, container: str) -> Iterator[RawRecord | Problem]:
    read: dict[str, Callable[[BinaryIO], Iterator[RawRecord | Problem]]] = {
        "JSON Lines": readers.read_json_lines,
        "JSON": readers.read_json,
        "CSV": readers.read_table,
        "TSV": partial(readers.read_table, delimiter="\t"),
        "Parquet": readers.read_parquet,
        PLAIN_TEXT: readers.read_text,
    }
    with _decompressed(opener) as stream:
        yield from unfolded(readers.guarded(read[container](stream)))
