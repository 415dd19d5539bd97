"""`tutelage choose` as a user types it: what it prints, what it leaves in the record, and its mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from record import BO
from sqlalchemy import select
from tiny import tiny_folder

from tutelage.cli import main
from tutelage.feedback import items, projects
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.store import schema
from tutelage.store.database import Store
from tutelage.types import Message


@pytest.fixture
def filled(store: Store) -> Store:
    """A project `helpful` with ten comparisons, and a tiny language model `tiny` in the workspace."""
    tiny_folder(store.workspace / "models", "llama", name="tiny")
    with store.write() as connection:
        project = projects.create(connection, BO, "helpful", "comparison")
        new = [
            NewItem([Message("user", f"What is {n}?")], [NewAnswer(f"It is {n}."), NewAnswer(f"No, it is {n + 1}.")])
            for n in range(10)
        ]
        items.add_items(connection, BO, project, new)
    return store


def run(store: Store, *words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["choose", *words, "--workspace", str(store.workspace)])
    return int(stop.value.code or 0)


def rules(store: Store) -> list[str]:
    table = schema.items
    with store.read() as connection:
        query = select(table.c.selection_rule).order_by(table.c.priority.desc(), table.c.id)
        return list(connection.execute(query).scalars())


def test_choosing_by_a_model(filled: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(filled, "helpful", "--reward", "tiny", "--number", "4", "--seed", "1") == 0
    said = capsys.readouterr().out
    assert "chosen for helpful: 4 items, 1 of them at random, the others by d-optimal" in said
    assert "from 10 of 10 open items that nobody has judged; seed 1" in said
    assert "the head learned from 0 verdicts; 0 items of earlier choices wait" in said
    assert sorted(rules(filled)[:4]) == ["d-optimal", "d-optimal", "d-optimal", "random"]
    assert rules(filled)[4:] == ["all"] * 6
    (file,) = (filled.workspace / "features").iterdir()
    assert file.suffix == ".npz"


def test_choosing_by_chance_as_json(filled: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(filled, "helpful", "--rule", "random", "--number", "3", "--json", "--by", "bo") == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [each[1:] for each in said["items"]] == [["random", 0.3]] * 3
    assert (said["project"], said["rule"], said["num_open"]) == ("helpful", "random", 10)
    assert isinstance(said["seed"], int)
    assert not Path(filled.workspace / "features").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("helpful", "--number", "3"), "--rule d-optimal needs --reward MODEL"),
        (("helpful", "--number", "0", "--rule", "random"), "--number is 0"),
        (("helpful", "--number", "3", "--rule", "random", "--random-frac", "2"), "--random-frac is 2.0"),
        (("nothing", "--number", "3", "--rule", "random"), "no project 'nothing'"),
        (("helpful", "--number", "3", "--rule", "random", "--by", "cy"), "cy has the role rater"),
        (("helpful", "--number", "3", "--reward", "tiny", "--clusters", "0"), "--clusters is 0"),
        (("helpful", "--number", "3", "--reward", "tiny", "--look-at", "0"), "--look-at is 0"),
    ],
)
def test_a_mistake_is_one_line(
    filled: Store, words: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(filled, *words) == 2
    complaint = capsys.readouterr().err.strip().splitlines()[-1]
    assert complaint.startswith("tutelage: ")
    assert expected in complaint
    assert rules(filled) == ["all"] * 10
