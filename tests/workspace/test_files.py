"""`tutelage import`, `imports` and `export` as a user drives them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tutelage.cli import main
from tutelage.store import schema
from tutelage.store.database import CONFIG_FILE, Store

PAIR = {"prompt": "Name a fruit.", "completion": "Plum."}


@pytest.fixture(autouse=True)
def _here(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that holds the workspace of `store`."""
    (store.workspace / CONFIG_FILE).write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    said = capsys.readouterr()
    return int(stop.value.code or 0), said.out, said.err


def write(name: str, *lines: object) -> None:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    Path(name).write_text(text, encoding="utf-8")


def count(store: Store) -> int:
    with store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(schema.pairs)).scalar_one())


def test_an_import_says_what_became_of_everything(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing was imported yet; `tutelage import FILE`" in run(capsys, "imports")[1]
    write("pairs.jsonl", PAIR, PAIR, {"prompt": "Q", "completions": "[red]A"}, "not json")
    code, out, _ = run(capsys, "import", "pairs.jsonl", "--by", "bo", "--tag", "fruit", "--licence", "CC0-1.0")
    assert code == 0
    squeezed = " ".join(out.split())
    assert "pairs.jsonl: 4 read as plain" in out
    assert "added 1 (1 pair) there already 1 left out 2" in squeezed
    assert "the nearest field here is 'completions'" in squeezed
    code, out, _ = run(capsys, "imports", "--json")
    (row,) = json.loads(out)["imports"]
    assert (row["num_read"], row["num_added"], row["num_already"], row["num_left_out"]) == (4, 1, 1, 2)
    code, out, _ = run(capsys, "imports", row["id"])
    assert "4 read, 1 added, 2 left out, 1 there already" in out
    assert "invalid-json" in out
    code, out, _ = run(capsys, "imports")
    assert (code, "pairs.jsonl" in out) == (0, True)


def test_a_dry_run_and_json(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    write("pairs.jsonl", PAIR, {"prompt": "Q"})
    code, out, _ = run(capsys, "import", "pairs.jsonl", "--kind", "pairs", "--dry-run")
    assert (code, count(store)) == (0, 0)
    assert "(dry run: nothing was written)" in out
    code, out, _ = run(capsys, "import", "pairs.jsonl", "--json")
    told = json.loads(out)
    assert (told["num_read"], told["num_added"], told["added"]) == (2, 1, {"pairs": 1})
    assert told["left_out"][0]["field"] == "completion"


def test_an_import_of_nothing_but_bad_rows_fails(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    write("pairs.jsonl", {"prompt": "Q"}, {"prompt": "R"})
    code, out, _ = run(capsys, "import", "pairs.jsonl", "--kind", "pairs")
    assert (code, count(store)) == (2, 0)
    assert "left out       2" in out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("import", "https://example.org/x.jsonl"), "nothing is fetched; download it and give the file's path"),
        (("import", "none.jsonl"), "no such file"),
        (("import", "pairs.jsonl", "--strict"), "pairs.jsonl:2 field 'completion': missing"),
        (("import", "pairs.jsonl", "--by", "cy"), "needs the role reviewer"),
        (("import", "pairs.jsonl", "--by", "nobody"), "nobody here is called 'nobody'"),
        (("export", "pairs", "--out", "workspace"), "is a folder"),
        (("export", "pairs", "--out", "pairs.jsonl"), "already exists"),
        (("export", "labels:none", "--out", "x.jsonl"), "no project 'none'"),
        (("export", "pairs", "--out", "x.jsonl", "--since", "soon"), "no day or moment"),
        (("imports", "ffff"), "no import ffff"),
    ],
)
def test_mistakes_are_one_line(
    store: Store, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], why: str
) -> None:
    write("pairs.jsonl", PAIR, {"prompt": "Q"})
    code, out, err = run(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert why in err
    assert count(store) == 0


def test_an_export_goes_back_in(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    write("pairs.jsonl", PAIR)
    run(capsys, "import", "pairs.jsonl", "--state", "accepted")
    code, out, _ = run(capsys, "export", "pairs", "--state", "accepted", "--since", "2020-01-01", "--out", "out.jsonl")
    assert (code, out) == (0, "wrote out.jsonl: 1 of 1 pairs\n")
    code, out, _ = run(capsys, "export", "pairs", "--format", "alpaca", "--out", "a.jsonl")
    assert json.loads(Path("a.jsonl").read_text(encoding="utf-8"))["output"] == "Plum."
    code, out, _ = run(capsys, "import", "out.jsonl")
    assert "there already  1" in out


def test_a_verdict_that_a_format_has_no_place_for_is_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    tie = {"prompt": "Q", "response_a": "A", "response_b": "B", "winner": "tie"}
    write("prefs.jsonl", tie, tie | {"winner": "a"})
    _, out, _ = run(capsys, "import", "prefs.jsonl", "--project", "fruit")
    assert "project        fruit" in out
    _, out, _ = run(capsys, "export", "labels:fruit", "--format", "trl", "--out", "dpo.jsonl")
    assert out == "wrote dpo.jsonl: 1 of 2 labels\n  left out 1: a tie: no answer is better\n"


def test_ctrl_c_keeps_whole_batches_and_the_same_command_goes_on(
    store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    total = 60_000
    write("many.jsonl", *({"prompt": f"Question {at}?", "completion": "Yes."} for at in range(total)))
    command = [sys.executable, "-m", "tutelage.cli", "import", "many.jsonl"]
    program = [sys.executable, "-c", "from tutelage.cli import main; main()", *command[3:]]
    started = subprocess.Popen(program, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while count(store) < 500 and time.monotonic() < deadline:
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=120)
    kept = count(store)
    assert (started.returncode, kept % 500) == (130, 0), err
    assert 0 < kept < total
    assert f"interrupted: {kept:,} added so far stay" in err
    with store.read() as connection:
        note = connection.execute(select(schema.imports)).one()
    assert (note.num_read, note.num_added, note.finished_ms) == (kept, kept, None)
    write("many.jsonl", *({"prompt": f"Question {at}?", "completion": "Yes."} for at in range(kept + 100)))
    _, out, _ = run(capsys, "import", "many.jsonl", "--json")
    told = json.loads(out)
    assert (told["num_added"], told["num_already"]) == (100, kept)
