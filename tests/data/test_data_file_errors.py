"""What a user reads when a file cannot be read: every message word for word."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tutelage.data import check_file, load_conversations, load_prompts, readers
from tutelage.data.raw import Problem, RawRecord, ReadProblem
from tutelage.data.readers import read_json
from tutelage.errors import ConfigError, DataError, TutelageError

GOOD = '{"prompt": "Name a fruit.", "completion": "Plum."}\n'


@pytest.fixture(autouse=True)
def _short_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def failure(name: str, content: bytes | str | None = None, load: Callable[..., Any] = load_conversations) -> str:
    """The one line a user reads about a file with this content."""
    if content is not None:
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(TutelageError) as caught:
        load(name)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_an_empty_file() -> None:
    assert failure("e.jsonl", "") == "e.jsonl: the file is empty (0 bytes); write at least one record into it"


@pytest.mark.parametrize(
    ("name", "content"), [("e.jsonl", "\n \n"), ("e.json", "[]"), ("e.csv", "prompt,completion\n")]
)
def test_a_file_without_records(name: str, content: str) -> None:
    assert failure(name, content) == f"{name}: the file holds no records; write at least one into it"


def test_an_empty_compressed_file() -> None:
    message = failure("e.jsonl.gz", gzip.compress(b""))
    assert message == "e.jsonl.gz: the file is empty (0 bytes); write at least one record into it"


def test_a_wrong_encoding_names_byte_offset_and_line() -> None:
    latin = GOOD.encode() + '{"prompt": "Café?", "completion": "Non."}\n'.encode("latin-1")
    offset = len(GOOD) + len('{"prompt": "Caf')
    assert failure("l.jsonl", latin) == (
        f"l.jsonl:2: not UTF-8 (byte 0xE9 at offset {offset}); "
        "convert the file, e.g. `iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW`"
    )


def test_a_wrong_encoding_inside_a_json_array_and_a_csv_cell() -> None:
    array = '[\n{"prompt": "a",\n"completion": "é"}]'.encode("latin-1")
    assert failure("l.json", array).startswith("l.json:3: not UTF-8 (byte 0xE9 at offset 33)")
    table = 'question,answer\nx,"two\nliné"\n'.encode("latin-1")
    assert failure("l.csv", table).startswith("l.csv:3: not UTF-8 (byte 0xE9 at offset 26)")


def test_a_utf16_file_is_recognised() -> None:
    assert failure("u.jsonl", GOOD.encode("utf-16")) == (
        "u.jsonl:1: not UTF-8 (byte 0xFF at offset 0); convert the file, e.g. `iconv -f UTF-16 -t UTF-8 OLD > NEW`"
    )


@pytest.mark.parametrize("name", ["b.jsonl", "b.json", "b.csv", "b.unknown"])
def test_a_utf8_mark_at_the_start_is_fine(name: str) -> None:
    text = "prompt,completion\nName a fruit.,Plum.\n" if name.endswith("csv") else GOOD
    Path(name).write_bytes(text.encode("utf-8-sig"))
    assert [turn.content for turn in load_conversations(name)[0].messages] == ["Name a fruit.", "Plum."]


def test_invalid_json_names_line_and_column() -> None:
    message = failure("j.jsonl", GOOD + '{"prompt": "a" "completion": "b"}\n')
    assert message == "j.jsonl:2: invalid JSON at column 16: Expecting ',' delimiter"


def test_invalid_json_inside_an_array_and_after_it() -> None:
    array = '[\n {"prompt": "a", "completion": "b"}\n {"prompt": "c", "completion": "d"}\n]'
    assert failure("j.json", array) == "j.json:3: invalid JSON at column 2: Expecting ',' delimiter"
    assert failure("k.json", "[\n]\n}") == "k.json:3: invalid JSON at column 1: Extra data"
    assert (
        failure("m.json", '[{"prompt": "a",\n "completion": ') == "m.json:2: invalid JSON at column 16: Expecting value"
    )


def test_json_nested_beyond_all_reason() -> None:
    message = failure("deep.jsonl", "[" * 200_000)
    assert message == "deep.jsonl:1: JSON that cannot be read: nested too deeply"


def test_a_json_number_beyond_all_reason() -> None:
    message = failure("n.jsonl", '{"prompt": ' + "9" * 5000 + "}")
    assert message == "n.jsonl:1: JSON that cannot be read: a number with too many digits"


def test_an_object_around_two_lists() -> None:
    message = failure("two.json", json.dumps({"train": [], "test": []}, indent=1))
    assert (
        message == "two.json:1: an object around the records must hold exactly one list; lists found: 'train', 'test'"
    )


def test_a_json_file_too_large_to_hold() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 4_000_000_001

    class Stream(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return Huge()

    with pytest.raises(ReadProblem) as caught:
        list(read_json(Stream()))
    assert str(caught.value) == "this JSON file is larger than 4 GB; save it as JSON Lines"


def test_a_line_over_the_limit() -> None:
    long_line = gzip.compress(GOOD.encode() + b'{"prompt": "' + b"a" * 100_000_000 + b'"}\n', compresslevel=1)
    assert failure("long.jsonl.gz", long_line) == "long.jsonl.gz:2: this line is longer than 100 MB; split the record"


def test_a_line_over_the_limit_does_not_hide_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "LINE_LIMIT_BYTES", 100)
    lines = io.BytesIO(GOOD.encode() + b"a" * 350 + b"\n" + GOOD.encode() + b"b" * 101)
    found = list(readers.read_json_lines(lines))
    assert [(type(each), each.line) for each in found] == [
        (RawRecord, 1), (Problem, 2), (RawRecord, 3), (Problem, 4),
    ]  # fmt: skip


def test_a_link_that_leads_nowhere() -> None:
    Path("pairs.jsonl").symlink_to("gone.jsonl")
    assert failure("pairs.jsonl") == "pairs.jsonl: leads to 'gone.jsonl', which is not there; check the link"


def test_a_missing_file_names_the_nearest() -> None:
    Path("pairs.jsonl").write_text(GOOD)
    assert failure("pair.jsonl") == "pair.jsonl: no such file; the nearest name in '.' is 'pairs.jsonl'"
    assert failure("xyz") == "xyz: no such file; check the path"
    assert failure("no/such.jsonl") == "no/such.jsonl: no such file, and no folder 'no'; check the path"


def test_a_folder() -> None:
    Path("folder").mkdir()
    assert failure("folder") == "folder: is a folder, not a file; name one file in it"
    Path("folder/b.jsonl").write_text(GOOD)
    assert failure("folder") == "folder: is a folder, not a file; name one file in it, e.g. 'folder/b.jsonl'"


def test_a_pipe_is_refused_because_it_can_be_read_only_once() -> None:
    os.mkfifo("pipe")
    assert failure("pipe") == "pipe: is not a regular file; save the data to a file first"


def test_a_file_one_may_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "open", refuse)
    Path("secret.jsonl").touch()
    assert failure("secret.jsonl") == "secret.jsonl: cannot be read: permission denied"


PICKLE_MESSAGE = (
    "a pickle can run code when it is opened, so it is refused; save it as JSON Lines, JSON, CSV, TSV or Parquet"
)


@pytest.mark.parametrize("name", ["data.pkl", "data.pt", "data.pickle", "data.PTH"])
def test_a_pickle_by_name(name: str) -> None:
    assert failure(name, "x") == f"{name}: {PICKLE_MESSAGE}"


def test_a_pickle_by_content() -> None:
    assert failure("data.jsonl", pickle.dumps([{"prompt": "a"}])) == f"data.jsonl: {PICKLE_MESSAGE}"


def test_an_unknown_file_type() -> None:
    assert failure("book.docx", b"PK\x03\x04zip") == (
        "book.docx: unknown file type '.docx', and the content is not JSON Lines, JSON, CSV, TSV or Parquet; "
        "convert it to one of these"
    )
    assert failure("notes", "hello").startswith("notes: no file extension, and the content is not JSON Lines")


def test_an_unknown_extension_with_known_content() -> None:
    Path("data.txt2").write_text(GOOD + GOOD)
    assert len(load_conversations("data.txt2")) == 2


def test_damaged_compressed_data() -> None:
    whole = gzip.compress(GOOD.encode() * 1000)
    message = "the compressed data is damaged or cut short; fetch or compress the file again"
    assert failure("cut.jsonl.gz", whole[:40]) == f"cut.jsonl.gz: {message}"
    assert failure("bad.jsonl.gz", whole[:10] + b"\xff" * 40) == f"bad.jsonl.gz: {message}"


def test_damaged_parquet_data() -> None:
    message = failure("cut.parquet", b"PAR1 and no more")
    assert message == "cut.parquet: the Parquet data is damaged or cut short; write it again"


def test_csv_cells_that_do_not_fit_the_header() -> None:
    assert failure("c.csv", "question,answer\na,b\na,b,c\n") == (
        "c.csv:3: 3 cells in this row, 2 in the header; put quotes around a cell that holds a separator or a line break"
    )


def test_two_columns_of_one_name() -> None:
    message = failure("c.csv", "question,Answer,answer\na,b,c\n")
    assert message == "c.csv:1: two columns are called 'answer'; rename or remove one"


def test_an_unclosed_csv_quote_names_the_line_of_its_record() -> None:
    message = failure("q.csv", 'question,answer\n"a\nb",c\n"d,e\n')
    assert message == "q.csv:4: cells that cannot be told apart: unexpected end of data"


def test_plain_text_cannot_be_trained_on() -> None:
    assert failure("prompts.txt", "Name a fruit.\n") == (
        "prompts.txt: plain text holds one prompt a line and no answers; "
        "save pairs as JSON Lines, JSON, CSV, TSV or Parquet"
    )


def test_the_sealed_prompts_cannot_be_trained_on() -> None:
    message = "'sealed' names the sealed prompts, which are never trained on; 'starter' names the pairs"
    assert failure("sealed") == message
    assert failure("sealed", load=check_file) == message


def test_a_hub_dataset_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError) as caught:
        load_conversations("hub:someone/pairs")
    assert str(caught.value) == (
        "'hub:someone/pairs' needs the 'datasets' package; install it with: pip install 'tutelage[hub]'"
    )


def test_a_hub_name_that_is_none() -> None:
    message = "'hub:pairs' does not name a hub dataset; write hub:owner/name or hub:owner/name:split"
    assert failure("hub:pairs") == message


def hub_with(load_dataset: Callable[..., Any]) -> types.ModuleType:
    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    return module


def test_a_hub_dataset_and_its_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(name: str, split: str) -> list[dict[str, str]]:
        asked.append((name, split))
        return [{"question": "Name a fruit.", "answer": "Plum."}]

    monkeypatch.setitem(sys.modules, "datasets", hub_with(load_dataset))
    assert load_conversations("hub:someone/pairs")[0].messages[1].content == "Plum."
    assert load_prompts("hub:someone/pairs:test")[0].reference == "Plum."
    assert asked == [("someone/pairs", "train"), ("someone/pairs", "test")]


def test_a_hub_dataset_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, split: str) -> None:
        raise FileNotFoundError("Dataset 'someone/pairs' doesn't exist\nmore")

    monkeypatch.setitem(sys.modules, "datasets", hub_with(load_dataset))
    assert failure("hub:someone/pairs") == (
        "hub:someone/pairs: cannot be loaded from the hub: Dataset 'someone/pairs' doesn't exist"
    )


def test_a_place_in_parquet_is_a_row_and_in_python_a_record(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": ""}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "p.parquet")
    empty = "field 'completion': the assistant's answer is empty, so there is nothing to learn from"
    assert failure("p.parquet") == f"p.parquet row 2 {empty}"
    with pytest.raises(DataError) as caught:
        load_conversations(rows)
    assert str(caught.value) == f"record 2 {empty}"
    assert (caught.value.file, caught.value.line, caught.value.field) == ("records", 2, "completion")
