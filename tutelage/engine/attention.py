"""Tree attention: a branch attends to its trunk and itself, never to a sibling or a neighbour.

Registered with transformers as the attention implementation `tutelage_tree`, so any decoder that uses the
attention interface runs it unchanged. On the CPU each segment is a few dense products over [ancestors' keys +
own keys], in blocks of queries, with grouped heads folded into rows so that keys are never repeated; the
weights are computed again in the backward pass. On a GPU FlexAttention runs the same layout as a block mask.
Leaves out: attention sinks and dropout; a model that asks for them takes the padded path (`forward`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from tutelage.engine.tree import TreeLayout

ATTENTION_NAME = "tutelage_tree"
BLOCK_QUERIES = 256
"""Queries handled at once: large enough for efficient products, small enough to skip most of the causal half."""


class Block(NamedTuple):
    """A run of queries and the spans of keys any of them can see, in path order."""

    start: int
    end: int
    key_spans: tuple[tuple[int, int], ...]
    bias: Tensor
    """fp32 `(num_queries, num_keys)`: 0 where attention is allowed, -inf where not."""


def _path_spans(layout: TreeLayout, index: int, end: int) -> list[tuple[int, int, int]]:
    """(start, end, position) of the key spans of segment `index` up to row `end`, root first."""
    spans = [(segment.start, segment.end, segment.position) for segment in layout.ancestors(index)]
    own = layout.segments[index]
    return [*spans, (own.start, end, own.position)]


def _make_block(layout: TreeLayout, index: int, start: int, end: int, window: int | None) -> Block:
    own = layout.segments[index]
    first_query = own.position + start - own.start
    lowest_key = 0 if window is None else first_query - window + 1
    spans, positions = [], []
    for span_start, span_end, position in _path_spans(layout, index, end):
        skipped = min(max(0, lowest_key - position), span_end - span_start)
        if span_start + skipped < span_end:
            spans.append((span_start + skipped, span_end))
            positions.append(torch.arange(position + skipped, position + span_end - span_start))
    keys = torch.cat(positions)
    queries = torch.arange(first_query, first_query + end - start)[:, None]
    mask = keys > queries
    if window is not None:
        mask |= keys <= queries - window
    return Block(start, end, tuple(spans), torch.zeros(mask.shape).masked_fill_(mask, float("-inf")))


def query_blocks(layout: TreeLayout, window: int | None) -> tuple[Block, ...]:
    """The blocks of a layout for one window size, computed once a batch.

    A window w lets a query at position p see keys at positions (p - w, p], as transformers defines it.
    """
    if window not in layout.cache:
        layout.cache[window] = tuple(
            _make_block(layout, index, start, min(start + BLOCK_QUERIES, segment.end), window)
            for index, segment in enumerate(layout.segments)
            for start in range(segment.start, segment.end, BLOCK_QUERIES)
        )
    return layout.cache[window]


def _gather(tensor: Tensor, spans: tuple[tuple[int, int], ...]) -> Tensor:
    """Rows of `(heads, num_tokens, dim)` in the spans, `(heads, num_keys, dim)`."""
    parts = [tensor[:, start:end] for start, end in spans]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _scatter_add(target: Tensor, spans: tuple[tuple[int, int], ...], values: Tensor) -> None:
    offset = 0
    for start, end in spans:
        target[:, start:end] += values[:, offset : offset + end - start]
        offset += end - start


def _weights(
    queries: Tensor, keys: Tensor, block: Block, scaling: float, softcap: float | None
) -> tuple[Tensor, Tensor]:
    """(softmax weights, capped scores), both fp32 `(kv_heads, groups, num_queries, num_keys)`, of folded queries."""
    scores = torch.bmm(queries, keys.transpose(1, 2)).unflatten(1, (-1, block.end - block.start))
    if softcap is not None:
        scores = scores.float().mul_(scaling / softcap).tanh_().mul_(softcap)
        return torch.softmax(scores + block.bias, -1), scores
    # One pass that scales, masks and widens; torch's softmax then needs no exp of -inf, which is many times slower.
    return torch.softmax(torch.add(block.bias, scores, alpha=scaling), -1), scores


class _TreeAttention(torch.autograd.Function):
    """Attention over a tree layout; q `(heads, num_tokens, dim)`, k and v `(kv_heads, num_tokens, dim)`.

    Weights are computed again in the backward pass, a block at a time, so nothing quadratic is kept.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        layout: TreeLayout,
        window: int | None,
        scaling: float,
        softcap: float | None,
    ) -> Tensor:
        heads, num_tokens, _ = query.shape
        kv_heads = key.shape[0]
        output = query.new_empty(num_tokens, heads, value.shape[-1])
        for block in query_blocks(layout, window):
            rows = slice(block.start, block.end)
            queries = query[:, rows].reshape(kv_heads, -1, query.shape[-1])
            weights, _ = _weights(queries, _gather(key, block.key_spans), block, scaling, softcap)
            result = torch.bmm(weights.flatten(1, 2).to(value.dtype), _gather(value, block.key_spans))
            output[rows] = result.view(heads, block.end - block.start, -1).transpose(0, 1)
        ctx.save_for_backward(query, key, value, output)
        ctx.layout, ctx.window, ctx.scaling, ctx.softcap = layout, window, scaling, softcap
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output = ctx.saved_tensors
        heads, _, dim = query.shape
        kv_heads = key.shape[0]
        grad_query = torch.empty_like(query)
        grad_key = torch.zeros_like(key, dtype=torch.float32, memory_format=torch.contiguous_format)
        grad_value = torch.zeros_like(value, dtype=torch.float32, memory_format=torch.contiguous_format)
        # delta = sum(dO * O): the softmax's backward needs only this one number a row (Dao 2022, algorithm 4).
        delta = (grad_output.float() * output).sum(-1).T.unflatten(0, (kv_heads, -1))
        for block in query_blocks(ctx.layout, ctx.window):
            rows = slice(block.start, block.end)
            queries = query[:, rows].reshape(kv_heads, -1, dim)
            keys, values = _gather(key, block.key_spans), _gather(value, block.key_spans)
            grads = grad_output[rows].transpose(0, 1).reshape(kv_heads, -1, value.shape[-1])
            weights, capped = _weights(queries, keys, block, ctx.scaling, ctx.softcap)
            flat = weights.flatten(1, 2).to(value.dtype)
            _scatter_add(grad_value, block.key_spans, torch.bmm(flat.transpose(1, 2), grads))
            grad_scores = torch.sub(
                torch.bmm(grads, values.transpose(1, 2)).view_as(weights), delta[:, :, rows, None]
            ).mul_(weights)
            if ctx.softcap is not None:
                grad_scores.mul_(1 - (capped / ctx.softcap).square())
            grad_flat = grad_scores.flatten(1, 2).to(query.dtype)
            grad_query[:, rows] = torch.bmm(grad_flat, keys).mul_(ctx.scaling).view(heads, -1, dim)
            _scatter_add(grad_key, block.key_spans, torch.bmm(grad_flat.transpose(1, 2), queries))
        grad_key = grad_key.mul_(ctx.scaling).to(key.dtype)
        return grad_query, grad_key, grad_value.to(value.dtype), None, None, None, None


