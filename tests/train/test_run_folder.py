"""The run folder: strict JSON lines, each step once after a resume, one process at a time."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import ConfigError, DataError, TrainingError
from tutelage.train.run_folder import RunFolder, is_locked, strict_json, trainer_of, write_durably


def strictly(text: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


# Creating and resuming


def test_create_writes_the_config_and_nothing_else(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "runs" / "first", {"seed": 1, "lora": {"rank": 16}}) as run:
        assert sorted(path.name for path in run.path.iterdir()) == [".lock", "config.json"]
        assert run.read_config() == {"seed": 1, "lora": {"rank": 16}}
        assert run.checkpoints == tmp_path / "runs" / "first" / "checkpoints"


def test_an_existing_run_is_not_touched(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", {"seed": 1}).close()
    with pytest.raises(ConfigError) as caught:
        RunFolder.create(tmp_path / "run", {"seed": 2})
    assert str(caught.value) == (
        f"{tmp_path}/run already holds a run; go on with it by --resume, or choose another --out"
    )
    with RunFolder.resume(tmp_path / "run") as run:  # the refused one holds no lock either
        assert run.read_config() == {"seed": 1}


def test_no_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        RunFolder.resume(tmp_path / "run")
    assert str(caught.value) == (
        f"{tmp_path}/run holds no run to resume (no config.json); check --out, or leave out --resume"
    )
    assert not (tmp_path / "run").exists()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(ConfigError) as caught:
        RunFolder.create(tmp_path / "run", {})
    assert str(caught.value) == f"cannot make the run folder {tmp_path}/run: File exists; choose another --out"


def test_durable_writing_leaves_the_old_content_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_durably(tmp_path / "file", b"old")

    def fail(fd: int) -> None:
        raise OSError("disk on fire")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk on fire"):
        write_durably(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


# Lines


def test_a_line_a_step_readable_at_once(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {}) as run:
        for step in (1, 2):
            run.append_metrics({"step": step, "loss": 1 / 3 / step})
            assert run.read_metrics()[-1] == {"step": step, "loss": 1 / 3 / step}  # every digit
        run.append_sample({"step": 2, "text": "two\nlines, ünïcode, \u2028, a lone \ud800"})
        run.sync()
        assert (run.path / "metrics.jsonl").read_bytes().count(b"\n") == 2
        lines = (run.path / "samples.jsonl").read_bytes()
        assert lines.count(b"\n") == 1
        assert "ünïcode" in lines.decode("utf-8")
        assert strictly(lines)["text"] == "two\nlines, ünïcode, \u2028, a lone \ud800"


def test_numbers_that_json_lacks_are_texts_in_the_file_and_floats_when_read(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {"clip": math.inf}) as run:
        run.append_metrics({"step": 1, "loss": math.nan, "high": math.inf, "low": -math.inf, "name": "Nanette"})
        assert (run.path / "metrics.jsonl").read_text() == (
            '{"step": 1, "loss": "NaN", "high": "Infinity", "low": "-Infinity", "name": "Nanette"}\n'
        )
        (record,) = run.read_metrics()
        assert math.isnan(record["loss"])
        assert (record["high"], record["low"], record["name"]) == (math.inf, -math.inf, "Nanette")
        assert strictly((run.path / "config.json").read_bytes()) == {"clip": "Infinity"}


@given(st.recursive(st.none() | st.floats() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_whatever_is_written_is_strict_json_on_one_line(value: Any) -> None:
    line = strict_json({"step": 1, "value": value})
    assert line.count(b"\n") == 1
    strictly(line)


def test_a_line_without_a_step_is_a_programming_error(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {}) as run:
        with pytest.raises(ValueError, match=r"a line of metrics\.jsonl needs a whole number 'step', got None"):
            run.append_metrics({"loss": 1.0})
        assert run.read_metrics() == []


def test_a_torn_last_line_is_left_out_and_a_damaged_one_named(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {}) as run:
        path = run.path / "metrics.jsonl"
        path.write_bytes(b'{"step": 1}\n{"step": 2, "lo')
        assert run.read_metrics() == [{"step": 1}]
        path.write_bytes(b'{"step": 1}\n{"step": 2, "lo\n{"step": 3}\n')
        with pytest.raises(DataError) as caught:
            run.read_metrics()
        assert str(caught.value) == f"{path}:2: not a JSON object with a number 'step'; delete the line"


@pytest.mark.parametrize("torn", [b"", b'{"step": 4, "lo', b'{"step": 4', b"{", b"\0\0\0\0", b'{"step": 4}'])
def test_rewind_keeps_what_the_checkpoint_knows(tmp_path: Path, torn: bytes) -> None:
    with RunFolder.create(tmp_path / "run", {}) as run:
        for step in (1, 2, 3):
            run.append_metrics({"step": step, "loss": 1.0})
            run.append_sample({"step": step, "text": str(step)})
    with (tmp_path / "run" / "metrics.jsonl").open("ab") as file:
        file.write(torn)
    with RunFolder.resume(tmp_path / "run") as run:
        run.rewind(2)
        run.append_metrics({"step": 3, "loss": 2.0})
        assert [(record["step"], record["loss"]) for record in run.read_metrics()] == [(1, 1.0), (2, 1.0), (3, 2.0)]
        assert (run.path / "samples.jsonl").read_bytes().count(b"\n") == 2
        assert sorted(path.name for path in run.path.iterdir()) == [
            ".lock",
            "config.json",
            "metrics.jsonl",
            "samples.jsonl",
        ]


def test_rewind_of_a_run_without_lines(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {}) as run:
        run.rewind(0)
        assert run.read_metrics() == []


def test_a_last_line_that_only_lacks_its_newline_is_kept(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {}) as run:
        (run.path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"step": 2}')
        run.rewind(2)
        run.append_metrics({"step": 3})
        assert [record["step"] for record in run.read_metrics()] == [1, 2, 3]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        run = RunFolder.create(tmp_path / "run", {})
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            for step in range(1, 1000):
                run.append_metrics({"step": step})
        except TrainingError as error:
            os.write(write_end, str(error).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        assert pipe.read() == (
            f"cannot write {tmp_path}/run/metrics.jsonl: File too large; put that right, then go on with --resume"
        )
    steps = [record["step"] for record in RunFolder(tmp_path / "run").read_metrics()]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > 50


# The lock

HOLD = """
import os, sys, time
from pathlib import Path
from tutelage.train.run_folder import RunFolder

