"""Whatever a file or a record holds, the user gets records or one `TutelageError`, never a traceback."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tutelage.data import check_file, load_conversations, load_prompts
from tutelage.errors import DataError, TutelageError

pytestmark = pytest.mark.slow  # thousands of files

SUFFIXES = [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt", ".other", ""]

NAMES = """messages conversations prompt completion instruction input output question answer system history reference
checks id role content from value"""
keys = st.sampled_from([*NAMES.split(), "Prompt ", "", "a\nb"])
atoms = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
atoms |= st.sampled_from(["user", "assistant", "system", "human", "gpt", "[", "[]", '[{"role": "user"}]'])
values = st.recursive(atoms, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5))
PIECES = (
    b'{"prompt":"a","completion":"b"}|\n|\r|,|"|[|]|{|}|\xff|\x00| |\x1f\x8b|PAR1|\x80\x04|\xef\xbb\xbf|"data": |1e999'
    b"|\\ud800|question,answer\n|a\tb"
)
pieces = st.sampled_from(PIECES.split(b"|"))
contents = st.binary(max_size=60) | st.lists(pieces, max_size=12).map(b"".join)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=contents, suffix=st.sampled_from(SUFFIXES), compressed=st.booleans())
def test_any_bytes_in_any_file(tmp_path: Path, content: bytes, suffix: str, compressed: bool) -> None:
    path = tmp_path / f"any{suffix}{'.gz' if compressed else ''}"
    path.write_bytes(gzip.compress(content) if compressed else content)
    for read in (load_conversations, load_prompts):
        with contextlib.suppress(TutelageError):
            assert read(path)


@settings(max_examples=300, deadline=None)
@given(records=st.lists(st.dictionaries(keys, values, max_size=5) | values, min_size=1, max_size=3))
def test_any_records_from_python(records: list[Any]) -> None:
    with contextlib.suppress(DataError):
        load_prompts(records)
    report = check_file(records, sealed=[])
    assert not any("\n" in f"{finding.field}{finding.message}" for finding in report.findings)
    if report.ok:
        assert all(one.messages[-1].role == "assistant" for one in load_conversations(records))
    else:
        with pytest.raises(DataError):
            load_conversations(records)
