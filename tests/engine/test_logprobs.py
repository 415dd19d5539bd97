"""Chunked logprobs against log_softmax over whole logits: values, entropy and every gradient."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tutelage.engine import logprobs as engine_logprobs
from tutelage.engine.logprobs import Head, Logprobs, chunked_logprobs

VOCAB, DIM = 23, 6
HEADS = {
    "plain": {},
    "bias": {"bias": True},
    "scale": {"scale": 0.25},
    "softcap": {"softcap": 3.0},
    "all": {"bias": True, "scale": 1.5, "softcap": 3.0},
}


@pytest.fixture(autouse=True)
def _several_tiles_and_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_logprobs, "VOCAB_TILE", 7)
    monkeypatch.setattr(engine_logprobs, "CHUNK_TOKENS", 5)


def whole_logprobs(hidden: Tensor, head: Head, targets: Tensor, temperature: float = 1.0) -> Logprobs:
    """The same by the book in fp64: logits, cap, temperature, log_softmax."""
    logits = hidden.double() @ head.weight.double().T
    logits = (logits if head.bias is None else logits + head.bias.double()) * head.scale
    if head.softcap is not None:
        logits = head.softcap * (logits / head.softcap).tanh()
    everything = (logits / temperature).log_softmax(-1)
    entropy = -(everything.exp() * everything).sum(-1).detach()
    return Logprobs(everything.gather(1, targets[:, None]).squeeze(1), entropy)


def make(kind: str, num_tokens: int = 11, seed: int = 0, spread: float = 1.0) -> tuple[Tensor, Head, Tensor, Tensor]:
    """(hidden, head, targets, upstream gradient), all leaves of autograd where they can be."""
    generator = torch.Generator().manual_seed(seed)
    options = dict(HEADS[kind])
    hidden = (spread * torch.randn(num_tokens, DIM, generator=generator)).requires_grad_()
    weight = torch.randn(VOCAB, DIM, generator=generator).requires_grad_()
    bias = torch.randn(VOCAB, generator=generator).requires_grad_() if options.pop("bias", False) else None
    targets = torch.randint(VOCAB, (num_tokens,), generator=generator)
    return hidden, Head(weight, bias, **options), targets, torch.randn(num_tokens, generator=generator)


def leaves(hidden: Tensor, head: Head) -> list[Tensor]:
    return [tensor for tensor in (hidden, head.weight, head.bias) if tensor is not None]


def check(kind: str, temperature: float, num_tokens: int, seed: int) -> None:
    hidden, head, targets, upstream = make(kind, num_tokens, seed)
    found = chunked_logprobs(hidden, head, targets, temperature=temperature, with_entropy=True)
    expected = whole_logprobs(hidden, head, targets, temperature)
    torch.testing.assert_close(found.logprobs.double(), expected.logprobs, rtol=1e-5, atol=1e-5)
    # Entropy is the difference of two numbers as large as the logits, here up to 30.
    torch.testing.assert_close(found.entropy.double(), expected.entropy, rtol=1e-4, atol=2e-4)
    grads = torch.autograd.grad((found.logprobs * upstream).sum(), leaves(hidden, head))
    rights = torch.autograd.grad((expected.logprobs * upstream).sum(), leaves(hidden, head))
    for grad, right in zip(grads, rights, strict=True):
        torch.testing.assert_close(grad, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("temperature", [1.0, 0.6, 2.5])
def test_values_entropy_and_gradients(kind: str, temperature: float) -> None:
    check(kind, temperature, num_tokens=11, seed=0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(HEADS)), st.floats(0.3, 3.0), st.integers(1, 16), st.integers(0, 50))
def test_any_number_of_tokens(kind: str, temperature: float, num_tokens: int, seed: int) -> None:
    check(kind, temperature, num_tokens, seed)


def test_two_tokens_written_out() -> None:
    # One hidden unit of 1 makes the weights the logits: 0, ln 2, ln 5, so p = 1/8, 2/8, 5/8.
    weight = torch.tensor([[0.0], [math.log(2)], [math.log(5)]], requires_grad=True)
    found = chunked_logprobs(torch.ones(2, 1), Head(weight), torch.tensor([0, 2]), with_entropy=True)
    assert found.logprobs.tolist() == pytest.approx([math.log(1 / 8), math.log(5 / 8)])
    entropy = -(1 / 8 * math.log(1 / 8) + 2 / 8 * math.log(2 / 8) + 5 / 8 * math.log(5 / 8))
    assert found.entropy.tolist() == pytest.approx([entropy] * 2)
    found.logprobs.sum().backward()
    # d logp(t) / d logit(j) = [j = t] - p(j), once with t = 0 and once with t = 2.
    assert weight.grad.flatten().tolist() == pytest.approx([1 - 2 / 8, -4 / 8, 1 - 10 / 8])


def test_temperature_divides_the_capped_logits() -> None:
    # cap(4) = 2 tanh(4 / 2) = 1.928; over temperature .5 that is 3.856 against 0.
    head = Head(torch.tensor([[4.0], [0.0]]), softcap=2.0)
    logp = chunked_logprobs(torch.ones(1, 1), head, torch.tensor([1]), temperature=0.5).logprobs
    assert logp.tolist() == pytest.approx([-math.log(1 + math.exp(2 * math.tanh(2) / 0.5))])


def test_entropy_is_left_out_unless_asked_for_and_carries_no_gradient() -> None:
    hidden, head, targets, _ = make("plain")
    assert chunked_logprobs(hidden, head, targets).entropy is None
    found = chunked_logprobs(hidden, head, targets, with_entropy=True)
    assert found.logprobs.requires_grad
    assert not found.entropy.requires_grad


def test_the_same_target_twice_counts_twice() -> None:
    hidden, head, _, _ = make("plain", num_tokens=4)
    targets = torch.tensor([3, 3, 3, 8])
    (grad,) = torch.autograd.grad(chunked_logprobs(hidden, head, targets).logprobs.sum(), head.weight)
    (right,) = torch.autograd.grad(whole_logprobs(hidden, head, targets).logprobs.sum(), head.weight)
    torch.testing.assert_close(grad, right, rtol=1e-4, atol=1e-5)


def test_a_positive_advantage_raises_the_logprob() -> None:
    hidden, head, targets, _ = make("all")
    before = chunked_logprobs(hidden, head, targets).logprobs
    (grad,) = torch.autograd.grad(before.sum(), head.weight)
    after = chunked_logprobs(hidden, head._replace(weight=head.weight + 1e-3 * grad), targets).logprobs
    assert after.sum() > before.sum()


def test_gradients_go_into_the_optimisers_buffer_where_there_is_one() -> None:
    hidden, head, targets, upstream = make("bias")
    expected = torch.autograd.grad((chunked_logprobs(hidden, head, targets).logprobs * upstream).sum(), head[:2])
    for parameter in head[:2]:
        parameter.main_grad = torch.zeros_like(parameter)
    for _ in range(2):
        (chunked_logprobs(hidden, head, targets).logprobs * upstream).sum().backward()
    for parameter, right in zip(head[:2], expected, strict=True):
        assert parameter.grad is None
        torch.testing.assert_close(parameter.main_grad, 2 * right)


def test_a_frozen_head_passes_the_gradient_on_and_gets_none() -> None:
    hidden, head, targets, _ = make("bias")
    (right,) = torch.autograd.grad(chunked_logprobs(hidden, head, targets).logprobs.sum(), hidden)
    for parameter in head[:2]:
        parameter.requires_grad_(False).main_grad = torch.zeros_like(parameter)
    chunked_logprobs(hidden, head, targets).logprobs.sum().backward()
    assert torch.equal(hidden.grad, right)
    assert all(not parameter.main_grad.any() for parameter in head[:2])


@pytest.mark.parametrize("kind", ["plain", "bias"])
def test_large_logits_stay_exact(kind: str) -> None:
    hidden, head, targets, upstream = make(kind, spread=3000.0)
    found = chunked_logprobs(hidden, head, targets, with_entropy=True)
    expected = whole_logprobs(hidden, head, targets)
    # Logits around 10^4 have fp32 steps of 10^-3.
    torch.testing.assert_close(found.logprobs.double(), expected.logprobs, rtol=1e-4, atol=1e-2)
    assert found.entropy.isfinite().all()
    grads = torch.autograd.grad((found.logprobs * upstream).sum(), leaves(hidden, head))
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_hidden_state_is_not_hidden(value: float) -> None:
    hidden, head, targets, _ = make("plain")
    hidden = hidden.detach().clone()
    hidden[3, 0] = value
    found = chunked_logprobs(hidden, head, targets).logprobs.isfinite()
    assert not found[3]
    assert found[torch.arange(len(found)) != 3].all()


@pytest.mark.parametrize("temperature", [0, -1.0])
def test_temperature_must_be_above_zero(temperature: float) -> None:
    hidden, head, targets, _ = make("plain")
    with pytest.raises(ValueError, match=f"^temperature must be above 0, not {temperature}$"):
        chunked_logprobs(hidden, head, targets, temperature=temperature)


# bf16 -----------------------------------------------------------------------------------------------------------------


def peaked(num_tokens: int = 40, vocab: int = 2000, dim: int = 32, seed: int = 0) -> tuple[Tensor, Head, Tensor]:
    """bf16 hidden states over a vocabulary of which each token finds only a small part probable."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(vocab, dim, generator=generator).bfloat16().requires_grad_()
    hidden = (1.2 * torch.randn(num_tokens, dim, generator=generator)).bfloat16().requires_grad_()
    logits = hidden.float() @ weight.float().T
    return hidden, Head(weight), torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)


