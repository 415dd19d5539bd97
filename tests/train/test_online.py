"""Methods that sample, from prompts to a saved model: what is learned on, resume, idle groups, rewards that fail."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from killing import Killed, killing
from safetensors.torch import load_file
from tiny import tiny_folder, tiny_model, tiny_tokenizer

import tutelage
from tutelage.data.load import load_prompts
from tutelage.data.render import render_prompt
from tutelage.engine.answer import OwnEngine
from tutelage.engine.forward import TreeEngine
from tutelage.engine.rows import pack
from tutelage.errors import ConfigError, DataError, TrainingError
from tutelage.methods.registry import all_methods, find_method
from tutelage.models.template import end_of_turn_id, ensure_chat_template, ensure_pad_token
from tutelage.rewards.base import Part, RewardSum
from tutelage.rewards.verifiers import make_verifier
from tutelage.train import alarms, space
from tutelage.train.checkpoint import load_checkpoint
from tutelage.train.online import distinct_share
from tutelage.train.optimizer import MasterAdamW
from tutelage.train.rollouts import Actor, Clock, PromptItem
from tutelage.train.space import MARGIN_BYTES

pytestmark = pytest.mark.slow  # whole runs

ONLINE = sorted(
    name
    for name, cls in all_methods().items()
    if cls.online and not cls.has_teacher and cls.__module__.startswith("tutelage.")
)
"""The methods that learn from rewards; what learns from a teacher has tests of its own."""
TIMING = ("seconds", "tokens_per_second")
FAST: dict[str, Any] = {
    "prompts_per_step": 2, "group_size": 4, "max_new_tokens": 6, "num_samples": 0, "precision": "fp32", "quiet": True,
    "learning_rate": 1e-3, "save_every": 1,
}  # fmt: skip

REWARDS = """
def vowels(prompt, answer):
    return sum(letter in "aeiou" for letter in answer.lower()) / 10

def constant(prompt, answer):
    return 1.0

def nan(prompt, answer):
    return float("nan")

def broken(prompt, answer):
    return 1 / 0

def some(prompt, answer):
    return None if "2" in prompt else len(answer)

