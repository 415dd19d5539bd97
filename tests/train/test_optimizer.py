"""AdamW on fp32 masters: the same numbers as torch's own optimiser, and never rounded to what the model computes in."""

import math
from typing import Any

import pytest
import torch
from tiny import tiny_model
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from tutelage.errors import TrainingError
from tutelage.models.adapt import LoraConfig, add_lora
from tutelage.train.optimizer import AdamWSettings, MasterAdamW, decays

SETTINGS = AdamWSettings(beta1=0.8, beta2=0.95, eps=1e-6, weight_decay=0.1)


class Net(nn.Module):
    """A matrix, a bias, a norm and an embedding: what is decayed and what is not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed_tokens = nn.Embedding(7, 4)
        self.proj = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.norm(self.proj(self.embed_tokens(ids))).square().sum()


def ids(step: int) -> torch.Tensor:
    return torch.tensor([step, 2 * step % 7, 3])


# Against torch


def torch_steps(num_steps: int, divisor: float, max_norm: float) -> tuple[Net, list[float]]:
    """The same training with torch's own AdamW and clipping, and the norms it clipped."""
    net = Net()
    exempt = [p for name, p in net.named_parameters() if name != "proj.weight"]
    groups = [{"params": [net.proj.weight], "weight_decay": 0.1}, {"params": exempt, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, betas=(0.8, 0.95), eps=1e-6)
    norms = []
    for step in range(1, num_steps + 1):
        (net(ids(step)) / divisor).backward()
        norms.append(float(nn.utils.clip_grad_norm_(net.parameters(), max_norm or math.inf)))
        for group in adam.param_groups:
            group["lr"] = 0.01 * step
        adam.step()
        adam.zero_grad()
    return net, norms


@pytest.mark.parametrize("max_norm", [0.5, 1e9, 0.0])
def test_three_steps_are_those_of_torch(max_norm: float) -> None:
    expected, norms = torch_steps(3, divisor=4.0, max_norm=max_norm)
    assert min(norms) > 0.5
    net = Net()
    ours = MasterAdamW(net, SETTINGS)
    for step in range(1, 4):
        net(ids(step)).backward()
        norm = ours.step(0.01 * step, max_norm, divisor=4.0)
        assert norm == pytest.approx(norms[step - 1], rel=1e-6)
    for (name, found), wanted in zip(net.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def test_the_first_step_by_hand() -> None:
    net = nn.Linear(1, 1, bias=False)
    net.weight.data.fill_(2.0)
    ours = MasterAdamW(net, AdamWSettings(weight_decay=0.5))
    net(torch.tensor([[3.0]])).backward()
    # Gradient 3, divided by 6 it is 0.5, clipped to norm 0.25. Adam's first step is the sign times the rate,
    # whatever the size; decay takes rate * 0.5 * weight: 2 - 0.1 * 0.5 * 2 - 0.1 = 1.8.
    assert ours.step(0.1, max_grad_norm=0.25, divisor=6.0) == 0.5
    assert net.weight.item() == pytest.approx(1.8, abs=1e-6)
    moment = ours.tensors()["exp_avg.weight"]
    assert float(moment) == pytest.approx(0.1 * 0.25, rel=1e-5)


def test_gradients_add_up_over_several_backward_passes() -> None:
    once, twice = Net(), Net()
    first, second = MasterAdamW(once, SETTINGS), MasterAdamW(twice, SETTINGS)
    (once(ids(1)) + once(ids(2))).backward()
    twice(ids(1)).backward()
    twice(ids(2)).backward()
    assert all(p.grad is None for p in twice.parameters())
    assert first.gradient_norm() == pytest.approx(second.gradient_norm(), rel=1e-6)
    first.step(0.1, 1.0, 2.0)
    second.step(0.1, 1.0, 2.0)
    for a, b in zip(once.parameters(), twice.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert second.gradient_norm() == 0.0


# bf16


def test_the_model_computes_in_bf16_and_the_masters_keep_what_it_cannot_show() -> None:
    net = nn.Linear(1, 1, bias=False).bfloat16()
    net.weight.data.fill_(1.0)
    ours = MasterAdamW(net, AdamWSettings())
    # A bf16 step above 1 is 2^-7: a change of 0.001 is lost on a bf16 weight, ten of them are not lost on the master.
    for _ in range(10):
        net(torch.tensor([[-1.0]], dtype=torch.bfloat16)).backward()
        ours.step(0.001, 0.0)
    assert ours.masters["weight"].dtype == torch.float32
    assert float(ours.masters["weight"]) == pytest.approx(1.01, abs=1e-5)
    assert net.weight.dtype == torch.bfloat16
    assert net.weight.item() == 1.0078125
    moments = [tensor.dtype for name, tensor in ours.tensors().items() if name.startswith("exp_avg")]
    assert moments == [torch.float32, torch.float32]


def test_small_gradients_are_not_rounded_away_on_top_of_large_ones() -> None:
    net = nn.Linear(1, 1, bias=False).bfloat16()
    ours = MasterAdamW(net, AdamWSettings())
    for value in (256.0, 1.0, 1.0, 1.0):  # bf16 has 8 bits: 256 + 1 = 256
        net(torch.tensor([[value]], dtype=torch.bfloat16)).backward()
    assert ours.gradient_norm() == 259.0


def test_fresh_adapters_compute_in_what_the_model_computes_in() -> None:
    model = add_lora(tiny_model("llama").bfloat16(), LoraConfig(rank=2))
    ours = MasterAdamW(model, AdamWSettings(), compute_dtype=torch.bfloat16)
    assert all("lora_" in name for name in ours.parameters)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert {master.dtype for master in ours.masters.values()} == {torch.float32}


# Which weights are decayed


def decayed(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if decays(name, p)}


def test_matrices_are_decayed_and_nothing_else() -> None:
    names = {name.split(".", 2)[-1].split(".", 1)[-1] for name in decayed(tiny_model("qwen3"))}
    projections = {f"self_attn.{name}_proj.weight" for name in "qkvo"}
    assert names == projections | {f"mlp.{name}_proj.weight" for name in ("gate", "up", "down")}
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=8, n_embd=4, n_layer=1, n_head=1, bos_token_id=0))
    found = {name.split(".", 3)[-1] for name in decayed(gpt2)}
    assert found == {"attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight"}


def test_only_the_decayed_ones_shrink_without_a_gradient() -> None:
    net = Net()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    MasterAdamW(net, AdamWSettings(weight_decay=0.5)).step(0.1, 1.0)
    for name, parameter in net.named_parameters():
        factor = 0.95 if name == "proj.weight" else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor)


