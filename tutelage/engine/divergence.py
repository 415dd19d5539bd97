"""Chunked divergence: how far the student's next-token distribution is from the teacher's, without holding any logits.

T is the teacher's distribution and S the student's, both over the whole shared vocabulary. `beta` chooses among
divergences (Agarwal et al. 2023, arXiv:2306.13649, section 2, where P is T and Q is S):

    0 < beta < 1   beta · KL(T‖M) + (1 − beta) · KL(S‖M),   M = beta · T + (1 − beta) · S
    beta = 0       KL(T‖S), forward: what the formula over beta tends to
    beta = 1       KL(S‖T), reverse: what the formula over 1 − beta tends to

The vocabulary is walked in tiles, as for logprobs: once for the two normalisers, once for the divergence, once more for
the gradient. The teacher gets no gradient. Leaves out: divergences of sampled tokens alone, which logprobs suffice for.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tutelage.engine.logprobs import (
    CHUNK_TOKENS,
    KEPT_BYTES,
    Head,
    gradient_sink,
    targets_inside,
    through_head,
    tile_logits,
    tile_lse,
    vocab_tiles,
)


class Divergence(NamedTuple):
    """What is found of each target token."""

    divergence: Tensor
    """`(num_targets,)` nats, fp32, differentiable in the student."""
    logprobs: Tensor
    """`(num_targets,)` the student's logprob of the target, without gradient."""
    teacher_logprobs: Tensor
    """`(num_targets,)` the teacher's."""


class Side(NamedTuple):
    """A model at the positions that predict the targets."""

    hidden: Tensor
    """`(num_targets, dim)`"""
    head: Head

    def products(self, rows: slice) -> Tensor:
        return self.hidden @ self.head.weight[rows].T


class _How(NamedTuple):
    """How two sides are compared, and the scalings of the student's head."""

    scale: float
    softcap: float | None
    beta: float
    temperature: float
    num_vocab: int


def _log_mixture(gap: Tensor, beta: float) -> Tensor:
    """log M − log S from `gap` = log T − log S; in the gap, so that equal distributions leave no rounding behind."""
    return torch.logaddexp(gap + math.log(beta), gap.new_full((), math.log1p(-beta)))


