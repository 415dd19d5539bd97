"""Chunked logprobs: log-probabilities of target tokens without ever holding the logits.

The vocabulary is walked in tiles small enough for the processor's cache. The forward pass keeps each token's share
of probability a tile; the backward pass recomputes a tile and turns it into gradients at once. The gradient of the
head's weight goes straight into the optimiser's fp32 buffer where the weight has one (`main_grad`), so no second
vocabulary-sized buffer exists. Leaves out: which tokens are trained and what is done with their logprobs (`methods`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

VOCAB_TILE = 1024
CHUNK_TOKENS = 1024
KEPT_BYTES = 256 * 2**20
"""Products of hidden states and head kept for the backward pass, at most; what does not fit is computed again."""


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


def tile_logits(products: Tensor, head: Head, rows: slice, temperature: float) -> Tensor:
    """fp32 logits of some vocabulary rows, `(num_tokens, num_rows)`, from the products `hidden @ weight[rows].T`.

    Products in fp64, which only tests use, give logits in fp64.
    """
    logits = products.to(torch.promote_types(products.dtype, torch.float32), copy=True)
    if head.bias is not None:
        logits += head.bias[rows].to(logits)
    if head.scale != 1.0:
        logits *= head.scale
    if head.softcap is not None:
        logits.div_(head.softcap).tanh_().mul_(head.softcap)
    if temperature != 1.0:
        logits /= temperature
    return logits


def cap_slope(logits: Tensor, softcap: float, temperature: float) -> Tensor:
    """d(cap(x))/dx from the capped, tempered logits."""
    return 1 - (logits * (temperature / softcap)).square_()


def vocab_tiles(num_vocab: int) -> list[slice]:
    return [slice(start, min(start + VOCAB_TILE, num_vocab)) for start in range(0, num_vocab, VOCAB_TILE)]


def targets_inside(targets: Tensor, rows: slice) -> Tensor:
    """Which tokens have their target in this tile, as indices."""
    return ((targets >= rows.start) & (targets < rows.stop)).nonzero().squeeze(1)


def tile_lse(logits: Tensor) -> Tensor:
    """log-sum-exp of each row; torch's log_softmax is the fastest pass over a tile, and its largest value tells."""
    return logits.amax(-1) - torch.log_softmax(logits, -1).amax(-1)


class _Forward(NamedTuple):
    """What the forward pass of one chunk of tokens finds."""

    logprobs: Tensor
    """`(num_tokens,)` fp32"""
    tile_shares: Tensor
    """`(num_tiles, num_tokens)` fp32: how much of a token's probability lies in a tile."""
    entropy: Tensor | None
    kept: list[Tensor]
    """The products of the first tiles, as many as there was room for."""


def _forward_chunk(
    hidden: Tensor, head: Head, targets: Tensor, temperature: float, with_entropy: bool, room_bytes: int
) -> _Forward:
    found = hidden.new_zeros(len(targets), dtype=torch.float32)
    lses, means, kept = [], [], []
    for rows in vocab_tiles(head.weight.shape[0]):
        products = hidden @ head.weight[rows].T
        logits = tile_logits(products, head, rows, temperature)
        room_bytes -= products.nbytes
        if room_bytes >= 0:
            kept.append(products)
        lses.append(tile_lse(logits))
        if with_entropy:
            means.append((torch.softmax(logits, -1) * logits).sum(-1))
        inside = targets_inside(targets, rows)
        found[inside] = logits[inside, targets[inside] - rows.start]
    tile_lses = torch.stack(lses)
    lse = torch.logsumexp(tile_lses, 0)
    shares = (tile_lses - lse).exp()
    entropy = lse - (torch.stack(means) * shares).sum(0) if with_entropy else None
    return _Forward((found - lse).clamp_(max=0.0), shares, entropy, kept)