def _flex_mask(layout: TreeLayout, window: int | None, positions: Tensor) -> Any:
    """FlexAttention's block mask of the layout; in depth-first order visibility is one interval a key."""
    from torch.nn.attention.flex_attention import create_block_mask

    device = positions.device
    cache_key = ("flex", window, device)
    if cache_key not in layout.cache:
        ends = layout.subtree_end().to(device)

        def visible(batch: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
            seen = (k <= q) & (q < ends[k])
            return seen if window is None else seen & (positions[q] - positions[k] < window)

        size = layout.num_tokens
        layout.cache[cache_key] = create_block_mask(visible, None, None, size, size, device=str(device))
    return layout.cache[cache_key]


_flex_compiled: Callable[..., Any] | None = None


def _flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: TreeLayout,
    window: int | None,
    scaling: float,
    softcap: float | None,
) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    global _flex_compiled
    if _flex_compiled is None:
        _flex_compiled = torch.compile(flex_attention, dynamic=True) if query.is_cuda else flex_attention

    def cap(score: Tensor, batch: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        assert softcap is not None
        return torch.tanh(score / softcap) * softcap

    mask = _flex_mask(layout, window, layout_positions(layout, query.device))
    output = _flex_compiled(
        query[None], key[None], value[None], score_mod=cap if softcap is not None else None, block_mask=mask,
        scale=scaling, enable_gqa=query.shape[0] != key.shape[0],
    )  # fmt: skip
    return output[0].transpose(0, 1)


def layout_positions(layout: TreeLayout, device: torch.device | str) -> Tensor:
    """Position of each token along its path, `(num_tokens,)`."""
    parts = [torch.arange(s.position, s.position + s.end - s.start) for s in layout.segments]
    return torch.cat(parts).to(device)


def tree_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: TreeLayout,
    *,
    window: int | None = None,
    scaling: float,
    softcap: float | None = None,
) -> Tensor:
    """Attention along the paths of a packed row.

    query `(heads, num_tokens, dim)`, key and value `(kv_heads, num_tokens, dim)`; returns `(num_tokens, heads, dim)`.
    """
    if query.is_cuda:
        return _flex_attention(query, key, value, layout, window, scaling, softcap)
    return _TreeAttention.apply(query, key, value, layout, window, scaling, softcap)  # type: ignore[no-untyped-call]


def _transformers_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    tree: TreeLayout | None = None,
    slots: SlotAttention | None = None,
    s_aux: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The signature transformers calls; `tree` or `slots` arrives as a keyword of the decoder's forward."""
    if (tree is None and slots is None) or s_aux is not None or dropout:
        raise TreeUnsupportedError(
            "attention sinks" if s_aux is not None else "attention dropout" if dropout else "no tree"
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if slots is not None:
        index: Any = module.layer_idx
        return slots.attend(index, query[0], key[0], value[0], sliding_window, scale, softcap)[None], None
    assert tree is not None
    tree.cache.setdefault("windows_seen", set()).add(sliding_window)
    output = tree_attention(
        query[0], key[0], value[0], tree, window=sliding_window, scaling=scale, softcap=softcap
    )  # fmt: skip
    return output[None], None


class SlotAttention(Protocol):
    """What answers a layer's attention while a model samples (`tutelage.engine.slots`)."""

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, window: int | None, scaling: float,
        softcap: float | None,
    ) -> Tensor:  # fmt: skip
        """query `(heads, num_rows, dim)`, key and value `(kv_heads, num_rows, dim)` → `(num_rows, heads, dim)`."""


class TreeUnsupportedError(Exception):
    """The model asks for something tree attention does not compute; the engine then takes the padded path."""


def register() -> None:
    """Make `tutelage_tree` known to transformers; calling it again changes nothing."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION_NAME, _transformers_attention)
