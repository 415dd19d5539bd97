"""The demo: on a tiny model as a whole, interrupted and gone on with; and on the real starter model, cut short."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from person import typed
from tiny import tiny_folder

from tutelage.data import load_comparisons, load_general_texts, load_prompts
from tutelage.demo import story, training
from tutelage.demo.kept import kept
from tutelage.demo.story import Demo
from tutelage.engine.generate import Sampling
from tutelage.evaluate.run import load_for_answers
from tutelage.runs.evaluations import see
from tutelage.store.ancestry import Made, Source, ancestors
from tutelage.store.database import open_store
from tutelage.train.api import Run, train

pytestmark = pytest.mark.slow  # the whole loop

SEALED = [prompt for prompt in load_prompts("sealed") if prompt.id in story.SHOWN]
COMPARE = load_prompts("compare")[:6]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sealed prompts, six to compare, a few tokens, two steps of each training."""
    monkeypatch.setattr(story, "load_prompts", lambda source: SEALED if source == "sealed" else COMPARE)
    monkeypatch.setattr(story, "load_general_texts", lambda: load_general_texts()[:1])
    for name, temperature in (("SAMPLING", 0.0), ("PAIR_SAMPLING", 1.0), ("KL_SAMPLING", 1.0)):
        monkeypatch.setattr(story, name, Sampling(max_new_tokens=8, temperature=temperature))
    few = {"max_steps": 2, "batch_size": 2, "save_every": 1}
    steps = {"prompts_per_step": 2, "max_new_tokens": 8, "prompts": "compare"}
    for name, options in (("SFT", few), ("REWARD", few | {"max_steps": 1}), ("RLHF", few | steps)):
        monkeypatch.setattr(story, name, {**getattr(training, name), **options})


