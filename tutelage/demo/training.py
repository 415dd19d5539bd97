"""The demo's three trainings: on pairs, on verdicts, on rewards. Each is `tutelage train` with the options below.

Leaves out the order of things (`story`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from tutelage.methods.registry import find_method
from tutelage.train.api import train
from tutelage.train.config import build_run

BASE = "starter-base"
ANSWER_TOKENS = 96
"""Longest answer in comparisons and in practice."""

SFT: Mapping[str, Any] = {
    "model": BASE, "epochs": 1, "batch_size": 4, "learning_rate": 2e-5, "num_samples": 0,
    "save_every": 60,
}  # fmt: skip
# A model may write a control token into an answer; such a verdict cannot be rendered, and is left out and counted.
REWARD: Mapping[str, Any] = {
    "epochs": 1, "batch_size": 8, "learning_rate": 5e-5, "bad_records": "drop", "num_samples": 0, "save_every": 20,
}  # fmt: skip
# Nine short steps: adapters and a flat rate move far enough, and rewards as they are fit a critic that begins as the
# reward model (dividing them by their spread would not). LOG.md says what else was tried.
RLHF: Mapping[str, Any] = {
    "prompts": "compare", "max_new_tokens": ANSWER_TOKENS, "max_steps": 9, "prompts_per_step": 16, "group_size": 2,
    "inner_epochs": 1, "minibatches": 2, "old_logprobs": "sampler", "lora.rank": 16, "merge_lora": True,
    "learning_rate": 2e-4, "critic_learning_rate": 3e-4, "schedule": "constant", "warmup_frac": 0.0, "kl_coef": 0.02,
    "whiten_rewards": False, "num_samples": 0, "save_every": 3,
}  # fmt: skip


def train_once(method: str, options: Mapping[str, Any], workspace: Path, out: str, console: Console) -> bool:
    """Train, go on with an interrupted run, or keep the model that is there already; False where interrupted."""
    model = workspace / "models" / out
    if model.is_dir():
        console.print(f"{escape(str(model))} is there already and is kept.\n")
        return True
    resumable = (workspace / "runs" / out / "config.json").is_file()
    given = {**options, "out": out, "workspace": str(workspace), "keep_last": 1, "resume": resumable}
    config, method_options = build_run(find_method(method), given)
    finished = train(method, config, method_options).finished
    if not finished:
        console.print("Interrupted. The same command goes on from here.")
    return finished
