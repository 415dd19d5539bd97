"""LoRA: off by default, harmless until trained, mergeable; wrong settings are one line."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_model

from tutelage.errors import ConfigError
from tutelage.models.adapt import LoraConfig, add_lora, merge_lora

IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])


def test_fresh_adapters_change_nothing_and_only_they_train(family):
    expected = tiny_model(family)(IDS).logits
    model = add_lora(tiny_model(family), LoraConfig(rank=4))
    assert torch.equal(model(IDS).logits, expected)
    assert all(("lora_" in name) == parameter.requires_grad for name, parameter in model.named_parameters())


def test_all_linear_means_every_projection_and_not_the_head():
    model = add_lora(tiny_model("llama"), LoraConfig(rank=2))
    adapted = {name.split(".lora_A")[0].rpartition(".")[2] for name, _ in model.named_parameters() if "lora_A" in name}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_named_modules_only():
    model = add_lora(tiny_model("llama"), LoraConfig(rank=2, target_modules="q_proj, v_proj"))
    adapted = {name.split(".lora_A")[0].rpartition(".")[2] for name, _ in model.named_parameters() if "lora_A" in name}
    assert adapted == {"q_proj", "v_proj"}


@pytest.mark.parametrize(("alpha", "scale"), [(None, 2.0), (4.0, 0.5)])
def test_the_addition_is_scaled_by_alpha_over_rank(alpha, scale):
    model = add_lora(tiny_model("llama"), LoraConfig(rank=8, alpha=alpha))
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    torch.nn.init.ones_(layer.lora_B["default"].weight)
    before = layer.base_layer.weight.clone()
    added = scale * torch.ones(32, 8) @ layer.lora_A["default"].weight
    merged = merge_lora(model)
    torch.testing.assert_close(merged.model.layers[0].self_attn.q_proj.weight, before + added)


def test_merging_keeps_what_the_model_says(family):
    model = add_lora(tiny_model(family), LoraConfig(rank=4))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    expected = model(IDS).logits
    merged = merge_lora(model)
    assert not any("lora" in name for name, _ in merged.named_parameters())
    torch.testing.assert_close(merged(IDS).logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": -1}, "lora.rank is -1; it is 0 (off) or more"),
        ({"rank": 4, "dropout": 1.0}, "lora.dropout is 1.0; it is at least 0 and below 1"),
        ({"rank": 4, "alpha": 0.0}, "lora.alpha is 0.0; it is a number above 0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigError) as error:
        LoraConfig(**settings)
    assert str(error.value) == message


def test_adapters_that_cannot_be_added():
    with pytest.raises(ConfigError) as error:
        add_lora(tiny_model("llama"), LoraConfig())
    assert str(error.value) == "lora.rank is 0, which means no adapters; give a rank of 1 or more"
    with pytest.raises(ConfigError) as error:
        add_lora(tiny_model("llama"), LoraConfig(rank=2, target_modules="q_proj,w_proj"))
    assert str(error.value) == (
        "lora.target_modules 'w_proj' names no linear layer; "
        "known: down_proj, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj"
    )
    with pytest.raises(ConfigError) as error:
        add_lora(add_lora(tiny_model("llama"), LoraConfig(rank=2)), LoraConfig(rank=2))
    assert str(error.value) == (
        "the model has an adapter already; merge it first, or go on training it with lora.rank 0"
    )
