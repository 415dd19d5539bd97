"""Jobs of a project: what may be asked, where prompts come from, how jobs stand, and real processes, killed and gone
on with."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from light_process import noted
from made_models import REWARD, made
from record import ADA, BO, CY
from sqlalchemy import func, select
from tiny import tiny_folder

from tutelage.data import load_prompts
from tutelage.errors import ConflictError, DataError, NotAllowedError, NotFoundError, TooManyError
from tutelage.feedback import items, projects, queue
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.feedback.projects import Project
from tutelage.runs import choices, jobs, prompts, sampling
from tutelage.runs.files import read_json
from tutelage.runs.jobs import Job, JobFiles
from tutelage.runs.process import only_starter
from tutelage.runs.prompt_lines import as_lines, keep_file
from tutelage.runs.said import SILENT
from tutelage.runs.sampling import Wanted
from tutelage.store import pairs, schema
from tutelage.store.database import Store
from tutelage.types import Message, Prompt

pytestmark = pytest.mark.slow  # real model processes

ASKED = Wanted(("one",), typed=("What is tea?", "What is rain?"), max_new_tokens=6)


@pytest.fixture
def project(store: Store) -> Project:
    """A project of comparisons; two language models and a reward model without weights."""
    for name in ("one", "two"):
        made(store.workspace, name, "sft")
    made(store.workspace, "judge", "reward", config=REWARD)
    with store.write() as connection:
        return projects.create(connection, BO, "helpful", "comparison")


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Instead of processes, the arguments with which they would have been started."""
    return noted(monkeypatch, jobs)


def begin(store: Store, wanted: Wanted = ASKED) -> str:
    return sampling.start(store, BO, "helpful", wanted)


def changed(**more: Any) -> Wanted:
    facts = {name: getattr(ASKED, name) for name in ASKED.__slots__} | more
    return Wanted(**facts)