def head_gradients(hidden: Tensor, head: Head, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the summed logprobs: (hidden's in bf16, the weight's in an fp32 buffer)."""
    head.weight.main_grad = torch.zeros_like(head.weight, dtype=torch.float32)
    (grad,) = torch.autograd.grad(chunked_logprobs(hidden, head, targets).logprobs.sum(), hidden)
    return grad.float(), head.weight.main_grad


def test_bf16_is_close_to_fp32() -> None:
    hidden, head, targets = peaked()
    found = chunked_logprobs(hidden, head, targets, with_entropy=True)
    assert found.logprobs.dtype == torch.float32
    expected = whole_logprobs(hidden, head, targets)
    # Logits reach 32, where bf16 steps are 1/8.
    torch.testing.assert_close(found.logprobs.double(), expected.logprobs, rtol=0, atol=0.15)
    torch.testing.assert_close(found.entropy.double(), expected.entropy, rtol=0, atol=0.15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_token_is_more_than_certain(dtype: torch.dtype) -> None:
    hidden, head, _ = peaked(num_tokens=200)
    hidden, certain = hidden.to(dtype), Head(4 * head.weight.detach().to(dtype))
    likeliest = (hidden @ certain.weight.T).argmax(-1)
    # A logprob above 0 would make log(1 - p) not a number in the losses that need it.
    assert chunked_logprobs(hidden, certain, likeliest).logprobs.max() <= 0


@pytest.mark.parametrize("num_tokens", [1, 4, 40])
def test_bf16_gradients_are_those_of_the_whole_vocabulary(num_tokens: int) -> None:
    hidden, head, targets = peaked(num_tokens)
    hidden_grad, weight_grad = head_gradients(hidden, head, targets)
    # By the book in fp32, from the logits that bf16 gives.
    logits = (hidden @ head.weight.T).float().detach()
    slope = torch.nn.functional.one_hot(targets, logits.shape[1]) - logits.softmax(-1)
    for found, right in ((hidden_grad, slope @ head.weight.float()), (weight_grad, slope.T @ hidden.float())):
        assert (found - right).norm() <= 2.0**-7 * right.norm()
    assert weight_grad.any(-1).all()


def test_an_improbable_row_gets_its_small_gradient() -> None:
    # Logits 0 and, nine times, -20: p(target) = e^-20 = 2.06e-9, and its logit's gradient is 1 - p.
    weight = torch.tensor([[0.0]] + [[-20.0]] * 9).bfloat16().requires_grad_()
    weight.main_grad = torch.zeros(10, 1)
    chunked_logprobs(torch.ones(1, 1).bfloat16(), Head(weight), torch.tensor([4])).logprobs.sum().backward()
    small = -math.exp(-20)
    expected = [-1.0, small, small, small, 1.0, small, small, small, small, small]
    assert weight.main_grad.flatten().tolist() == pytest.approx(expected, rel=2.0**-8)


# Products that are kept for the backward pass -------------------------------------------------------------------------
# 40 tokens in chunks of 5 over 2000 rows in tiles of 7: a tile's products in bf16 are 70 bytes, 40 in the last tile.
@pytest.mark.parametrize("kept_bytes", [0, 69, 70, 5000, 10**9])
def test_keeping_products_changes_no_bit(kept_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, head, targets = peaked()
    monkeypatch.setattr(engine_logprobs, "KEPT_BYTES", kept_bytes)
    found = head_gradients(hidden, head, targets)
    monkeypatch.setattr(engine_logprobs, "KEPT_BYTES", 0)
    expected = head_gradients(hidden, head, targets)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def kept_bytes(logprobs: Tensor) -> list[int]:
    return [sum(products.nbytes for products in chunk) for chunk in logprobs.grad_fn.kept]


def test_no_more_products_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, head, targets = peaked(num_tokens=10, vocab=21)
    for room, expected in ((0, [0, 0]), (150, [140, 0]), (300, [210, 70]), (10**6, [210, 210])):
        monkeypatch.setattr(engine_logprobs, "KEPT_BYTES", room)
        assert kept_bytes(chunked_logprobs(hidden, head, targets).logprobs) == expected


def test_kept_products_are_gone_after_the_backward_pass() -> None:
    hidden, head, targets = peaked(num_tokens=10, vocab=21)
    logprobs = chunked_logprobs(hidden, head, targets).logprobs
    (first,) = torch.autograd.grad(logprobs.sum(), hidden, retain_graph=True)
    assert kept_bytes(logprobs) == [0, 0]
    (second,) = torch.autograd.grad(logprobs.sum(), hidden)
    assert torch.equal(first, second)


def test_nothing_is_kept_where_no_gradient_is_wanted() -> None:
    hidden, head, targets = peaked(num_tokens=10, vocab=21)
    with torch.no_grad():
        assert chunked_logprobs(hidden, head, targets).logprobs.grad_fn is None
