"""The demo on the real starter model, cut short: four prompts, two steps, short answers; then once more."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tutelage import demo
from tutelage.data import load_general_texts, load_prompts
from tutelage.engine.generate import Sampling
from tutelage.train.api import Run, train
from tutelage.train.config import TrainConfig

pytestmark = [pytest.mark.slow, pytest.mark.starter]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """Cuts the demo short, and asks the base model once in all; the list fills with the options of each training."""
    trained: list[TrainConfig] = []
    prompts = [prompt for prompt in load_prompts("sealed") if prompt.id in demo.SHOWN]
    assert len(prompts) == 3
    prompts += [prompt for prompt in load_prompts("sealed") if prompt.id not in demo.SHOWN][:1]

    def two_steps(method: str, config: TrainConfig) -> Run:
        trained.append(config)
        return train(method, dataclasses.replace(config, max_steps=2, batch_size=2, save_every=0), quiet=True)

    ask, answered = demo._ask, dict[str, Any]()

    def ask_the_base_once(model: str, workspace: Path) -> Any:
        if model != demo.BASE:
            return ask(model, workspace)
        return answered.setdefault(model, answered.get(model) or ask(model, workspace))

    monkeypatch.setattr(demo, "_ask", ask_the_base_once)
    monkeypatch.setattr(demo, "load_prompts", lambda source: prompts)
    monkeypatch.setattr(demo, "load_general_texts", lambda: load_general_texts()[:1])
    monkeypatch.setattr(demo, "SAMPLING", Sampling(max_new_tokens=8))
    monkeypatch.setattr(demo, "train", two_steps)
    return trained


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_demo_goes_from_the_base_model_to_a_report_and_back_to_its_model(
    tmp_path: Path, short: list[TrainConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = tmp_path / "workspace"
    assert demo.run_demo(workspace, 2, "demo") == 0
    shown = capsys.readouterr().out

    # What is on the screen: four steps, the pan marked as trained, the others as not, and where to go next.
    for title in ("1 · Before", "2 · Training on", "3 · After", "4 · Report"):
        assert shown.count(title) == 1
    assert shown.count("How do you clean a dirty pan? (in the starter pairs)") == 2
    assert shown.count("(never trained on)") == 6
    assert "Talk with the model:" in shown

    # What is on disk: two steps of metrics, an ordinary model folder, a report with both models.
    metrics = lines(workspace / "runs" / "demo" / "metrics.jsonl")
    assert [line["step"] for line in metrics] == [1, 2]
    assert all(0 < line["loss"] < 10 for line in metrics)
    model = workspace / "models" / "demo"
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= {path.name for path in model.iterdir()}
    origin = json.loads((model / "tutelage_origin.json").read_text(encoding="utf-8"))
    assert (origin["base"], origin["data"], origin["steps"]) == ("starter-base", "starter", 2)
    page = (workspace / "report.html").read_text(encoding="utf-8")
    assert "From a base model to an assistant" in page
    assert (short[0].model, short[0].data, short[0].epochs, short[0].resume) == ("starter-base", "starter", 2, False)

    # Once more: the model is kept, nothing is trained, and the report is written again.
    weights = (model / "model.safetensors").stat().st_mtime_ns
    (workspace / "report.html").unlink()
    assert demo.run_demo(workspace, 2, "demo") == 0
    assert "is there already and is kept" in " ".join(capsys.readouterr().out.split())
    assert (workspace / "report.html").is_file()
    assert len(short) == 1
    assert (model / "model.safetensors").stat().st_mtime_ns == weights


def test_an_interrupted_demo_says_so_and_goes_on_the_next_time(
    tmp_path: Path, short: list[TrainConfig], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    resumed: list[bool] = []

    def interrupted(method: str, config: TrainConfig) -> Run:
        resumed.append(config.resume)
        path = config.workspace / "runs" / config.out
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").write_text("{}", encoding="utf-8")
        return Run(config.out, path, config.workspace / "models" / config.out, finished=False)

    monkeypatch.setattr(demo, "train", interrupted)
    monkeypatch.setattr(demo, "_ask", lambda model, workspace: (None, []))
    assert [demo.run_demo(tmp_path, 2, "demo"), demo.run_demo(tmp_path, 2, "demo")] == [130, 130]
    assert resumed == [False, True]
    assert capsys.readouterr().out.count("Interrupted. The same command goes on from here.") == 2
    assert not (tmp_path / "report.html").exists()