def none(prompt, answer):
    return None
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny model, prompts and rewards, which is the current one."""
    tiny_folder(tmp_path, "llama").rename(tmp_path / "model")
    prompts = [{"prompt": f"What is {n}?", "answer": str(n)} for n in range(4)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in prompts), encoding="utf-8")
    (tmp_path / "reward.py").write_text(REWARDS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(method: str, out: str, reward: str = "./reward.py:vowels", **options: Any) -> tutelage.Run:
    given = {"model": "model", "prompts": "prompts.jsonl", "reward": reward} | FAST | options
    if "group_size" not in options and not issubclass(find_method(method), find_method("rloo").__mro__[1]):
        given["group_size"] = 2
    return tutelage.train(method, out=out, **given)


def without_timing(run: tutelage.Run) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if not key.endswith(TIMING)} for line in run.metrics]


def weights(run: tutelage.Run) -> dict[str, torch.Tensor]:
    return load_file(run.model_path / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# What a step is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ONLINE)
def test_the_first_step_starts_where_policy_reference_and_sampler_agree(world: Path, method: str) -> None:
    """Ratio 1, clip fraction 0 and KL 0 at step 0: dropout, temperature and template drift would all show here."""
    options = {"inner_epochs": 1, "minibatches": 1, "measure_kl": True, "temperature": 0.7}
    run = train(method, method.replace("+", "p"), **options)
    first, second = run.metrics
    assert first["update_kl" if method != "online-dpo" else "margin"] == pytest.approx(0, abs=1e-6)
    assert first.get("clip_frac", 0.0) == 0
    assert first["mismatch_kl"] == pytest.approx(0, abs=1e-6)
    assert (first["kl"], first["kl_per_token"]) == (pytest.approx(0, abs=1e-5), pytest.approx(0, abs=1e-6))
    assert first["num_updates"] == 1
    assert first["grad_norm"] > 0
    assert second["kl_per_token"] > 0
    assert {"reward/reward.py:vowels", "entropy", "length", "stop_rate", "distinct"} <= first.keys()
    assert first["sampling_tokens_per_second"] > 0


@pytest.mark.parametrize("method", ["grpo", "ppo"])
def test_with_an_adapter_the_reference_is_the_model_without_it(world: Path, method: str) -> None:
    first, second = train(method, "adapted", **{"lora": {"rank": 4}, "kl_coef": 0.1, "learning_rate": 0.05}).metrics
    assert first["kl_per_token"] == pytest.approx(0, abs=1e-6)
    assert second["kl_per_token"] > 1e-4


def test_with_an_adapter_the_critic_trains_one_too_and_its_head(world: Path) -> None:
    run = train("ppo", "adapted", lora={"rank": 4}, learning_rate=0.01)
    checkpoint = load_checkpoint(run.path / "checkpoints", log=print)
    assert checkpoint is not None
    of_critic = [name for name in checkpoint.tensors if name.startswith("critic.master.")]
    assert any("lora_A" in name for name in of_critic)
    assert any("score" in name for name in of_critic)
    assert all("lora_" in name or "score" in name for name in of_critic)
    assert run.metrics[-1]["value_grad_norm"] > 0


def test_the_samplers_logprobs_in_place_of_the_trainers_save_a_pass_and_say_the_same(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In fp32 both are the same numbers but for the last digits, so the two runs are one."""
    passes: list[bool] = []
    original = TreeEngine.logprobs

    def counting(engine: TreeEngine, *args: Any, **options: Any) -> Any:
        passes.append(torch.is_grad_enabled())
        return original(engine, *args, **options)

    monkeypatch.setattr(TreeEngine, "logprobs", counting)
    options = {"minibatches": 2, "inner_epochs": 2, "kl_coef": 0.05, "epochs": 1}
    trainers = train("ppo", "trainer", old_logprobs="trainer", **options)
    with_trainers = passes.count(False)
    passes.clear()
    samplers = train("ppo", "sampler", old_logprobs="sampler", **options)
    assert passes.count(False) == with_trainers / 2  # the reference's alone
    for one, other in zip(trainers.metrics, samplers.metrics, strict=True):
        for name in ("loss", "reward", "grad_norm", "value_loss", "update_kl"):
            assert one[name] == pytest.approx(other[name], rel=1e-3, abs=1e-6), name


def actor_of(model: Any, tokenizer: Any, **options: Any) -> Actor:
    method = find_method("grpo")(**{"group_size": 5, "max_new_tokens": 8} | options)
    return Actor(model, tokenizer, method, RewardSum((Part(make_verifier("length", "4")),)), seed=3)


def test_training_ids_are_the_prompts_and_the_sampled_ones(world: Path) -> None:
    """Sampled text is never tokenised again: the tree's tokens and logprobs are those that were drawn."""
    model, tokenizer = tiny_model("qwen2"), tiny_tokenizer("qwen2")
    ensure_chat_template(tokenizer)
    ensure_pad_token(tokenizer)
    end = end_of_turn_id(tokenizer)
    prompt = load_prompts(["What is it?"])[0]
    item = PromptItem(prompt, render_prompt(tokenizer, prompt.messages, end))
    (group,) = actor_of(model, tokenizer).rollout([item], 1, Clock())
    tree = group.tree()
    assert tree.trunk.ids == item.ids
    assert [branch.ids for branch in tree.branches] == [one.completion.sampled for one in group.scored]
    assert all(all(branch.mask) for branch in tree.branches)
    logprobs = TreeEngine(model).logprobs(pack([tree])).logprobs
    assert torch.allclose(logprobs, tree.token_values["rollout_logprobs"], atol=1e-4)


