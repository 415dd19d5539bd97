"""What a form in a browser may ask of training, and every way in which it might reach further."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_runs import make_model

from tutelage.errors import ConfigError, DataError, NotFoundError
from tutelage.feedback import projects
from tutelage.methods.registry import METHODS, method
from tutelage.runs import forms, rules
from tutelage.runs.forms import method_classes, method_form
from tutelage.store import datasets, pairs
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.train.config import build_run, flatten
from tutelage.types import Message

SFT = {"model": "tiny", "data": "starter", "out": "new-one"}
PPO = {"model": "tiny", "prompts": "compare", "reward": ["taste"], "out": "new-one"}


@pytest.fixture
def world(store: Store, bo: Person) -> Store:
    """A workspace with a model, a reward model, a dataset and a project."""
    make_model(store.workspace, "tiny")
    make_model(store.workspace, "taste", kind="LlamaForSequenceClassification")
    pair = (Message("user", "What is a leap year?"), Message("assistant", "A year of 366 days."))
    with store.write() as connection:
        pairs.draft(connection, bo, pair)
        datasets.make_snapshot(connection, bo, "curated", states=["draft"])
        projects.create(connection, bo, "helpful", "comparison")
    return store


def asked(store: Store, method: str, options: dict[str, Any]) -> rules.Asked:
    with store.read() as connection:
        return rules.check(connection, store.workspace, method, options)


def refusal(store: Store, method: str, options: dict[str, Any]) -> tuple[str | None, str]:
    """(field, message) of the error."""
    with pytest.raises(DataError) as caught:
        asked(store, method, options)
    return caught.value.field, caught.value.problem


@pytest.mark.parametrize("data", ["starter", "curated", "curated@1", "labels:helpful"])
def test_data_of_the_record_and_what_comes_with_tutelage_may_be_asked_for(world: Store, data: str) -> None:
    assert asked(world, "sft", SFT | {"data": data, "epochs": 2, "val_frac": None, "val_data": ""}).options == {
        "model": "tiny", "data": data, "out": "new-one", "epochs": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    "data", ["./pairs.jsonl", "/etc/passwd", "../../secret", "hub:owner/name", "pairs.jsonl", "sealed", "curated@9",
             "nope", "labels:nope", "labels:../x", "~/x", "starter/../x", "-o"],
)  # fmt: skip
@pytest.mark.parametrize("field", ["data", "val_data"])
def test_no_file_and_nothing_from_the_hub_is_read(world: Store, field: str, data: str) -> None:
    assert refusal(world, "sft", SFT | {field: data})[0] == field


@pytest.mark.parametrize(
    "name", ["owner/name", "/models/other", "../models/tiny", ".", "..", "tiny/", "missing", "--x"]
)
def test_models_are_those_of_the_workspace_and_starters(world: Store, name: str) -> None:
    assert asked(world, "sft", SFT | {"model": "starter-base"}).options["model"] == "starter-base"
    assert refusal(world, "sft", SFT | {"model": name})[0] == "model"
    assert refusal(world, "ppo", PPO | {"ref_model": name})[0] == "ref_model"
    assert refusal(world, "ppo", PPO | {"critic": name})[0] == "critic"
    assert refusal(world, "distill", SFT | {"data": None, "prompts": "compare", "teacher": name})[0] == "teacher"


def test_a_link_that_leads_out_of_the_workspace_is_no_model(world: Store, tmp_path: Path) -> None:
    make_model(tmp_path / "elsewhere", "other")
    (world.workspace / "models" / "linked").symlink_to(tmp_path / "elsewhere" / "models" / "other")
    assert refusal(world, "sft", SFT | {"model": "linked"})[0] == "model"
    assert "linked" not in [each.name for each in rules.models(world.workspace)]


@pytest.mark.parametrize("reward", ["taste", "2*taste + 0.1*length:120", "math", "format:bullets", "overlong:256:64"])
def test_reward_models_and_checks_may_be_asked_for(world: Store, reward: str) -> None:
    assert asked(world, "ppo", PPO | {"reward": [reward]}).options["reward"] == [reward]


@pytest.mark.parametrize(
    "reward",
    ["./evil.py:reward", "evil.py", "judge", "judge:rubric.yaml", "judge:/etc/passwd", "json-schema:/etc/passwd",
     "owner/name", "taste + ./evil.py:f", '["./evil.py:f"]', "tiny", "../models/taste", "format:nope", "length:x",
     "1e400*taste", ""],
)  # fmt: skip
def test_no_reward_runs_code_reads_a_file_or_asks_a_service(world: Store, reward: str) -> None:
    assert refusal(world, "ppo", PPO | {"reward": [reward]})[0] == "reward"


def test_a_method_is_one_that_is_installed_and_never_a_file(world: Store, tmp_path: Path) -> None:
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf-8")
    for name in ("./evil.py", str(evil), "evil", "../evil.py", ""):
        with pytest.raises(NotFoundError):
            asked(world, name, SFT)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("trust_remote_code", True), ("tracker", ["./evil.py:Tracker"]), ("workspace", "/"), ("resume", True)],
)
def test_what_only_the_terminal_has_is_refused_by_name(world: Store, name: str, value: Any) -> None:
    field, problem = refusal(world, "sft", SFT | {name: value})
    assert field == name
    assert problem.startswith("only the terminal has this option")


@pytest.mark.parametrize(
    "name", ["", "a/b", "../up", "..", ".hidden", "-x", "a" * 101, "starter-base", "new", "math", "a b", "a\nb"]
)
def test_the_name_of_a_run_is_a_plain_one(world: Store, name: str) -> None:
    assert refusal(world, "sft", SFT | {"out": name})[0] == "out"


@pytest.mark.parametrize(
    ("given", "field"),
    [({"learning_rate": -1}, "learning_rate"), ({"epochs": 0}, "epochs"), ({"epochs": "x"}, "epochs"),
     ({"nope": 1}, "nope"), ({"lora.rank": -1}, "lora.rank"), ({"lora.target_modules": "a; b"}, "lora.target_modules"),
     ({"model": None}, "model"), ({"model": 3}, "model"), ({"data": ["starter"]}, "data"),
     ({"patience": 3}, "patience"), ({"schedule": "zigzag"}, "schedule"), ({"merge_lora": "yes"}, "merge_lora"),
     ({"batch_size": 2.5}, "batch_size")],
)  # fmt: skip
def test_a_mistake_is_told_beside_its_field(world: Store, given: dict[str, Any], field: str) -> None:
    assert refusal(world, "sft", SFT | given)[0] == field


def test_mistakes_of_a_methods_own_options_too(world: Store) -> None:
    assert refusal(world, "ppo", PPO | {"kl_coef": -1})[0] == "kl_coef"
    assert refusal(world, "ppo", PPO | {"stop_on": ["nope"]})[0] == "stop_on"
    assert refusal(world, "ppo", PPO | {"ptx_data": "x.jsonl"})[0] == "ptx_data"
    assert refusal(world, "grpo", PPO | {"group_size": 1})[0] == "group_size"


# Going on ------------------------------------------------------------------------------------------------------------


def may_go_on(store: Store, method: str, /, **changed: Any) -> str:
    config, options = build_run(method_classes()[method], (PPO if method == "ppo" else SFT) | {"workspace": "w"})
    saved = {"method": method, **flatten(config), **flatten(options), "learning_rate": 1e-5, "num_steps": 4} | changed
    with store.read() as connection:
        return rules.check_resume(connection, store.workspace, saved)


def test_a_run_that_a_form_could_have_started_may_go_on(world: Store) -> None:
    assert may_go_on(world, "sft", data="curated@1") == "sft"
    assert may_go_on(world, "ppo", data="compare", batch_size=32) == "ppo"


@pytest.mark.parametrize(
    ("method", "changed"),
    [("ppo", {"reward": ["./evil.py:f"]}), ("sft", {"data": "./pairs.jsonl"}), ("sft", {"model": "owner/name"}),
     ("sft", {"trust_remote_code": True}), ("sft", {"tracker": ["wandb"]}), ("sft", {"method": "./evil.py"})],
)  # fmt: skip
def test_a_run_of_the_terminal_with_more_goes_on_only_there(world: Store, method: str, changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="only go on at the terminal"):
        may_go_on(world, method, **changed)


# Methods of other packages -------------------------------------------------------------------------------------------


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A method of somebody else, with a text of which nobody knows what it means."""
    sft = method_classes()["sft"]

    class Foreign(sft):  # type: ignore[misc, valid-type]
        script: str = ""
        """A file to run."""
        strength: float = 1.0
        """How much."""

    before = dict(METHODS)
    made = method("foreign")(Foreign)
    METHODS.clear()
    METHODS.update(before)
    monkeypatch.setattr(forms, "method_classes", lambda: {**before, "foreign": made})
    yield made
    method_form.cache_clear()


def test_texts_of_unknown_meaning_are_not_offered_taken_or_resumed(world: Store, foreign: Any) -> None:
    assert {"strength"} == {field.name for field in method_form("foreign").fields if field.own}
    assert asked(world, "foreign", SFT | {"strength": 2.0}).method == "foreign"
    assert refusal(world, "foreign", SFT | {"script": "./evil.py"})[0] == "script"
    with world.read() as connection, pytest.raises(ConfigError, match="'script'"):
        rules.check_resume(connection, world.workspace, {"method": "foreign", **SFT, "script": "./evil.py"})
