"""The whole loop on a tiny model, from pairs to PPO: `lineage` shows all of it, `remove-work` lists exactly that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from record import ADA, BO, CY, DEE
from sqlalchemy import Connection, insert, select
from tiny import tiny_folder

import tutelage
from tutelage.cli import main
from tutelage.errors import ConflictError
from tutelage.store import contents, pairs, schema
from tutelage.store.database import Store
from tutelage.store.datasets import make_snapshot
from tutelage.store.ids import new_id
from tutelage.store.labels import NewLabel, add_label
from tutelage.store.people import Person
from tutelage.types import Message

SMALL: dict[str, Any] = {"num_samples": 0, "precision": "fp32", "max_steps": 1, "quiet": True, "batch_size": 2}


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a verb; gives its standard output, or what it complains of."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*tokens: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(tokens))
        captured = capsys.readouterr()
        return captured.out if ended.value.code == 0 else f"{ended.value.code}: {captured.err}"

    return run


def write_pairs(connection: Connection) -> dict[str, str]:
    """Three pairs of Cy's and one of Dee's, all accepted by Bo; ids by question."""
    found = {}
    for number, (author, licence) in enumerate([(CY, "CC0"), (CY, "CC0"), (CY, ""), (DEE, "")]):
        talk = [Message("user", f"What is {number}?"), Message("assistant", f"It is {number}.")]
        pair_id = pairs.draft(connection, author, talk, licence=licence)
        pairs.submit(connection, author, pair_id)
        pairs.accept(connection, BO, pair_id)
        pairs.tag(connection, author, pair_id, f"by-{author.name}")
        found[f"{author.name} {number}"] = pair_id
    return found


def judge(connection: Connection, raters: list[tuple[Person, int]]) -> dict[str, str]:
    """A verdict of each rater, under a version of the guidelines, on answers that `sft` gave; ids by rater."""
    project_id = new_id()
    row = {"name": "helpful", "kind": "comparison", "question": "Which helps?", "created_by": ADA.id, "created_ms": 1}
    connection.execute(insert(schema.projects).values(id=project_id, **row))
    found = {}
    for number, (rater, version) in enumerate(raters):
        prompt_id = contents.add_prompt(connection, [Message("user", f"And {number}?")])
        answers = [contents.add_answer(connection, prompt_id, text, model="sft") for text in ("It is.", "No.")]
        new = NewLabel(
            rater.id, new_id(), "comparison", prompt_id, answers, {"outcome": "first", "strength": 3},
            project_id=project_id, guideline_version=version,
        )  # fmt: skip
        found[f"{rater.name} {number}"] = add_label(connection, new)
    return found


class World:
    """A workspace after the whole loop: `sft` → `rm` → `ppo`, and `dees`, which only Dee's pair made."""

    def __init__(self, store: Store) -> None:
        self.store, self.workspace = store, store.workspace
        tiny_folder(self.workspace / "models", "llama", name="base")
        with store.write() as connection:
            self.pairs = write_pairs(connection)
            make_snapshot(connection, BO, "curated", why="a first round")
            make_snapshot(connection, BO, "dees", tags=["by-dee"])
        self.train("sft", "sft", model="base", data="curated", epochs=2)
        self.train("sft", "dees", model="base", data="dees@1")
        with store.write() as connection:
            self.labels = judge(connection, [(BO, 1), (DEE, 1), (DEE, 2)])
        self.train("reward", "rm", model="base", data="labels:helpful", learning_rate=1e-3)
        prompts = self.workspace / "prompts.jsonl"
        prompts.write_text('{"prompt": "What is 5?"}\n' * 2, encoding="utf-8")
        online = {"batch_size": 16, "prompts_per_step": 2, "max_new_tokens": 4, "minibatches": 1, "inner_epochs": 1}
        self.train("ppo", "ppo", model="sft", reward="rm", prompts=str(prompts), **online)

    def train(self, method: str, out: str, **options: Any) -> None:
        tutelage.train(method, out=out, workspace=self.workspace, **(SMALL | options))


