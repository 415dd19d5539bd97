"""The report of a check: all errors at once, counts, sizes, and the table that shows them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tutelage.data import CheckReport, Finding, check_file
from tutelage.data.check_table import render_check
from tutelage.errors import DataError

GOOD = '{"messages": [{"role": "user", "content": "Name a fruit."}, {"role": "assistant", "content": "Plum."}]}'


@pytest.fixture
def bad_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    lines = [
        GOOD,
        '{"messages": [{"role": "tool", "content": "x"}, {"role": "assistant", "content": 3}]}',
        "{not json",
        '{"messages": []}',
        '{"messages": [{"role": "user", "content": "Name a fruit."}]}',
        GOOD.replace("Plum.", "Pear."),
    ]
    Path("bad.jsonl").write_bytes("\n".join(lines).encode() + b'\n{"caf\xe9": 1}\n')
    return Path("bad.jsonl")


def test_a_check_collects_every_error_with_line_and_field(bad_file: Path) -> None:
    report = check_file(bad_file, sealed=[])
    errors = [(one.line, one.code, one.field) for one in report.findings if one.severity == "error"]
    assert errors == [
        (2, "unknown-role", "messages[0].role"),
        (2, "wrong-type", "messages[1].content"),
        (3, "invalid-json", None),
        (4, "empty-messages", "messages"),
        (5, "ends-with-user", "messages[0].content"),
        (7, "wrong-encoding", None),
    ]
    assert not report.ok


def test_a_check_counts_records_and_turns(bad_file: Path) -> None:
    report = check_file(bad_file, sealed=[])
    # 7 lines, all records; the two that could be read have two turns each.
    assert (report.file, report.format, report.num_records, report.num_turns) == (
        "bad.jsonl",
        "JSON Lines, messages",
        7,
        4,
    )
    assert [one.code for one in report.findings if one.severity == "warning"] == ["same-prompt"]


def test_sizes_by_hand() -> None:
    records = [{"q": "12345678", "a": "1234"}, {"q": "1234", "a": "1." * 10}, {"q": "12", "a": "12"}]
    assert check_file(records, sealed=[]).stats == {
        "median_turns": 2,
        "max_turns": 2,
        "median_prompt_characters": 4,
        "max_prompt_characters": 8,
        "median_answer_characters": 4,
        "max_answer_characters": 20,
        "estimated_tokens": 10,  # (8 + 4 + 2 + 4 + 20 + 2) / 4
    }


def test_a_clean_file_is_ok(tmp_path: Path) -> None:
    path = tmp_path / "good.jsonl"
    path.write_text(GOOD)
    report = check_file(path, sealed=[])
    assert report.findings == ()
    assert report.ok


def test_an_empty_file_is_an_error_in_the_report(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.touch()
    report = check_file(path, sealed=[])
    assert [finding.code for finding in report.findings] == ["empty-file"]
    assert (report.num_records, report.stats) == (0, {})


def test_a_file_that_cannot_be_opened_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        check_file(tmp_path / "none.jsonl")


def shown(report: CheckReport, **options: int) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render_check(report, **options))
    return console.export_text()


def test_the_table_shows_place_field_and_message(bad_file: Path) -> None:
    text = shown(check_file(bad_file, sealed=[]))
    assert "JSON Lines, messages" in text
    row = next(line for line in text.splitlines() if "unknown-role" in line)
    assert [cell.strip() for cell in row.split("│")] == [
        "error",
        "unknown-role",
        "2",
        "messages[0].role",
        "unknown role 'tool'; allowed: system, user, assistant (also human, gpt, bot, model)",
    ]
    assert text.rstrip().endswith("6 errors, 1 warning, 0 notes: mend the errors before training")


def test_the_table_shows_a_few_of_each_kind() -> None:
    records = [{"q": f"Q{number}", "a": "Wipe the table and the"} for number in range(5)]
    report = check_file(records, sealed=[])
    assert shown(report, max_rows_per_code=2).count("it ends with 'the'") == 2
    assert "… and 3 more" in shown(report, max_rows_per_code=2)
    assert shown(report, max_rows_per_code=0).count("it ends with 'the'") == 5
    assert shown(report).rstrip().endswith("0 errors, 5 warnings, 0 notes: fit to train on")


def test_brackets_in_a_message_are_no_markup() -> None:
    finding = Finding("warning", "role-token", 1, "messages[0].content", "the answer holds '[/INST]'", "a.jsonl")
    assert "'[/INST]'" in shown(CheckReport("[bold]a.jsonl", "JSON Lines", 1, 2, (finding,)))


def test_a_report_over_several_files_names_the_file() -> None:
    places = [("a.jsonl", 3), ("b.jsonl", 3)]
    found = tuple(Finding("warning", "role-token", line, None, "m", file) for file, line in places)
    text = shown(CheckReport("starter", "JSON Lines", 2, 4, found))
    assert "a.jsonl:3" in text
    assert "b.jsonl:3" in text


def test_importing_the_room_loads_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "pyarrow", "rensa", "py3langid", "rich", "datasets", "numpy", "jinja2"]
    program = (
        "import sys, json, tutelage.data.check, tutelage.data.check_table\n"
        f"print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []
