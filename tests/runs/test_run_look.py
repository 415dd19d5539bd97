"""How runs are seen: from their folders alone, whoever started them and whatever became of the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from made_runs import append, make_model, make_run, step

from tutelage.errors import NotFoundError
from tutelage.runs import look
from tutelage.runs.files import RunFiles, spread_records
from tutelage.train.run_folder import RunFolder

ASKED = "$ tutelage train sft --out=one\n"


def test_a_run_that_trains_is_running_and_says_how_long_it_will_take(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "one", steps=4)
    with RunFolder.resume(folder):
        seen = look.see(tmp_path, "one")
    assert (seen.state, seen.step, seen.num_steps, seen.seconds, seen.seconds_left) == ("running", 4, 10, 8.0, 12.0)
    assert (seen.method, seen.model, seen.data, seen.by, seen.made) == ("sft", "tiny", "starter", "", False)
    assert seen.metrics["loss"] == 0.75


@pytest.mark.parametrize(
    ("said", "state", "error"),
    [
        ("", "interrupted", ""),
        (ASKED + "step 1/10\n", "interrupted", look.SILENT),
        (ASKED + "asked to stop by bo\n\nstopping after this step\nstopped\n", "interrupted", "bo stopped it"),
        (ASKED + "\nstopping after this step\nstopped after step 3; go on with: …\n", "interrupted", ""),
        (ASKED + "tutelage: step 3: the loss is nan; look\n", "failed", "step 3: the loss is nan; look"),
        (ASKED + "Traceback (most recent call last):\n  File x\nMemoryError: no\n", "failed", "MemoryError: no"),
        (ASKED + "tutelage: an error of before\n" + ASKED + "asked to stop by cy\n", "interrupted", "cy stopped it"),
    ],
)  # fmt: skip
def test_why_a_run_ended_is_what_it_said_last(tmp_path: Path, said: str, state: str, error: str) -> None:
    make_run(tmp_path, "one", log=said)
    seen = look.see(tmp_path, "one")
    assert (seen.state, seen.error, seen.seconds_left) == (state, error, None)


def test_a_run_has_finished_when_its_model_is_there(tmp_path: Path) -> None:
    make_run(tmp_path, "one", finished=True, log=ASKED + "tutelage: the record is away\n")
    assert look.see(tmp_path, "one").state == "finished"
    make_run(tmp_path, "two")
    make_model(tmp_path, "two", run="another")
    assert look.see(tmp_path, "two").state == "interrupted"


def test_a_run_that_failed_before_it_began_is_seen_too(tmp_path: Path) -> None:
    starting = tmp_path / "runs" / ".starting"
    starting.mkdir(parents=True)
    (starting / "one.json").write_text('{"method": "dpo", "options": ["--model=tiny", "--data=x"], "by": "bo"}')
    (starting / "one.log").write_text(ASKED + "tutelage: no pairs\n")
    seen = look.see(tmp_path, "one")
    assert (seen.state, seen.method, seen.model, seen.data, seen.by) == ("failed", "dpo", "tiny", "x", "bo")
    assert seen.error == "no pairs"


def test_log_and_record_move_into_the_folder_once_that_stays(tmp_path: Path) -> None:
    starting = tmp_path / "runs" / ".starting"
    starting.mkdir(parents=True)
    (starting / "one.json").write_text('{"by": "bo"}')
    (starting / "one.log").write_text(ASKED)
    folder = make_run(tmp_path, "one", steps=0)
    (folder / "metrics.jsonl").unlink(missing_ok=True)
    with RunFolder.resume(folder):  # it may still fail, and take its folder away
        look.see(tmp_path, "one")
        assert RunFiles(tmp_path, "one").log == starting / "one.log"
        append(folder / "metrics.jsonl", [step(1)])
        assert look.see(tmp_path, "one").by == "bo"
    assert RunFiles(tmp_path, "one").log.read_text() == ASKED
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".jsonl") == [
        ".lock", "config.json", "log.txt", "started.json",
    ]  # fmt: skip
    assert list(starting.iterdir()) == []


def test_a_process_that_has_trained_and_only_ends_is_not_getting_ready(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "one", steps=3)
    starting = tmp_path / "runs" / ".starting"
    starting.mkdir()
    (folder / "started.json").write_text('{"process": 7}')
    (folder / "stop.json").write_text('{"process": 7, "by": "bo"}')
    with (starting / "one.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / ".lock").write_text("5\n")  # an earlier process; this one has not begun
        assert (look.see(tmp_path, "one").state, look.see(tmp_path, "one").stopping) == ("starting", False)
        (folder / ".lock").write_text("7\n")
        assert (look.see(tmp_path, "one").state, look.see(tmp_path, "one").stopping) == ("running", True)
    assert look.see(tmp_path, "one").state == "interrupted"


def test_an_ensemble_is_as_far_as_its_members_together(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "many", steps=0, method="reward", ensemble=3, seed=4, num_steps=None)
    (folder / "metrics.jsonl").unlink(missing_ok=True)
    assert (look.see(tmp_path, "many").step, look.see(tmp_path, "many").num_steps) == (0, None)
    make_run(tmp_path, "many-seed4", steps=10)
    make_run(tmp_path, "many-seed5", steps=2)
    starting = tmp_path / "runs" / ".starting"
    starting.mkdir()
    with (starting / "many.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        seen = look.see(tmp_path, "many")
    assert (seen.state, seen.step, seen.num_steps, seen.metrics["loss"]) == ("running", 12, 30, 1.5)
    make_model(tmp_path, "many")
    (tmp_path / "models" / "many" / "tutelage_origin.json").write_text('{"kind": "ensemble"}')
    (tmp_path / "models" / "many" / "ensemble.json").write_text("{}")
    assert look.see(tmp_path, "many").state == "finished"


def test_runs_are_listed_from_the_newest(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two", "three")):
        folder = make_run(tmp_path, name)
        os.utime(folder / "config.json", (1000 + number, 1000 + number))
    (tmp_path / "runs" / "no-run").mkdir()
    assert look.names(tmp_path) == ["three", "two", "one"]
    assert look.names(tmp_path / "nowhere") == []


@pytest.mark.parametrize("name", ["nope", "../one", ".starting", "", "a/b", "one\n"])
def test_what_is_no_run_is_not_found(tmp_path: Path, name: str) -> None:
    make_run(tmp_path, "one")
    with pytest.raises(NotFoundError):
        look.see(tmp_path, name)


def test_damaged_and_torn_files_do_no_harm(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "one")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    (folder / "started.json").write_text("{not json")
    (folder / "config.json").write_text("[]")
    seen = look.see(tmp_path, "one")
    assert (seen.step, seen.method, seen.num_steps) == (3, "", None)


def test_the_small_curve_of_a_long_run_is_read_at_some_places_only(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "one", steps=0)
    append(folder / "metrics.jsonl", [step(number, reward=float(number), text="x" * 50) for number in range(1, 5001)])
    assert (folder / "metrics.jsonl").stat().st_size > 300_000
    records = spread_records(folder / "metrics.jsonl", 40)
    assert len(records) == 41
    assert (records[0]["step"], records[-1]["step"]) == (1, 5000)
    metric, values = look.spark(tmp_path, "one")
    assert metric == "reward"
    assert values == sorted(values)


def test_the_log_shows_no_escape_codes_and_what_was_drawn_last(tmp_path: Path) -> None:
    make_run(tmp_path, "one", log="first\n\x1b[31mred\x1b[0m\n 10%\r 50%\r100%\n")
    assert look.log_tail(tmp_path, "one", 2) == ["red", "100%"]