run = RunFolder.create(Path(sys.argv[1]), {})
worker = os.fork() if "worker" in sys.argv else None
if worker != 0:
    print(worker or 0, flush=True)
time.sleep(600)
"""


def hold(path: Path, *arguments: str) -> tuple[subprocess.Popen[str], int]:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path, *arguments], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    return holder, int(holder.stdout.readline())


def test_two_processes_cannot_train_into_one_run_and_death_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "run"
    holder, _ = hold(path)
    for attempt in (lambda: RunFolder.create(path, {}), lambda: RunFolder.resume(path)):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert str(caught.value) == (
            f"{path} is being trained into by process {holder.pid}; wait until it ends, or choose another --out"
        )
    with pytest.raises(ConfigError):
        RunFolder(path).append_metrics({"step": 1})
    assert RunFolder(path).read_metrics() == []  # reading needs no lock
    holder.kill()
    holder.wait()
    RunFolder.resume(path).close()


def test_a_forked_worker_that_outlives_its_trainer_holds_nothing(tmp_path: Path) -> None:
    holder, worker = hold(tmp_path / "run", "worker")
    try:
        holder.kill()
        holder.wait()
        deadline = time.monotonic() + 10  # the worker may still be on its way out of fork()
        while time.monotonic() < deadline:
            try:
                RunFolder.resume(tmp_path / "run").close()
                break
            except ConfigError:
                time.sleep(0.01)
        else:
            raise AssertionError("the orphaned worker still holds the lock")
    finally:
        os.kill(worker, signal.SIGKILL)


def test_twice_in_one_process_is_refused_too(tmp_path: Path) -> None:
    with (
        RunFolder.create(tmp_path / "run", {}),
        pytest.raises(ConfigError, match=f"is being trained into by process {os.getpid()};"),
    ):
        RunFolder.resume(tmp_path / "run")
    with RunFolder.resume(tmp_path / "run") as run:
        run.append_metrics({"step": 1})


def test_one_can_see_who_trains_into_a_run(tmp_path: Path) -> None:
    path = tmp_path / "run"
    assert not is_locked(path / ".lock")
    assert trainer_of(path) is None
    holder, _ = hold(path)
    assert is_locked(path / ".lock")
    assert trainer_of(path) == holder.pid
    holder.kill()
    holder.wait()
    assert trainer_of(path) is None


def test_looking_never_keeps_anyone_from_training(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", {}).close()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            is_locked(tmp_path / "run" / ".lock")
            time.sleep(0.0001)

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(30):
            RunFolder.resume(tmp_path / "run").close()
    finally:
        over.set()
        for looker in lookers:
            looker.join()
