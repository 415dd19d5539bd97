"""best-of-n: the estimator by hand, the file it writes, and what it refuses."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from pathlib import Path

import pytest
from tiny import tiny_folder

from tutelage.best import expected_best, kl_bound
from tutelage.cli import main
from tutelage.data.load import load_conversations


def test_the_estimator_is_the_mean_over_all_choices_of_n() -> None:
    rewards = [0.3, -1.0, 2.0, 0.3, 0.7]
    for n in range(1, 6):
        every = [max(chosen) for chosen in itertools.combinations(rewards, n)]
        assert expected_best(rewards, n) == pytest.approx(statistics.fmean(every))
    # Two of [0, 1, 5]: best 1, 5, 5.
    assert expected_best([5.0, 0.0, 1.0], 2) == pytest.approx(11 / 3)


def test_the_bound_on_kl() -> None:
    assert kl_bound(1) == 0
    assert kl_bound(4) == pytest.approx(math.log(4) - 0.75)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny_folder(tmp_path, "llama").rename(tmp_path / "model")
    (tmp_path / "prompts.txt").write_text("What is it?\nHow dry?\nWhy?\n", encoding="utf-8")
    (tmp_path / "reward.py").write_text("def size(answer):\n    return len(answer)\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(arguments: list[str]) -> int:
    """The exit code of the command line."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


ARGUMENTS = [
    "best-of-n", "--model", "model", "--reward", "./reward.py:size", "--prompts", "prompts.txt", "--num-samples", "6",
    "--max-new-tokens", "8", "--out", "best.jsonl",
]  # fmt: skip


def test_the_best_answers_become_pairs_to_train_on(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ARGUMENTS, "--all-answers", "all.jsonl"]) == 0
    best = load_conversations("best.jsonl")
    everything = [json.loads(line) for line in (world / "all.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(everything) == 18
    longest = [max(one["answer"] for one in everything[i : i + 6] if one["reward"] == max(
        other["reward"] for other in everything[i : i + 6])) for i in (0, 6, 12)]  # fmt: skip
    assert [len(one.messages[-1].content) for one in best] == [len(text) for text in longest]
    printed = capsys.readouterr().out
    assert "the best answers to 3 of 3 prompts" in printed
    assert "best of" in printed


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--temperature", "0"], "--temperature 0"),
        (["--num-samples", "0"], "--num-samples is 0; it must be at least 1"),
        (["--min-reward", "1000"], "none of 3 prompts has an answer to keep; lower --min-reward"),
        (["--reward", "maths"], "did you mean 'math'?"),
    ],
)
def test_mistakes_leave_no_file(world: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str) -> None:
    replaced = {more[0]: more[1]}
    pairs = [(ARGUMENTS[i], ARGUMENTS[i + 1]) for i in range(1, len(ARGUMENTS), 2)]
    given = [word for name, value in pairs if name not in replaced for word in (name, value)]
    assert run(["best-of-n", *given, *more]) == 2
    assert message in capsys.readouterr().err
    assert not (world / "best.jsonl").exists()