# What may be asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "field", "message"),
    [
        (changed(models=()), "models", "choose a model"),
        (changed(models=("one", "one")), "models", "named twice"),
        (changed(models=("nothing",)), "models", "no model 'nothing'"),
        (changed(models=("judge",)), "models", "it is a reward model"),
        (changed(models=("../models/one",)), "models", "no model"),
        (changed(models=("/etc",)), "models", "no model"),
        (changed(models=("owner/name",)), "models", "no model"),
        (changed(models=("--help",)), "models", "no model"),
        (changed(models=("one", "two", "starter-base")), "models", "2 answers|not on this machine"),
        (changed(num_answers=3), "num_answers", "a comparison is of 2 answers"),
        (changed(temperature=0.0), "temperature", "the same answer each time"),
        (changed(temperature=9.0), "temperature", "not in 0 to 5"),
        (changed(max_new_tokens=0), "max_new_tokens", "not in 1 to 4,096"),
        (changed(typed=()), "prompts", "choose prompts, or write some"),
        (changed(typed=("", "  ")), "prompts", "choose prompts, or write some"),
        (changed(prompts="compare"), "prompts", "not both"),
        (changed(typed=(), prompts="sealed"), "prompts", "names no prompts here"),
        (changed(typed=(), prompts="/etc/passwd"), "prompts", "names no prompts here"),
        (changed(typed=(), prompts="../secret.txt"), "prompts", "names no prompts here"),
        (changed(typed=(), prompts="hub:owner/name"), "prompts", "names no prompts here"),
        (changed(typed=(), prompts="record"), "prompts", "there is no prompt in it"),
        (changed(typed=(), prompts="project:nothing"), "prompts", "no project 'nothing'"),
        (changed(typed=("What\x00?",)), "messages", "cannot be stored"),
    ],
)
def test_what_may_not_be_sampled_names_its_field(
    store: Store, project: Project, spawned: list[list[str]], wanted: Wanted, field: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        begin(store, wanted)
    assert caught.value.field == field
    assert spawned == []
    assert jobs.see_all(store.workspace, project) == []


def test_too_many_prompts_say_what_to_do(
    store: Store, project: Project, spawned: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts, "MOST_PROMPTS", 3)
    with pytest.raises(DataError, match="at most 3 are asked at once; say how many to take") as caught:
        begin(store, changed(typed=(), prompts="compare"))
    assert caught.value.field == "number"
    begin(store, changed(typed=(), prompts="compare", number=3))
    assert len(spawned) == 1


def test_a_model_that_only_links_into_the_workspace_is_none(store: Store, project: Project, tmp_path: Path) -> None:
    (store.workspace / "models" / "linked").symlink_to(tiny_folder(tmp_path, name="outside"))
    with pytest.raises(DataError, match="no model 'linked'"):
        begin(store, changed(models=("linked",)))


def test_what_may_not_be_chosen_by_names_its_field(store: Store, project: Project, spawned: list[list[str]]) -> None:
    for wanted, field in (
        (choices.Wanted("random", "judge", 5), "rule"), (choices.Wanted("gap", "nothing", 5), "reward"),
        (choices.Wanted("gap", "../models/judge", 5), "reward"), (choices.Wanted("gap", "judge", 0), "number"),
        (choices.Wanted("gap", "judge", 5, 1.5), "random_frac"),
    ):  # fmt: skip
        with pytest.raises(DataError) as caught:
            choices.start(store, BO, "helpful", wanted)
        assert caught.value.field == field
    choices.start(store, BO, "helpful", choices.Wanted("gap", "judge", 5, seed=3))
    assert spawned[0][:7] == [
        "choose", "helpful", "--rule=gap", "--reward=judge", "--number=5", "--random-frac=0.25", "--seed=3"
    ]  # fmt: skip


def test_raters_start_stop_and_resume_nothing(store: Store, project: Project, spawned: list[list[str]]) -> None:
    id = begin(store)
    for act in (jobs.stop, jobs.resume):
        with pytest.raises(NotAllowedError):
            act(store, CY, project, id)
    with pytest.raises(NotAllowedError):
        sampling.start(store, CY, "helpful", ASKED)
    with pytest.raises(NotAllowedError):
        choices.start(store, CY, "helpful", choices.Wanted("gap", "judge", 5))
    assert len(spawned) == 1


# Where prompts come from ----------------------------------------------------------------------------------------------


def asked_of(store: Store, project: Project, id: str) -> list[str]:
    found = load_prompts(JobFiles(store.workspace, project, id).prompts)
    return [prompt.messages[-1].content for prompt in found]


def test_the_command_names_the_job_s_own_files(store: Store, project: Project, spawned: list[list[str]]) -> None:
    id = begin(store, changed(models=("two", "one"), seed=7, again=True))
    folder = (store.workspace / "jobs" / project.id / id).absolute()
    assert spawned == [[
        "project", "sample", "helpful", "--model=two", "--model=one", "--num-answers=2", "--temperature=1.0",
        "--max-new-tokens=6", "--seed=7", "--again", f"--prompts={folder}/prompts.jsonl", "--by=bo",
        f"--progress={folder}/progress.json", f"--workspace={store.workspace.absolute()}",
    ]]  # fmt: skip
    assert asked_of(store, project, id) == ["What is tea?", "What is rain?"]


def test_prompts_of_the_record_of_a_project_and_of_pairs(
    store: Store, project: Project, spawned: list[list[str]]
) -> None:
    with store.write() as connection:
        other = projects.create(connection, BO, "other", "thumbs")
        items.add_items(connection, BO, other, [
            NewItem((Message("user", f"Question {number}?"),), [NewAnswer("That.")]) for number in range(4)
        ])  # fmt: skip
        pair = pairs.draft(connection, CY, [Message("user", "Of cy?"), Message("assistant", "Yes.")])
        pairs.submit(connection, CY, pair)
        pairs.accept(connection, BO, pair)
        pairs.draft(connection, CY, [Message("user", "A draft?"), Message("assistant", "Yes.")])
        told = {each.name: each.num_prompts for each in prompts.sources(connection, store.workspace)}
    assert told == {"compare": len(load_prompts("compare")), "record": 4, "pairs": 1, "project:other": 4}
    drawn = asked_of(store, project, begin(store, changed(typed=(), prompts="record", number=2, seed=5)))
    assert len(drawn) == 2
    assert drawn == asked_of(store, project, begin(store, changed(typed=(), prompts="project:other", number=2, seed=5)))
    assert asked_of(store, project, begin(store, changed(typed=(), prompts="pairs"))) == ["Of cy?"]
    with store.read() as connection:
        author = select(schema.prompts.c.author_id).where(schema.prompts.c.author_id.is_not(None))
        assert connection.execute(author).scalars().all() == [CY.id]


def test_what_the_project_asks_already_is_left_out_unless_a_new_round_is_wanted(
    store: Store, project: Project, spawned: list[list[str]]
) -> None:
    with store.write() as connection:
        there = NewItem((Message("user", "What is tea?"),), [NewAnswer("A drink."), NewAnswer("A plant.")])
        items.add_items(connection, BO, project, [there])
    assert asked_of(store, project, begin(store)) == ["What is rain?"]
    assert len(asked_of(store, project, begin(store, changed(again=True)))) == 2
    with pytest.raises(DataError, match="asks about all of these already; choose others, or ask for a new round"):
        begin(store, changed(typed=("What is tea?",)))


def test_sealed_prompts_are_left_out_wherever_they_come_from(
    store: Store, project: Project, spawned: list[list[str]]
) -> None:
    sealed = load_prompts("sealed")[:2]
    folder = store.workspace / "prompts"
    folder.mkdir()
    (folder / "some.jsonl").write_bytes(as_lines([*sealed, *load_prompts(["What is tea?"])]))
    id = begin(store, changed(typed=(), prompts="some.jsonl"))
    assert asked_of(store, project, id) == ["What is tea?"]
    assert jobs.see(store.workspace, project, id).asked["num_sealed"] == 2
    (folder / "only.jsonl").write_bytes(as_lines(sealed))
    with pytest.raises(DataError, match="nobody labels them either"):
        begin(store, changed(typed=(), prompts="only.jsonl"))


def test_prompts_go_through_a_file_as_they_are() -> None:
    talk = (
        Message("system", "Be brief."),
        Message("user", "a\nb\u2028c"),
        Message("assistant", "x"),
        Message("user", "?"),
    )
    given = [*load_prompts("compare"), Prompt(talk, "an-id", "A reference.", ({"check": "max_words", "value": 3},))]
    found = load_prompts_of(as_lines(given))
    assert [(p.messages, p.id, p.reference, p.checks, p.meta) for p in found] == [
        (p.messages, p.id, p.reference, p.checks, p.meta) for p in given
    ]


def load_prompts_of(data: bytes) -> list[Prompt]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompts.jsonl"
        path.write_bytes(data)
        return load_prompts(path)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("my prompts.txt", "my-prompts.jsonl"), ("..txt", "prompts.jsonl"), ("-x.txt", "x.jsonl"),
        ("fragen-ü.txt", "fragen.jsonl"),
    ],
)  # fmt: skip
def test_a_file_that_is_sent_is_kept_under_a_name_like_its_own(
    store: Store, tmp_path: Path, name: str, kept: str
) -> None:
    sent = tmp_path / "sent.txt"
    sent.write_text("What is tea?\nWhat is rain?\n")
    assert keep_file(store.workspace, sent, name) == (kept, "a file in prompts/", 2)
    assert keep_file(store.workspace, sent, name).name == kept
    sent.write_text("What else?\n")
    assert keep_file(store.workspace, sent, name).name == kept.replace(".jsonl", "-2.jsonl")
    assert [each.name for each in (store.workspace / "prompts").iterdir() if each.name.startswith(".")] == []


