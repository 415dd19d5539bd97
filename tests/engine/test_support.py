"""What is remembered of a family of models, and of which nothing is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_model
from torch import nn

from tutelage.engine import forward, support
from tutelage.engine.forward import tree_support
from tutelage.engine.support import FILE_NAME, recall, remember, support_key
from tutelage.models.starter import cache_folder


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tiny models count as large; the list fills with the models that were probed."""
    monkeypatch.setattr(support, "SMALLEST", 1)
    probed: list[str] = []
    original = forward._why_not_tree

    def probe(model: nn.Module) -> str:
        probed.append(type(model).__name__)
        return original(model)

    monkeypatch.setattr(forward, "_why_not_tree", probe)
    return probed


def key_of(model: Any) -> str | None:
    return support_key(model, model)


def test_the_second_model_of_a_kind_is_not_probed(probes: list[str]) -> None:
    assert tree_support(tiny_model("llama")) == ""
    assert tree_support(tiny_model("llama")) == ""
    assert probes == ["LlamaForCausalLM"]
    assert tree_support(tiny_model("qwen2")) == ""
    assert len(probes) == 2
    assert len(json.loads((cache_folder() / FILE_NAME).read_bytes())) == 2


def test_a_remembered_model_samples_and_learns_as_a_probed_one(probes: list[str]) -> None:
    from tutelage.engine.generate import Sampling, generate

    found = [generate(tiny_model("gemma3_text"), [[5, 6, 7]], Sampling(9), stop_ids=[295], pad_id=0) for _ in range(2)]
    assert found[0] == found[1]
    assert len(probes) == 1


def test_a_reason_against_it_is_remembered_as_well(probes: list[str]) -> None:
    model = tiny_model("llama")
    key = key_of(model)
    assert key is not None
    remember(cache_folder(), key, "it cannot")
    assert tree_support(model) == "it cannot"
    assert probes == []


def test_another_configuration_precision_or_engine_is_another_entry(
    probes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama")
    keys = {key_of(model), key_of(tiny_model("qwen2")), key_of(tiny_model("llama").bfloat16())}
    model.config.attention_dropout = 0.1
    keys.add(key_of(model))
    monkeypatch.setattr(support, "_engine_digest", lambda: "another")
    keys.add(key_of(model))
    assert len(keys) == 5
    assert None not in keys


def test_small_models_and_classes_from_elsewhere_are_probed_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    assert key_of(model) is None

    class Own(type(model)):  # type: ignore[misc]
        """A class that transformers does not know."""

    monkeypatch.setattr(support, "SMALLEST", 1)
    assert key_of(model) is not None
    assert key_of(Own(model.config)) is None


def test_a_damaged_or_unwritable_memory_costs_a_probe_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("{", encoding="utf-8")
    assert recall(tmp_path, "a") is None
    remember(tmp_path, "a", "")
    assert recall(tmp_path, "a") == ""
    (tmp_path / FILE_NAME).write_text('["a"]', encoding="utf-8")
    assert recall(tmp_path, "a") is None
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    remember(blocked, "a", "")  # a file stands where the folder should be
    assert recall(blocked, "a") is None


def test_the_oldest_entries_go_first(tmp_path: Path) -> None:
    for number in range(support.MOST + 3):
        remember(tmp_path, str(number), "")
    assert recall(tmp_path, "2") is None
    assert recall(tmp_path, "3") == ""


def test_the_copy_that_is_probed_has_few_rows_and_the_same_layers() -> None:
    model = tiny_model("llama").bfloat16()
    probe = forward._probe_model(model)
    assert probe.get_input_embeddings().weight.shape == (forward.PROBE_VOCAB, 32)  # type: ignore[operator]
    assert probe.get_output_embeddings().weight.shape == (forward.PROBE_VOCAB, 32)  # type: ignore[operator]
    assert {parameter.dtype for parameter in probe.parameters()} == {torch.float32}
    own, copied = dict(model.named_parameters()), dict(probe.named_parameters())
    assert own.keys() == copied.keys()
    assert all(torch.equal(own[name].float()[: len(copied[name])], copied[name]) for name in own)
    tied = forward._probe_model(tiny_model("qwen2").bfloat16())
    assert tied.get_input_embeddings().weight is tied.get_output_embeddings().weight  # type: ignore[operator]