def test_the_whole_loop_back_forward_and_taken_out(store: Store, say: Callable[..., str]) -> None:
    world = World(store)
    where = ("--workspace", str(world.workspace))

    # Back
    tree = say("lineage", "ppo", *where)
    for part in (
        r"ppo +ppo · 1 step · [\d,]+ tokens · 20\d\d-\d\d-\d\d",
        r"options .*reward rm",
        r"from sft +sft · 1 step",
        r"options .*epochs 2",
        r"data curated@1 +4 pairs · 20\d\d-\d\d-\d\d · by bo",
        r"authors cy 3, dee 1",
        r"reviewers bo 4",
        r"licences CC0 2, none given 2",
        r"why a first round",
        r"prompts .*prompts\.jsonl +sha256 [0-9a-f]{16}…",
        r"reward rm +reward · 1 step",
        r"options .*learning_rate 0\.001",
        r"data labels:helpful@1 +3 labels",
        r"projects helpful 3",
        r"kinds comparison 3",
        r"raters dee 2, bo 1",
        r"guidelines helpful v1 2, helpful v2 1",
        r"answers of sft +sft · told of above",
        r"critic rm +reward · told of above",
    ):
        assert re.search(part, tree), part
    assert "withdrawn" not in tree
    data = json.loads(say("lineage", "ppo", "--json", *where))
    assert [(one["role"], one["name"]) for one in data["inputs"]][::2] == [("base", "sft"), ("reward", "rm")]

    # Forward
    text = say("lineage", "--pair", world.pairs["dee 3"], *where)
    assert re.search(r"curated@1\s+.*dees@1", text, re.DOTALL)
    assert re.search(r"dees +dees@1 \(data\)", text)
    assert re.search(r"ppo +curated@1 \(data\) → sft \(base\)", text)
    found = json.loads(say("lineage", "--label", world.labels["bo 0"], "--json", *where))
    assert [held["name"] for held in found["held"]] == ["labels:helpful@1"]
    assert [use["model"] for use in found["uses"]] == ["rm", "ppo"]
    assert "2: tutelage: no label 12; check the id" in say("lineage", "--label", "12", *where)

    # Taken out
    dry = json.loads(say("remove-work", "cy", "--dry-run", "--json", *where))
    assert (dry["num_pairs_written"], dry["num_labels_given"], dry["dry_run"]) == (3, 0, True)
    with store.read() as connection:
        assert connection.execute(select(schema.pairs.c.withdrawn_ms)).scalars().all() == [None] * 4
    told = say("remove-work", "cy", *where)
    assert re.search(r"3 pairs they wrote\n +0 pairs of others that they edited\n +0 labels they gave", told)
    assert re.search(r"curated@1 +3 records", told)
    assert re.findall(r"^ *(sft|rm|ppo|dees) .*$", told, re.MULTILINE) == ["sft", "rm", "ppo"]
    assert re.search(r"^ *rm +curated@1 \(data\) → sft \(answers\) *$", told, re.MULTILINE)
    assert "3 withdrawn since; training on it is refused" in say("lineage", "sft", *where)

    # Refused, and what remains can be trained on
    with pytest.raises(ConflictError, match=r"curated@1 holds 3 records that were withdrawn .* `tutelage snapshot cur"):
        world.train("sft", "again", model="base", data="curated@1")
    world.train("sft", "fine", model="base", data="dees")
    with store.write() as connection:
        make_snapshot(connection, BO, "curated")
    world.train("sft", "again", model="base", data="curated")
    text = say("lineage", "again", *where)
    assert re.search(r"data curated@2 +1 pair", text)
    assert re.search(r"authors dee 1", text)


def test_only_an_admin_takes_work_out(store: Store, say: Callable[..., str]) -> None:
    where = ("--workspace", str(store.workspace))
    assert "bo has the role reviewer; this needs the role admin" in say("remove-work", "cy", "--by", "bo", *where)
    assert "nobody here is called 'zoe'" in say("remove-work", "zoe", *where)
    assert "no model learned from their work" in say("remove-work", "cy", *where)


def test_a_workspace_without_a_record(tmp_path: Path, say: Callable[..., str]) -> None:
    workspace = tmp_path / "plain"
    tiny_folder(workspace / "models", "llama", name="base")
    data = tmp_path / "pairs.jsonl"
    data.write_text('{"prompt": "What?", "response": "That."}\n' * 4, encoding="utf-8")
    tutelage.train("sft", model="base", data=str(data), out="mine", workspace=workspace, **SMALL)
    where = ("--workspace", str(workspace))
    text = say("lineage", "mine", *where)
    assert re.search(r"mine +sft · 1 step", text)
    assert re.search(r"from base", text)
    assert re.search(r"data \S*pairs\.jsonl +sha256 [0-9a-f]{16}…", text.replace("\n", " "))
    assert not (workspace / "tutelage.db").exists()
    assert "2: tutelage: no model 'other'" in say("lineage", "other", *where)
    assert "has no record of people and their work; make it with `tutelage init`" in say(
        "lineage", "--pair", "1", *where
    )
    assert "2: " in say("remove-work", "cy", *where)


def test_one_thing_at_a_time(store: Store, say: Callable[..., str]) -> None:
    where = ("--workspace", str(store.workspace))
    for tokens in ([], ["mine", "--pair", "1"], ["--pair", "1", "--label", "2"]):
        assert "give one of MODEL, --label ID and --pair ID" in say("lineage", *tokens, *where)


def test_models_made_before_the_record_are_found(store: Store, say: Callable[..., str]) -> None:
    folder = store.workspace / "models" / "old"
    folder.mkdir(parents=True)
    origin = {"kind": "trained", "method": "sft", "base": "starter-base", "data": "[red]pairs\x1b[0m.jsonl"}
    (folder / "tutelage_origin.json").write_text(json.dumps(origin), encoding="utf-8")
    where = ("--workspace", str(store.workspace))
    text = say("lineage", "old", *where)
    assert "from starter-base" in text
    assert "[red]pairs" in text
    assert "\x1b" not in text
    (store.workspace / "models" / "bad").mkdir()
    (store.workspace / "models" / "bad" / "tutelage_origin.json").write_text("{", encoding="utf-8")
    assert json.loads(say("lineage", "old", "--json", *where))["method"] == "sft"  # the complaint goes elsewhere
    assert "read the origin files of 1 model" in say("lineage", "--rescan", *where)


def test_a_record_that_cannot_be_written_to_costs_no_model(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """The weights are saved before; the index can be made again."""
    tiny_folder(store.workspace / "models", "llama", name="base")
    store.close()
    (store.workspace / "tutelage.db").write_bytes(b"no database" * 100)
    pairs_in_memory = [{"prompt": "What?", "response": "That."}] * 4
    run = tutelage.train(
        "sft", model="base", data=pairs_in_memory, out="mine", workspace=store.workspace, **(SMALL | {"quiet": False})
    )
    assert run.finished
    assert (run.model_path / "tutelage_origin.json").is_file()
    assert "the record does not know of the model yet" in capsys.readouterr().err