def divergence_terms(own: Tensor, teachers: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """(divergence, pull) of some vocabulary rows, `(num_tokens,)` each, from logprobs `(num_tokens, num_rows)`.

    Summed over the whole vocabulary the first is the divergence; the second is what `divergence_slope` needs: KL of the
    student to the teacher (beta 1) or to the mixture.
    """
    gap = teachers - own
    if beta == 0:
        found = (teachers.exp() * gap).sum(-1)
        return found, torch.zeros_like(found)
    if beta == 1:
        found = -(own.exp() * gap).sum(-1)
        return found, found
    mixture = _log_mixture(gap, beta)
    pull = -(own.exp() * mixture).sum(-1)
    return beta * (teachers.exp() * (gap - mixture)).sum(-1) + (1 - beta) * pull, pull


def divergence_slope(own: Tensor, teachers: Tensor, beta: float, pull: Tensor) -> Tensor:
    """d divergence / d student's logits, `(num_tokens, num_rows)`.

    With p and q the student's and the teacher's probabilities: p − q; p·(log p/q − KL(S‖T)); and for the mixture
    (1 − beta)·p·(log p/m − KL(S‖M)), since what M itself contributes cancels between the two terms.
    """
    if beta == 0:
        return own.exp() - teachers.exp()
    away = own - teachers if beta == 1 else -_log_mixture(teachers - own, beta)
    slope = own.exp() * (away - pull[:, None])
    return slope if beta == 1 else slope * (1 - beta)


class _Forward(NamedTuple):
    """What the forward pass of one chunk of tokens finds, `(num_tokens,)` each."""

    divergence: Tensor
    logprobs: Tensor
    teacher_logprobs: Tensor
    for_backward: Tensor
    """`(3, num_tokens)`: the student's normaliser, the teacher's, the pull."""
    kept: list[tuple[Tensor, Tensor]]
    """Both sides' products of the first tiles, as many as there was room for."""


def _normalisers(
    student: Side, teacher: Side, how: _How, room_bytes: int
) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
    """([student's log-sum-exp, teacher's], products kept on the way)."""
    lses: tuple[list[Tensor], list[Tensor]] = ([], [])
    kept: list[tuple[Tensor, Tensor]] = []
    for rows in vocab_tiles(how.num_vocab):
        products = student.products(rows), teacher.products(rows)
        room_bytes -= products[0].nbytes + products[1].nbytes
        if room_bytes >= 0:
            kept.append(products)
        for side, product, found in zip((student, teacher), products, lses, strict=True):
            found.append(tile_lse(tile_logits(product, side.head, rows, how.temperature)))
    return [torch.logsumexp(torch.stack(found), 0) for found in lses], kept


def _forward_chunk(student: Side, teacher: Side, targets: Tensor, how: _How, room_bytes: int) -> _Forward:
    (own_lse, teacher_lse), kept = _normalisers(student, teacher, how, room_bytes)
    divergence, pull, logprobs, teacher_logprobs = (torch.zeros_like(own_lse) for _ in range(4))
    for index, rows in enumerate(vocab_tiles(how.num_vocab)):
        mine, theirs = kept[index] if index < len(kept) else (student.products(rows), teacher.products(rows))
        own = tile_logits(mine, student.head, rows, how.temperature).sub_(own_lse[:, None])
        teachers = tile_logits(theirs, teacher.head, rows, how.temperature).sub_(teacher_lse[:, None])
        part, pulled = divergence_terms(own, teachers, how.beta)
        divergence += part
        pull += pulled
        inside = targets_inside(targets, rows)
        place = inside, targets[inside] - rows.start
        logprobs[inside], teacher_logprobs[inside] = own[place], teachers[place]
    # A divergence is never negative; that of equal distributions is a sum of roundings.
    saved = torch.stack([own_lse, teacher_lse, pull])
    return _Forward(divergence.clamp_(min=0.0), logprobs, teacher_logprobs, saved, kept)


def _backward_chunk(
    student: Side, teacher: Side, saved: Tensor, kept: list[tuple[Tensor, Tensor]], grads: Tensor, how: _How,
    weight_grad: Tensor | None, bias_grad: Tensor | None,
) -> Tensor:  # fmt: skip
    """Gradient of the student's hidden states, `(num_tokens, dim)`; the head's is added in place. Empties `kept`."""
    own_lse, teacher_lse, pull = saved
    hidden_grad = torch.zeros_like(student.hidden, dtype=saved.dtype)
    for rows in vocab_tiles(how.num_vocab):
        mine, theirs = kept.pop(0) if kept else (student.products(rows), teacher.products(rows))
        logits = tile_logits(mine, student.head, rows, how.temperature)
        teachers = tile_logits(theirs, teacher.head, rows, how.temperature).sub_(teacher_lse[:, None])
        slope = divergence_slope(logits - own_lse[:, None], teachers, how.beta, pull).mul_(grads[:, None])
        hidden_grad += through_head(
            slope, logits, student.hidden, student.head, rows, how.temperature, weight_grad, bias_grad
        )
    return hidden_grad


class _ChunkedDivergence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, teacher: Side, targets: Tensor, how: _How,
        room_bytes: int,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        head = Head(weight, bias, how.scale, how.softcap)
        chunks: list[_Forward] = []
        parts = (tensor.split(CHUNK_TOKENS) for tensor in (hidden, teacher.hidden, targets))
        for mine, theirs, ids in zip(*parts, strict=True):
            chunks.append(_forward_chunk(Side(mine, head), Side(theirs, teacher.head), ids, how, room_bytes))
            room_bytes -= sum(product.nbytes for pair in chunks[-1].kept for product in pair)
        ctx.save_for_backward(hidden, weight, bias, *(chunk.for_backward for chunk in chunks))
        ctx.kept = [chunk.kept for chunk in chunks]
        ctx.teacher, ctx.how = teacher, how
        logprobs = torch.cat([chunk.logprobs for chunk in chunks])
        teacher_logprobs = torch.cat([chunk.teacher_logprobs for chunk in chunks])
        ctx.mark_non_differentiable(logprobs, teacher_logprobs)
        return torch.cat([chunk.divergence for chunk in chunks]), logprobs, teacher_logprobs

    @staticmethod
    def backward(ctx: Any, grads: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, *saved = ctx.saved_tensors
        teacher, how = ctx.teacher, ctx.how
        head = Head(weight, bias, how.scale, how.softcap)
        weight_sink, weight_grad = gradient_sink(weight, ctx.needs_input_grad[1])
        bias_sink, bias_grad = gradient_sink(bias, ctx.needs_input_grad[2])
        parts = (tensor.split(CHUNK_TOKENS) for tensor in (hidden, teacher.hidden, grads))
        found = [
            _backward_chunk(
                Side(mine, head), Side(theirs, teacher.head), numbers, kept, upstream, how, weight_sink, bias_sink
            )
            for mine, theirs, upstream, numbers, kept in zip(*parts, saved, ctx.kept, strict=True)
        ]
        return torch.cat(found).to(hidden.dtype), weight_grad, bias_grad, None, None, None, None


def chunked_divergence(
    student: Side, teacher: Side, target_ids: Tensor, *, beta: float, num_vocab: int, temperature: float = 1.0
) -> Divergence:
    """Divergence at each target position, differentiable in the student's hidden states and head.

    Both distributions are those of the first `num_vocab` tokens, which both heads must have rows for; target_ids
    `(num_targets,)` are among them. Temperature divides both models' logits; the divergence is not scaled back by its
    square. Raises ValueError for a temperature that is not positive or a beta outside 0 … 1.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    if not 0 <= beta <= 1:
        raise ValueError(f"beta must be between 0 and 1, not {beta}")
    weight, bias, scale, softcap = student.head
    room_bytes = KEPT_BYTES if torch.is_grad_enabled() else 0
    constant = Side(teacher.hidden.detach(), Head(*(_detached(part) for part in teacher.head)))
    how = _How(scale, softcap, beta, temperature, num_vocab)
    found = _ChunkedDivergence.apply(student.hidden, weight, bias, constant, target_ids, how, room_bytes)  # type: ignore[no-untyped-call]
    return Divergence(*found)


def _detached(part: Any) -> Any:
    return part.detach() if isinstance(part, Tensor) else part


def whole_divergence(own: Tensor, teachers: Tensor, target_ids: Tensor, *, beta: float) -> Divergence:
    """The same from both models' logits over the shared vocabulary, `(num_targets, num_vocab)`, by ordinary autograd.

    For models whose head cannot be read apart from their forward.
    """
    own, teachers = own.float().log_softmax(-1), teachers.detach().float().log_softmax(-1)
    place = target_ids[:, None]
    divergence, _ = divergence_terms(own, teachers, beta)
    return Divergence(divergence, own.detach().gather(1, place)[:, 0], teachers.gather(1, place)[:, 0])
