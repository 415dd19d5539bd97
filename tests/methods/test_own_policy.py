"""The documentation's example of a method that samples: its arithmetic, a run of it, and the page that shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_folder

import tutelage
import tutelage.methods
from tutelage.errors import ConfigError
from tutelage.methods.describe import options_of
from tutelage.methods.policy import Rollouts
from tutelage.methods.registry import METHODS, LossBatch, all_methods, find_method

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "my_policy.py"
ANSWERS = torch.tensor([0, 0, 1, 1])
"""Two answers of two tokens each, to one prompt."""


@pytest.fixture(autouse=True)
def _same_registry_afterwards() -> Iterator[None]:
    before = all_methods()
    yield
    METHODS.clear()
    METHODS.update(before)


def topr(**options: Any) -> Any:
    return find_method(str(EXAMPLE))(**options)


def test_a_bad_answer_fades_as_the_policy_leaves_it() -> None:
    """Rewards 3 and 1: advantages 1 and −1. Both answers have become half as probable, ½ = .8 · .625.

    The good one keeps weight 1, the bad one gets ½: gradients of the loss are −1 and +½ a token.
    """
    method = topr()
    rewards = torch.tensor([3.0, 1.0])
    found = method.advantages(Rollouts(rewards, torch.zeros(2, dtype=torch.long), ANSWERS, torch.zeros(4), 0.0))
    assert found["advantages"].tolist() == [1, 1, -1, -1]
    assert gradient(method, found["advantages"], [0.8, 0.625, 0.8, 0.625]) == pytest.approx([-1, -1, 0.5, 0.5])


def test_it_is_never_unlearned_more_than_the_largest_weight() -> None:
    """The bad answer has become four times as probable, and so has the good one."""
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0])
    assert gradient(topr(), advantages, [2, 2, 2, 2]) == pytest.approx([-1, -1, 1, 1])
    assert gradient(topr(max_weight=0.3), advantages, [2, 2, 2, 2]) == pytest.approx([-1, -1, 0.3, 0.3])


def gradient(method: Any, advantages: torch.Tensor, ratios: list[float]) -> list[float]:
    """Of the summed loss, at logprobs where π/π_old is `ratios`, a number a token."""
    logprobs = torch.tensor([-1.0, -2.0, -3.0, -0.5], requires_grad=True)
    old = logprobs.detach() - torch.tensor(ratios).log()
    tokens = {"advantages": advantages, "old_logprobs": old}
    loss = method.loss(LossBatch(logprobs, ANSWERS, torch.tensor([0, 0]), tokens=tokens))
    assert loss.weight == 4
    assert loss.metrics["clip_frac"] == (0, 4)
    loss.total.backward()
    assert logprobs.grad is not None
    return logprobs.grad.tolist()


def test_the_example_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_folder(tmp_path, "llama").rename(tmp_path / "model")
    lines = [json.dumps({"prompt": f"What is {n}?"}) for n in range(4)]
    Path("prompts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    Path("reward.py").write_text(
        "def vowels(answer):\n    return sum(c in 'aeiou' for c in answer)\n", encoding="utf-8"
    )
    given: dict[str, Any] = {
        "model": "model", "reward": "./reward.py:vowels", "prompts": "prompts.jsonl", "prompts_per_step": 2,
        "max_new_tokens": 6, "num_samples": 0, "quiet": True, "max_weight": 0.5, "learning_rate": 1e-3,
    }  # fmt: skip
    run = tutelage.train(str(EXAMPLE), out="mine", **given)
    first, second = run.metrics
    assert first["num_updates"] == second["num_updates"] == 2  # two passes, as the method says
    assert first["update_kl"] > 0
    assert run.config["max_weight"] == 0.5
    with pytest.raises(ConfigError, match=r"unknown key 'max_wait'; did you mean 'max_weight'\?"):
        tutelage.train(str(EXAMPLE), out="mine2", **given, max_wait=1)


def test_the_page_shows_the_example_and_it_is_short() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    assert text in (ROOT / "docs" / "new-method.md").read_text(encoding="utf-8")


def test_what_a_method_builds_on_is_public() -> None:
    for name in tutelage.methods.__all__:
        assert getattr(tutelage.methods, name).__name__ == name
    assert {"PolicyMethod", "GroupMethod", "Rollouts", "LossBatch", "method"} <= set(tutelage.methods.__all__)


def test_what_is_told_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A reference is only named where the method's defaults use one, and an option of several values says so."""
    from tutelage.cli import main

    for name, reference in (
        (str(EXAMPLE), "none, unless --kl-coef"),
        ("dapo", "none, unless --kl-coef"),
        ("ppo", "needed"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["methods", name])
        assert not ended.value.code
        out = " ".join(capsys.readouterr().out.split())
        assert f"reference {reference}" in out
    reward = next(option for option in options_of(find_method("ppo")) if option.name == "--reward")
    assert (reward.values, reward.default) == ("text, one or several", "–")