def test_a_file_that_holds_no_prompts_is_named_as_its_sender_calls_it(store: Store, tmp_path: Path) -> None:
    sent = tmp_path / "sent.jsonl"
    sent.write_text('{"prompt": "What?"}\n{"prompt": 3}\n')
    with pytest.raises(DataError, match="mine") as caught:
        keep_file(store.workspace, sent, "mine.jsonl")
    assert caught.value.line == 2
    assert not (store.workspace / "prompts").exists()


# How they stand -------------------------------------------------------------------------------------------------------


def test_states_are_read_from_the_files(store: Store, project: Project, spawned: list[list[str]]) -> None:
    id = begin(store)
    files = jobs.find(store.workspace, project, id)

    def seen() -> Job:
        return jobs.see(store.workspace, project, id)

    with only_starter(files.lock, ""):
        files.progress.write_text('{"done": 3, "total": 8, "num_items": 1, "model": "one", "seconds_left": 2.5}')
        found = seen()
        assert (found.state, found.done, found.total, found.num_items) == ("running", 3, 8, 1)
        assert (found.seconds_left, found.model, found.by) == (2.5, "one", "bo")
        assert found.asked["models"] == ["one"]
        with pytest.raises(ConflictError, match="is running"):
            jobs.resume(store, BO, project, id)
    assert (seen().state, seen().said, seen().seconds_left) == ("failed", SILENT, None)
    with files.log.open("a") as log:
        log.write("stopped by bo\n")
    assert (seen().state, seen().said) == ("stopped", "stopped by bo")
    jobs.resume(store, ADA, project, id)
    assert spawned[1] == [*spawned[0][:-3], "--by=ada", *spawned[0][-2:]]
    assert seen().said == SILENT  # what the process before it said is not what this one says
    with files.log.open("a") as log:
        log.write("tutelage: the disk is full\n")
    assert (seen().state, seen().said) == ("failed", "the disk is full")
    files.progress.write_text('{"result": {"num_items": 4}}')
    assert (seen().state, seen().result) == ("finished", {"num_items": 4})
    for act in (jobs.resume, jobs.stop):
        with pytest.raises(ConflictError):
            act(store, BO, project, id)


