"""`tutelage snapshot`, `datasets` and `diff` as a user types them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from record import BO

from tutelage.cli import main
from tutelage.store import pairs
from tutelage.store.database import Store
from tutelage.types import Message

Command = Callable[..., str]


@pytest.fixture
def cli(store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a verb; gives what it printed, or with `fails` the one line of its mistake."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str, fails: bool = False) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([*words, "--workspace", str(store.workspace)])
        shown = capsys.readouterr()
        assert stop.value.code == (2 if fails else 0), shown.err
        return shown.err.strip() if fails else shown.out

    return run


def add(store: Store, *questions: str, **more: object) -> list[str]:
    with store.write() as connection:
        new = [
            pairs.NewPair([Message("user", each), Message("assistant", "Five metres.")], **more)  # type: ignore[arg-type]
            for each in questions
        ]
        return pairs.add_pairs(connection, BO, new, state="accepted")


def test_snapshots_are_taken_listed_and_compared(cli: Command, store: Store) -> None:
    assert "no pair is accepted" in cli("snapshot", "curated", fails=True)
    assert cli("datasets") == "there are no datasets yet; `tutelage snapshot NAME` makes one\n"
    first, second = add(store, "How tall?", "How [bold]wide\x1b[1m?")
    assert cli("snapshot", "curated", "--why", "to begin", "--by", "bo") == "curated@1: 2 pairs\n"
    assert cli("snapshot", "curated") == "curated@1: 2 pairs\n"
    with store.write() as connection:
        turns = [Message("user", "How tall?"), Message("assistant", "Six metres.")]
        pairs.edit(connection, BO, first, turns, base_revision=1)
        pairs.tag(connection, BO, second, "x")
    (third,) = add(store, "How old?")
    assert cli("snapshot", "curated") == "curated@2: 2 pairs\n"
    told = cli("diff", "curated@1", "curated")
    assert told.splitlines()[0] == "curated@1 → curated@2: 1 added, 1 removed, 1 changed, 0 the same"
    assert f"{third}  How old? → Five metres." in told
    assert f"{second} tags: none → x" in told
    assert "\x1b" not in told
    found = json.loads(cli("diff", "curated@1", "curated@2", "--json"))
    assert (found["num_added"], found["removed"][0]["id"], found["changed"][0]["new"]["tags"]) == (1, first, ["x"])
    assert [line.split()[0] for line in cli("datasets", "curated").splitlines()] == [
        "snapshot", "curated@2", "curated@1"
    ]  # fmt: skip
    row = cli("datasets").splitlines()[1].split()
    assert (row[:4], row[-1]) == (["curated", "pairs", "@2", "2"], "ada")
    assert [json.loads(line)["number"] for line in cli("datasets", "curated", "--json").splitlines()] == [2, 1]
    rest = cli("datasets", "curated", "--after", "2", "--json")
    assert [json.loads(line)["number"] for line in rest.splitlines()] == [1]


def test_what_is_chosen_and_what_cannot_be(cli: Command, store: Store) -> None:
    add(store, "One?", tags=["a"], source="book")
    add(store, "Two?")
    taken = json.loads(cli("snapshot", "some", "--tag", "a", "--source", "bo", "--json"))
    assert (taken["num_records"], taken["chosen_by"]["tags"]) == (1, ["a"])
    with store.write() as connection:
        pairs.draft(connection, BO, [Message("user", "Three?")])
    told = cli("snapshot", "some", "--state", "accepted", "--state", "draft")
    assert told == "some@2: 2 pairs\nleft out 1: there is no answer yet\n"
    assert "cy has the role rater; this needs the role reviewer" in cli("snapshot", "some", "--by", "cy", fails=True)
    assert "is no name for a dataset" in cli("snapshot", "../some", fails=True)
    assert "no dataset 'other'" in cli("datasets", "other", fails=True)
    for wrong in ("curated@0", "curated@x", "some file"):
        assert f"'{wrong}' names no snapshot; write NAME@1" in cli("diff", wrong, "curated", fails=True)
    assert "takes labels; states, tags and sources choose pairs" in cli(
        "snapshot", "labels:helpful", "--tag", "x", fails=True
    )
    assert "gold items and repeats are of labels" in cli("snapshot", "curated", "--gold", fails=True)
    assert "no snapshot some@9; the newest is some@2" in cli("diff", "some@1", "some@9", fails=True)
    assert "--limit is 0" in cli("datasets", "--limit", "0", fails=True)
    assert "give a number" in cli("datasets", "some", "--after", "x", fails=True)
    assert "no labelling project 'x'" in cli("snapshot", "labels:x", fails=True)