# Stopping, saving, restoring


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(bad: float) -> None:
    net = Net()
    ours = MasterAdamW(net, SETTINGS)
    before = {name: tensor.clone() for name, tensor in ours.tensors().items()}
    (net(ids(1)) * bad).backward()
    with pytest.raises(TrainingError, match=r"^the gradient norm is (nan|inf)$"):
        ours.step(0.1, 1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in ours.tensors().items())


def test_a_model_with_nothing_to_train() -> None:
    with pytest.raises(TrainingError, match=r"^the model has no trainable parameters$"):
        MasterAdamW(Net().requires_grad_(False), SETTINGS)


def test_what_is_saved_brings_everything_back() -> None:
    def trained(steps: range, saved: dict[str, torch.Tensor] | None = None) -> tuple[Net, MasterAdamW]:
        net = Net().bfloat16()
        ours = MasterAdamW(net, SETTINGS)
        if saved:
            ours.load(saved)
        for step in steps:
            net(ids(step)).backward()
            ours.step(0.05, 1.0)
        return net, ours

    whole, _ = trained(range(1, 7))
    _, half = trained(range(1, 4))
    saved = {name: tensor.clone() for name, tensor in half.tensors().items()}
    assert {name.split(".", 1)[0] for name in saved} == {"master", "exp_avg", "exp_avg_sq", "step"}
    resumed, _ = trained(range(4, 7), saved)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_was_saved_of_another_model() -> None:
    saved: dict[str, Any] = MasterAdamW(nn.Linear(2, 2), SETTINGS).tensors()
    with pytest.raises(TrainingError) as caught:
        MasterAdamW(nn.Linear(2, 2, bias=False), SETTINGS).load(saved)
    assert str(caught.value) == (
        "the checkpoint belongs to another model or LoRA setting: 'exp_avg.bias' is on one side only"
    )
