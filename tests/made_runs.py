"""Run folders as training leaves them, made in an instant for tests of what looks at runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def make_model(workspace: Path, name: str, *, kind: str = "LlamaForCausalLM", **origin: Any) -> Path:
    """A model folder that has everything but weights."""
    folder = workspace / "models" / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": [kind]}), encoding="utf-8")
    if origin:
        (folder / "tutelage_origin.json").write_text(json.dumps(origin), encoding="utf-8")
    return folder


def make_run(
    workspace: Path, name: str, *, steps: int = 3, method: str = "sft", log: str = "", samples: Iterable[Any] = (),
    finished: bool = False, **config: Any,
) -> Path:  # fmt: skip
    """A run of so many steps that nobody trains into; `finished` makes its model."""
    folder = workspace / "runs" / name
    folder.mkdir(parents=True)
    options = {"method": method, "model": "tiny", "data": "starter", "out": name, "num_steps": 10} | config
    (folder / "config.json").write_text(json.dumps(options), encoding="utf-8")
    append(folder / "metrics.jsonl", [step(number) for number in range(1, steps + 1)])
    append(folder / "samples.jsonl", samples)
    if log:
        (folder / "log.txt").write_text(log, encoding="utf-8")
    if finished:
        make_model(workspace, name, kind="LlamaForCausalLM", run=name)
    return folder


def step(number: int, **more: Any) -> dict[str, Any]:
    """A line of metrics.jsonl: the loss falls, two seconds a step."""
    return {"step": number, "loss": 3.0 / number, "seconds": 2.0 * number, "tokens_per_second": 100.0, **more}


def append(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Add lines as training does, each with one write."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for line in lines:
        os.write(fd, json.dumps(line).encode() + b"\n")
    os.close(fd)
