"""Every option: read from recipes and keywords, checked, and refused by name with what it may be."""

import dataclasses
import inspect
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from tutelage.errors import ConfigError
from tutelage.methods.registry import find_method
from tutelage.methods.sft import SFT
from tutelage.models.adapt import LoraConfig
from tutelage.train.config import TrainConfig, build_config, dotted, flatten, known_keys

NEEDED = {"model": "starter-base", "data": "pairs.jsonl", "out": "mine"}
ROOT = Path(__file__).parents[2]


def from_yaml(text: str) -> TrainConfig:
    return build_config(NEEDED | yaml.safe_load(text), where="recipe.yaml")


def refusal(values: dict[str, Any], where: str = "recipe.yaml") -> str:
    with pytest.raises(ConfigError) as caught:
        build_config(NEEDED | values, where=where)
    return str(caught.value)


# Reading


def test_only_model_data_and_out_must_be_given() -> None:
    config = build_config(NEEDED)
    assert config == TrainConfig(model="starter-base", data="pairs.jsonl", out="mine")
    assert config.workspace == Path("workspace")
    assert config.lora == LoraConfig(rank=0)


@pytest.mark.parametrize("name", ["model", "out"])
def test_a_missing_one_is_named(name: str) -> None:
    values = {key: value for key, value in NEEDED.items() if key != name}
    with pytest.raises(ConfigError) as caught:
        build_config(values, where="recipe.yaml")
    assert str(caught.value) == f"recipe.yaml: '{name}' is missing; give --{name}"


def test_numbers_that_yaml_reads_as_text() -> None:
    # YAML 1.1 takes 1e-5 for text: its floats need a dot.
    assert yaml.safe_load("x: 1e-5") == {"x": "1e-5"}
    config = from_yaml("{learning_rate: 1e-5, adam_eps: 1e-6, epochs: '2', lora: {rank: '8', dropout: 1e-1}}")
    assert (config.learning_rate, config.adam_eps, config.epochs) == (1e-5, 1e-6, 2)
    assert config.lora == LoraConfig(rank=8, dropout=0.1)


def test_whole_numbers_in_every_spelling() -> None:
    config = from_yaml("{max_steps: 1e3, epochs: 2.0, seed: 9007199254740993}")
    assert (config.max_steps, config.epochs) == (1000, 2)
    assert config.seed == 2**53 + 1  # would be rounded as a float
    assert isinstance(config.max_steps, int)
    assert isinstance(config.weight_decay, float)


def test_dashes_dots_and_nesting_mean_the_same() -> None:
    nested = build_config(NEEDED | {"learning-rate": 1.0, "lora": {"target-modules": "q_proj", "rank": 2}})
    flat = build_config(NEEDED | {"learning_rate": 1.0, "lora.target_modules": "q_proj", "lora.rank": 2})
    assert nested == flat
    assert dotted({"a-b": {"c-d": 1}, "e": 2}) == {"a_b.c_d": 1, "e": 2}


def test_one_name_is_a_list_of_one() -> None:
    assert from_yaml("tracker: tensorboard").tracker == ("tensorboard",)
    assert from_yaml("tracker: [tensorboard, wandb]").tracker == ("tensorboard", "wandb")
    assert from_yaml("tracker: []").tracker == ()


def test_null_where_nothing_is_a_value() -> None:
    config = from_yaml("{learning_rate: null, val_data: null, lora: {alpha: null}}")
    assert (config.learning_rate, config.val_data, config.lora.alpha) == (None, None, None)


def test_paths_may_be_paths_or_text() -> None:
    config = build_config({"model": Path("m"), "data": Path("d.jsonl"), "out": "mine", "workspace": "elsewhere"})
    assert (config.model, config.data, config.workspace) == ("m", "d.jsonl", Path("elsewhere"))


def test_a_config_comes_back_from_its_json() -> None:
    config = from_yaml("{lora: {rank: 4, alpha: 3.5}, tracker: [wandb], workspace: w, learning_rate: 1e-3, epochs: 7}")
    assert build_config(flatten(config)) == config
    assert flatten(config).keys() == known_keys(TrainConfig).keys()


