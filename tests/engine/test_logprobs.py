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


# bf16 and the tail that its backward pass leaves out ------------------------------------------------------------------


def peaked(num_tokens: int = 40, vocab: int = 2000, dim: int = 32, seed: int = 0) -> tuple[Tensor, Head, Tensor]:
    """bf16 hidden states over a vocabulary of which each token finds only a small part probable."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(vocab, dim, generator=generator).bfloat16().requires_grad_()
    hidden = (1.2 * torch.randn(num_tokens, dim, generator=generator)).bfloat16().requires_grad_()
    logits = hidden.float() @ weight.float().T
    return hidden, Head(weight), torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)


def probabilities(hidden: Tensor, head: Head) -> Tensor:
    return (hidden @ head.weight.T).float().softmax(-1).detach()


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


@pytest.mark.parametrize("seed", range(3))
def test_bf16_leaves_out_only_rows_that_no_token_of_the_chunk_needs(seed: int) -> None:
    hidden, head, targets = peaked(num_tokens=4, seed=seed)
    _, weight_grad = head_gradients(hidden, head, targets)
    left_out = ~weight_grad.any(-1)
    assert 0.2 < left_out.float().mean() < 0.9
    assert not left_out[targets].any()
    tail = probabilities(hidden, head)[:, left_out]
    assert tail.max() <= engine_logprobs.TAIL_PROBABILITY
    # Each p is at most tau and they add up to at most 1, so by token their L2 norm is at most sqrt(tau).
    assert tail.norm(dim=1).max() <= math.sqrt(engine_logprobs.TAIL_PROBABILITY)


@pytest.mark.parametrize("num_tokens", [1, 4, 40])
def test_what_is_left_out_stays_within_the_bound(num_tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bound = math.sqrt(engine_logprobs.TAIL_PROBABILITY)  # L2 norm a token, on the logits
    hidden, head, targets = peaked(num_tokens)
    hidden_grad, weight_grad = head_gradients(hidden, head, targets)
    monkeypatch.setattr(engine_logprobs, "TAIL_PROBABILITY", 0.0)
    whole_hidden_grad, whole_weight_grad = head_gradients(hidden, head, targets)
    assert not torch.equal(weight_grad, whole_weight_grad)
    # What is missing on the logits is carried on by the other factor of each product: hidden state or weight.
    assert (weight_grad - whole_weight_grad).norm() <= bound * hidden.float().norm(dim=1).sum()
    largest_stretch = torch.linalg.matrix_norm(head.weight.float(), 2)
    rounding = 2.0**-8 * whole_hidden_grad.norm(dim=1)  # the hidden states' gradients are bf16
    assert ((hidden_grad - whole_hidden_grad).norm(dim=1) <= bound * largest_stretch + rounding).all()


def test_an_improbable_target_is_never_left_out() -> None:
    # Logits 0 and, nine times, -20: p(target) = 2e-9, far below the threshold, and its logit's gradient is 1 - p.
    weight = torch.tensor([[0.0]] + [[-20.0]] * 9).bfloat16().requires_grad_()
    weight.main_grad = torch.zeros(10, 1)
    chunked_logprobs(torch.ones(1, 1).bfloat16(), Head(weight), torch.tensor([4])).logprobs.sum().backward()
    assert weight.main_grad.flatten().tolist() == [-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_fp32_leaves_out_nothing() -> None:
    weight = torch.tensor([[0.0], [-30.0], [-40.0]], requires_grad=True)
    chunked_logprobs(torch.ones(1, 1), Head(weight), torch.tensor([0])).logprobs.sum().backward()
    assert weight.grad[1:].flatten().tolist() == pytest.approx([-math.exp(-30), -math.exp(-40)], rel=1e-4, abs=0)
