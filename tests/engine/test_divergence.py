"""Divergence of student and teacher: numbers worked out by hand, the book in fp64, and what no chunk may change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tutelage.engine import divergence as engine_divergence
from tutelage.engine import logprobs as engine_logprobs
from tutelage.engine.divergence import Divergence, Side, chunked_divergence, divergence_slope, whole_divergence
from tutelage.engine.logprobs import Head

VOCAB, DIM, TEACHER_DIM = 23, 6, 9
BETAS = (0.0, 0.1, 0.5, 0.9, 1.0)
HEADS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bias": {"bias": True},
    "scale": {"scale": 0.25},
    "softcap": {"softcap": 3.0},
    "all": {"bias": True, "scale": 1.5, "softcap": 3.0},
}


@pytest.fixture(autouse=True)
def _several_tiles_and_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_logprobs, "VOCAB_TILE", 7)
    monkeypatch.setattr(engine_divergence, "CHUNK_TOKENS", 5)


def by_the_book(own: Tensor, teachers: Tensor, beta: float) -> Tensor:
    """Equation 1 of arXiv:2306.13649 word for word, from probabilities `(num_tokens, vocab)`."""

    def kl(p: Tensor, q: Tensor) -> Tensor:
        return (p * (p.log() - q.log())).sum(-1)

    if beta == 0:
        return kl(teachers, own)
    if beta == 1:
        return kl(own, teachers)
    mixture = beta * teachers + (1 - beta) * own
    return beta * kl(teachers, mixture) + (1 - beta) * kl(own, mixture)


# By hand -------------------------------------------------------------------------------------------------------------

TEACHER, STUDENT = (1 / 2, 1 / 4, 1 / 4), (1 / 8, 1 / 8, 3 / 4)
LN2, LN3 = math.log(2), math.log(3)


def of(student: Sequence[float], teacher: Sequence[float], beta: float, target: int = 0) -> tuple[Divergence, Tensor]:
    """One token over a tiny vocabulary: a hidden unit of 1 makes the weights the logits."""
    weight = torch.tensor(student, dtype=torch.float64).log()[:, None].requires_grad_()
    one = torch.ones(1, 1, dtype=torch.float64)
    other = Head(torch.tensor(teacher, dtype=torch.float64).log()[:, None])
    found = chunked_divergence(
        Side(one, Head(weight)), Side(one, other), torch.tensor([target]), beta=beta, num_vocab=len(student)
    )
    return found, weight


def test_forward_kl() -> None:
    """KL(T‖S) = ½ ln 4 + ¼ ln 2 + ¼ ln ⅓ = 1.25 ln 2 − .25 ln 3 = .5917809; the gradient is p − q."""
    found, weight = of(STUDENT, TEACHER, 0.0)
    assert found.divergence.item() == pytest.approx(1.25 * LN2 - 0.25 * LN3)
    assert found.divergence.item() == pytest.approx(0.5917809)
    found.divergence.sum().backward()
    assert weight.grad is not None
    assert weight.grad.flatten().tolist() == pytest.approx([-3 / 8, -1 / 8, 1 / 2])


def test_reverse_kl() -> None:
    """KL(S‖T) = ⅛ ln ¼ + ⅛ ln ½ + ¾ ln 3 = .75 ln 3 − .375 ln 2 = .5640290; gradient p · (ln p/q − KL).

    ⅛ · (−2 ln 2 − .5640290), ⅛ · (−ln 2 − .5640290), ¾ · (ln 3 − .5640290).
    """
    found, weight = of(STUDENT, TEACHER, 1.0)
    assert found.divergence.item() == pytest.approx(0.75 * LN3 - 0.375 * LN2)
    assert found.divergence.item() == pytest.approx(0.5640290)
    found.divergence.sum().backward()
    assert weight.grad is not None
    assert weight.grad.flatten().tolist() == pytest.approx([-0.2437904, -0.1571470, 0.4009375], abs=1e-7)


def test_jensen_shannon_divergence() -> None:
    """β = ½: M = (5/16, 3/16, 1/2).

    KL(T‖M) = ½ ln 8/5 + ¼ ln 4/3 + ¼ ln ½ = .2350018 + .0719205 − .1732868 = .1336355
    KL(S‖M) = ⅛ ln 2/5 + ⅛ ln 2/3 + ¾ ln 3/2 = −.1145363 − .0506831 + .3040988 = .1388794
    half of each: .1362574. Gradient ½ p · (ln p/m − .1388794).
    """
    found, weight = of(STUDENT, TEACHER, 0.5)
    assert found.divergence.item() == pytest.approx(0.1362574, abs=1e-7)
    found.divergence.sum().backward()
    assert weight.grad is not None
    assert weight.grad.flatten().tolist() == pytest.approx([-0.0659481, -0.0340215, 0.0999696], abs=2e-7)


def test_the_mixture_weight_is_the_teachers() -> None:
    """β = .1: M = .1 T + .9 S = (.1625, .1375, .7), and .1 · KL(T‖M) + .9 · KL(S‖M)."""
    teachers = 0.5 * math.log(0.5 / 0.1625) + 0.25 * math.log(0.25 / 0.1375) + 0.25 * math.log(0.25 / 0.7)
    students = 0.125 * math.log(0.125 / 0.1625) + 0.125 * math.log(0.125 / 0.1375) + 0.75 * math.log(0.75 / 0.7)
    found, _ = of(STUDENT, TEACHER, 0.1)
    assert found.divergence.item() == pytest.approx(0.1 * teachers + 0.9 * students)
    assert found.divergence.item() != pytest.approx(0.9 * teachers + 0.1 * students, rel=0.1)


def test_the_logprobs_of_the_sampled_token_come_along() -> None:
    found, _ = of(STUDENT, TEACHER, 0.5, target=2)
    assert (found.logprobs.item(), found.teacher_logprobs.item()) == (
        pytest.approx(math.log(3 / 4)),
        pytest.approx(math.log(1 / 4)),
    )
    assert not found.logprobs.requires_grad
    assert not found.teacher_logprobs.requires_grad


def test_the_limits_of_beta_are_the_two_kl() -> None:
    """JSD(β)/β → KL(T‖S) and JSD(β)/(1 − β) → KL(S‖T) (the paper, after Huszár 2015): value and gradient."""
    eps = 1e-6
    for end, near in ((0.0, eps), (1.0, 1 - eps)):
        limit, slope = of(STUDENT, TEACHER, end)
        close, near_slope = of(STUDENT, TEACHER, near)
        assert close.divergence.item() / eps == pytest.approx(limit.divergence.item(), rel=1e-4)
        limit.divergence.sum().backward()
        close.divergence.sum().backward()
        assert slope.grad is not None
        assert near_slope.grad is not None
        torch.testing.assert_close(near_slope.grad / eps, slope.grad, rtol=1e-4, atol=1e-5)


def test_swapping_student_and_teacher_swaps_beta() -> None:
    for beta in BETAS:
        here, there = of(STUDENT, TEACHER, beta)[0], of(TEACHER, STUDENT, 1 - beta)[0]
        assert here.divergence.item() == pytest.approx(there.divergence.item())


def test_the_jensen_shannon_divergence_is_bounded_where_kl_is_not() -> None:
    """Of nearly disjoint distributions: H(β), which is ln 2 at β = ½, in place of ln 10⁸ = 18.42 times 1 − 2·10⁻⁸."""
    sure, other = (1 - 1e-8, 1e-8), (1e-8, 1 - 1e-8)
    assert of(sure, other, 0.5)[0].divergence.item() == pytest.approx(LN2, abs=1e-6)
    assert of(sure, other, 0.1)[0].divergence.item() == pytest.approx(0.3250830, abs=1e-6)
    assert of(sure, other, 1.0)[0].divergence.item() == pytest.approx(18.4206807, abs=1e-5)


@pytest.mark.parametrize("beta", BETAS)
def test_a_step_down_brings_the_student_nearer(beta: float) -> None:
    found, weight = of(STUDENT, TEACHER, beta)
    found.divergence.sum().backward()
    assert weight.grad is not None
    after = (weight - 0.1 * weight.grad).detach().flatten().softmax(0).tolist()
    assert of(after, TEACHER, beta)[0].divergence.item() < found.divergence.item()
    assert after[0] > STUDENT[0]
    assert after[2] < STUDENT[2]


# By the book ---------------------------------------------------------------------------------------------------------


def make(kind: str, num_tokens: int = 11, dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[Any, ...]:
    """(student, teacher, targets, upstream): models of different widths and heads; the teacher's is plain."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    options = dict(HEADS[kind])
    bias = draw(VOCAB).requires_grad_() if options.pop("bias", False) else None
    student = Side(draw(num_tokens, DIM).requires_grad_(), Head(draw(VOCAB, DIM).requires_grad_(), bias, **options))
    teacher = Side(draw(num_tokens, TEACHER_DIM), Head(draw(VOCAB, TEACHER_DIM) / 2, draw(VOCAB)))
    targets = torch.randint(VOCAB, (num_tokens,), generator=generator)
    return student, teacher, targets, draw(num_tokens)


