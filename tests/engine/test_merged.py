"""Adapters merged while sampling, and packed weights: the same numbers, and everything put back."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_model
from torch import nn
from torch.nn import functional

from tutelage.engine import merged
from tutelage.engine.forward import TreeEngine
from tutelage.engine.generate import Sampling, generate
from tutelage.engine.merged import can_pack, merged_adapters, packed_layers, packed_linear, packed_together
from tutelage.engine.rows import pack
from tutelage.engine.tree import Tokens, Tree
from tutelage.models.adapt import LoraConfig, add_lora

IDS = torch.tensor([[5, 9, 40, 77, 123, 8]])


def adapted(family: str = "llama", **options: float) -> nn.Module:
    """A tiny model with an adapter that changes what it says."""
    torch.manual_seed(0)
    model = add_lora(tiny_model(family), LoraConfig(rank=4, **options)).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return model


def test_inside_the_layers_are_plain_and_say_the_same(family: str) -> None:
    model = adapted(family)
    with torch.no_grad():
        with model.disable_adapter():  # type: ignore[operator]
            without = model(IDS).logits
        before = model(IDS).logits
        with merged_adapters(model):
            assert not any("lora" in type(module).__module__ for module in model.modules() if not _is_outer(module))
            inside = model(IDS).logits
    assert (before - without).abs().max() > 0.1
    torch.testing.assert_close(inside, before, atol=2e-4, rtol=1e-4)


def _is_outer(module: nn.Module) -> bool:
    return "peft" in type(module).__module__ and hasattr(module, "peft_config")


def test_everything_is_put_back_to_the_last_bit_after_an_error_too() -> None:
    model = adapted().bfloat16()
    weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    kinds = [(name, type(module)) for name, module in model.named_modules()]
    with pytest.raises(RuntimeError, match="in between"), merged_adapters(model):
        raise RuntimeError("in between")
    assert [(name, type(module)) for name, module in model.named_modules()] == kinds
    assert all(torch.equal(parameter, weights[name]) for name, parameter in model.named_parameters())


def test_a_switched_off_adapter_stays_off() -> None:
    model = adapted()
    with torch.no_grad(), model.disable_adapter():  # type: ignore[operator]
        expected = model(IDS).logits
        with merged_adapters(model):
            assert torch.equal(model(IDS).logits, expected)


def test_a_model_without_adapters_is_left_alone() -> None:
    model = tiny_model("llama")
    before = list(model.modules())
    with merged_adapters(model):
        assert list(model.modules()) == before


def test_adapters_that_are_more_than_an_addition_stay_as_they_are() -> None:
    import peft

    model = peft.get_peft_model(
        tiny_model("llama"), peft.LoraConfig(r=2, target_modules=["q_proj"], use_dora=True, task_type="CAUSAL_LM")
    ).eval()
    with torch.no_grad():
        expected = model(IDS).logits
        with merged_adapters(model):
            assert torch.equal(model(IDS).logits, expected)


def test_sampling_merges_and_gives_the_answers_of_the_adapted_model() -> None:
    model, merged = adapted(), adapted().merge_and_unload().eval()  # type: ignore[operator]
    sampling = Sampling(max_new_tokens=12)
    found, expected = (
        generate(one, [IDS[0].tolist()], sampling, stop_ids=[295], pad_id=0)[0].ids for one in (model, merged)
    )
    assert found == expected


@pytest.mark.parametrize("with_bias", [False, True])
def test_packed_products_are_those_of_the_weight_and_no_row_depends_on_its_neighbours(with_bias: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4001, 320, generator=generator).bfloat16()
    bias = torch.randn(4001, generator=generator).bfloat16() if with_bias else None
    rows = torch.randn(70, 320, generator=generator).bfloat16()
    through = packed_linear(weight, bias)
    whole = through(rows)
    torch.testing.assert_close(whole, functional.linear(rows, weight, bias), atol=0.26, rtol=0.02)
    exact = functional.linear(rows.double(), weight.double(), None if bias is None else bias.double())
    assert (whole.double() - exact).abs().max() < 0.3  # half an ulp of bf16 at 64
    for size in (1, 2, 3, 7, 16, 31, 32, 33, 64):
        assert torch.equal(through(rows[:size]), whole[:size]), size


@pytest.mark.parametrize("with_bias", [False, True])
def test_layers_that_read_the_same_compute_one_product(with_bias: bool) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(320, width, bias=with_bias).bfloat16() for width in (960, 192, 192)]
    rows = torch.randn(70, 320).bfloat16()
    with torch.no_grad():
        forwards = packed_together(layers)
        whole = [forward(rows) for forward in forwards]
        for layer, found in zip(layers, whole, strict=True):
            torch.testing.assert_close(found, layer(rows), atol=0.02, rtol=0.02)
        for size in (1, 2, 3, 7, 16, 31, 32, 33, 64):
            part = rows[:size]
            for forward, found in zip(forwards, whole, strict=True):
                assert torch.equal(forward(part), found[:size]), size


def test_a_layer_that_is_asked_for_something_else_computes_it_itself() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(320, 200, bias=False).bfloat16() for _ in range(2)]
    rows, others = torch.randn(4, 320).bfloat16(), torch.randn(4, 320).bfloat16()
    with torch.no_grad():
        first, second = packed_together(layers)
        assert torch.equal(second(others), layers[1](others))  # nobody has asked the first one
        first(rows)
        assert torch.equal(second(others), layers[1](others))
        torch.testing.assert_close(second(rows), layers[1](rows), atol=0.02, rtol=0.02)
        assert torch.equal(second(rows), layers[1](rows))  # what was waiting has been taken


def test_what_is_not_worth_packing_or_cannot_be_is_an_ordinary_product() -> None:
    weight = torch.randn(40, 8)
    rows = torch.randn(3, 8)
    assert torch.equal(packed_linear(weight, None)(rows), functional.linear(rows, weight))
    weight = torch.randn(4000, 320)
    rows = torch.randn(3, 320)
    assert torch.equal(packed_linear(weight, None)(rows), functional.linear(rows, weight))


def test_packed_layers_sample_as_the_plain_ones_and_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merged, "PACK_FROM", 1)
    model = tiny_model("gemma3_text").bfloat16()
    engine = TreeEngine(model)  # its fused layers are to stay what they are
    before = {name: vars(module).get("forward") for name, module in model.named_modules()}
    ids = IDS[0].tolist()
    batch = pack([Tree(Tokens.prompt(ids[:2]), (Tokens.completion(ids[2:]),))])
    with torch.no_grad():
        expected = engine.logprobs(batch).logprobs
        with packed_layers(model):
            num_packed = sum("forward" in vars(m) for m in model.modules() if type(m) is nn.Linear)
            found = engine.logprobs(batch).logprobs
    assert num_packed > 20 if can_pack(model.lm_head.weight) else num_packed == 0
    torch.testing.assert_close(found, expected, atol=0.3, rtol=0.05)
    assert {name: vars(module).get("forward") for name, module in model.named_modules()} == before


def test_layers_without_room_for_a_copy_stay_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merged, "PACK_FROM", 1)
    monkeypatch.setattr(merged, "PACK_BYTES", 0)
    model = tiny_model("llama").bfloat16()
    with packed_layers(model):
        assert not any("forward" in vars(m) for m in model.modules() if type(m) is nn.Linear)
