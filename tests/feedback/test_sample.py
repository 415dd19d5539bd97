"""Sampling answers for a project: stopped and gone on with, new rounds, items as they come, what cannot be asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from record import BO
from sqlalchemy import select
from tiny import tiny_folder

from tutelage.data import load_prompts
from tutelage.engine.generate import Sampling
from tutelage.errors import ConfigError, DataError
from tutelage.feedback import items, projects, sample
from tutelage.feedback.projects import Project
from tutelage.feedback.sample import Progress, Sampled, sample_items
from tutelage.store import schema
from tutelage.store.database import Store
from tutelage.types import Message, Prompt

FIVE = load_prompts([f"What is {number}?" for number in range(5)])


@pytest.fixture
def project(store: Store, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of comparisons, and two models `one` and `two`, whose answers are stored one by one."""
    monkeypatch.setattr(sample, "STORE_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(sample, "ITEMS_EVERY_SECONDS", 0.0)
    for number, name in enumerate(("one", "two")):
        tiny_folder(store.workspace / "models", name=name, seed=number)
    with store.write() as connection:
        return projects.create(connection, BO, "helpful", "comparison")


def run(
    store: Store, project: Project, prompts: Sequence[Prompt] = FIVE, models: Sequence[str] = ("one",), **more: Any
) -> Sampled:
    given: dict[str, Any] = {"num_answers": 2, "workspace": store.workspace} | more
    sampling = given.pop("sampling", Sampling(6, 1.0))
    return sample_items(store, BO, project, prompts, models, sampling, **given)


def texts(store: Store) -> list[tuple[str, str, int, str]]:
    """(prompt, model, number of the draw, text) of every answer."""
    answers, prompts = schema.answers, schema.prompts
    query = select(prompts.c.messages, answers.c.model, answers.c.sampling, answers.c.text)
    with store.read() as connection:
        rows = connection.execute(query.join(answers, answers.c.prompt_id == prompts.c.id)).all()
    return sorted((row[0][-1]["content"], row.model, row.sampling["draw"], row.text) for row in rows)


def num_items(store: Store, project: Project) -> int:
    with store.read() as connection:
        return items.num_by_state(connection, project)["open"]


class Stop(KeyboardInterrupt):
    """Somebody presses Ctrl-C."""


def stopping_at(number: int) -> Any:
    def tell(far: Progress) -> None:
        if far.done >= number:
            raise Stop

    return tell


def test_what_was_sampled_is_not_sampled_again_however_often_it_is_stopped(store: Store, project: Project) -> None:
    before: list[Any] = []
    for _ in range(3):
        with pytest.raises(Stop):
            run(store, project, models=("one", "two"), tell=stopping_at(2))
        there = texts(store)
        assert set(before) < set(there)
        before = there
    found = run(store, project, models=("one", "two"))
    assert found.num_answers == 10 - len(before)
    assert num_items(store, project) == 5
    assert [each[:3] for each in texts(store)] == [
        (f"What is {number}?", model, 0) for number in range(5) for model in ("one", "two")
    ]
    assert run(store, project, models=("one", "two")) == Sampled(5, 5, 0, 0, 0, 0)


def test_a_job_that_was_stopped_gives_what_it_would_have_given(store: Store, project: Project, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        run(store, project, tell=stopping_at(3))
    run(store, project)
    stopped = texts(store)
    with store.write() as connection:
        for table in (schema.items, schema.answers, schema.prompts):
            connection.execute(table.delete())
    run(store, project)
    assert texts(store) == stopped
    assert len(stopped) == 10


def test_the_first_items_are_there_while_the_last_are_still_to_come(store: Store, project: Project) -> None:
    seen: list[tuple[int, int, int]] = []
    found = run(store, project, tell=lambda far: seen.append((far.done, far.total, num_items(store, project))))
    assert seen[0] == (0, 10, 0)
    assert seen[-1] == (10, 10, found.num_items)
    early = [number for done, _, number in seen if done < 10]
    assert max(early) > 0
    assert early == sorted(early)


def test_a_new_round_asks_the_same_prompts_of_the_newest_model(store: Store, project: Project) -> None:
    assert run(store, project).num_items == 5
    assert run(store, project, models=("two",)) == Sampled(5, 5, 0, 0, 0, 0)
    again = run(store, project, models=("two",), again=True)
    assert (again.num_answers, again.num_items) == (10, 5)
    assert run(store, project, models=("two",), again=True) == Sampled(5, 0, 0, 0, 0, 0)
    assert run(store, project, models=("two",), again=True, sampling=Sampling(6, 1.0, seed=1)).num_answers == 10
    assert num_items(store, project) == 15


def test_a_prompt_that_no_model_can_read_is_left_out_and_counted(store: Store, project: Project) -> None:
    long = Prompt((Message("user", "long " * 600),))
    found = run(store, project, [*FIVE, long], models=("one", "two"))
    assert (found.num_prompts, found.num_answers, found.num_unreadable) == (6, 10, 1)
    assert num_items(store, project) == 5
    assert run(store, project, [long]).num_items == 0


def test_thumbs_are_of_one_answer_each(store: Store, project: Project) -> None:
    with store.write() as connection:
        thumbs = projects.create(connection, BO, "good", "thumbs")
    found = run(store, thumbs, models=("one", "two"), num_answers=3)
    assert (found.num_answers, found.num_items) == (15, 15)


def test_what_cannot_be_stored_is_refused_before_a_model_is_loaded(store: Store, project: Project) -> None:
    prompts = [*FIVE, Prompt((Message("user", "What\x00?"),))]
    with pytest.raises(DataError, match=r"U\+0000") as caught:
        run(store, project, prompts, models=("no-model",))
    assert caught.value.line == 6


@pytest.mark.parametrize(
    ("models", "number", "temperature", "message"),
    [
        ((), 2, 1.0, "name a --model"),
        (("one", "one"), 2, 1.0, "named twice"),
        (("one",), 3, 1.0, "is of 2 to 2"),
        (("one",), 2, 0.0, "the same answer each time"),
    ],
)
def test_what_no_items_can_be_made_of(
    store: Store, project: Project, models: Sequence[str], number: int, temperature: float, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(store, project, models=models, num_answers=number, sampling=Sampling(6, temperature))
