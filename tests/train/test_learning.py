"""A small real task on a real model: told only whether an answer is short enough, it learns to be brief."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import pytest

import tutelage

pytestmark = [pytest.mark.slow, pytest.mark.starter]

THINGS = (
    "cats",
    "dogs",
    "trees",
    "rain",
    "bread",
    "tea",
    "cars",
    "books",
    "boats",
    "snow",
    "bees",
    "milk",
    "stars",
    "salt",
)
REWARD = """
def brief(answer, stopped):
    return float(stopped and 1 <= len(answer.split()) <= 6)
"""
RUNS: dict[str, dict[str, Any]] = {
    "grpo": {"max_steps": 6, "prompts_per_step": 8, "group_size": 6, "learning_rate": 6e-5, "kl_coef": 0.0},
    "ppo": {
        "max_steps": 5, "prompts_per_step": 14, "group_size": 3, "learning_rate": 1e-3, "critic_learning_rate": 1e-3,
        "lora.rank": 16, "kl_coef": 0.01, "inner_epochs": 1, "missing_end_penalty": 0.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("method", RUNS)
def test_reward_rises_from_under_30_to_over_80_percent_in_three_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.chdir(tmp_path)
    prompts = [{"prompt": f"Describe {thing} in at most six words."} for thing in THINGS]
    Path("prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in prompts), encoding="utf-8")
    Path("reward.py").write_text(REWARD, encoding="utf-8")
    begun = time.process_time()  # what this process used, and not what its neighbours on the two cores did meanwhile
    run = tutelage.train(
        method, model="starter-chat", prompts="prompts.jsonl", reward="./reward.py:brief", out="brief", epochs=20,
        max_new_tokens=14, schedule="constant", warmup_frac=0.0, num_samples=0, save_every=0, quiet=True,
        **RUNS[method],
    )  # fmt: skip
    rewards = [line["reward"] for line in run.metrics]
    assert rewards[0] < 0.3
    assert statistics.fmean(rewards[-3:]) > 0.8
    assert time.process_time() - begun < 2 * 180, "three minutes of two cores"