def test_draws_depend_on_seed_and_step_and_are_the_same_again(world: Path) -> None:
    model, tokenizer = tiny_model("llama"), tiny_tokenizer("llama")
    ensure_chat_template(tokenizer)
    ensure_pad_token(tokenizer)
    prompt = load_prompts(["What is it?"])[0]
    item = PromptItem(prompt, render_prompt(tokenizer, prompt.messages, end_of_turn_id(tokenizer)))

    def draw(step: int, **options: Any) -> list[tuple[int, ...]]:
        (group,) = actor_of(model, tokenizer, **options).rollout([item], step, Clock())
        return [one.completion.sampled for one in group.scored]

    assert draw(1) == draw(1) == draw(1, sampling_batch=2)
    assert draw(1) != draw(2)
    assert len(set(draw(1))) > 1


def test_answers_of_equal_reward_cost_no_backward_pass_and_change_nothing(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_file(world / "model" / "model.safetensors")
    calls: list[int] = []
    monkeypatch.setattr(torch.Tensor, "backward", lambda *_, **__: calls.append(1))
    run = train("grpo", "equal", "./reward.py:constant", kl_coef=0.0)
    assert calls == []
    assert [(line["num_updates"], line["num_groups_equal"], line["loss"]) for line in run.metrics] == [(0, 2, 0.0)] * 2
    assert same(weights(run), before)


def test_idle_answers_still_count_in_what_the_loss_is_divided_by(world: Path) -> None:
    """A group of equal rewards left out of the pass must not make the others' gradient larger."""
    (world / "reward.py").write_text(
        "def half(prompt, answer):\n    return len(answer) if '1' in prompt or '3' in prompt else 0.0\n"
        "def whole(prompt, answer):\n    return len(answer) * (1.0 if '1' in prompt or '3' in prompt else 1e-9)\n",
        encoding="utf-8",
    )
    options = {"kl_coef": 0.0, "std_eps": 1.0, "max_steps": 1, "prompts_per_step": 4, "max_grad_norm": 0.0}
    idle = train("grpo", "idle", "./reward.py:half", **options).metrics[0]
    busy = train("grpo", "busy", "./reward.py:whole", **options).metrics[0]
    assert idle["num_trained_tokens_step"] < busy["num_trained_tokens_step"]
    assert idle["grad_norm"] == pytest.approx(busy["grad_norm"], rel=1e-4)


def test_refilled_groups_take_the_place_of_equal_ones(world: Path) -> None:
    reward = "def odd(prompt, answer):\n    return len(answer) if '1' in prompt or '3' in prompt else 0.0\n"
    (world / "reward.py").write_text(reward, encoding="utf-8")
    line = train("dapo", "refilled", "./reward.py:odd", prompts_per_step=4, max_steps=1, max_refills=8).metrics[0]
    assert line["num_groups_equal"] == 0
    assert line["num_groups_dropped"] >= 2
    assert line["num_scored"] == 16


# Resume --------------------------------------------------------------------------------------------------------------


RESUMED = {
    "ppo": {"kl_target": 0.5, "kl_horizon": 20, "ptx_data": "pairs.jsonl"},
    "dapo": {},
    "rloo": {"minibatches": 2},
}
ADAPTED = {"lora": {"rank": 4}, "merge_lora": True, "old_logprobs": "sampler"}


@pytest.mark.parametrize(("method", "more"), [*((method, {}) for method in RESUMED), ("ppo", ADAPTED)])
@pytest.mark.parametrize("place", ["sampling", "learning"])
def test_killed_in_the_middle_and_resumed_is_never_killed(
    world: Path, monkeypatch: pytest.MonkeyPatch, method: str, more: dict[str, Any], place: str
) -> None:
    (world / "pairs.jsonl").write_text('{"prompt": "What?", "completion": "It is dry."}\n', encoding="utf-8")
    options = {"epochs": 2, **RESUMED[method], **more}
    whole = train(method, "whole", **options)
    with monkeypatch.context() as patch:
        if place == "sampling":
            patch.setattr(OwnEngine, "sample", killing(OwnEngine.sample, 3))
        else:
            patch.setattr(MasterAdamW, "step", killing(MasterAdamW.step, 4))
        with pytest.raises(Killed):
            train(method, "killed", **options)
    killed = tutelage.train(method, out="killed", resume=True, quiet=True)
    assert same(weights(killed), weights(whole))
    assert without_timing(killed) == without_timing(whole)


def test_an_interrupt_while_sampling_leaves_the_step_to_be_taken_again(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train("grpo", "whole", epochs=2, save_every=100)
    count = 0

    def interrupting(*args: Any, progress: Callable[[int], None], **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*args, progress=progress, **options)

    original = OwnEngine.sample
    with monkeypatch.context() as patch:
        patch.setattr(OwnEngine, "sample", interrupting)
        run = train("grpo", "stopped", epochs=2, save_every=100)
    assert not run.finished
    assert len(run.metrics) == 2
    resumed = tutelage.train("grpo", out="stopped", resume=True, quiet=True)
    assert same(weights(resumed), weights(whole))
    assert without_timing(resumed) == without_timing(whole)


# Rewards that fail ---------------------------------------------------------------------------------------------------


def test_a_reward_that_is_no_number_names_the_prompt_and_the_answer(world: Path) -> None:
    with pytest.raises(TrainingError, match=r"'reward.py:nan' is nan for prompts.jsonl:\d, prompt 'What is \d\?', "):
        train("grpo", "nan", "./reward.py:nan")


def test_a_reward_function_that_raises_names_itself_and_its_line(world: Path) -> None:
    with pytest.raises(TrainingError, match=r"reward.py:broken raised ZeroDivisionError: .* at .*reward.py:12, on "):
        train("grpo", "broken", "./reward.py:broken")


def test_answers_that_cannot_be_scored_are_counted_and_left_out(world: Path) -> None:
    line = train("grpo", "some", "./reward.py:some", prompts_per_step=4, max_steps=1).metrics[0]
    assert (line["num_scored"], line["num_unscored"]) == (12, 4)
    assert line["reward"] == pytest.approx(line["reward/reward.py:some"])


def test_a_step_without_any_score_is_an_error(world: Path) -> None:
    with pytest.raises(TrainingError, match=r"step 1: none of the answers could be scored; look at the reward"):
        train("grpo", "none", "./reward.py:none")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reward": None}, "--reward is missing; give a reward model"),
        ({"prompts": None}, "--prompts is missing; give a file"),
        ({"prompts": "sealed"}, "'sealed' names the sealed prompts, which nothing is ever trained on"),
        ({"data": "x.jsonl"}, "--data is x.jsonl; grpo answers prompts: give them by --prompts"),
        ({"batch_size": 3}, "--batch-size is 3; grpo has --prompts-per-step instead"),
        ({"group_size": 1}, "--group-size is 1; answers are compared with each other, so give 2 or more"),
        ({"val_frac": 0.5}, "--val-frac: methods that sample have no validation loss; leave it out"),
        ({"stop_on": ["kl-runway"]}, "--stop-on is 'kl-runway'; did you mean 'kl-runaway'?"),
        ({"reward": "maths"}, "--reward maths: did you mean 'math'?"),
        ({"reward": "./reward.py:vowel"}, "has no function 'vowel'; it has: vowels, constant"),
        ({"reward": "0*math"}, "--reward 0*math: the weight is 0; it must be a number other than 0"),
    ],
)
def test_mistakes_are_found_before_anything_is_loaded(world: Path, options: dict[str, Any], message: str) -> None:
    given = {"model": "model", "prompts": "prompts.jsonl", "reward": "math", "out": "o"} | FAST | options
    with pytest.raises((ConfigError, DataError)) as caught:
        tutelage.train("grpo", **{key: value for key, value in given.items() if value is not None})
    assert message in str(caught.value)
    assert not (world / "workspace" / "runs" / "o").exists()


