"""`tutelage label` and `tutelage project`: a person at the keyboard, and a workspace seen from the shell."""

from __future__ import annotations

import io
import json
import os
import pty
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from person import typed
from record import BO, CY
from rich.console import Console
from sqlalchemy import select
from tiny import tiny_folder

from tutelage.cli import main
from tutelage.feedback import items, projects
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.feedback.projects import Project
from tutelage.store import schema
from tutelage.store.database import Store
from tutelage.types import Message
from tutelage.workspace.keyboard import Keys, Lines, keyboard
from tutelage.workspace.labelling import COMPARED, Desk, order_of

HELPFUL = [{"name": "helpful", "low": 0, "high": 4, "help": "does it help"}, {"name": "true", "low": 0, "high": 1}]
NUM_ANSWERS = {"comparison": 2, "ranking": 3, "thumbs": 1, "rating": 1}


def make(store: Store, kind: str = "comparison", num_items: int = 3, **more: Any) -> Project:
    with store.write() as connection:
        project = projects.create(
            connection, BO, "helpful", kind, attributes=HELPFUL if kind == "rating" else (), **more
        )
        new = [
            NewItem(
                (Message("user", f"question {number}?"),),
                [NewAnswer(f"answer {place} to {number}", f"model-{place}") for place in range(NUM_ANSWERS[kind])],
            )
            for number in range(num_items)
        ]
        items.add_items(connection, BO, project, new)
    return project


def work(store: Store, project: Project, *keys: str) -> str:
    """What CY sees who presses these keys and then closes the input."""
    console = Console(file=io.StringIO(), width=120, highlight=False)
    Desk(store, CY, project, console, Lines(typed(*keys)), clock=iter(range(1000)).__next__).work()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def labels(store: Store, current: bool = True) -> list[Any]:
    query = schema.labels.select().order_by(schema.labels.c.id)
    if current:
        query = query.where(schema.labels.c.superseded_ms.is_(None))
    with store.read() as connection:
        return list(connection.execute(query))


def better(label: Any) -> tuple[str, int | None]:
    """(A, B or neither, strength) as it was shown."""
    outcome, place = label.value["outcome"], {"first": 0, "second": 1}.get(label.value["outcome"])
    if place is None:
        return outcome, None
    return "AB"[label.displayed.index(label.answer_ids[place])], label.value["strength"]


def test_one_key_is_a_verdict_and_the_digits_are_a_slider(store: Store):
    project = make(store, num_items=13)
    shown = work(store, project, *"12345678ab=x?")
    assert [better(label) for label in labels(store)] == [
        ("A", 4), ("A", 3), ("A", 2), ("A", 1), ("B", 1), ("B", 2), ("B", 3), ("B", 4), ("A", 3), ("B", 3),
        ("tie", None), ("both_bad", None), ("cannot_judge", None),
    ]  # fmt: skip
    assert len(COMPARED) == 13
    assert "kept: A is much better" in shown
    assert "model-" not in shown
    assert "Nothing is left for you in helpful now: each item has the labels that are wanted." in shown
    assert "13 verdicts given" in shown
    assert {label.seconds for label in labels(store)} == {1.0}


def test_stopping_loses_nothing_and_the_same_task_comes_again(store: Store):
    project = make(store, reasons=["true", "clear"])
    shown = work(store, project, "1", "r", "2", "c", "too long", "by half", ".")
    assert "Stopped; the same command goes on from here." in shown
    assert len(labels(store)) == 1
    again = work(store, project, "8", "q")
    assert "question 1?" in again
    assert "your critique: too long\nby half" in again
    kept = labels(store)[1]
    assert (kept.reasons, kept.critique, better(kept)) == (["clear"], "too long\nby half", ("B", 4))


def test_undo_changes_the_last_verdict_and_then_goes_on(store: Store):
    project = make(store, guideline="Be *fair*.")
    shown = work(store, project, "u", "1", "u", "w", "Better.", ".", "8", "=", "u", "g", "nothing")
    assert "There is nothing to change yet." in shown
    assert "Be *fair*." in shown
    first, second = labels(store)
    assert (better(first), first.rewrite) == (("B", 4), "Better.")
    assert better(second)[0] == "tie"
    assert [label.id for label in labels(store, current=False)].index(first.id) == 1
    with store.read() as connection:
        assert connection.execute(select(schema.items.c.num_done)).scalars().all() == [1, 1, 0]


def test_a_skip_asks_why_and_other_keys_are_explained(store: Store):
    shown = work(store, make(store), "s", "", "k", "h", "s", "I know nothing of this", "a")
    assert "'k' is none of the keys; h shows them" in shown
    assert "question 1?" in shown
    with store.read() as connection:
        states = connection.execute(select(schema.assignments.c.state, schema.assignments.c.skip_reason)).all()
    assert states[0] == ("skipped", "I know nothing of this")


