"""Starting, stopping and resuming real processes; whoever looks finds them again by their folders alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_runs import make_model, make_run
from sqlalchemy import select
from training_process import start_light

from tutelage.errors import ConfigError, ConflictError, NotAllowedError, NotFoundError, TooManyError
from tutelage.runs import launch, look, rules
from tutelage.runs.files import RunFiles
from tutelage.runs.look import Sight
from tutelage.store import schema
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.train.run_folder import is_locked, trainer_of


@pytest.fixture
def world(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A workspace with a model, in which training is light."""
    make_model(store.workspace, "tiny")
    monkeypatch.setattr(launch, "spawn", start_light)
    yield store
    for name in look.living(store.workspace):
        process = RunFiles(store.workspace, name).record.get("process")
        if isinstance(process, int):
            os.kill(process, signal.SIGKILL)


def begin(store: Store, person: Person, name: str = "one") -> str:
    return launch.start(store, person, "sft", {"model": "tiny", "data": "starter", "out": name})


def wait(store: Store, wanted: Callable[[Sight], bool], name: str = "one") -> Sight:
    for _ in range(6000):
        if wanted(seen := look.see(store.workspace, name)):
            return seen
        time.sleep(0.01)
    raise AssertionError(f"still {seen}")


def training(sight: Sight) -> bool:
    return sight.state == "running" and sight.step > 2


def test_a_run_is_started_seen_stopped_and_resumed(world: Store, bo: Person) -> None:
    assert begin(world, bo) == "one"
    assert look.see(world.workspace, "one").is_alive
    seen = wait(world, training)
    assert (seen.by, seen.method, seen.model, seen.num_steps) == ("bo", "sft", "tiny", 10000)
    assert launch.stop(world, bo, "one")
    seen = wait(world, lambda each: not each.is_alive)
    assert (seen.state, seen.error) == ("interrupted", "bo stopped it")
    launch.resume(world, bo, "one")
    wait(world, lambda each: training(each) and each.step > seen.step)
    assert launch.stop(world, bo, "one")  # of the new process it is the first time again
    wait(world, lambda each: each.state == "interrupted")
    said = look.log_tail(world.workspace, "one", 100)
    assert [line for line in said if line.startswith("$ ")] == [
        f"$ tutelage train sft --workspace={world.workspace} --model=tiny --data=starter --out=one",
        f"$ tutelage train sft --workspace={world.workspace} --out=one --resume",
    ]


def test_a_process_that_does_not_listen_is_stopped_at_once_the_second_time(world: Store, bo: Person) -> None:
    begin(world, bo, "deaf")
    wait(world, training, "deaf")
    assert launch.stop(world, bo, "deaf")
    assert wait(world, lambda each: each.stopping, "deaf").state == "running"
    assert not launch.stop(world, bo, "deaf")
    wait(world, lambda each: each.state in ("interrupted", "failed"), "deaf")


def test_a_run_that_fails_before_it_begins_tells_why_and_gives_its_name_back(world: Store, bo: Person) -> None:
    begin(world, bo, "fails")
    seen = wait(world, lambda each: not each.is_alive, "fails")
    assert (seen.state, seen.error, seen.model) == ("failed", "no model of that name", "tiny")
    assert look.names(world.workspace) == ["fails"]
    with pytest.raises(ConflictError, match="failed before it began"):
        launch.resume(world, bo, "fails")
    begin(world, bo, "fails")


def test_a_run_that_breaks_on_the_way_tells_why(world: Store, bo: Person) -> None:
    begin(world, bo, "breaks")
    seen = wait(world, lambda each: not each.is_alive, "breaks")
    assert (seen.state, seen.error, seen.step) == ("failed", "step 1: the loss is nan", 1)


def test_a_killed_process_is_seen_as_gone(world: Store, bo: Person) -> None:
    begin(world, bo)
    wait(world, training)
    process = trainer_of(world.workspace / "runs" / "one")
    assert process is not None
    os.kill(process, signal.SIGKILL)
    seen = wait(world, lambda each: not each.is_alive)
    assert (seen.state, seen.error) == ("interrupted", look.SILENT)


def test_the_process_lives_on_without_whoever_started_it(world: Store, bo: Person, tmp_path: Path) -> None:
    parent = os.fork()
    if parent == 0:
        try:
            os.setsid()
            begin(world, bo)
        finally:
            os._exit(0)
    os.waitpid(parent, 0)
    seen = wait(world, training)
    process = trainer_of(world.workspace / "runs" / "one")
    assert process is not None
    assert os.getsid(process) == process
    assert seen.by == "bo"
    launch.stop(world, bo, "one")
    wait(world, lambda each: each.state == "interrupted")
    assert not is_locked(RunFiles(world.workspace, "one").lock)


def test_a_name_is_taken_once(world: Store, bo: Person) -> None:
    begin(world, bo)
    with pytest.raises(ConflictError):
        begin(world, bo)
    make_run(world.workspace, "two")
    make_model(world.workspace, "three")
    for name in ("two", "three"):
        with pytest.raises(ConflictError, match="already"):
            begin(world, bo, name)
    with pytest.raises(ConflictError, match="running"):
        launch.resume(world, bo, "one")


def test_what_does_not_run_cannot_be_stopped_and_what_has_finished_not_resumed(world: Store, bo: Person) -> None:
    make_run(world.workspace, "two", finished=True)
    with pytest.raises(ConflictError, match="nothing to stop"):
        launch.stop(world, bo, "two")
    with pytest.raises(ConflictError, match="finished"):
        launch.resume(world, bo, "two")
    for act in (launch.stop, launch.resume):
        with pytest.raises(NotFoundError):
            act(world, bo, "nope")


def test_so_many_train_at_once_and_no_more(world: Store, bo: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "MOST_AT_ONCE", 1)
    begin(world, bo)
    with pytest.raises(TooManyError, match="one are running"):
        begin(world, bo, "two")


def test_raters_start_stop_and_resume_nothing(world: Store, cy: Person) -> None:
    make_run(world.workspace, "one")
    for act in (begin, launch.stop, launch.resume):
        with pytest.raises(NotAllowedError):
            act(world, cy, "one")


def test_a_run_of_the_terminal_with_code_of_its_own_is_not_resumed_here(world: Store, bo: Person) -> None:
    make_run(world.workspace, "one", method="ppo", prompts="compare", reward=["./evil.py:f"])
    with pytest.raises(ConfigError, match="only go on at the terminal"):
        launch.resume(world, bo, "one")
    assert not look.see(world.workspace, "one").is_alive


def test_what_is_done_to_runs_is_in_the_audit_log(world: Store, bo: Person) -> None:
    begin(world, bo)
    wait(world, training)
    launch.stop(world, bo, "one")
    wait(world, lambda each: not each.is_alive)
    with world.read() as connection:
        rows = connection.execute(select(schema.audit_log).order_by(schema.audit_log.c.id)).all()
    assert [(row.action, row.person_id, row.subject) for row in rows] == [
        ("runs.started", bo.id, "one"), ("runs.stopped", bo.id, "one"),
    ]  # fmt: skip


def test_values_are_never_taken_for_options_or_for_a_shell(world: Store) -> None:
    given = {"out": "--resume", "data": "a; rm -rf /", "merge_lora": True, "bad": False, "reward": ["a", "b"]}
    asked = rules.Asked("sft", given)
    assert launch._tokens(asked.options) == [
        "--out=--resume", "--data=a; rm -rf /", "--merge-lora", "--no-bad", "--reward=a", "--reward=b",
    ]  # fmt: skip
    assert "'--data=a; rm -rf /'" in launch.command_of(asked, world.workspace)
