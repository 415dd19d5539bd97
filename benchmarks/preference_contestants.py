"""What runs in a process of its own for `preference.py`: preparing the pairs, and each contestant.

    python preference_contestants.py PART JOB_FOLDER ROUND

prints one line of JSON. `settings.json` in the job folder holds what all share; `prepare` adds `job.json` with the
token ids of every step. Contestants train all weights on the CPU with DPO at a constant learning rate and save no
checkpoints. Leaves out GPUs and LoRA.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import serve_part, versions
from trl_watch import gaps, watch

MAX_TOKENS = 1024
"""Longest prompt and answer; longer pairs are left out for everyone, since TRL would cut them."""


@dataclass(frozen=True)
class Contestant:
    """Who runs, and what is set besides data, batch size, steps, learning rate and not saving."""

    what: str
    settings: dict[str, Any] = field(default_factory=dict)


BF16 = {"gradient_checkpointing": False, "bf16": False, "model_init_kwargs": {"dtype": "bfloat16"}}
CONTESTANTS = {
    "ours": Contestant("Tutelage, its defaults: bf16 compute, fp32 master weights, reference computed once"),
    "trl-default": Contestant("TRL, its defaults: fp32 weights, bf16 autocast, gradient checkpointing"),
    "trl-bf16": Contestant("TRL: bf16 weights, no checkpointing, reference in every step", BF16),
    "trl-bf16-once": Contestant(
        "TRL: bf16 weights, no checkpointing, reference computed once", BF16 | {"precompute_ref_log_probs": True}
    ),
    "trl-bf16-once-flat": Contestant(
        "TRL: the same, padding-free", BF16 | {"precompute_ref_log_probs": True, "padding_free": True}
    ),
}


# The data ------------------------------------------------------------------------------------------------------------
def prepare(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the first pairs that are short enough, and the batch of every step as Tutelage will draw it."""
    from transformers import AutoTokenizer

    from tutelage.data.load import load_comparisons
    from tutelage.methods.dpo import DPO
    from tutelage.models.starter import ensure_starter
    from tutelage.models.template import end_of_turn_id, ensure_chat_template, ensure_pad_token
    from tutelage.train.config import build_config
    from tutelage.train.dataset import Limit, StepPlan, TokenizerRenderer, make_dataset

    model_folder = ensure_starter(settings["model"])
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    ensure_chat_template(tokenizer)
    ensure_pad_token(tokenizer)
    render = TokenizerRenderer(tokenizer, end_of_turn_id(tokenizer))
    num = settings["steps"] * settings["batch_size"]
    pairs = (pair for pair in load_comparisons(settings["data"], on_bad="drop") if pair.ranks == (0, 1))
    short = (pair for pair in pairs if longest(DPO().trees(pair, render)[0]) <= MAX_TOKENS)
    chosen = list(itertools.islice(short, num))
    if len(chosen) < num:
        sys.exit(f"the data gives {len(chosen)} pairs of the {num} needed; give more --data or fewer --steps")
    data = folder / "pairs.jsonl"
    data.write_text("".join(json.dumps(line_of(pair)) + "\n" for pair in chosen))

    config = build_config(shared_options(settings, folder, "0"))
    dataset = make_dataset(config, DPO(), tokenizer, Limit(MAX_TOKENS, ""), load_comparisons(data))
    plan = StepPlan(num, config)
    batches = [[dataset.train[index][0] for index in plan.records(step)] for step in range(1, settings["steps"] + 1)]
    job = {"model_folder": str(model_folder), "batches": [[ids_of(tree) for tree in batch] for batch in batches]}
    (folder / "job.json").write_text(json.dumps(job))
    return describe(batches) | {"model_folder": str(model_folder)}


def longest(tree: Any) -> int:
    """The longer path of a tree, in tokens."""
    return max(len(path) for path in tree.paths())


def line_of(pair: Any) -> dict[str, Any]:
    """A comparison as a line of a data file."""
    prompt, *answers = [
        [{"role": turn.role, "content": turn.content} for turn in turns] for turns in (pair.messages, *pair.answers)
    ]
    return {"prompt": prompt, "chosen": answers[0], "rejected": answers[1]}


def ids_of(tree: Any) -> dict[str, Any]:
    """The ids as TRL's collator takes them."""
    chosen, rejected = (branch.ids for branch in tree.branches)
    return {"prompt_ids": tree.trunk.ids, "chosen_ids": chosen, "rejected_ids": rejected}


