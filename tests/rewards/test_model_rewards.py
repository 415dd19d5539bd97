"""Reward models and ensembles as rewards: the scores of `transformers`, whatever the company, mean less variance."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
from asked import answer_to
from tiny import tiny_folder

from tutelage.errors import ModelError
from tutelage.models.ensemble import save_ensemble
from tutelage.models.reward import load_reward_model
from tutelage.models.save import save_model
from tutelage.models.template import end_of_turn_id
from tutelage.rewards import models
from tutelage.rewards.models import ModelReward, member_names
from tutelage.rewards.spec import check_reward, make_reward

ASKS = ("How do you clean a pan?", "What is the capital of France?")
ANSWERS = [
    answer_to("Mix vinegar and soda, scrub and rinse.", asks=ASKS[0]),
    answer_to("Paris.", asks=ASKS[1]),
    answer_to("", asks=ASKS[0]),
    answer_to("It is the city of Paris in the north.", asks=ASKS[1]),
    answer_to("Mix vinegar and soda, scrub and rinse.", asks=ASKS[0]),
]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three reward models with heads of different seeds, and an ensemble `rm` of two of them; computed in fp32."""
    load = load_reward_model
    monkeypatch.setattr(models, "load_reward_model", lambda *names, **options: load(*names, dtype="float32", **options))
    base = tiny_folder(tmp_path, "llama", max_position_embeddings=96)
    for seed in range(3):
        loaded = load(str(base), dtype="float32", device="cpu", seed=seed)
        path = tmp_path / "models" / f"rm-seed{seed}"
        save_model(loaded.model, loaded.tokenizer, path, origin={}, dtype="float32")
    save_ensemble(tmp_path / "models" / "rm", ["rm-seed0", "rm-seed1"], {})
    return tmp_path


def made(name: str, workspace: Path, **options: Any) -> ModelReward:
    reward = make_reward([name], workspace=workspace, device="cpu", **options).parts[0].reward
    assert isinstance(reward, ModelReward)
    return reward


def by_transformers(name: str, workspace: Path) -> list[float]:
    """Scores by the model's own forward: each conversation rendered whole and run alone."""
    loaded = load_reward_model(str(workspace / "models" / name), dtype="float32", device="cpu")
    model, tokenizer, scores = loaded.model, loaded.tokenizer, []
    for answer in ANSWERS:
        messages = [{"role": m.role, "content": m.content} for m in answer.prompt.messages]
        text = tokenizer.apply_chat_template(
            [*messages, {"role": "assistant", "content": answer.text}], tokenize=False
        ).rstrip()
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ids[-1] == end_of_turn_id(tokenizer)
        with torch.no_grad():
            scores.append(float(model(input_ids=torch.tensor([ids])).logits[0, 0]))
    return scores


def test_scores_are_those_of_transformers(workspace):
    expected = by_transformers("rm-seed2", workspace)
    assert len(set(expected)) == 4
    assert made("rm-seed2", workspace).score(ANSWERS) == pytest.approx(expected, abs=1e-4)


def test_neither_order_nor_company_changes_a_score(workspace):
    reward = made("rm-seed0", workspace)
    together = reward.score(ANSWERS)
    assert reward.score(ANSWERS[::-1]) == pytest.approx(together[::-1], abs=1e-5)
    assert [reward.score([answer])[0] for answer in ANSWERS] == pytest.approx(together, abs=1e-5)
    assert reward.score([]) == []


def test_answers_to_one_prompt_share_its_computation(workspace, monkeypatch):
    rows = []
    real = models.score_trees
    monkeypatch.setattr(models, "score_trees", lambda engine, trees: rows.append(trees) or real(engine, trees))
    made("rm-seed0", workspace).score(ANSWERS)
    assert [[len(tree.branches) for tree in trees] for trees in rows] == [[3, 2]]


def test_an_ensemble_is_mean_less_variance(workspace):
    one, other = by_transformers("rm-seed0", workspace), by_transformers("rm-seed1", workspace)
    reward = made("rm", workspace, ensemble_penalty=0.5)
    pairs = list(zip(one, other, strict=True))
    expected = [statistics.fmean(pair) - 0.5 * ((pair[0] - pair[1]) / 2) ** 2 for pair in pairs]
    assert reward.score(ANSWERS) == pytest.approx(expected, abs=1e-4)
    assert reward.spreads() == pytest.approx([abs(a - b) / 2 for a, b in pairs], abs=1e-4)
    assert min(abs(a - b) for a, b in pairs) > 1e-3
    assert made("rm", workspace).score(ANSWERS) == pytest.approx([statistics.fmean(p) for p in pairs], abs=1e-4)


def test_the_spread_of_an_ensemble_behind_a_lone_model(workspace):
    both = make_reward(["rm-seed2 + 2*rm"], workspace=workspace, device="cpu")
    judged = both.judge(ANSWERS)
    lone, ensemble = (part.reward.score(ANSWERS) for part in both.parts)
    assert [one.total for one in judged] == pytest.approx([a + 2 * b for a, b in zip(lone, ensemble, strict=True)])
    assert all(one.spread > 1e-3 for one in judged)
    assert both.parts[0].reward.spreads() is None
    assert both.first_model == "rm-seed2"


def test_members_are_engines_in_memory_that_learn_nothing(workspace):
    reward = made("rm", workspace)
    assert [member.loaded.path.name for member in reward.members] == ["rm-seed0", "rm-seed1"]
    assert all(member.engine.model is member.loaded.model for member in reward.members)
    assert not any(p.requires_grad for member in reward.members for p in member.engine.model.parameters())
    assert member_names("rm", workspace) == [str(workspace / "models" / f"rm-seed{seed}") for seed in (0, 1)]
    assert member_names("rm-seed0", workspace) == ["rm-seed0"]
    assert make_reward(["rm"], workspace=workspace, device="cpu").first_model == member_names("rm", workspace)[0]


def test_an_answer_too_long_for_the_model_cannot_be_scored(workspace):
    reward = made("rm", workspace)
    tokenizer = reward.members[0].loaded.tokenizer
    long, short = answer_to("pan " * 96, asks=ASKS[0]), ANSWERS[0]
    assert len(tokenizer(long.text)["input_ids"]) > 96
    scores = reward.score([long, short])
    assert scores[0] is None
    assert scores[1] == pytest.approx(reward.score([short])[0], abs=1e-5)
    assert reward.score([long]) == [None]
    assert make_reward(["rm"], workspace=workspace, device="cpu").judge([long])[0].total is None


def test_an_answer_that_writes_a_control_token_cannot_be_scored(workspace):
    reward = made("rm-seed0", workspace)
    eos = reward.members[0].loaded.tokenizer.eos_token
    assert reward.score([answer_to(f"Paris{eos}"), answer_to("Paris")])[0] is None


def test_a_language_model_is_refused(workspace):
    with pytest.raises(ModelError, match=r"'.*tiny-llama' is a language model, not a reward model"):
        check_reward([str(workspace / "tiny-llama")], workspace)