@pytest.fixture
def tiny(short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with a tiny model for the starter; the workspace."""
    base = str(tiny_folder(tmp_path / "base", "llama"))
    monkeypatch.setattr(story, "BASE", base)
    monkeypatch.setattr(story, "SFT", {**story.SFT, "model": base, "max_tokens": 512, "too_long": "cut"})
    monkeypatch.chdir(tmp_path)
    return tmp_path / "workspace"


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were loaded to be asked."""
    names: list[str] = []

    def load(name: str, workspace: Path) -> Any:
        names.append(name)
        return load_for_answers(name, workspace)

    monkeypatch.setattr(story, "load_for_answers", load)
    return names


def sources_under(made: Made) -> Iterator[Source]:
    for source in made.inputs:
        yield source
        for model in source.models:
            yield from sources_under(model)


def words_of(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_the_demo_makes_three_models_verdicts_and_a_report(
    tiny: Path, capsys: pytest.CaptureFixture[str], loads: list[str]
) -> None:
    assert Demo(tiny).run() == 0
    shown = words_of(capsys)
    for title in (
        "1 · Before",
        "2 · Fine-tuning on",
        "2 · After",
        "3 · Verdicts",
        "4 · RLHF",
        "5 · After",
        "5 · Report",
    ):
        assert shown.count(title) == 1, title
    assert shown.count("How do you clean a dirty pan? (in the starter pairs)") == 3
    assert shown.count("(never trained on)") == 9
    assert "a script with fixed rules" in shown
    assert "no person" in shown
    assert "demo-rlhf beats demo-sft on" in shown
    assert "where the time went" in shown
    assert "Talk with the model: tutelage chat demo-rlhf" in shown

    assert {path.name for path in (tiny / "models").iterdir()} == {"demo-sft", "demo-reward", "demo-rlhf"}
    origin = json.loads((tiny / "models" / "demo-rlhf" / "tutelage_origin.json").read_bytes())
    assert (origin["method"], origin["base"]) == ("ppo", "demo-sft")
    verdicts = load_comparisons(tiny / "demo" / "verdicts.jsonl")
    assert 0 < len(verdicts) <= len(COMPARE)
    assert {verdict.rater for verdict in verdicts} == {"scripted rater (noise 0.16, seed 0)"}
    page = (tiny / "report.html").read_text(encoding="utf-8")
    for wanted in (
        "From a base model to an assistant",
        "Who wins under the",
        "KL of demo-rlhf from demo-sft",
        "Reward",
    ):
        assert wanted in page

    with open_store(tiny) as store, store.read() as connection:  # every pair and verdict is reached from the model
        rlhf = ancestors(connection, "demo-rlhf")
        told = {source.name: source.facts for source in sources_under(rlhf) if source.facts}
    assert set(told) == {"starter-pairs@1", "labels:demo@1"}
    assert told["starter-pairs@1"].num_records == 466

    evaluation = see(tiny, "demo")  # what the studio shows
    assert (evaluation.state, evaluation.models[1:]) == ("finished", ("demo-sft", "demo-rlhf"))
    assert len(evaluation.numbers["contests"]) == 3
    assert (tiny / "reports" / "demo.html").read_text(encoding="utf-8") == page

    # Once more: nothing is trained or asked again, and the report says the same.
    loads.clear()
    (tiny / "report.html").unlink()
    assert Demo(tiny).run() == 0
    assert loads == []
    assert words_of(capsys).count("is there already and is kept") == 3
    again = (tiny / "report.html").read_text(encoding="utf-8")
    assert again.split('id="wins"')[1].split("</section>")[0] == page.split('id="wins"')[1].split("</section>")[0]


@pytest.mark.parametrize("stopped", ["sft", "reward", "ppo"])
def test_an_interrupted_training_says_so_and_the_next_call_goes_on(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, stopped: str
) -> None:
    resumed: list[bool] = []

    def interrupting(method: str, config: Any, options: Any) -> Run:
        if method != stopped:
            return train(method, config, options, quiet=True)
        resumed.append(config.resume)
        path = config.workspace / "runs" / config.out
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").write_text("{}", encoding="utf-8")
        return Run(config.out, path, config.workspace / "models" / config.out, finished=False)

    monkeypatch.setattr(training, "train", interrupting)
    assert [Demo(tiny).run(), Demo(tiny).run()] == [130, 130]
    assert resumed == [False, True]
    assert words_of(capsys).count("Interrupted. The same command goes on from here.") == 2
    assert not (tiny / "report.html").exists()


def test_my_verdicts_replace_the_scripts_and_are_never_asked_for_twice(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "PAIRS_FOR_ME", 3)
    assert Demo(tiny, me=True, ask_person=typed("a")).run() == 130
    shown = words_of(capsys)
    assert "your 1 verdicts are kept" in shown
    assert "The same command goes on from here." in shown
    assert Demo(tiny, me=True, ask_person=typed(*"xb=")).run() == 0
    shown = words_of(capsys)
    assert "2 of 3" in shown
    assert "1 of 3" not in shown
    raters = [verdict.rater for verdict in load_comparisons(tiny / "demo" / "verdicts.jsonl")]
    assert raters[:3] == ["me, at the terminal"] * 3
    assert set(raters[3:]) == {"scripted rater (noise 0.16, seed 0)"}
    assert "3 by you, the others by a script" in (tiny / "report.html").read_text(encoding="utf-8")


def test_kept_work_is_made_anew_when_what_it_was_made_from_changes(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> dict[str, int]:
        made.append(1)
        return {"number": len(made)}

    path = tmp_path / "demo" / "work.json"
    assert kept(path, {"model": "a"}, make) == {"number": 1}
    assert kept(path, {"model": "a"}, make) == {"number": 1}
    assert kept(path, {"model": "b"}, make) == {"number": 2}
    path.write_bytes(path.read_bytes()[:-9])
    assert kept(path, {"model": "b"}, make) == {"number": 3}


@pytest.mark.slow
@pytest.mark.starter
def test_the_demo_runs_on_the_starter_model(
    tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    once = {"max_steps": 1, "save_every": 0}  # a checkpoint is three gigabytes
    for name in ("SFT", "REWARD", "RLHF"):
        monkeypatch.setattr(story, name, {**getattr(story, name), **once})
    assert Demo(tmp_path / "workspace").run() == 0
    shown = words_of(capsys)
    assert "The base model starter-base is asked" in shown
    assert "demo-rlhf beats starter-base on" in shown
