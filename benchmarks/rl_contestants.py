"""What runs in a process of its own for `rl.py`: preparing the prompts and the reward, and each contestant.

    python rl_contestants.py PART JOB_FOLDER ROUND

prints one line of JSON. `settings.json` in the job folder holds what all share; `prepare` adds the prompts, in the
order in which Tutelage will take them, and `reward.py`, which everyone calls. Contestants train all weights on the CPU
with GRPO at a constant learning rate and save no checkpoints; no stop token ends an answer, so that everyone samples
and learns from the same number of tokens. Leaves out GPUs, LoRA and vLLM.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import serve_part, versions
from trl_watch import gaps, watch

PHASES = ("sampling", "scoring", "learning")
REWARD = '''"""Cheap and the same every time: the share of the letter e among an answer's letters."""


def share_of_e(answer):
    letters = [letter for letter in answer.lower() if letter.isalpha()]
    return letters.count("e") / max(len(letters), 1)
'''
THINGS = ("kettle", "bicycle", "garden shed", "wool jumper", "wooden table", "frying pan", "window", "old radio")
EVENTS = (
    "is lost and found again", "saves a village", "is given away three times", "turns out to be a hundred years old",
    "is blamed for everything", "goes around the world", "is mended by a child", "begins to talk",
)  # fmt: skip


@dataclass(frozen=True)
class Contestant:
    """Who runs, and what is set besides prompts, reward, sizes, steps, learning rate, KL and not saving."""

    what: str
    settings: dict[str, Any] = field(default_factory=dict)


NO_CHECKPOINTING = {"gradient_checkpointing": False}
BF16 = NO_CHECKPOINTING | {"bf16": False, "model_init_kwargs": {"dtype": "bfloat16"}}
QUARTERS = "quarters"
CONTESTANTS = {
    "ours": Contestant("Tutelage, its defaults: bf16 compute, fp32 master weights"),
    "trl-default": Contestant("TRL, its defaults: fp32 weights, bf16 autocast, gradient checkpointing"),
    "trl-autocast": Contestant("TRL: fp32 weights, bf16 autocast, no checkpointing", NO_CHECKPOINTING),
    "trl-bf16": Contestant("TRL: bf16 weights, no checkpointing", BF16),
    "trl-bf16-quarters": Contestant("TRL: the same, learning from a quarter of the step at once", BF16 | {QUARTERS: 4}),
}


# The prompts ---------------------------------------------------------------------------------------------------------
def prepare(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write prompts and reward; returns how long the prompts of each step are, under the model's chat template."""
    from transformers import AutoTokenizer

    from tutelage.data.render import render_prompt
    from tutelage.models.starter import ensure_starter
    from tutelage.models.template import end_of_turn_id, ensure_chat_template, ensure_pad_token
    from tutelage.train.config import build_config
    from tutelage.train.dataset import StepPlan
    from tutelage.types import Message

    model_folder = ensure_starter(settings["model"])
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    ensure_chat_template(tokenizer)
    ensure_pad_token(tokenizer)
    num = settings["steps"] * settings["prompts_per_step"]
    pairs = list(itertools.islice(itertools.product(EVENTS, THINGS), num))
    if len(pairs) < num:
        sys.exit(f"there are {len(pairs)} prompts of the {num} needed; give fewer --steps or --prompts-per-step")
    prompts = [f"Tell a long story in which a {thing} {event}. Leave nothing out." for event, thing in pairs]
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    (folder / "reward.py").write_text(REWARD)

    config = build_config(
        {"model": settings["model"], "out": "ours", "seed": settings["seed"], "epochs": 1}
        | {"batch_size": settings["prompts_per_step"]}
    )
    plan = StepPlan(num, config)
    batches = [[prompts[index] for index in plan.records(step)] for step in range(1, settings["steps"] + 1)]
    job = {"model_folder": str(model_folder), "batches": batches}
    (folder / "job.json").write_text(json.dumps(job))
    end = end_of_turn_id(tokenizer)
    lengths = [[len(render_prompt(tokenizer, (Message("user", one),), end)) for one in batch] for batch in batches]
    flat = [length for batch in lengths for length in batch]
    return {
        "num_prompts": num,
        "prompt_tokens_min_median_max": [min(flat), statistics.median(flat), max(flat)],
        "num_prompt_tokens_by_step": [sum(batch) for batch in lengths],
        "num_sampled_tokens_by_step": settings["prompts_per_step"] * settings["group_size"] * settings["new_tokens"],
    }


# The contestants -----------------------------------------------------------------------------------------------------
def run_ours(settings: dict[str, Any], folder: Path, round_name: str) -> dict[str, Any]:
    """Train as a user would from Python; the times are those of the run's own metrics."""
    from tutelage.engine import answer
    from tutelage.train.api import train_from_python

    answer.stop_ids = lambda _: []  # everyone samples to the limit; a run has no option for that
    shared = {key: settings[key] for key in ("model", "learning_rate", "seed", "prompts_per_step", "group_size")}
    same = {"kl_coef": settings["kl_coef"], "max_new_tokens": settings["new_tokens"], "temperature": 1.0}
    constant = {"epochs": 1, "schedule": "constant", "warmup_frac": 0.0}
    saving_nothing = {"save_every": 0, "num_samples": 0, "answer_every": 0}
    places = {"prompts": str(folder / "prompts.jsonl"), "reward": f"{folder / 'reward.py'}:share_of_e", "out": "ours"}
    checkpointing = {"gradient_checkpointing": settings["gradient_checkpointing"]}
    lines = train_from_python(
        "grpo", quiet=True, workspace=str(folder / round_name),
        **shared, **same, **constant, **saving_nothing, **places, **checkpointing,
    ).metrics  # fmt: skip
    num_answers = [line["num_scored"] + line["num_unscored"] for line in lines]
    return {
        "step_seconds": gaps([0.0, *(line["seconds"] for line in lines)]),
        **{f"{phase}_seconds": [line[f"{phase}_seconds"] for line in lines] for phase in PHASES},
        "num_sampled_tokens": [round(line["length"] * num) for line, num in zip(lines, num_answers, strict=True)],
        "num_trained_tokens": [line["num_trained_tokens_step"] for line in lines],
        # A prompt is computed once, so what a step computed beyond its answers are its prompts.
        "num_prompt_tokens": [line["num_tokens_step"] - line["num_trained_tokens_step"] for line in lines],
        "rewards": [line["reward"] for line in lines],
        "entropies": [line["entropy"] for line in lines],
        "versions": versions("tutelage", "torch", "transformers"),
    }


def run_trl(settings: dict[str, Any], folder: Path, own: dict[str, Any]) -> dict[str, Any]:
    """Train with GRPOTrainer on the same prompts, in the same order; `own` are the contestant's settings."""
    from datasets import Dataset
    from transformers import AutoTokenizer, PrinterCallback, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    job = json.loads((folder / "job.json").read_text())
    phases: dict[str, list[float]] = {"sampling": [], "scoring": []}
    lines: list[dict[str, float]] = []

    class Timed(GRPOTrainer):
        """GRPOTrainer with the seconds that sampling and scoring take."""

        _generate_single_turn = timed(GRPOTrainer._generate_single_turn, phases["sampling"])
        _calculate_rewards = timed(GRPOTrainer._calculate_rewards, phases["scoring"])

    class Keep(TrainerCallback):
        """Keeps what is logged of each step."""

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                lines.append(logs)

    prompts = [[{"role": "user", "content": prompt}] for batch in job["batches"] for prompt in batch]
    trainer = Timed(
        job["model_folder"], reward_funcs=reward_of(folder), args=GRPOConfig(**trl_options(settings, folder, own)),
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=AutoTokenizer.from_pretrained(job["model_folder"]),
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Keep())
    times, *_ = watch(trainer, len)
    trainer.train()
    seconds = gaps(times)
    learning = [whole - sum(parts) for whole, *parts in zip(seconds, *phases.values(), strict=True)]
    num_answers = settings["prompts_per_step"] * settings["group_size"]
    sampled = [round(line["completions/mean_length"] * num_answers) for line in lines]
    # TRL counts a prompt once an answer.
    read = [round(gap) for gap in gaps([0.0, *(line["num_tokens"] for line in lines)])]
    return {
        "step_seconds": seconds,
        **{f"{phase}_seconds": found for phase, found in phases.items()},
        "learning_seconds": learning,
        "num_sampled_tokens": sampled,
        "num_trained_tokens": sampled,
        "num_prompt_tokens": [
            (every - answers) / settings["group_size"] for every, answers in zip(read, sampled, strict=True)
        ],
        "rewards": [line["reward"] for line in lines],
        "entropies": [line["entropy"] for line in lines],
        "versions": versions("trl", "torch", "transformers", "accelerate"),
    }


def trl_options(settings: dict[str, Any], folder: Path, own: dict[str, Any]) -> dict[str, Any]:
    """What GRPOConfig is given: the paper's loss, which is ours, and the whole step in one update."""
    own = dict(own)
    parts = own.pop(QUARTERS, 1)
    if settings["gradient_checkpointing"]:
        own["gradient_checkpointing"] = True
    num_answers = settings["prompts_per_step"] * settings["group_size"]
    return {
        "output_dir": str(folder / "trl"), "per_device_train_batch_size": num_answers // parts,
        "gradient_accumulation_steps": parts, "num_generations": settings["group_size"],
        "max_completion_length": settings["new_tokens"], "temperature": 1.0, "beta": settings["kl_coef"],
        "generation_kwargs": {"min_new_tokens": settings["new_tokens"]}, "loss_type": "grpo",
        "max_steps": settings["steps"], "learning_rate": settings["learning_rate"], "lr_scheduler_type": "constant",
        "shuffle_dataset": False, "use_cpu": True, "save_strategy": "no", "logging_steps": 1, "report_to": "none",
        "disable_tqdm": True, "dataloader_pin_memory": False, "seed": settings["seed"],
    } | own  # fmt: skip


def timed(function: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """The function, which puts down how long each call of it takes."""

    def run(*arguments: Any, **options: Any) -> Any:
        begun = time.perf_counter()
        result = function(*arguments, **options)
        seconds.append(time.perf_counter() - begun)
        return result

    return run


def reward_of(folder: Path) -> Callable[..., list[float]]:
    """The reward of the job's own file as TRL calls one."""
    namespace: dict[str, Any] = {}
    exec(compile((folder / "reward.py").read_text(), "reward.py", "exec"), namespace)

    def share_of_e(completions: Sequence[Sequence[dict[str, str]]], **_: Any) -> list[float]:
        return [namespace["share_of_e"](completion[0]["content"]) for completion in completions]

    return share_of_e


if __name__ == "__main__":
    serve_part(prepare, run_ours, run_trl, CONTESTANTS)