# Refusing


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 2}, "unknown key 'epoch'; did you mean 'epochs'?"),
        ({"learning_rat": 1}, "unknown key 'learning_rat'; did you mean 'learning_rate'?"),
        ({"lora": {"ranks": 1}}, "unknown key 'lora.ranks'; did you mean 'lora.rank'?"),
        ({"lora": 16}, "unknown key 'lora'; did you mean 'lora.rank'?"),
        ({"epochs": {"first": 1}}, "unknown key 'epochs.first'; did you mean 'epochs'?"),
        ({"epochs": 2.5}, "'epochs' is 2.5; it must be a whole number"),
        ({"epochs": "many"}, "'epochs' is 'many'; it must be a whole number"),
        ({"epochs": True}, "'epochs' is True; it must be a whole number"),
        ({"epochs": math.inf}, "'epochs' is inf; it must be a whole number"),
        ({"epochs": math.nan}, "'epochs' is nan; it must be a whole number"),
        ({"batch_size": None}, "'batch_size' is None; it must be a whole number"),
        ({"epochs": [1]}, "'epochs' is [1]; it must be a whole number"),
        ({"learning_rate": "fast"}, "'learning_rate' is 'fast'; it must be a number"),
        ({"learning_rate": True}, "'learning_rate' is True; it must be a number"),
        ({"schedule": "cosin"}, "'schedule' is 'cosin'; it must be one of cosine, linear, constant"),
        ({"precision": 16}, "'precision' is 16; it must be one of bf16, fp32"),
        ({"resume": "yes"}, "'resume' is 'yes'; it must be true or false"),
        ({"resume": 1}, "'resume' is 1; it must be true or false"),
        ({"out": 5}, "'out' is 5; it must be text"),
        ({"model": None}, "'model' is None; it must be text"),
        ({"data": ["a", "b"]}, "'data' is ['a', 'b']; it must be text"),
        ({"workspace": 3}, "'workspace' is 3; it must be a path"),
        ({"tracker": 3}, "'tracker' is 3; it must be a list of names"),
        ({"tracker": None}, "'tracker' is None; it must be a list of names"),
    ],
)
def test_keys_and_kinds(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == f"recipe.yaml: {message}"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "--epochs is 0; it must be at least 1"),
        ({"batch_size": 0}, "--batch-size is 0; it must be at least 1"),
        ({"max_steps": -1}, "--max-steps is -1; it must be at least 0"),
        ({"max_tokens": 1}, "--max-tokens is 1; it must be at least 2"),
        ({"keep_last": 0}, "--keep-last is 0; it must be at least 1"),
        ({"seed": -1}, "--seed is -1; it must be at least 0"),
        ({"seed": 2**63}, f"--seed is {2**63}; it must be a finite number below 2^63"),
        ({"weight_decay": math.nan}, "--weight-decay is nan; it must be a finite number below 2^63"),
        ({"max_grad_norm": math.inf}, "--max-grad-norm is inf; it must be a finite number below 2^63"),
        ({"warmup_frac": 1}, "--warmup-frac is 1.0; it must be at least 0 and below 1"),
        ({"val_frac": -0.1}, "--val-frac is -0.1; it must be at least 0 and below 1"),
        ({"min_learning_rate_frac": 1.5}, "--min-learning-rate-frac is 1.5; it must be at least 0 and below 1"),
        ({"beta1": 1}, "--beta1 is 1.0; it must be at least 0 and below 1"),
        ({"beta2": math.nan}, "--beta2 is nan; it must be at least 0 and below 1"),
        ({"learning_rate": 0}, "--learning-rate is 0.0; it must be a number above 0"),
        ({"learning_rate": math.nan}, "--learning-rate is nan; it must be a number above 0"),
        ({"learning_rate": "inf"}, "--learning-rate is inf; it must be a number above 0"),
        ({"adam_eps": 0}, "--adam-eps is 0.0; it must be a number above 0"),
        ({"patience": 2}, "--patience needs validation data; give --val-data FILE or --val-frac 0.1"),
        ({"eval_every": 2}, "--eval-every needs validation data; give --val-data FILE or --val-frac 0.1"),
        ({"lora": {"rank": -1}}, "lora.rank is -1; it is 0 (off) or more"),
        ({"lora": {"rank": 1, "dropout": 1}}, "lora.dropout is 1.0; it is at least 0 and below 1"),
    ],
)
def test_values(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == message


@given(key=st.text(min_size=1), value=st.none() | st.booleans() | st.integers() | st.floats() | st.text())
def test_a_key_that_nobody_knows_is_refused_whatever_it_is(key: str, value: Any) -> None:
    assume(dotted({key: value}).keys().isdisjoint(known_keys(TrainConfig)))
    assert f"recipe.yaml: unknown key '{key.replace('-', '_')}'; did you mean '" in refusal({key: value})


@given(
    key=st.sampled_from(sorted(known_keys(TrainConfig))),
    value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
)
def test_whatever_an_option_is_set_to_it_is_a_config_or_an_error(key: str, value: Any) -> None:
    try:
        config = build_config(NEEDED | {key: value})
    except ConfigError:
        return
    for name, found in flatten(config).items():
        assert not isinstance(found, float) or math.isfinite(found), name


# The recipes and the documentation keep up with the options


def test_the_first_recipe_names_every_option_with_its_default() -> None:
    values = dotted(yaml.safe_load((ROOT / "recipes" / "sft.yaml").read_text(encoding="utf-8")))
    assert known_keys(TrainConfig).keys() - values.keys() == {"model", "data", "out", "resume"}
    # The method's own defaults, written out.
    assert values.pop("epochs") == SFT.epochs
    assert values.pop("save_every") == find_method("sft").save_every == TrainConfig("m", "o").checkpoint_every
    assert build_config(NEEDED | values) == build_config(NEEDED)


def test_the_documentation_names_every_option_and_metric() -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for key in known_keys(TrainConfig):
        assert f"`--{key.replace('_', '-')}" in text, key


def test_every_option_has_its_help() -> None:
    for kind in (TrainConfig, LoraConfig):
        source = inspect.getsource(kind)
        for item in dataclasses.fields(kind):
            assert re.search(rf"^    {item.name}: .*\n    \"\"\"[A-Z].*\.\"\"\"$", source, re.M), item.name


def test_reading_options_loads_nothing_heavy() -> None:
    code = "import sys, tutelage.train.config; print({'torch', 'transformers', 'numpy', 'peft'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