def describe(batches: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """The mix: how many pairs, how long prompts and answers are, and what sharing the prompt saves."""
    trees = [tree for batch in batches for tree in batch]
    prompts = [len(tree.trunk) for tree in trees]
    answers = [len(branch) for tree in trees for branch in tree.branches]
    return {
        "num_pairs": len(trees),
        "prompt_tokens_min_median_max": [min(prompts), statistics.median(prompts), max(prompts)],
        "answer_tokens_min_median_max": [min(answers), statistics.median(answers), max(answers)],
        "num_tokens_shared": sum(tree.num_tokens for tree in trees),
        "num_tokens_separate": sum(len(path) for tree in trees for path in tree.paths()),
        "num_trained_tokens_by_step": [sum(tree.num_trained_tokens for tree in batch) for batch in batches],
    }


# The contestants -----------------------------------------------------------------------------------------------------
def shared_options(settings: dict[str, Any], folder: Path, round_name: str) -> dict[str, Any]:
    """Tutelage's defaults but for what every contestant shares."""
    shared = {key: settings[key] for key in ("model", "batch_size", "learning_rate", "seed")}
    constant = {"epochs": 1, "schedule": "constant", "warmup_frac": 0.0}
    saving_nothing = {"save_every": 0, "num_samples": 0}
    places = {"data": str(folder / "pairs.jsonl"), "out": "ours", "workspace": str(folder / round_name)}
    return shared | constant | saving_nothing | places


def run_ours(settings: dict[str, Any], folder: Path, round_name: str) -> dict[str, Any]:
    """Train as a user would from Python; the times are those of the run's own files."""
    from tutelage.train.api import train_from_python

    run = train_from_python("dpo", quiet=True, beta=settings["beta"], **shared_options(settings, folder, round_name))
    reference = json.loads((run.path / "reference.json").read_text())
    return {
        "reference_seconds": reference["seconds"],
        "step_seconds": gaps([0.0, *(line["seconds"] for line in run.metrics)]),
        "losses": [line["loss"] for line in run.metrics],
        "num_trained_tokens": [line["num_trained_tokens_step"] for line in run.metrics],
        "versions": versions("tutelage", "torch", "transformers"),
    }


def run_trl(settings: dict[str, Any], folder: Path, own: dict[str, Any]) -> dict[str, Any]:
    """Train with DPOTrainer on the same ids, in the same order; `own` are the contestant's settings."""
    from datasets import Dataset
    from transformers import AutoTokenizer, PrinterCallback
    from trl import DPOConfig, DPOTrainer

    reference_seconds = [0.0]

    class OnTheseIds(DPOTrainer):
        """DPOTrainer on rows that are token ids already, with the time that computing the reference once takes."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, *arguments: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            result = super()._precompute_ref_logps(*arguments, **options)
            reference_seconds[0] += time.perf_counter() - begun
            return result

    job = json.loads((folder / "job.json").read_text())
    args = {
        "output_dir": str(folder / "trl"), "per_device_train_batch_size": settings["batch_size"],
        "max_steps": settings["steps"], "learning_rate": settings["learning_rate"], "beta": settings["beta"],
        "max_length": None if own.get("padding_free") else MAX_TOKENS, "lr_scheduler_type": "constant",
        "train_sampling_strategy": "sequential", "use_cpu": True, "save_strategy": "no", "logging_steps": 1,
        "report_to": "none", "disable_tqdm": True, "dataloader_pin_memory": False,
        "precompute_ref_batch_size": settings["batch_size"],
    }  # fmt: skip
    pairs = [pair for batch in job["batches"] for pair in batch]
    columns = {name: [pair[name] for pair in pairs] for name in pairs[0]}
    tokenizer = AutoTokenizer.from_pretrained(job["model_folder"])
    trainer = OnTheseIds(
        job["model_folder"], args=DPOConfig(**args | own), train_dataset=Dataset.from_dict(columns),
        processing_class=tokenizer,
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    times, losses, num_trained = watch(trainer, lambda batch: int(batch["completion_mask"].sum()))
    trainer.train()
    return {
        "reference_seconds": reference_seconds[0],
        "step_seconds": gaps(times),
        "losses": losses,
        "num_trained_tokens": num_trained[-settings["steps"] :],
        "versions": versions("trl", "torch", "transformers", "accelerate"),
    }


if __name__ == "__main__":
    serve_part(prepare, run_ours, run_trl, CONTESTANTS)
