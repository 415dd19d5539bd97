"""Features: the very states that a reward model's head reads, whatever the company, computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_folder

from tutelage.engine.forward import TreeEngine, ordinary_implementation
from tutelage.errors import ModelError
from tutelage.feedback import features
from tutelage.feedback.features import Asked, answer_states, compute_states
from tutelage.models.ensemble import save_ensemble
from tutelage.models.load import Loaded
from tutelage.models.reward import load_reward_model, score_head
from tutelage.models.save import save_model
from tutelage.types import Message


def asked(prompt: str, **answers: str) -> Asked:
    return Asked((Message("user", prompt),), {name: (Message("assistant", text),) for name, text in answers.items()})


ASKED = [
    asked("How do you clean a pan?", a="Mix vinegar and soda, scrub and rinse.", b="With water."),
    asked("What is the capital of France?", c="Paris.", d="It is the city of Paris in the north."),
]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two reward models, an ensemble `rm` of them, and the language model `base`; computed in fp32."""
    load = load_reward_model
    monkeypatch.setattr(features, "load_reward_model", lambda name, **more: load(name, dtype="float32", **more))
    base = tiny_folder(tmp_path, "llama", name="base", max_position_embeddings=96)
    for seed in range(2):
        loaded = load(str(base), dtype="float32", device="cpu", seed=seed)
        save_model(loaded.model, loaded.tokenizer, tmp_path / "models" / f"rm{seed}", origin={}, dtype="float32")
    save_ensemble(tmp_path / "models" / "rm", ["rm0", "rm1"], {})
    return tmp_path


def loaded(workspace: Path, name: str = "rm0") -> Loaded:
    return load_reward_model(name, workspace=workspace, dtype="float32", device="cpu", fresh_head=False)


def by_transformers(workspace: Path, one: Asked, name: str) -> tuple[np.ndarray, int]:
    """Hidden states of prompt and answer by the ordinary forward, and where the answer begins."""
    model = loaded(workspace)
    turns = [{"role": turn.role, "content": turn.content} for turn in (*one.messages, *one.answers[name])]
    render = model.tokenizer.apply_chat_template
    text, start = render(turns, tokenize=False).rstrip(), render(turns[:-1], tokenize=False, add_generation_prompt=True)
    ids, begins = (model.tokenizer(each, add_special_tokens=False)["input_ids"] for each in (text, start))
    decoder = model.model.get_decoder()
    decoder.config._attn_implementation = ordinary_implementation(model.model)
    with torch.no_grad():
        return decoder(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy(), len(begins)


def test_the_last_state_is_what_the_head_reads(workspace: Path) -> None:
    found = answer_states("rm0", ASKED, workspace=workspace, quiet=True)
    assert sorted(found) == ["a", "b", "c", "d"]
    weight = score_head(loaded(workspace).model).weight.detach().numpy()[0]
    for one in ASKED:
        for name in one.answers:
            states, _ = by_transformers(workspace, one, name)
            assert np.allclose(found[name], states[-1], atol=1e-4)
            assert float(found[name] @ weight) == pytest.approx(float(states[-1] @ weight), abs=1e-4)
    assert not np.allclose(found["c"], found["d"], atol=1e-2)


def test_the_mean_state_is_over_the_states_that_predict_the_answer(workspace: Path) -> None:
    found = answer_states("rm0", ASKED, workspace=workspace, pooling="mean", quiet=True)
    for one in ASKED:
        for name in one.answers:
            states, begins = by_transformers(workspace, one, name)
            assert np.allclose(found[name], states[begins - 1 : -1].mean(0), atol=1e-4)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_the_padded_path_gives_the_same(workspace: Path, pooling: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = compute_states(loaded(workspace), ASKED, pooling=pooling)
    make = TreeEngine.__init__

    def padded(engine: TreeEngine, model: Any, **options: Any) -> None:
        model._tutelage_tree_support = "this test wants the padded path"
        make(engine, model, **options)

    monkeypatch.setattr(TreeEngine, "__init__", padded)
    slow = compute_states(loaded(workspace), ASKED, pooling=pooling)
    assert slow.keys() == fast.keys()
    assert all(np.allclose(slow[name], fast[name], atol=1e-4) for name in fast)


def test_a_language_model_has_features_too_and_an_ensemble_has_those_of_its_members(workspace: Path) -> None:
    base = answer_states(str(workspace / "base"), ASKED, workspace=workspace, quiet=True)
    one, other, both = (answer_states(name, ASKED, workspace=workspace, quiet=True) for name in ("rm0", "rm1", "rm"))
    assert np.allclose(base["a"], one["a"], atol=1e-4)  # the same decoder under a fresh head
    assert np.array_equal(both["a"], np.concatenate([one["a"], other["a"]]))


def test_states_are_computed_once_and_kept(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = answer_states("rm0", ASKED[:1], workspace=workspace, quiet=True)
    computed: list[list[str]] = []
    real = features.compute_states

    def counted(model: Loaded, wanted: list[Asked], **options: Any) -> Any:
        computed.append([name for one in wanted for name in one.answers])
        return real(model, wanted, **options)

    monkeypatch.setattr(features, "compute_states", counted)
    both = answer_states("rm0", ASKED, workspace=workspace, quiet=True)
    assert computed == [["c", "d"]]
    assert np.array_equal(both["a"], first["a"])
    assert answer_states("rm0", ASKED, workspace=workspace, quiet=True).keys() == both.keys()
    assert len(computed) == 1
    answer_states("rm0", ASKED, workspace=workspace, pooling="mean", quiet=True)
    assert len(computed) == 2


def test_equal_answers_to_a_prompt_are_read_once(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alike = asked("Where is it?", x="In Paris.", y="In Rome.", z="In Paris.")
    rows: list[Any] = []
    real = features.pack
    monkeypatch.setattr(features, "pack", lambda row, **more: rows.append(row) or real(row, **more))
    found = compute_states(loaded(workspace), [alike])
    assert [len(tree.branches) for row in rows for tree in row] == [2]
    assert np.array_equal(found["x"], found["z"])
    assert not np.allclose(found["x"], found["y"], atol=1e-2)


def test_a_model_trained_again_under_its_name_is_read_again(workspace: Path) -> None:
    before = answer_states("rm0", ASKED, workspace=workspace, quiet=True)
    changed = loaded(workspace)
    with torch.no_grad():
        changed.model.get_input_embeddings().weight.mul_(-1.5)
    save_model(changed.model, changed.tokenizer, workspace / "models" / "again", origin={}, dtype="float32")
    target = workspace / "models" / "rm0"
    (workspace / "models" / "again" / "model.safetensors").replace(target / "model.safetensors")
    after = answer_states("rm0", ASKED, workspace=workspace, quiet=True)
    assert not np.allclose(before["a"], after["a"], atol=1e-3)


def test_what_the_model_cannot_read_is_left_out(workspace: Path) -> None:
    eos = loaded(workspace).tokenizer.eos_token
    more = asked("What is the capital of France?", long="pan " * 96, control=f"Paris{eos}", e="Paris")
    found = answer_states("rm0", [*ASKED, more], workspace=workspace, quiet=True)
    assert sorted(found) == ["a", "b", "c", "d", "e"]
    assert answer_states("rm0", [asked("Why?", long="pan " * 96)], workspace=workspace, quiet=True) == {}


def test_a_damaged_file_says_what_to_do(workspace: Path) -> None:
    answer_states("rm0", ASKED, workspace=workspace, quiet=True)
    (file,) = (workspace / "features").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ModelError, match="remove it"):
        answer_states("rm0", ASKED, workspace=workspace, quiet=True)
