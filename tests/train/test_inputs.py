"""What `tutelage_origin.json` says a model was made from: every model, file and option, by role."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_folder

import tutelage
from tutelage.methods.registry import find_method
from tutelage.models.ensemble import save_ensemble
from tutelage.models.folder import read_origin
from tutelage.train import api
from tutelage.train.config import build_config
from tutelage.train.inputs import inputs_of, model_name, options_of_run

SMALL: dict[str, Any] = {"num_samples": 0, "precision": "fp32", "max_steps": 1, "quiet": True}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with models in its workspace and files beside it, which is the current one."""
    models = tmp_path / "workspace" / "models"
    models.mkdir(parents=True)
    tiny_folder(models, "llama", name="policy")
    tiny_folder(models, "llama", name="teacher", seed=1)
    for name in ("rm", "rm-seed0", "rm-seed1", "critic", "other"):
        (models / name).mkdir()
        config = {"architectures": ["LlamaForSequenceClassification"]}
        (models / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_ensemble(models / "rms", ["rm-seed0", "rm-seed1"], {})
    lines = [json.dumps({"prompt": f"What is {n}?", "answer": f"It is {n}."}) + "\n" for n in range(4)]
    for name in ("prompts.jsonl", "ptx.jsonl", "val.jsonl"):
        (tmp_path / name).write_text("".join(lines) + "\n" * len(name), encoding="utf-8")
    (tmp_path / "reward.py").write_text("def good(prompt, answer):\n    return 1.0\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sha256(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def inputs(method: str, *, val_data: str | None = None, data: str = "prompts.jsonl", **options: Any) -> Any:
    config = build_config({"model": "policy", "data": data, "out": "tuned", "val_data": val_data})
    return inputs_of(config, find_method(method)(**options))


def file(role: str, name: str) -> dict[str, str]:
    return {"role": role, "name": name, "content_hash": sha256(name)}


def model(role: str, name: str) -> dict[str, str]:
    return {"role": role, "name": name}


def test_a_sum_of_rewards_an_ensemble_among_them(world: Path) -> None:
    found = inputs(
        "ppo", prompts="prompts.jsonl", reward=("rm + 0.5*rms", "-1e-3*length:40", "2*./reward.py:good"),
        critic="critic", ref_model="workspace/models/other", ptx_data="ptx.jsonl",
    )  # fmt: skip
    assert found == [
        model("base", "policy"),
        model("reference", "other"),
        model("reward", "rm"),
        model("reward", "rms"), model("member", "rm-seed0"), model("member", "rm-seed1"),
        model("check", "length:40"),
        {"role": "check", "name": "./reward.py:good", "content_hash": sha256("reward.py")},
        model("critic", "critic"),
        file("prompts", "prompts.jsonl"),
        file("ptx", "ptx.jsonl"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("reward", "critic"), [(("0.5*rms", "rm"), "rm-seed0"), (("rm",), "rm"), (("length:40",), None)]
)
def test_the_critic_is_named_where_it_is_not_the_policys_start(
    world: Path, reward: tuple[str, ...], critic: str | None
) -> None:
    found = [entry["name"] for entry in inputs("ppo", reward=reward) if entry["role"] == "critic"]
    assert found == ([critic] if critic else [])


def test_an_input_named_twice_is_there_once(world: Path) -> None:
    found = inputs("grpo", reward=("rm", "0.1*rm"), prompts="prompts.jsonl")
    assert found == [model("base", "policy"), model("reward", "rm"), file("prompts", "prompts.jsonl")]


def test_fine_tuning_and_validation(world: Path) -> None:
    assert inputs("sft", data="ptx.jsonl", val_data="val.jsonl") == [
        model("base", "policy"), file("data", "ptx.jsonl"), file("validation", "val.jsonl"),
    ]  # fmt: skip
    assert inputs("dpo", data="starter", ref_model="other") == [
        model("base", "policy"), model("reference", "other"), model("data", "starter"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (lambda world: "policy", "policy"),
        (lambda world: "workspace/models/policy", "policy"),
        (lambda world: str(world / "workspace" / "models" / "policy"), "policy"),
        (lambda world: "./workspace/../workspace/models/policy/", "policy"),
        (lambda world: "owner/name", "owner/name"),
        (lambda world: "starter-base", "starter-base"),
    ],
)
def test_a_model_of_the_workspace_has_one_name(world: Path, given: Callable[[Path], str], name: str) -> None:
    assert model_name(given(world), Path("workspace")) == name


def test_distill_names_its_teacher(world: Path) -> None:
    """In the file beside the weights, whose older keys are as they were."""
    run = tutelage.train(
        "distill", model="policy", teacher="teacher", prompts="prompts.jsonl", out="tuned", max_new_tokens=4,
        prompts_per_step=2, learning_rate=1e-4, **SMALL,
    )  # fmt: skip
    origin = read_origin(run.model_path)
    assert origin["inputs"] == [
        model("base", "policy"), model("teacher", "teacher"), file("prompts", "prompts.jsonl"),
    ]  # fmt: skip
    assert origin["options"] == {
        "precision": "fp32", "max_steps": 1, "max_new_tokens": 4, "prompts_per_step": 2,
        "learning_rate": 1e-4,
    }  # fmt: skip
    assert (origin["kind"], origin["method"], origin["base"]) == ("trained", "distill", "policy")
    assert origin["data"] == "prompts.jsonl"


def test_the_files_are_those_the_run_began_with(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sha256("ptx.jsonl")
    judge = api._judge_held_out

    def changed_meanwhile(*arguments: Any) -> None:
        Path("ptx.jsonl").write_text("other\n", encoding="utf-8")
        judge(*arguments)

    monkeypatch.setattr(api, "_judge_held_out", changed_meanwhile)
    run = tutelage.train("sft", model="policy", data="ptx.jsonl", out="tuned", **SMALL)
    assert read_origin(run.model_path)["inputs"][1]["content_hash"] == before != sha256("ptx.jsonl")


def test_an_ensemble_names_its_members(world: Path) -> None:
    verdicts = [{"prompt": f"What is {n}?", "chosen": f"It is {n}.", "rejected": "No."} for n in range(4)]
    run = tutelage.train("reward", model="policy", data=verdicts, out="pair", ensemble=2, **SMALL)
    origin = read_origin(run.model_path)
    assert origin["inputs"] == [model("member", "pair-seed0"), model("member", "pair-seed1")]
    assert origin["options"]["ensemble"] == 2
    assert read_origin(run.model_path.parent / "pair-seed1")["inputs"][0] == model("base", "policy")


def test_options_are_told_where_they_differ() -> None:
    method = find_method("grpo")(group_size=4, prompts_per_step=2, reward=("rm",), prompts="p.jsonl")
    config = build_config({
        "model": "m", "out": "o", "data": "p.jsonl", "epochs": 1, "save_every": 5, "batch_size": 2,
        "num_samples": 0, "keep_last": 1,
        "lora": {"rank": 8}, "seed": 3,
    })  # fmt: skip
    assert options_of_run(config, method) == {
        "lora.rank": 8, "seed": 3, "group_size": 4, "prompts_per_step": 2, "reward": ("rm",),
    }  # fmt: skip
    assert (
        options_of_run(build_config({"model": "m", "out": "o", "epochs": 3, "save_every": 200}), find_method("sft")())
        == {}
    )