# Reward models and critics -------------------------------------------------------------------------------------------


def test_ppo_with_a_reward_model_shifts_its_scores_and_starts_the_critic_from_it(world: Path) -> None:
    pairs = [{"prompt": f"What is {n}?", "chosen": f"It is {n} and dry.", "rejected": "No idea."} for n in range(8)]
    shared = {"precision": "fp32", "quiet": True, "model": "model"}
    tutelage.train("reward", data=pairs, out="rm", epochs=4, learning_rate=1e-2, num_samples=0, **shared)
    run = train("ppo", "tuned", "rm", prompts_per_step=4)
    first = run.metrics[0]
    checkpoint = load_checkpoint(run.path / "checkpoints", log=print)
    assert checkpoint is not None
    assert checkpoint.state["loop"]["extra"]["reward_shift"] == pytest.approx(first["reward"])
    assert any(name.startswith("critic.master.score") for name in checkpoint.tensors)
    assert first["reward/rm"] == pytest.approx(first["reward"])
    assert "value_loss" in first


def test_an_ensemble_is_a_mean_less_its_variance_and_tells_its_spread(world: Path) -> None:
    pairs = [{"prompt": f"What is {n}?", "chosen": f"It is {n} and dry.", "rejected": "No idea."} for n in range(8)]
    shared = {"precision": "fp32", "quiet": True, "model": "model"}
    tutelage.train("reward", data=pairs, out="rms", epochs=2, learning_rate=1e-2, ensemble=2, **shared)
    plain = train("grpo", "plain", "rms", max_steps=1).metrics[0]
    careful = train("grpo", "careful", "rms", max_steps=1, ensemble_penalty=2.0).metrics[0]
    assert plain["ensemble_spread"] > 0
    assert careful["reward"] < plain["reward"]