def logits_of(side: Side, temperature: float = 1.0, num_vocab: int = VOCAB) -> Tensor:
    hidden, (weight, bias, scale, softcap) = side
    logits = hidden.double() @ weight.double().T
    logits = (logits if bias is None else logits + bias.double()) * scale
    if softcap is not None:
        logits = softcap * (logits / softcap).tanh()
    return logits[:, :num_vocab] / temperature


def leaves(side: Side) -> list[Tensor]:
    return [tensor for tensor in (side.hidden, side.head.weight, side.head.bias) if tensor is not None]


def check(kind: str, beta: float, temperature: float, num_tokens: int, num_vocab: int, seed: int) -> None:
    student, teacher, targets, upstream = make(kind, num_tokens, seed=seed)
    targets = targets % num_vocab
    found = chunked_divergence(student, teacher, targets, beta=beta, num_vocab=num_vocab, temperature=temperature)
    own, teachers = (logits_of(side, temperature, num_vocab).softmax(-1) for side in (student, teacher))
    expected = by_the_book(own, teachers, beta)
    assert found.divergence.dtype == torch.float32
    torch.testing.assert_close(found.divergence.double(), expected, rtol=1e-4, atol=1e-5)
    place = torch.arange(num_tokens), targets
    torch.testing.assert_close(found.logprobs.double(), own.detach()[place].log(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.teacher_logprobs.double(), teachers[place].log(), rtol=1e-5, atol=1e-5)
    grads = torch.autograd.grad((found.divergence * upstream).sum(), leaves(student))
    rights = torch.autograd.grad((expected * upstream).sum(), leaves(student))
    for grad, right in zip(grads, rights, strict=True):
        torch.testing.assert_close(grad, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("beta", BETAS)
def test_values_and_gradients(kind: str, beta: float) -> None:
    check(kind, beta, temperature=0.7, num_tokens=11, num_vocab=VOCAB, seed=0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(HEADS)), st.floats(0, 1).filter(lambda beta: beta in (0, 1) or 1e-3 < beta < 1 - 1e-3),
    st.floats(0.3, 3.0), st.integers(1, 16), st.integers(2, VOCAB), st.integers(0, 50),
)  # fmt: skip
def test_any_beta_any_temperature_any_shared_vocabulary(
    kind: str, beta: float, temperature: float, num_tokens: int, num_vocab: int, seed: int
) -> None:
    check(kind, beta, temperature, num_tokens, num_vocab, seed)


@pytest.mark.parametrize("kind", ["plain", "all"])
@pytest.mark.parametrize("beta", BETAS)
def test_gradients_by_finite_differences_in_fp64(kind: str, beta: float) -> None:
    student, teacher, targets, _ = make(kind, num_tokens=6, dtype=torch.float64)

    def divergence(hidden: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
        side = Side(hidden, student.head._replace(weight=weight, bias=bias[0] if bias else None))
        return chunked_divergence(side, teacher, targets, beta=beta, num_vocab=VOCAB - 3, temperature=1.3).divergence

    assert torch.autograd.gradcheck(divergence, leaves(student))


@pytest.mark.parametrize("beta", BETAS)
def test_the_slope_is_that_of_autograd(beta: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, teachers = (torch.randn(4, VOCAB, generator=generator, dtype=torch.float64) for _ in range(2))
    logits.requires_grad_()
    own, theirs = logits.log_softmax(-1), teachers.log_softmax(-1)
    mixture = (beta * theirs.exp() + (1 - beta) * own.exp()).log()
    pull = (own.exp() * (own - mixture)).sum(-1) if beta else torch.zeros(4, dtype=torch.float64)
    (right,) = torch.autograd.grad(by_the_book(own.exp(), theirs.exp(), beta).sum(), logits)
    torch.testing.assert_close(divergence_slope(own, theirs, beta, pull).detach(), right)
    torch.testing.assert_close(right.sum(-1), torch.zeros(4, dtype=torch.float64))


@pytest.mark.parametrize("beta", BETAS)
def test_whole_logits_give_the_same(beta: float) -> None:
    student, teacher, targets, upstream = make("all")
    chunked = chunked_divergence(student, teacher, targets, beta=beta, num_vocab=VOCAB)
    whole = whole_divergence(logits_of(student), logits_of(teacher), targets, beta=beta)
    for one, other in zip(chunked, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    for one, other in zip(
        torch.autograd.grad((chunked.divergence * upstream).sum(), leaves(student)),
        torch.autograd.grad((whole.divergence * upstream).sum(), leaves(student)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


# What nothing may change ---------------------------------------------------------------------------------------------


def run(dtype: torch.dtype = torch.float32, beta: float = 0.3) -> list[Tensor]:
    student, teacher, targets, upstream = make("bias", dtype=dtype)
    found = chunked_divergence(student, teacher, targets, beta=beta, num_vocab=VOCAB)
    return [*found, *torch.autograd.grad((found.divergence * upstream).sum(), leaves(student))]


@pytest.mark.parametrize(("tile", "chunk"), [(1, 1), (4, 3), (23, 11), (1000, 1000)])
def test_the_size_of_tiles_and_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch, tile: int, chunk: int) -> None:
    expected = run()
    monkeypatch.setattr(engine_logprobs, "VOCAB_TILE", tile)
    monkeypatch.setattr(engine_divergence, "CHUNK_TOKENS", chunk)
    for found, right in zip(run(), expected, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-6)


# 11 tokens in chunks of 5: a tile's products of both sides are 2 · 5 · 7 · 4 = 280 bytes.
@pytest.mark.parametrize("kept_bytes", [0, 279, 280, 2000, 10**9])
def test_keeping_products_changes_no_bit(kept_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_divergence, "KEPT_BYTES", 10**6)
    expected = run()
    monkeypatch.setattr(engine_divergence, "KEPT_BYTES", kept_bytes)
    assert all(torch.equal(found, right) for found, right in zip(run(), expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("beta", BETAS)
def test_a_student_that_is_its_teacher_has_nothing_to_learn(dtype: torch.dtype, beta: float) -> None:
    student, _, targets, _ = make("all", dtype=dtype)
    found = chunked_divergence(student, student, targets, beta=beta, num_vocab=VOCAB)
    assert found.divergence.abs().max() < 1e-6
    for grad in torch.autograd.grad(found.divergence.sum(), leaves(student)):
        assert grad.abs().max() < 1e-6


def test_rows_beyond_the_shared_vocabulary_count_for_nothing() -> None:
    """The teacher has more rows, the student other ones there: neither value nor gradient sees them."""
    student, teacher, targets, _ = make("plain")
    targets = targets % 20
    more = torch.cat([teacher.head.weight, torch.randn(5, TEACHER_DIM)])
    wider = Side(teacher.hidden, Head(more, torch.cat([teacher.head.bias, torch.randn(5)])))
    expected = chunked_divergence(student, teacher, targets, beta=0.5, num_vocab=20).divergence
    found = chunked_divergence(student, wider, targets, beta=0.5, num_vocab=20).divergence
    assert torch.equal(found, expected)
    (grad,) = torch.autograd.grad(found.sum(), student.head.weight)
    assert not grad[20:].any()
    assert grad[:20].any(-1).all()


def test_gradients_go_into_the_optimisers_buffer_where_there_is_one() -> None:
    student, teacher, targets, upstream = make("bias")

    def loss() -> Tensor:
        return (chunked_divergence(student, teacher, targets, beta=0.5, num_vocab=VOCAB).divergence * upstream).sum()

    expected = torch.autograd.grad(loss(), student.head[:2])
    for parameter in student.head[:2]:
        parameter.main_grad = torch.zeros_like(parameter)
    for _ in range(2):
        loss().backward()
    for parameter, right in zip(student.head[:2], expected, strict=True):
        assert parameter.grad is None
        torch.testing.assert_close(parameter.main_grad, 2 * right)


def test_a_frozen_head_and_a_teacher_get_no_gradient() -> None:
    student, teacher, targets, _ = make("plain")
    student.head.weight.requires_grad_(False)
    teacher.hidden.requires_grad_()
    teacher.head.weight.requires_grad_()
    chunked_divergence(student, teacher, targets, beta=0.5, num_vocab=VOCAB).divergence.sum().backward()
    assert student.hidden.grad is not None
    assert [tensor.grad for tensor in (student.head.weight, teacher.hidden, teacher.head.weight)] == [None] * 3


@pytest.mark.parametrize("beta", BETAS)
def test_distributions_far_apart_stay_finite(beta: float) -> None:
    """Logits of some 10⁴: probabilities of 0 in fp32, whose logarithms are not lost."""
    student, teacher, targets, _ = make("plain")
    far = Side((student.hidden * 3000).detach().requires_grad_(), student.head)
    found = chunked_divergence(far, Side(teacher.hidden * 3000, teacher.head), targets, beta=beta, num_vocab=VOCAB)
    own, teachers = logits_of(far).log_softmax(-1), logits_of(Side(teacher.hidden * 3000, teacher.head)).log_softmax(-1)
    if beta in (0, 1):
        p, q = (teachers, own) if beta == 0 else (own, teachers)
        torch.testing.assert_close(found.divergence.double(), (p.exp() * (p - q)).sum(-1), rtol=1e-4, atol=1e-2)
    assert found.divergence.isfinite().all()
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(found.divergence.sum(), leaves(far)))


def test_bf16_is_close_to_fp64() -> None:
    student, teacher, targets, _ = make("plain", num_tokens=40, dtype=torch.bfloat16)
    found = chunked_divergence(student, teacher, targets, beta=0.5, num_vocab=VOCAB)
    expected = by_the_book(logits_of(student).softmax(-1), logits_of(teacher).softmax(-1), 0.5)
    assert found.divergence.dtype == torch.float32
    torch.testing.assert_close(found.divergence.double(), expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("beta", [-0.1, 1.1, math.nan])
def test_beta_is_a_share(beta: float) -> None:
    student, teacher, targets, _ = make("plain")
    with pytest.raises(ValueError, match=f"^beta must be between 0 and 1, not {beta}$"):
        chunked_divergence(student, teacher, targets, beta=beta, num_vocab=VOCAB)


@pytest.mark.parametrize("temperature", [0, -1.0])
def test_temperature_must_be_above_zero(temperature: float) -> None:
    student, teacher, targets, _ = make("plain")
    with pytest.raises(ValueError, match=f"^temperature must be above 0, not {temperature}$"):
        chunked_divergence(student, teacher, targets, beta=0.5, num_vocab=VOCAB, temperature=temperature)
