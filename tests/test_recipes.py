"""The recipes: every one is read, each of its keys is an option, the command it shows is right, and it trains."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import tiny_folder

import tutelage
from tutelage.errors import ConfigError
from tutelage.methods.registry import find_method
from tutelage.recipes import fill_in
from tutelage.train.config import build_run, dotted

RECIPES = sorted((Path(__file__).resolve().parents[1] / "recipes").glob("*.yaml"))
SMALL: dict[str, Any] = {
    "max_steps": 1, "epochs": 1, "num_samples": 0, "save_every": 0, "precision": "fp32", "quiet": True,
}  # fmt: skip
SMALL_ONLINE: dict[str, Any] = {"prompts_per_step": 2, "group_size": 2, "max_new_tokens": 6}


def command_of(recipe: Path) -> list[str]:
    """The words of the command in the recipe's own head, without `tutelage`."""
    (line,) = re.findall(r"^#   tutelage (.*)$", recipe.read_text(encoding="utf-8"), re.M)
    return shlex.split(line)


def options_of(recipe: Path) -> dict[str, Any]:
    return dotted(yaml.safe_load(recipe.read_text(encoding="utf-8")))


def test_there_are_recipes() -> None:
    names = {"sft", "sft-lora", "reward", "dpo", "ppo", "grpo", "rloo", "math"}
    assert names <= {recipe.stem for recipe in RECIPES}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_the_command_in_a_recipe_is_right(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names its own file and a method that there is; with the recipe put in, every option is known and allowed."""
    monkeypatch.chdir(recipe.parents[1])
    verb, method, *tokens = command_of(recipe)
    cls = find_method(method)
    assert verb == "train"
    assert tokens[tokens.index("--recipe") + 1] == f"recipes/{recipe.name}"
    filled = fill_in(tokens, cls)
    assert filled[: len(tokens)] == tokens
    given = dict(zip(tokens[::2], tokens[1::2], strict=True))
    assert ("--prompts" in given) == cls.online
    assert "--reward" in given or "reward" in options_of(recipe) or not cls.online
    named = {name.removeprefix("--"): value for name, value in given.items() if name != "--recipe"}
    config, options = build_run(cls, options_of(recipe) | named, where=str(recipe))
    assert (config.model, config.out) == (given["--model"], given["--out"])
    assert isinstance(options, cls)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_every_recipe_is_told_about(recipe: Path) -> None:
    page = (recipe.parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `recipes/{recipe.name}` |")]
    assert len(row.split("|")[2].strip()) > 10


def test_the_page_names_no_recipe_that_is_not_there() -> None:
    page = (RECIPES[0].parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
    assert set(re.findall(r"recipes/([a-z-]+\.yaml)", page)) == {recipe.name for recipe in RECIPES}


def test_the_adapter_recipe_has_an_adapter() -> None:
    with_rank = [recipe.stem for recipe in RECIPES if options_of(recipe).get("lora.rank")]
    assert with_rank == ["sft-lora"]


def test_an_option_that_is_none_is_named(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("group_sise: 4\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml: unknown key 'group_sise'; did you mean 'group_size'\?"):
        fill_in(["--recipe", str(recipe)], find_method("grpo"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_trains(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step on a tiny model, with everything as the recipe says but the sizes."""
    monkeypatch.chdir(tmp_path)
    tiny_folder(tmp_path, "llama").rename(tmp_path / "model")
    problems = [{"prompt": f"What is {n}?", "answer": str(n)} for n in range(8)]
    verdicts = [{"prompt": f"What is {n}?", "chosen": f"It is {n}.", "rejected": "No."} for n in range(12)]
    write("prompts.jsonl", problems)
    write("verdicts.jsonl", verdicts)
    write("pairs.jsonl", [{"prompt": f"What is {n}?", "response": f"It is {n}."} for n in range(12)])
    method = command_of(recipe)[1]
    cls = find_method(method)
    given: dict[str, Any] = {"model": "model", "out": "tuned", **SMALL}
    if cls.online:
        given |= SMALL_ONLINE | {"prompts": "prompts.jsonl"}
        given |= {} if "reward" in options_of(recipe) else {"reward": "length"}
    else:
        given["data"] = "pairs.jsonl" if cls.learns_from == "pairs" else "verdicts.jsonl"
    run = tutelage.train(method, **options_of(recipe) | given)
    assert run.finished
    assert len(run.metrics) == 1


def write(name: str, lines: list[dict[str, str]]) -> None:
    Path(name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
