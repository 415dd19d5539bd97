"""Loading: every shape and every file format gives the same conversations, with the line where each starts."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tutelage.data import load_conversations, load_prompts
from tutelage.types import Conversation, Message, Source

PLUM = (Message("user", "Name a fruit."), Message("assistant", "Plum."))

SHAPES: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "Name a fruit."}, {"role": "assistant", "content": "Plum."}]},
    {"messages": [{"role": "Human", "content": "Name a fruit."}, {"role": "model", "content": "Plum."}]},
    {"conversations": [{"from": "human", "value": "Name a fruit."}, {"from": "gpt", "value": "Plum."}]},
    {"conversations": [{"role": "user", "content": "Name a fruit."}, {"role": "bot", "content": "Plum."}]},
    {"prompt": "Name a fruit.", "completion": "Plum."},
    {"prompt": "Name a fruit.", "response": "Plum."},
    {
        "prompt": [{"role": "user", "content": "Name a fruit."}],
        "completion": [{"role": "assistant", "content": "Plum."}],
    },
    {"instruction": "Name a fruit.", "input": "", "output": "Plum."},
    {"instruction": "Name a fruit.", "output": "Plum."},
    {"question": "Name a fruit.", "answer": "Plum."},
    {"query": "Name a fruit.", "response": "Plum."},
    {"q": "Name a fruit.", "a": "Plum."},
    {"Question ": "Name a fruit.", "ANSWER": "Plum."},
]


@pytest.mark.parametrize("record", SHAPES)
def test_each_shape_is_read_without_being_told(record: dict[str, Any]) -> None:
    assert load_conversations([record]) == [Conversation(PLUM, Source("records", 1))]


def test_the_alpaca_input_stands_below_the_instruction() -> None:
    record = {"instruction": "Translate to French.", "input": "plum", "output": "prune"}
    assert load_conversations([record])[0].messages[0].content == "Translate to French.\n\nplum"


def test_each_instance_of_an_instruction_is_a_record(tmp_path: Path) -> None:
    seed = {"id": "s", "instruction": "Opposite?", "instances": [
        {"input": "hot", "output": "cold"}, {"input": "", "output": "It depends."},
    ]}  # fmt: skip
    file = tmp_path / "seed.jsonl"
    file.write_text(json.dumps(seed) + "\n" + json.dumps({"instruction": "Name a fruit.", "output": "Plum."}) + "\n")
    found = load_conversations(file)
    said = [tuple(message.content for message in each.messages) for each in found]
    assert said == [("Opposite?\n\nhot", "cold"), ("Opposite?", "It depends."), ("Name a fruit.", "Plum.")]
    assert [each.source.line for each in found] == [1, 1, 2]
    assert load_conversations([seed])[0].messages == found[0].messages


def test_an_instruction_whose_instances_lack_answers_stays_one_record() -> None:
    (prompt,) = load_prompts([{"instruction": "Opposite?", "instances": [{"input": "hot"}]}])
    assert prompt.meta["instances"] == [{"input": "hot"}]


def test_a_system_field_comes_first() -> None:
    record = {"system": "Be brief.", "question": "Name a fruit.", "answer": "Plum."}
    assert load_conversations([record])[0].messages == (Message("system", "Be brief."), *PLUM)


def test_other_fields_become_meta() -> None:
    record = {"id": "f-1", "category": "food", "prompt": "Name a fruit.", "completion": "Plum.", "stars": 5}
    assert load_conversations([record])[0].meta == {"id": "f-1", "category": "food", "stars": 5}


def test_text_is_kept_to_the_letter() -> None:
    record = {"prompt": "  a\u2028b \r\n", "completion": "\tcode\n\n"}
    assert [turn.content for turn in load_conversations([record])[0].messages] == ["  a\u2028b \r\n", "\tcode\n\n"]


# ---- line numbers


def lines_of(path: Path) -> list[int]:
    return [one.source.line for one in load_conversations(path) if one.source]


def test_a_json_lines_number_is_the_physical_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"q": "1", "a": "x"}\n\n\r\n{"q": "2\u2028", "a": "x"}\n{"q": "3", "a": "x"}')
    assert lines_of(path) == [1, 4, 5]


def test_a_json_number_is_the_line_where_the_element_starts(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('\n[ {"q": "1",\n "a": "x"}, {"q": "2", "a": "x"},\n\n{"q": "3", "a": "x"}\n]\n')
    assert lines_of(path) == [2, 3, 5]


def test_a_list_inside_an_object_keeps_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"version": {"data": 1},\n "data": [\n{"q": "1", "a": "x"},\n{"q": "2", "a": "x"}]\n, "n": 2}')
    assert lines_of(path) == [3, 4]


def test_a_csv_number_is_the_line_where_the_record_starts(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('question,answer\n"one\ntwo","x\n\ny"\n\nthree,z\n,\nfour,z\n')
    assert lines_of(path) == [2, 7, 9]


# ---- containers told apart


def test_json_lines_named_json_and_the_other_way_round(tmp_path: Path) -> None:
    rows = [{"q": "1", "a": "x"}, {"q": "2", "a": "x"}]
    (tmp_path / "lines.json").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "array.jsonl").write_text(json.dumps(rows, indent=2))
    assert lines_of(tmp_path / "lines.json") == [1, 2]
    assert lines_of(tmp_path / "array.jsonl") == [2, 6]


def test_a_single_record_is_no_list_of_turns(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(SHAPES[0], indent=1))
    assert load_conversations(path)[0].messages == PLUM


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_csv_may_use_another_separator(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"question{separator}answer\nName a fruit.{separator}Plum.\n")
    assert load_conversations(path)[0].messages == PLUM


def test_a_csv_cell_may_be_long(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"question,answer\nq,{'x' * 200_000}\n")  # the csv module alone stops at 131,072
    assert len(load_conversations(path)[0].messages[1].content) == 200_000


# ---- the same records in every format


def as_json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_json(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps(rows, indent=1).encode()


def as_wrapped_json(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps({"version": 1, "data": rows}).encode()


def as_table(rows: list[dict[str, Any]], delimiter: str = ",") -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, rows[0], delimiter=delimiter)
    writer.writeheader()
    for row in rows:
        writer.writerow({key: json.dumps(cell) if isinstance(cell, list) else cell for key, cell in row.items()})
    return stream.getvalue().encode()


def as_tsv(rows: list[dict[str, Any]]) -> bytes:
    return as_table(rows, "\t")


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), stream)
    return stream.getvalue()


def as_gzip(rows: list[dict[str, Any]]) -> bytes:
    return gzip.compress(as_json_lines(rows))


WRITERS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    ".jsonl": as_json_lines,
    ".json": as_json,
    ".wrapped.json": as_wrapped_json,
    ".csv": as_table,
    ".tsv": as_tsv,
    ".parquet": as_parquet,
    ".jsonl.gz": as_gzip,
}

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(str.strip)
conversations = st.lists(
    st.tuples(st.none() | texts, st.lists(st.tuples(texts, texts), min_size=1, max_size=3)), min_size=1, max_size=4
)


def as_messages(system: str | None, pairs: list[tuple[str, str]]) -> tuple[Message, ...]:
    turns = [Message("user" if at == 0 else "assistant", pair[at]) for pair in pairs for at in (0, 1)]
    return ((Message("system", system),) if system else ()) + tuple(turns)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=conversations, suffix=st.sampled_from(sorted(WRITERS)))
def test_messages_survive_every_format(tmp_path: Path, drawn: Any, suffix: str) -> None:
    expected = [as_messages(system, pairs) for system, pairs in drawn]
    rows = [{"messages": [{"role": turn.role, "content": turn.content} for turn in turns]} for turns in expected]
    path = tmp_path / f"data{suffix}"
    path.write_bytes(WRITERS[suffix](rows))
    assert [one.messages for one in load_conversations(path)] == expected


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.lists(st.tuples(texts, texts), min_size=1, max_size=4),
    keys=st.sampled_from([("prompt", "completion"), ("instruction", "output"), ("question", "answer")]),
    suffix=st.sampled_from(sorted(WRITERS)),
)
def test_flat_records_survive_every_format(tmp_path: Path, pairs: Any, keys: Any, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    path.write_bytes(WRITERS[suffix]([dict(zip(keys, pair, strict=True)) for pair in pairs]))
    loaded = load_conversations(path)
    assert [tuple(turn.content for turn in one.messages) for one in loaded] == pairs
    assert [tuple(turn.role for turn in one.messages) for one in loaded] == [("user", "assistant")] * len(pairs)


# ---- prompts


def test_a_prompt_with_everything() -> None:
    record = {
        "id": "s-1",
        "category": "food",
        "prompt": "Name a fruit.",
        "reference": "Plum.",
        "checks": [{"check": "max_words", "value": 1}],
    }
    prompt = load_prompts([record])[0]
    assert prompt.messages == (PLUM[0],)
    assert (prompt.id, prompt.reference, prompt.meta) == ("s-1", "Plum.", {"category": "food"})
    assert prompt.checks == ({"check": "max_words", "value": 1},)
    assert prompt.source == Source("records", 1)


@pytest.mark.parametrize("record", SHAPES)
def test_the_last_answer_of_each_shape_becomes_the_reference(record: dict[str, Any]) -> None:
    prompt = load_prompts([record])[0]
    assert (prompt.messages, prompt.reference) == ((PLUM[0],), "Plum.")


def test_messages_that_end_with_the_user_have_no_reference() -> None:
    turns = [*SHAPES[0]["messages"], {"role": "user", "content": "Another?"}]
    prompt = load_prompts([{"messages": turns}])[0]
    assert prompt.messages == (*PLUM, Message("user", "Another?"))
    assert prompt.reference is None


def test_a_named_reference_goes_before_the_last_answer() -> None:
    record = {"prompt": "Name a fruit.", "completion": "Plum.", "reference": "Pear."}
    assert load_prompts([record])[0].reference == "Pear."


def test_plain_text_has_one_prompt_a_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("Name a fruit.\r\n\n  Say hello. \n")
    prompts = load_prompts(path)
    assert [prompt.messages[0].content for prompt in prompts] == ["Name a fruit.", "Say hello."]
    assert [prompt.source.line for prompt in prompts if prompt.source] == [1, 3]


def test_strings_from_python_are_prompts() -> None:
    assert load_prompts(["Name a fruit."])[0].messages == (PLUM[0],)


def test_prompts_from_a_csv_file(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(
        'id,prompt,reference,checks\n7,Name a fruit.,,"[{""check"": ""one_line"", ""value"": true}]"\n8,b,c,\n'
    )
    first, second = load_prompts(path)
    assert (first.id, first.reference, first.checks) == ("7", None, ({"check": "one_line", "value": True},))
    assert (second.id, second.reference, second.checks) == ("8", "c", ())