def _backward_chunk(
    hidden: Tensor, head: Head, targets: Tensor, tile_shares: Tensor, kept: list[Tensor], grads: Tensor,
    temperature: float, weight_grad: Tensor | None, bias_grad: Tensor | None,
) -> Tensor:  # fmt: skip
    """Gradient of the chunk's hidden states, `(num_tokens, dim)` fp32; weight gradients are added in place.

    Empties `kept` on the way, so that its memory is free again before the body's backward pass.
    """
    hidden_grad = torch.zeros_like(hidden, dtype=torch.float32)
    for index, rows in enumerate(vocab_tiles(head.weight.shape[0])):
        products = kept.pop(0) if kept else hidden @ head.weight[rows].T
        logits = tile_logits(products, head, rows, temperature)
        # d logp(target) / d logit = onehot - p, and p is the tile's own softmax times the tile's share.
        grad = torch.softmax(logits, -1).mul_((tile_shares[index] * -grads)[:, None])
        inside = targets_inside(targets, rows)
        grad[inside, targets[inside] - rows.start] += grads[inside]
        hidden_grad += through_head(grad, logits, hidden, head, rows, temperature, weight_grad, bias_grad)
    return hidden_grad


def through_head(
    grad: Tensor, logits: Tensor, hidden: Tensor, head: Head, rows: slice, temperature: float,
    weight_grad: Tensor | None, bias_grad: Tensor | None,
) -> Tensor:  # fmt: skip
    """The hidden states' share of a tile's gradient, `(num_tokens, dim)`; the head's is added to the sinks in place.

    `grad` is that of the tile's `logits`, both `(num_tokens, num_rows)`; it is overwritten.
    """
    if head.softcap is not None:
        grad *= cap_slope(logits, head.softcap, temperature)
    if head.scale != 1.0 or temperature != 1.0:
        grad *= head.scale / temperature
    if bias_grad is not None:
        bias_grad[rows] += grad.sum(0)
    low = grad.to(hidden.dtype)
    if weight_grad is not None:
        weight_grad[rows] += low.T @ hidden
    return low @ head.weight[rows]


class _ChunkedLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, scale: float,
        softcap: float | None, temperature: float, with_entropy: bool, room_bytes: int,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        head = Head(weight, bias, scale, softcap)
        chunks: list[_Forward] = []
        for rows, ids in zip(hidden.split(CHUNK_TOKENS), targets.split(CHUNK_TOKENS), strict=True):
            chunks.append(_forward_chunk(rows, head, ids, temperature, with_entropy, room_bytes))
            room_bytes -= sum(products.nbytes for products in chunks[-1].kept)
        ctx.kept = [chunk.kept for chunk in chunks]
        ctx.save_for_backward(hidden, weight, bias, targets, *(chunk.tile_shares for chunk in chunks))
        ctx.settings = (scale, softcap, temperature)
        entropies = [chunk.entropy for chunk in chunks if chunk.entropy is not None]
        entropy = torch.cat(entropies) if entropies else hidden.new_empty(0)
        ctx.mark_non_differentiable(entropy)
        return torch.cat([chunk.logprobs for chunk in chunks]), entropy

    @staticmethod
    def backward(ctx: Any, grads: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, *tile_shares = ctx.saved_tensors
        scale, softcap, temperature = ctx.settings
        head = Head(weight, bias, scale, softcap)
        weight_sink, weight_grad = gradient_sink(weight, ctx.needs_input_grad[1])
        bias_sink, bias_grad = gradient_sink(bias, ctx.needs_input_grad[2])
        chunks = (tensor.split(CHUNK_TOKENS) for tensor in (hidden, targets, grads.float()))
        parts = [
            _backward_chunk(rows, head, ids, shares, kept, upstream, temperature, weight_sink, bias_sink)
            for rows, ids, upstream, shares, kept in zip(*chunks, tile_shares, ctx.kept, strict=True)
        ]
        return torch.cat(parts).to(hidden.dtype), weight_grad, bias_grad, None, None, None, None, None, None


def gradient_sink(parameter: Tensor | None, needed: bool) -> tuple[Tensor | None, Tensor | None]:
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
    room_bytes = KEPT_BYTES if torch.is_grad_enabled() else 0
    logprobs, entropy = _ChunkedLogprobs.apply(  # type: ignore[no-untyped-call]
        hidden, head.weight, head.bias, target_ids, head.scale, head.softcap, temperature, with_entropy, room_bytes
    )
    return Logprobs(logprobs, entropy if with_entropy else None)
