"""Whatever a record holds, reading it as a verdict gives verdicts that keep their promises, or one `DataError`."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tutelage.data import check_file, load_comparisons, load_ratings
from tutelage.errors import DataError, TutelageError
from tutelage.types import Comparison, Rating

pytestmark = pytest.mark.slow  # thousands of files

NAMES = """prompt instruction input question context messages conversations system history chosen rejected edited
original completions responses ranks ranking ratings scores rating score stars label thumbs winner preference tie
strength margin response_a response_b response1 response2 response_0 response_1 conversation_a conversation_b
overall_preference score_chosen rejected_score rater user judge completion answer role content from value text"""
keys = st.sampled_from([*NAMES.split(), "Chosen ", "", "a\nb"])
TEXTS = [
    "user",
    "assistant",
    "gpt",
    "a",
    "b",
    "tie",
    "good",
    "better",
    "slightly_better",
    "1",
    "-1",
    "nan",
    "1e999",
    "[",
]
CELLS = ["[]", '[{"role":"user"}]', '[{"role":"assistant","content":"a"}]', '{"role":"assistant","content":"b"}']
TRANSCRIPTS = ["\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant:", "\n\nHuman:", "\n\nAssistant: a"]
atoms = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
atoms |= st.sampled_from([*TEXTS, *CELLS, *TRANSCRIPTS])
PIECES = [
    b'{"prompt":"a","chosen":"b","rejected":"c"}',
    b"prompt,chosen,rejected\n",
    b'a,b,c\n"',
    *(b'{"chosen":', b"\n", b"[", b"]", b",", b"\xff", b'{"data": [', b"}"),
]
turns = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": atoms})
values = st.recursive(
    atoms | st.lists(turns, max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=6,
)
loose = st.dictionaries(keys, values, max_size=6)


def shaped(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Records that have the keys of a shape, and others."""
    return st.builds(
        lambda fixed, other: {**other, **fixed}, st.fixed_dictionaries(dict.fromkeys(names, values)), loose
    )


records = (
    loose
    | values
    | shaped("prompt", "chosen", "rejected")
    | shaped("chosen", "rejected")
    | shaped("prompt", "original", "edited")
    | shaped("prompt", "completions", "ranks")
    | shaped("context", "response1", "response2", "overall_preference")
    | shaped("conversation_a", "conversation_b", "winner")
    | shaped("prompt", "completion", "label")
    | shaped("messages", "rating")
)


def assert_sound(one: Comparison | Rating) -> None:
    answers = one.answers if isinstance(one, Comparison) else (one.answer,)
    assert one.messages[-1].role == "user"
    for answer in answers:
        assert (answer[0].role, answer[-1].role) == ("assistant", "assistant")
        assert answer[-1].content.strip()
    if isinstance(one, Comparison):
        assert len(answers) == len(one.ranks) >= 2
        assert set(one.ranks) == set(range(max(one.ranks) + 1))
        assert one.strength is None or one.strength >= 0


@settings(max_examples=600, deadline=None)
@given(rows=st.lists(records, min_size=1, max_size=3))
@example([{"prompt": "a", "chosen": "b", "rejected": "c", "edited": "d"}])
@example([{"chosen": "\n\nAssistant: a", "rejected": "\n\nAssistant: b", "system": "c"}])
def test_any_records_from_python(rows: list[Any]) -> None:
    report = check_file(rows, sealed=[])
    assert not any("\n" in f"{finding.field}{finding.message}" for finding in report.findings)
    for load in (load_comparisons, load_ratings):
        with contextlib.suppress(DataError):
            assert all(assert_sound(one) is None for one in load(rows, on_bad="drop"))
        if report.kind != "conversations" and any(one.code != "ties" for one in report.findings if not report.ok):
            with pytest.raises(DataError):
                load(rows)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.sampled_from(PIECES),
        max_size=8,
    ),
    suffix=st.sampled_from([".jsonl", ".json", ".csv", ".tsv", ".txt", ""]),
    compressed=st.booleans(),
)
def test_any_bytes_in_any_file(tmp_path: Path, pieces: list[bytes], suffix: str, compressed: bool) -> None:
    path = tmp_path / f"any{suffix}{'.gz' if compressed else ''}"
    path.write_bytes(gzip.compress(b"".join(pieces)) if compressed else b"".join(pieces))
    for load in (load_comparisons, load_ratings):
        with contextlib.suppress(TutelageError):
            assert all(assert_sound(one) is None for one in load(path, on_bad="drop"))
    with contextlib.suppress(TutelageError):
        check_file(path, sealed=[])
