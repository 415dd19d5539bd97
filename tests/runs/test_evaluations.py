"""Evaluations as processes: what may be asked, how they stand, that they end, and a real one of two tiny models."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from light_process import noted
from made_models import REWARD, evaluated, made
from record import BO, CY
from tiny import tiny_folder

from tutelage.errors import ConflictError, DataError, NotAllowedError, NotFoundError, TooManyError
from tutelage.runs import evaluations
from tutelage.runs.evaluations import Wanted, check, prompt_files, see, see_all, start, stop
from tutelage.runs.process import only_starter
from tutelage.runs.said import SILENT
from tutelage.store.database import Store

pytestmark = pytest.mark.slow  # a real evaluation in a process of its own


@pytest.fixture
def models(store: Store) -> Store:
    """Two language models and a reward model, without weights."""
    for name in ("before", "after"):
        made(store.workspace, name, "sft")
    made(store.workspace, "judge", "reward", config=REWARD)
    return store


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Instead of processes, the arguments with which they would have been started."""
    return noted(monkeypatch, evaluations)


# What may be asked for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "field", "message"),
    [
        (Wanted(("before",)), "models", "choose two or more"),
        (Wanted(("before", "before")), "models", "named twice"),
        (Wanted(()), "models", "choose one to 4"),
        (Wanted(("before", "nothing")), "models", "no model 'nothing'"),
        (Wanted(("before", "judge")), "models", "it is a reward model"),
        (Wanted(("before", "../models/after")), "models", "no model"),
        (Wanted(("before", "owner/name")), "models", "no model"),
        (Wanted(("before", "--help")), "models", "no model"),
        (Wanted(("before", "after"), "/etc/passwd"), "prompts", "none of sealed"),
        (Wanted(("before", "after"), "../secret.txt"), "prompts", "none of sealed"),
        (Wanted(("before", "after"), "starter"), "prompts", "none of sealed"),
        (Wanted(("before", "after"), max_new_tokens=0), "max_new_tokens", "not in 1 to 4,096"),
    ],
)
def test_what_may_not_be_evaluated_names_its_field(models: Store, wanted: Wanted, field: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        check(models.workspace, wanted)
    assert caught.value.field == field


def test_a_model_that_only_links_into_the_workspace_is_none(models: Store, tmp_path: Path) -> None:
    outside = tiny_folder(tmp_path, name="outside")
    (models.workspace / "models" / "linked").symlink_to(outside)
    with pytest.raises(DataError, match="no model 'linked'"):
        check(models.workspace, Wanted(("before", "linked")))


def test_prompts_are_plain_files_of_their_folder(models: Store, tmp_path: Path) -> None:
    folder = models.workspace / "prompts"
    assert prompt_files(models.workspace) == []
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "linked.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "folder.jsonl").mkdir()
    for name in ("ours.jsonl", "b.txt", ".hidden.txt", "notes.md", "has space.txt"):
        (folder / name).write_text("What?")
    assert prompt_files(models.workspace) == ["b.txt", "ours.jsonl"]
    check(models.workspace, Wanted(("before", "after"), "ours.jsonl"))


# Starting ------------------------------------------------------------------------------------------------------------


def test_an_evaluation_is_a_report_in_the_workspace(models: Store, spawned: list[list[str]]) -> None:
    (models.workspace / "prompts").mkdir()
    (models.workspace / "prompts" / "ours.txt").write_text("What?")
    name = start(models, BO, Wanted(("before", "after"), "ours.txt", max_new_tokens=9))
    workspace = models.workspace.absolute()
    assert name == "after-vs-before"
    assert spawned == [[
        "report", "--models", "before", "after", f"--prompts={workspace}/prompts/ours.txt",
        f"--out={workspace}/reports/{name}.html", "--json", "--max-new-tokens=9", f"--workspace={workspace}",
        "--rater=scripted",
    ]]  # fmt: skip
    assert start(models, BO, Wanted(("before", "after"), rated=False)) == "after-vs-before-2"
    assert "--rater=scripted" not in spawned[1]
    assert "--prompts=sealed" in spawned[1]
    assert start(models, BO, Wanted(("after",), rated=False)) == "after"


def test_raters_start_and_stop_none(models: Store, spawned: list[list[str]]) -> None:
    with pytest.raises(NotAllowedError):
        start(models, CY, Wanted(("before", "after")))
    with pytest.raises(NotAllowedError):
        stop(models, CY, "after-vs-before")
    assert spawned == []


def test_only_so_many_run_at_once(models: Store, spawned: list[list[str]]) -> None:
    folder = models.workspace / "reports" / ".asked"
    with only_starter(folder / "a.lock", ""), only_starter(folder / "b.lock", ""), pytest.raises(TooManyError):
        start(models, BO, Wanted(("before", "after")))
    start(models, BO, Wanted(("before", "after")))
    assert len(spawned) == 1


# How they stand ------------------------------------------------------------------------------------------------------


def test_states_are_read_from_the_files(models: Store, spawned: list[list[str]]) -> None:
    name = start(models, BO, Wanted(("before", "after")))
    files = evaluations.find(models.workspace, name)
    files.log.write_text("answering with before 3/25  0:10 left\n")
    with only_starter(files.lock, ""):
        found = see(models.workspace, name)
        assert (found.state, found.said, found.by) == ("running", "answering with before 3/25  0:10 left", "bo")
    assert see(models.workspace, name).said == SILENT
    files.log.write_text("tutelage: the disk is full\n")
    assert (see(models.workspace, name).state, see(models.workspace, name).said) == ("failed", "the disk is full")
    files.log.write_text("Traceback (most recent call last)\n  x\nMemoryError: no\n")
    assert see(models.workspace, name).said == "MemoryError: no"
    files.log.write_text("stopped by bo\n")
    assert see(models.workspace, name).state == "stopped"
    evaluated(models.workspace, name, ["before", "after"], {})
    found = see(models.workspace, name)
    assert (found.state, found.models, found.by) == ("finished", ("before", "after"), "bo")


def test_the_newest_comes_first_and_those_of_a_model_can_be_asked_for(models: Store) -> None:
    evaluated(models.workspace, "one", ["base", "before"], {}, at_ms=1_000)
    evaluated(models.workspace, "two", ["base", "after"], {}, at_ms=3_000)
    evaluated(models.workspace, "three", ["before", "after"], {}, at_ms=2_000)
    assert [each.name for each in see_all(models.workspace)] == ["two", "three", "one"]
    assert [each.name for each in see_all(models.workspace, "before")] == ["three", "one"]


@pytest.mark.parametrize("name", ["nothing", "..", "../x", ".asked", ""])
def test_one_that_is_not_there(models: Store, name: str) -> None:
    with pytest.raises(NotFoundError):
        see(models.workspace, name)


def test_stopping_what_does_not_run(models: Store) -> None:
    evaluated(models.workspace, "done", ["before", "after"], {})
    with pytest.raises(ConflictError, match="does not run"):
        stop(models, BO, "done")


# Real processes ------------------------------------------------------------------------------------------------------


@pytest.fixture
def real(store: Store) -> Store:
    """Two tiny models, and two prompts of the workspace."""
    tiny_folder(store.workspace / "models", name="before")
    tiny_folder(store.workspace / "models", name="after", seed=1)
    (store.workspace / "prompts").mkdir()
    (store.workspace / "prompts" / "two.txt").write_text("What is tea?\nWhat is rain?\n")
    return store


def until(workspace: Path, name: str, *states: str) -> evaluations.Evaluation:
    for _ in range(1200):
        if (found := see(workspace, name)).state in states:
            return found
        time.sleep(0.1)
    raise AssertionError(found)


def test_a_real_one_writes_its_page_and_its_numbers(real: Store) -> None:
    name = start(real, BO, Wanted(("before", "after"), "two.txt", max_new_tokens=6))
    assert see(real.workspace, name).state == "running"
    found = until(real.workspace, name, "finished", "failed")
    assert found.state == "finished", found.said
    numbers = json.loads((real.workspace / "reports" / f"{name}.json").read_text())
    assert numbers["prompts"]["number"] == 2
    (contest,) = numbers["contests"]
    assert (contest["model"], contest["against"], contest["number"]) == ("after", "before", 2)
    assert "What is tea?" in (real.workspace / "reports" / f"{name}.html").read_text()


def test_a_real_one_that_is_stopped_leaves_nothing(real: Store) -> None:
    name = start(real, BO, Wanted(("before", "after"), "two.txt"))
    stop(real, BO, name)
    found = until(real.workspace, name, "stopped", "finished", "failed")
    assert (found.state, found.said) == ("stopped", "stopped by bo")
    assert not list((real.workspace / "reports").glob("*.html"))