def test_a_project_has_one_job_at_a_time_and_the_machine_two(
    store: Store, project: Project, spawned: list[list[str]]
) -> None:
    with store.write() as connection:
        others = [projects.create(connection, BO, name, "comparison") for name in ("second", "third")]
    files = jobs.find(store.workspace, project, begin(store))
    with only_starter(files.lock, ""):
        with pytest.raises(ConflictError, match="are being sampled or chosen already"):
            begin(store)
        id = sampling.start(store, BO, "second", ASKED)
        with (
            only_starter(jobs.find(store.workspace, others[0], id).lock, ""),
            pytest.raises(TooManyError, match="2 such jobs run"),
        ):
            sampling.start(store, BO, "third", ASKED)
        files.progress.write_text('{"result": {"num_items": 4}}')
        begin(store)  # its process is only still clearing up


def test_old_jobs_are_forgotten(store: Store, project: Project, spawned: list[list[str]], monkeypatch: Any) -> None:
    monkeypatch.setattr(jobs, "KEPT", 2)
    made_jobs = [begin(store) for _ in range(3)]
    assert (
        sorted(jobs.names(store.workspace, project)) == sorted(made_jobs)[-2:]
        or len(jobs.names(store.workspace, project)) == 2
    )
    assert made_jobs[-1] in jobs.names(store.workspace, project)


@pytest.mark.parametrize("id", ["nothing", "..", "../x", "", "f" * 32])
def test_one_that_is_not_there(store: Store, project: Project, id: str) -> None:
    with pytest.raises(NotFoundError):
        jobs.see(store.workspace, project, id)


def test_going_on_needs_the_model_still(store: Store, project: Project, spawned: list[list[str]]) -> None:
    id = begin(store)
    (store.workspace / "models" / "one").rename(store.workspace / "gone")
    with pytest.raises(DataError, match="no model 'one'"):
        jobs.resume(store, BO, project, id)
    assert len(spawned) == 1


# Real processes -------------------------------------------------------------------------------------------------------


