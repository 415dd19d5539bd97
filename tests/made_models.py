"""Model folders, evaluations and held-out accuracies written by hand, as training and `tutelage report` write them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tutelage.models.folder import ORIGIN_FILE, write_origin
from tutelage.stats.intervals import Interval, wilson

LANGUAGE = {"architectures": ["LlamaForCausalLM"]}
REWARD = {"architectures": ["LlamaForSequenceClassification"]}
MADE_MS = 1_795_000_000_000


def made(
    workspace: Path, name: str, method: str, *inputs: dict[str, str], at: int = 0, config: dict[str, Any] = LANGUAGE,
    **more: Any,
) -> Path:  # fmt: skip
    """A model folder without weights; the larger `at`, the newer it is."""
    folder = workspace / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    base = next((each["name"] for each in inputs if each["role"] == "base"), "")
    data = next((each["name"] for each in inputs if each["role"] in ("data", "prompts")), "")
    origin = {"kind": "trained", "run": name, "method": method, "base": base, "data": data, "steps": 120,
              "tokens": 412_800, "inputs": list(inputs), "options": {}}  # fmt: skip
    write_origin(folder, origin | more)
    os.utime(folder / ORIGIN_FILE, ns=(0, (MADE_MS + at * 3_600_000) * 1_000_000))
    return folder


def of(role: str, name: str, snapshot: str = "") -> dict[str, str]:
    """An input of a model."""
    return {"role": role, "name": name} | ({"snapshot": snapshot, "content_hash": "ab" * 32} if snapshot else {})


def evaluated(
    workspace: Path, name: str, models: list[str], wins: dict[tuple[str, str], tuple[int, int]], *, number: int = 100,
    prompts: str = "sealed", rater: str = "scripted rater", at_ms: int = 1_795_700_000_000,
    made_ms: dict[str, int] | None = None, page: str | None = None,
) -> None:  # fmt: skip
    """An evaluation that has finished; `wins` are (model, against): (wins, ties)."""
    folder = workspace / "reports"
    folder.mkdir(exist_ok=True)
    numbers = {
        "title": " → ".join(models), "at_ms": at_ms, "overview": f"Of 1 measures, {models[-1]} is better on 1.",
        "prompts": {"name": prompts, "number": number, "sha256": prompts}, "sampling": {"max_new_tokens": 256},
        "models": [{"name": each, "made_ms": (made_ms or {}).get(each)} for each in models], "rater": rater,
        "contests": [_contest(*pair, *counts, number) for pair, counts in wins.items()],
        "measures": [_measure(len(models), number)], "facts": {"Machine": "a secret one"},
    }  # fmt: skip
    (folder / f"{name}.html").write_text(page or "<!doctype html><title>A report</title><p>All answers")
    (folder / f"{name}.json").write_text(json.dumps(numbers))
    os.utime(folder / f"{name}.json", ns=(0, at_ms * 1_000_000))


def _contest(model: str, against: str, wins: int, ties: int, number: int) -> dict[str, Any]:
    rate = wilson(wins + ties / 2, number)
    verdict = "undecided" if rate.contains(0.5) else "better" if rate.estimate > 0.5 else "worse"
    return {"model": model, "against": against, "wins": wins, "ties": ties, "number": number,
            "rate": rate._asdict(), "verdict": verdict}  # fmt: skip


def _measure(num_models: int, number: int) -> dict[str, Any]:
    estimates = [wilson(number // 10, number), *[wilson(number * 9 // 10, number)] * (num_models - 1)]
    return {
        "name": "stopped", "label": "Stops by itself", "meaning": "The model ended its answer.", "better": "higher",
        "unit": "%", "number": number, "estimates": [each._asdict() for each in estimates],
        "difference": Interval(0.8, 0.7, 0.9)._asdict(), "verdict": "better", "remark": "",
    }  # fmt: skip


def held_out(workspace: Path, run: str, right: int, number: int) -> None:
    """What a run of the method reward says of the comparisons it held out."""
    folder = workspace / "runs" / run
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"method": "reward"}))
    found = {"accuracy": wilson(right, number)._asdict(), "num_comparisons": number,
             "length_baseline": wilson(number * 0.55, number)._asdict(),
             "agreement": {"share": Interval(0.72, 0.66, 0.78)._asdict()}}  # fmt: skip
    (folder / "held_out.json").write_text(json.dumps(found))
