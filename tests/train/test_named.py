"""Training on what people wrote and judged: `--data curated@3`, `--data labels:helpful`, named from anywhere."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from record import ADA, BO, CY, DEE
from sqlalchemy import Connection, insert

import tutelage
from tutelage.cli import main
from tutelage.errors import NotFoundError
from tutelage.methods.registry import find_method
from tutelage.models.folder import read_origin
from tutelage.store import pairs, schema
from tutelage.store.contents import add_answer, add_prompt
from tutelage.store.database import Store
from tutelage.store.datasets import Snapshot, make_snapshot, snapshot_of
from tutelage.store.ids import new_id
from tutelage.store.labels import NewLabel, add_label
from tutelage.train import api
from tutelage.train.config import build_config
from tutelage.train.named import with_snapshots
from tutelage.train.run_folder import RunFolder
from tutelage.types import Message

SMALL: dict[str, Any] = {"num_samples": 0, "precision": "fp32", "max_steps": 2, "batch_size": 4, "quiet": True}


def write_pairs(store: Store, number: int, name: str = "curated") -> Snapshot:
    """Accepted pairs, `number` of them, and a snapshot."""
    with store.write() as connection:
        new = [
            pairs.NewPair([Message("user", f"What is {n}?"), Message("assistant", f"It is {n}.")])
            for n in range(number)
        ]
        pairs.add_pairs(connection, BO, new, state="accepted")
        return make_snapshot(connection, ADA, name)


def start_project(connection: Connection, kind: str, name: str = "helpful") -> str:
    project_id = new_id()
    attributes = [{"name": "kind", "low": 0, "high": 4}] if kind == "rating" else []
    connection.execute(insert(schema.projects).values(
        id=project_id, name=name, kind=kind, question="?", attributes=attributes, created_by=ADA.id, created_ms=0,
    ))  # fmt: skip
    return project_id


def judge(store: Store, kind: Any, values: list[dict[str, Any]], num_answers: int, name: str = "helpful") -> None:
    """A label for each value, by two raters in turn, each on answers to a prompt of its own."""
    with store.write() as connection:
        project_id = start_project(connection, kind, name)
        for number, value in enumerate(values):
            prompt_id = add_prompt(connection, [Message("user", f"What is {number}?")])
            texts = [f"It is {number}." + " Or is it?" * at for at in range(num_answers)]
            answer_ids = [add_answer(connection, prompt_id, text, model="m") for text in texts]
            rater = (CY, DEE)[number % 2]
            label = NewLabel(rater.id, new_id(), kind, prompt_id, answer_ids, value, project_id=project_id)
            add_label(connection, label)


def train(method: str, store: Store, model: Path, data: str, **options: Any) -> api.Run:
    asked = SMALL | {"out": "made", "workspace": store.workspace} | options
    return tutelage.train(method, model=model, data=data, **asked)


def test_sft_learns_from_a_snapshot_of_pairs(store: Store, tiny_llama: Path) -> None:
    snapshot = write_pairs(store, 5)
    write_pairs(store, 2, "more")
    run = train("sft", store, tiny_llama, "curated@1", val_data="more")
    origin = read_origin(run.model_path)
    assert (run.config["data"], run.config["val_data"], origin["data"]) == ("curated@1", "more@1", "curated@1")
    assert {"role": "data", "name": "curated@1", "content_hash": snapshot.content_hash, "snapshot": snapshot.id} in (
        origin["inputs"]
    )
    assert sorted(path.name for path in (store.workspace / "snapshots").iterdir()) == [
        "curated@1.jsonl", "more@1.jsonl"
    ]  # fmt: skip


def test_a_name_without_a_number_is_the_newest_snapshot_and_the_run_says_which(store: Store, tiny_llama: Path) -> None:
    write_pairs(store, 4)
    write_pairs(store, 4)
    said: list[str] = []
    config = build_config({"model": str(tiny_llama), "data": "curated", "out": "made", "workspace": store.workspace}
                          | {key: SMALL[key] for key in SMALL if key != "quiet"})  # fmt: skip
    run = api.train("sft", config, say=said.append)
    assert run.config["data"] == "curated@2"
    assert said[0] == f"curated@2: 8 records, {store.workspace}/snapshots/curated@2.jsonl"


COMPARED: list[dict[str, Any]] = [{"outcome": "first", "strength": 1 + n % 4} for n in range(6)] + [{"outcome": "tie"}]


@pytest.mark.parametrize("method", ["reward", "dpo", "kto"])
def test_comparisons_train_reward_models_and_policies(store: Store, tiny_llama: Path, method: str) -> None:
    judge(store, "comparison", COMPARED, 2)
    run = train(method, store, tiny_llama, "labels:helpful")
    assert (run.config["data"], read_origin(run.model_path)["data"]) == ("labels:helpful@1", "labels:helpful@1")
    assert run.finished


def test_reward_and_dpo_learn_from_rankings(store: Store, tiny_llama: Path) -> None:
    judge(store, "ranking", [{"ranks": [0, 1, 2]}, {"ranks": [1, 0, 1]}, {"cannot_judge": True}] * 2, 3)
    for method in ("reward", "dpo"):
        assert train(method, store, tiny_llama, "labels:helpful", out=f"made-{method}").finished


def test_kto_learns_from_thumbs_and_ratings(store: Store, tiny_llama: Path) -> None:
    judge(store, "thumbs", [{"good": bool(n % 2)} for n in range(6)], 1)
    assert train("kto", store, tiny_llama, "labels:helpful").finished
    judge(store, "rating", [{"scores": {"kind": n % 5}} for n in range(6)], 1, name="rated")
    run = train("kto", store, tiny_llama, "labels:rated", out="rated", threshold=0.5)
    assert run.config["data"] == "labels:rated@1"


def test_a_resumed_run_keeps_its_snapshot(store: Store, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge(store, "comparison", COMPARED, 2)
    append = RunFolder.append_metrics

    def press(self: RunFolder, line: dict[str, Any]) -> None:
        signal.raise_signal(signal.SIGINT)
        append(self, line)

    monkeypatch.setattr(RunFolder, "append_metrics", press)
    first = train("dpo", store, tiny_llama, "labels:helpful", val_data="labels:helpful", save_every=1)
    monkeypatch.undo()
    assert not first.finished
    with store.write() as connection:
        prompt_id = add_prompt(connection, [Message("user", "New?")])
        answer_ids = [add_answer(connection, prompt_id, text) for text in ("A.", "B.")]
        project_id = connection.execute(schema.projects.select()).one().id
        value = {"outcome": "second", "strength": 2}
        add_label(connection, NewLabel(CY.id, "k", "comparison", prompt_id, answer_ids, value, project_id=project_id))
    again = {"out": "made", "workspace": store.workspace, "resume": True, "quiet": True}
    for given in ({"data": "labels:helpful"}, {}):
        run = tutelage.train("dpo", **given, **again)  # type: ignore[arg-type]
        assert (run.finished, run.config["data"], run.config["val_data"]) == (
            True, "labels:helpful@1", "labels:helpful@1"
        )  # fmt: skip
    with store.read() as connection:
        assert snapshot_of(connection, "labels:helpful").number == 1  # nobody took a newer one meanwhile
    assert train("dpo", store, tiny_llama, "labels:helpful", out="next").config["data"] == "labels:helpful@2"


def test_data_in_memory_is_no_name(store: Store, tiny_llama: Path) -> None:
    write_pairs(store, 3)
    run = train("sft", store, tiny_llama, [{"prompt": "What?", "completion": "That."}] * 4)  # type: ignore[arg-type]
    assert run.config["data"] == "in memory"


def test_prompts_and_pretraining_data_are_named_too(store: Store) -> None:
    write_pairs(store, 3)
    method = find_method("ppo")(prompts="curated", ptx_data="curated@1", reward=("length",))
    config = build_config({"model": "x", "data": "curated", "out": "made", "workspace": store.workspace})
    config, method = with_snapshots(config, method, lambda _: None)
    assert (config.data, config.val_data, method.prompts, method.ptx_data) == (
        "curated@1", None, "curated@1", "curated@1"
    )  # fmt: skip


def test_a_dataset_that_is_not_there_is_told_before_any_work(store: Store, tiny_llama: Path) -> None:
    with pytest.raises(NotFoundError, match="no dataset 'curated'; `tutelage snapshot curated` makes one"):
        train("sft", store, tiny_llama, "curated")
    assert not (store.workspace / "runs").exists()


def test_check_and_score_take_names(
    store: Store, tiny_llama: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(store, "comparison", COMPARED, 2)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stop:
            main([*arguments, "--workspace", str(store.workspace)])
        assert stop.value.code == 0
        return capsys.readouterr().out

    train("reward", store, tiny_llama, "labels:helpful", out="rm")
    capsys.readouterr()
    assert "labels:helpful@1.jsonl" in run("check", "labels:helpful@1")
    out = store.workspace / "scores.jsonl"
    run("score", "--model", "rm", "--data", "labels:helpful", "--out", str(out))
    assert len([json.loads(line) for line in out.read_text().splitlines()]) == len(COMPARED)
    assert os.listdir(store.workspace / "snapshots") == ["labels:helpful@1.jsonl"]