# Room on the disk ----------------------------------------------------------------------------------------------------


def test_a_disk_with_room_for_the_policy_alone_is_too_small_for_its_critic(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, int]] = []
    monkeypatch.setattr(space, "check_disk", lambda _, **needed: asked.append(needed))
    train("ppo", "roomy", minibatches=1)
    alone, together = (needed["checkpoint_bytes"] for needed in asked)
    assert asked[0]["model_bytes"] == asked[1]["model_bytes"]
    # The critic is a model of the same layers with a head of 32 numbers in the place of 296 · 32.
    numbers = sum(parameter.numel() for parameter in tiny_model("llama").parameters())
    assert (together - alone) / alone == pytest.approx(1 - 295 * 32 / numbers, rel=1e-3)
    monkeypatch.undo()
    monkeypatch.chdir(world)
    free_bytes = alone + asked[0]["model_bytes"] + MARGIN_BYTES
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free_bytes))
    with pytest.raises(TrainingError, match=r"the run needs about .* are free; free some space"):
        train("ppo", "tight", minibatches=1)
    assert not (world / "workspace" / "runs" / "tight").exists()
    train("grpo", "slim")


# Warnings ------------------------------------------------------------------------------------------------------------

CALM = "lower --learning-rate or raise --kl-coef"


def test_a_warning_that_stops_keeps_the_last_good_checkpoint(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(alarms.RULES, "kl-runaway", lambda history: "far away" if len(history) >= 3 else None)
    run = train("grpo", "stopped", epochs=4, stop_on=["kl-runaway"])
    assert len(run.metrics) == 3
    good = load_checkpoint(run.path / "checkpoints", log=print)
    assert good is not None
    written = [json.loads(line) for line in (run.path / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {"step": 3, "warning": "kl-runaway", "message": f"far away; {CALM}"} in written
    reference = train("grpo", "two", max_steps=2, epochs=4)
    assert not same(weights(run), weights(reference))  # another schedule: the run was planned for eight steps
    masters = {name.removeprefix("master."): value for name, value in good.tensors.items() if "master." in name}
    assert all(torch.equal(weights(run)[name], value) for name, value in masters.items() if name in weights(run))


def test_variety_is_the_share_of_distinct_runs_of_four() -> None:
    assert distinct_share([[1, 2, 3, 4, 5], [1, 2, 3, 4]]) == pytest.approx(2 / 3)
    assert distinct_share([[1, 1, 1, 1, 1, 1]]) == pytest.approx(1 / 3)
    assert distinct_share([[1, 2]]) == 1.0