def test_rankings_thumbs_and_ratings(store: Store):
    ranked = make(store, "ranking", 2)
    shown = work(store, ranked, "o", "A B", "o", "c a=b", "?")
    assert "name each of A B C once" in shown
    first, second = labels(store)
    ranks = dict(zip(first.answer_ids, first.value["ranks"], strict=True))
    assert [ranks[answer] for answer in first.displayed] == [1, 1, 0]
    assert second.value == {"cannot_judge": True}


def test_thumbs(store: Store):
    work(store, make(store, "thumbs"), "1", "-", "0")
    assert [label.value["good"] for label in labels(store)] == [True, False, False]


def test_ratings_are_checked_and_asked_again(store: Store):
    shown = work(store, make(store, "rating", 1), "o", "3", "many", "o", "9", "1", "o", "3", ".5")
    assert "that is no number" in shown
    assert "9 is outside 0 to 4" in shown
    assert labels(store)[0].value == {"scores": {"helpful": 3, "true": 0.5}}


@pytest.mark.parametrize(
    ("entered", "order"),
    [
        ("B A=C D", [[1], [0, 2], [3]]), ("BACD", [[1], [0], [2], [3]]), ("A = B > C", [[0, 1], [2]]),
        ("A,B", [[0], [1]]), ("Z", [[-1]]), ("", []), ("=", []),
    ],
)  # fmt: skip
def test_orders_as_they_are_typed(entered: str, order: list[list[int]]):
    assert order_of(entered) == order


@pytest.mark.parametrize("text", ["[bold red]x[/] and [/] more", "\x1b[31mred\x1b[0m \x07", "a\u202eb"])
def test_texts_cannot_write_on_the_screen_what_they_like(store: Store, text: str):
    with store.write() as connection:
        project = projects.create(connection, BO, "p", "comparison", text.replace("\x07", ""), guideline=text)
        new = NewItem((Message("user", text),), [NewAnswer(text), NewAnswer("b")])
        items.add_items(connection, BO, project, [new])
    shown = work(store, project, "g", "c", text, ".", "u", "z", text)
    assert not set("\x1b\x07\u202e") & set(shown)
    if text.startswith("["):
        assert shown.count(text) >= 4


