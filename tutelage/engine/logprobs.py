"""Chunked logprobs: log-probabilities of target tokens without ever holding the logits.

The vocabulary is walked in tiles small enough for the processor's cache; the forward pass keeps one log-sum-exp
a token, the backward pass recomputes a tile and turns it into gradients at once. The gradient of the head's
weight goes straight into the optimiser's fp32 buffer where the weight has one (`main_grad`), so no second
vocabulary-sized buffer exists.

In bf16 the backward pass leaves out vocabulary rows whose probability is below 2^-18 for every token of the
chunk: the *logits'* gradient left out has an L2 norm of at most 2^-9 a token. Errors in the hidden states can exceed
rounding, and AdamW makes the embedding's update visibly another: docs/decisions/004-head-tail.md has the numbers.
In fp32 nothing is left out. Leaves out: which tokens are
trained and what is done with their logprobs (`methods`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

VOCAB_TILE = 4096
CHUNK_TOKENS = 512
TAIL_PROBABILITY = 2.0**-18


class Head(NamedTuple):
    """The LM head: logits = cap(scale * (hidden @ weight.T + bias)) / temperature."""

    weight: Tensor
    """`(vocab, dim)`"""
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None
    """Final soft-capping of the Gemma 2 family: cap(x) = softcap * tanh(x / softcap)."""


class Logprobs(NamedTuple):
    logprobs: Tensor
    """`(num_targets,)` fp32, differentiable."""
    entropy: Tensor | None
    """`(num_targets,)` nats, not differentiable; None unless asked for."""


def _tile_logits(hidden: Tensor, head: Head, rows: slice | Tensor, temperature: float) -> Tensor:
    """Logits of some vocabulary rows, `(num_tokens, num_rows)`; fp32 wherever more than the product is computed."""
    bias = None if head.bias is None else head.bias[rows]
    return _finish_logits(hidden @ head.weight[rows].T, bias, head, temperature)


def _target_logits(hidden: Tensor, head: Head, targets: Tensor, temperature: float) -> Tensor:
    """The targets' own logits, `(num_tokens,)` fp32, rounded as the products of a tile are."""
    products = (hidden.float() * head.weight[targets].float()).sum(-1).to(hidden.dtype)
    bias = None if head.bias is None else head.bias[targets]
    return _finish_logits(products, bias, head, temperature).float()


def _finish_logits(products: Tensor, bias: Tensor | None, head: Head, temperature: float) -> Tensor:
    if bias is None and head.scale == 1.0 and head.softcap is None and temperature == 1.0:
        return products
    logits = products.float()
    if bias is not None:
        logits += bias.float()
    if head.scale != 1.0:
        logits *= head.scale
    if head.softcap is not None:
        logits.div_(head.softcap).tanh_().mul_(head.softcap)
    if temperature != 1.0:
        logits /= temperature
    return logits


def _shifted_exp(logits: Tensor, shift: Tensor) -> Tensor:
    """exp(logits - shift) in fp32, one row's shift each; reads the logits once."""
    return torch.sub(logits, shift[:, None], out=logits.new_empty(logits.shape, dtype=torch.float32)).exp_()


def _cap_slope(logits: Tensor, head: Head, temperature: float) -> Tensor | None:
    """d(cap(x))/dx from the capped, tempered logits; None without a cap."""
    if head.softcap is None:
        return None
    return 1 - (logits * (temperature / head.softcap)).square_()