@pytest.fixture
def real(store: Store) -> Iterator[Project]:
    """A project of comparisons and two tiny models."""
    for number, name in enumerate(("one", "two")):
        tiny_folder(store.workspace / "models", name=name, seed=number)
    with store.write() as connection:
        project = projects.create(connection, BO, "helpful", "comparison")
    yield project
    for id in jobs.names(store.workspace, project):
        process = read_json(JobFiles(store.workspace, project, id).record).get("process")
        if jobs.see(store.workspace, project, id).state == "running" and isinstance(process, int):
            os.kill(process, signal.SIGKILL)


def until(store: Store, project: Project, id: str, wanted: Callable[[Job], bool]) -> Job:
    for _ in range(2400):
        if wanted(found := jobs.see(store.workspace, project, id)):
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def num_answers(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(schema.answers)).scalar_one()


def test_a_real_one_that_is_killed_goes_on_and_doubles_nothing(store: Store, real: Project) -> None:
    questions = tuple(f"What is {number}?" for number in range(150))
    wanted = Wanted(("one", "two"), typed=questions, max_new_tokens=48)
    id = begin(store, wanted)
    assert jobs.see(store.workspace, real, id).state == "running"
    until(store, real, id, lambda job: job.done > 20)
    os.kill(read_json(JobFiles(store.workspace, real, id).record)["process"], signal.SIGKILL)
    killed = until(store, real, id, lambda job: job.state != "running")
    assert (killed.state, killed.said, killed.can_go_on) == ("failed", SILENT, True)
    before = num_answers(store)
    assert 0 < before < 300
    jobs.resume(store, ADA, real, id)
    done = until(store, real, id, lambda job: job.state in ("finished", "failed"))
    assert done.state == "finished", done.said
    assert done.result["num_answers"] == 300 - before
    assert num_answers(store) == 300
    with store.read() as connection:
        assert items.num_by_state(connection, real)["open"] + done.result["num_equal"] == 150


def test_a_real_one_that_is_stopped_keeps_what_it_has(store: Store, real: Project) -> None:
    id = begin(store, Wanted(("one",), typed=tuple(f"What is {number}?" for number in range(150)), max_new_tokens=64))
    until(store, real, id, lambda job: job.num_items > 0)
    assert jobs.stop(store, BO, real, id)
    stopped = until(store, real, id, lambda job: job.state != "running")
    assert (stopped.state, stopped.said) == ("stopped", "stopped by bo")
    assert num_answers(store) > 4
    with store.write() as connection:  # the first items can be judged already
        assert queue.next_item(connection, CY, real) is not None


def test_a_model_that_vanishes_meanwhile_is_told_of_in_plain_words(
    store: Store, real: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = jobs.spawn

    def vanish(*given: Any) -> int:
        (store.workspace / "models" / "one").rename(store.workspace / "gone")
        return spawn(*given)

    monkeypatch.setattr(jobs, "spawn", vanish)
    id = begin(store)
    failed = until(store, real, id, lambda job: job.state != "running")
    assert failed.state == "failed"
    assert failed.said.startswith("no model 'one'")
    assert "tutelage project sample" in jobs.log_tail(store.workspace, real, id, 9)[0]


def test_a_real_choice_puts_items_first(store: Store, real: Project) -> None:
    with store.write() as connection:
        items.add_items(connection, BO, real, [
            NewItem((Message("user", f"Question {number}?"),), [NewAnswer("That."), NewAnswer(f"This {number}.")])
            for number in range(6)
        ])  # fmt: skip
    id = choices.start(store, BO, "helpful", choices.Wanted("d-optimal", "one", 3, seed=1))
    done = until(store, real, id, lambda job: job.state in ("finished", "failed"))
    assert done.state == "finished", done.said
    assert (done.result["num_items"], done.result["num_random"], done.result["num_open"]) == (3, 1, 6)
    with store.read() as connection:
        rules = connection.execute(select(schema.items.c.selection_rule)).scalars().all()
    assert sorted(rules) == ["all", "all", "all", "d-optimal", "d-optimal", "random"]