def test_a_key_is_read_without_enter_at_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    outer, inner = pty.openpty()
    with os.fdopen(inner, encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        keys = keyboard()
        assert isinstance(keys, Keys)
        os.write(outer, b"8\xc3\xa4")
        assert [keys.key("?"), keys.key("?")] == ["8", "ä"]
        os.write(outer, b"\x1b[A")
        assert keys.key("?") == "\x1b"
        os.write(outer, b"\x04")
        with pytest.raises(EOFError):
            keys.key("?")
    os.close(outer)
    assert capsys.readouterr().out.startswith("? 8\n? ä\n")


class Result(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture
def cli(store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a verb in the workspace of `store`."""
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments: str, stdin: str = "") -> Result:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as stop:
            main([*arguments, "--workspace", str(store.workspace)])
        out, err = capsys.readouterr()
        return Result(int(stop.value.code or 0), out, err)

    return run


def test_a_project_from_making_it_to_its_progress(cli: Command, tmp_path: Path):
    guide, data = tmp_path / "guide.md", tmp_path / "items.jsonl"
    guide.write_text("Prefer what is true.", encoding="utf-8")
    lines = [{"prompt": f"q{number}?", "answers": ["yes", "no"]} for number in range(3)]
    data.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert "there are no projects yet; `tutelage project create`" in cli("project", "list").out
    made = cli("project", "create", "helpful", "--kind", "comparison", "--overlap", "2", "--guideline", str(guide))
    assert "there are no such items" in cli("project", "items", "helpful").out
    assert "--after is 'foo', and an id has 32" in cli("project", "items", "helpful", "--after", "foo").err
    assert (made.code, made.out.splitlines()[0]) == (0, "project helpful (comparison), 2 labels an item")
    assert cli("project", "items", "helpful", "--data", str(data)).out.startswith("3 items added, 0 there already")
    assert cli("project", "items", "helpful", "--data", str(data)).out.startswith("0 items added, 3 there already")
    assert "Prefer what is true." in cli("project", "guideline", "helpful").out
    guide.write_text("Prefer what is short.", encoding="utf-8")
    assert "version 2" in cli("project", "guideline", "helpful", str(guide)).out
    for who, keys in (("cy", "1\n2\n="), ("dee", "1\nx\n=\n")):
        assert "3 verdicts given, all of them in the record." in cli("label", "helpful", "--by", who, stdin=keys).out
    shown = cli("project", "progress", "helpful").out
    assert "helpful is open: 3 of 3 items done, 6 of 6 labels" in shown
    assert {"cy", "dee"} <= set(shown.split())
    found = json.loads(cli("project", "progress", "helpful", "--json", "--by", "cy").out)
    assert [line["name"] for line in found["raters"]] == ["cy"]
    assert found["by_guideline"] == {"2": 6}
    assert json.loads(cli("project", "list", "--json").out)[0]["num_items"]["done"] == 3
    assert "helpful" in cli("project", "list").out
    assert "Prefer what is short." in cli("project", "show", "helpful").out
    assert len(json.loads(cli("project", "items", "helpful", "--json", "--limit", "2").out)) == 2
    assert "more: --after" in cli("project", "items", "helpful", "--limit", "2").out
    assert cli("project", "pause", "helpful").out == "project helpful is paused\n"
    assert "Project helpful is paused." in cli("label", "helpful", "--by", "cy").out
    assert cli("project", "open", "helpful").out == "project helpful is open\n"
    assert cli("project", "close", "helpful").out == "project helpful is closed\n"


def test_gold_items_come_from_a_file_or_from_the_project(cli: Command, tmp_path: Path, store: Store):
    make(store)
    data = tmp_path / "gold.jsonl"
    data.write_text(json.dumps({"prompt": "g?", "answers": ["a", "b"], "gold": {"winner": 0, "strength": 4}}))
    assert cli("project", "gold", "helpful", "--data", str(data)).out.startswith("1 gold item added")
    item = json.loads(cli("project", "items", "helpful", "--json").out)[0]["id"]
    said = cli("project", "gold", "helpful", "--item", item, "--verdict", '{"outcome": "tie"}')
    assert said.out == f"item {item} is a gold item\n"
    assert cli("project", "items", "helpful", "--data", str(data)).err.startswith("tutelage: ")
    assert json.loads(cli("project", "show", "helpful", "--json").out)["num_items"]["gold"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("label", "nothing"), "no project 'nothing'; `tutelage project list` shows them"),
        (("label", "helpful", "--by", "eve"), "nobody here is called 'eve'; `tutelage people` lists everyone"),
        (("project", "create", "x", "--kind", "rating", "--attribute", "a:b"), "--attribute a:b: give NAME:LOWEST"),
        (
            ("project", "create", "x", "--kind", "thumbs", "--by", "cy"),
            "cy has the role rater; this needs the role reviewer",
        ),
        (("project", "gold", "helpful"), "give --data FILE, or --item ID with --verdict JSON"),
        (("project", "gold", "helpful", "--item", "1", "--verdict", "tie"), "--verdict is no JSON"),
        (("project", "sample", "helpful", "--prompts", "sealed"), "'sealed' names the sealed prompts"),
        (("project", "sample", "helpful", "--prompts", "compare"), "name a --model to sample from"),
    ],
)
def test_a_mistake_is_one_line(cli: Command, store: Store, arguments: tuple[str, ...], message: str):
    make(store)
    result = cli(*arguments)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1


def test_answers_are_sampled_once_and_carry_model_and_settings(cli: Command, store: Store, tmp_path: Path):
    models = [str(tiny_folder(tmp_path, "llama", name=name)) for name in ("one", "two")]
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("What is one?\nWhat is two?\n", encoding="utf-8")
    with store.write() as connection:
        projects.create(connection, BO, "helpful", "ranking", models=models, sampling={"max_new_tokens": 6})
    asked = ("project", "sample", "helpful", "--prompts", str(prompts), "--num-answers", "3", "--seed", "7")
    first = cli(*asked)
    assert first.out.startswith("2 prompts: 0 were there, 6 answers sampled, 2 items added"), first.err
    prompts.write_text("What is one?\nWhat is two?\nWhat is three?\n", encoding="utf-8")
    assert cli(*asked).out.startswith("3 prompts: 2 were there, 3 answers sampled, 1 items added")
    with store.read() as connection:
        found = items.listing(connection, BO, projects.get(connection, "helpful"))
        settings = connection.execute(select(schema.answers.c.sampling)).scalars().all()
    assert [[model for _, _, model in item.answers] for item in found] == [[models[0], models[0], models[1]]] * 3
    assert {(each["temperature"], each["max_new_tokens"], each["seed"]) for each in settings} == {(1.0, 6, 7)}
    assert all({"num_tokens", "stopped", "top_p"} <= each.keys() for each in settings)


def test_two_people_label_at_two_terminals_at_once(store: Store):
    project, problems = make(store, num_items=12), list[str]()

    def sit() -> None:
        try:
            work(store, project, *"1" * 12)
        except Exception as error:
            problems.append(repr(error))

    threads = [threading.Thread(target=sit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert problems == []
    assert len(labels(store)) == 12


def test_why_nothing_is_left_is_said(store: Store):
    project = make(store, num_items=0)
    assert "it has no items yet; `tutelage project items helpful --data FILE`" in " ".join(work(store, project).split())