def _forward_chunk(
    hidden: Tensor, head: Head, targets: Tensor, temperature: float, tail: float, with_entropy: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """(logprobs, lse, kept, entropy) of one chunk; `kept` marks vocabulary rows that matter to some token."""
    num_vocab = head.weight.shape[0]
    target_logits = _target_logits(hidden, head, targets, temperature)
    exact = target_logits.clone()  # a tile may round a product differently; both sides of a logprob must agree
    lse = torch.full_like(target_logits, -math.inf)
    mean_logit = torch.zeros_like(lse) if with_entropy else None
    kept = torch.ones(num_vocab, dtype=torch.bool, device=hidden.device)
    for start in range(0, num_vocab, VOCAB_TILE):
        rows = slice(start, min(start + VOCAB_TILE, num_vocab))
        logits = _tile_logits(hidden, head, rows, temperature)
        # Softmax within the tile is the fastest pass there is; its largest value gives the tile's log-sum-exp.
        share = torch.softmax(logits.float(), -1)
        tile_lse = logits.amax(-1).float() - share.amax(-1).log()
        new_lse = torch.logaddexp(lse, tile_lse)
        if tail:
            # Sum and target logit are lower bounds of the final lse, so this keeps a superset of the rows that matter.
            scale = (tile_lse - torch.maximum(new_lse, target_logits)).exp()
            kept[rows] = share.mul_(scale[:, None]).amax(0) > tail
        inside = ((targets >= rows.start) & (targets < rows.stop)).nonzero().squeeze(1)
        exact[inside] = logits[inside, targets[inside] - start].float()
        if mean_logit is not None:
            part = (torch.softmax(logits.float(), -1) * logits).sum(-1)
            mean_logit = mean_logit * (lse - new_lse).exp() + part * (tile_lse - new_lse).exp()
        lse = new_lse
    kept[targets] = True
    entropy = None if mean_logit is None else lse - mean_logit
    return (exact - lse).clamp_(max=0.0), lse, kept, entropy


def _add_rows(buffer: Tensor, rows: slice | Tensor, values: Tensor) -> None:
    if isinstance(rows, slice):
        buffer[rows] += values
    else:
        buffer.index_add_(0, rows, values.to(buffer.dtype))


def _row_tiles(kept: Tensor) -> list[slice | Tensor]:
    """The kept vocabulary rows as tiles; plain slices when (nearly) everything is kept."""
    num_vocab = len(kept)
    if kept.float().mean() > 0.8:
        return [slice(start, min(start + VOCAB_TILE, num_vocab)) for start in range(0, num_vocab, VOCAB_TILE)]
    return list(kept.nonzero().squeeze(1).split(VOCAB_TILE))


def _backward_chunk(
    hidden: Tensor, head: Head, targets: Tensor, lse: Tensor, kept: Tensor, grads: Tensor, temperature: float,
    weight_grad: Tensor | None, bias_grad: Tensor | None,
) -> Tensor:  # fmt: skip
    """Gradient of the chunk's hidden states, `(num_tokens, dim)` fp32; weight gradients are added in place."""
    hidden_grad = torch.zeros_like(hidden, dtype=torch.float32)
    position = targets.new_full((head.weight.shape[0],), -1)
    for rows in _row_tiles(kept):
        logits = _tile_logits(hidden, head, rows, temperature)
        slope = _cap_slope(logits, head, temperature)
        grad = _shifted_exp(logits, lse).mul_(-grads[:, None])
        num_rows = grad.shape[1]
        position[rows] = torch.arange(num_rows, device=targets.device)
        column = position[targets]
        inside = (column >= 0).nonzero().squeeze(1)
        grad[inside, column[inside]] += grads[inside]
        position[rows] = -1
        if slope is not None:
            grad *= slope
        if head.scale != 1.0 or temperature != 1.0:
            grad *= head.scale / temperature
        if bias_grad is not None:
            _add_rows(bias_grad, rows, grad.sum(0))
        low = grad.to(hidden.dtype)
        hidden_grad += low @ head.weight[rows]
        if weight_grad is not None:
            _add_rows(weight_grad, rows, low.T @ hidden)
    return hidden_grad


class _ChunkedLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, scale: float,
        softcap: float | None, temperature: float, with_entropy: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        head = Head(weight, bias, scale, softcap)
        tail = TAIL_PROBABILITY if hidden.dtype != torch.float32 else 0.0
        chunks = [
            _forward_chunk(rows, head, ids, temperature, tail, with_entropy)
            for rows, ids in zip(hidden.split(CHUNK_TOKENS), targets.split(CHUNK_TOKENS), strict=True)
        ]
        logprobs, lses, kepts, entropies = zip(*chunks, strict=True)
        ctx.save_for_backward(hidden, weight, bias, targets, torch.cat(lses), torch.stack(kepts))
        ctx.settings = (scale, softcap, temperature)
        entropy = torch.cat(entropies) if with_entropy else hidden.new_empty(0)
        ctx.mark_non_differentiable(entropy)
        return torch.cat(logprobs), entropy

    @staticmethod
    def backward(ctx: Any, grads: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, lse, kept = ctx.saved_tensors
        scale, softcap, temperature = ctx.settings
        head = Head(weight, bias, scale, softcap)
        weight_sink, weight_grad = _gradient_sink(weight, ctx.needs_input_grad[1])
        bias_sink, bias_grad = _gradient_sink(bias, ctx.needs_input_grad[2])
        parts = [
            _backward_chunk(
                hidden[rows], head, targets[rows], lse[rows], kept[index], grads[rows].float(), temperature,
                weight_sink, bias_sink,
            )
            for index, rows in enumerate(_chunk_slices(len(hidden)))
        ]  # fmt: skip
        return torch.cat(parts).to(hidden.dtype), weight_grad, bias_grad, None, None, None, None, None


def _chunk_slices(num_tokens: int) -> list[slice]:
    return [slice(start, min(start + CHUNK_TOKENS, num_tokens)) for start in range(0, num_tokens, CHUNK_TOKENS)]


def _gradient_sink(parameter: Tensor | None, needed: bool) -> tuple[Tensor | None, Tensor | None]:
    """(where to add the gradient, what autograd gets): the optimiser's own buffer and None where there is one."""
    if parameter is None or not needed:
        return None, None
    main_grad = getattr(parameter, "main_grad", None)
    if main_grad is not None:
        return main_grad, None
    fresh = torch.zeros_like(parameter)
    return fresh, fresh


def chunked_logprobs(
    hidden: Tensor, head: Head, target_ids: Tensor, *, temperature: float = 1.0, with_entropy: bool = False
) -> Logprobs:
    """log p(target | hidden) under the head, differentiable in the hidden states and in the head.

    hidden `(num_targets, dim)`, target_ids `(num_targets,)`; returns fp32 `(num_targets,)`. Temperature divides the
    logits after soft-capping, as samplers do. Raises ValueError for a temperature that is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    logprobs, entropy = _ChunkedLogprobs.apply(  # type: ignore[no-untyped-call]
        hidden, head.weight, head.bias, target_ids, head.scale, head.softcap, temperature, with_entropy
    )
    return Logprobs(logprobs, entropy if with_entropy else None)
