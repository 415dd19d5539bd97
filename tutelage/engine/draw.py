"""The sampling distribution: from logits to a drawn token and its logprob under what it was really drawn from.

Temperature first, then top-k, top-p and min-p, as transformers orders them. A token is drawn by inverting the
cumulative distribution at one uniform number a row, so the same number gives the same token whatever else is in the
batch. Leaves out: where the numbers come from (`uniforms` makes them of a seed and a key), and penalties.
"""

from __future__ import annotations

import math
from itertools import repeat
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

TILE = 256
"""The vocabulary is summed in tiles first, so that only one tile of a row is walked token by token."""
AT_ONCE = 2**21
"""Logits that are looked at together: several passes over what still lies in the processor's cache."""
NUCLEUS = 1024
"""How many of the most probable tokens are looked at for top-p before the whole vocabulary is sorted."""


class Distribution(Protocol):
    """What of the options shapes the distribution."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def top_p(self) -> float: ...
    @property
    def min_p(self) -> float: ...


class Drawn(NamedTuple):
    ids: Tensor
    """`(num_rows,)`"""
    logprobs: Tensor
    """`(num_rows,)` fp32, of the distribution drawn from; at temperature 0 of the model's own."""


def uniforms(seed: int, key: int, num: int) -> np.ndarray:
    """Numbers in [0, 1) that depend on seed and key alone (Philox, a counter-based generator), `(num,)` fp64."""
    mask = 2**64 - 1
    generator = np.random.Generator(np.random.Philox(key=np.array([seed & mask, key & mask], dtype=np.uint64)))
    return generator.random(num)


def draw(logits: Tensor, how: Distribution, numbers: Tensor) -> Drawn:
    """One token a row of `logits` `(num_rows, vocab)`, at the uniform `numbers` `(num_rows,)`.

    Logits may be in any floating type; what is computed from them is fp32. They may be changed.
    """
    rows = max(1, AT_ONCE // logits.shape[-1])
    if logits.device.type != "cpu" or len(logits) <= rows:
        return _draw(logits, how, numbers)
    parts = [_draw(*part) for part in zip(logits.split(rows), repeat(how), numbers.split(rows), strict=False)]
    return Drawn(torch.cat([part.ids for part in parts]), torch.cat([part.logprobs for part in parts]))


def _draw(logits: Tensor, how: Distribution, numbers: Tensor) -> Drawn:
    wide = logits.float()
    if how.temperature == 0:
        ids = wide.argmax(-1)
        return Drawn(ids, wide.gather(1, ids[:, None]).squeeze(1) - wide.logsumexp(-1))
    if how.temperature != 1:
        wide = wide / how.temperature
    wide = _restricted(wide, how)
    return _invert(wide, numbers)


def restricted_logprobs(logits: Tensor, how: Distribution) -> Tensor:
    """log of the distribution that `draw` draws from, `(num_rows, vocab)` fp32; -inf for what it never draws."""
    wide = logits.float() / (how.temperature or 1.0)
    return _restricted(wide, how).log_softmax(-1)


def _restricted(wide: Tensor, how: Distribution) -> Tensor:
    """Logits with what top-k, top-p and min-p leave out at -inf; each looks at what the one before has left."""
    lowest: Tensor | None = None
    if 0 < how.top_k < wide.shape[-1]:
        lowest = wide.topk(how.top_k, -1).values[:, -1:]
        wide = wide.masked_fill(wide < lowest, -math.inf)
    if how.top_p < 1:
        wide = wide.masked_fill(wide < _nucleus_edge(wide, how.top_p), -math.inf)
    if how.min_p > 0:
        edge = wide.amax(-1, keepdim=True) + math.log(how.min_p)
        wide = wide.masked_fill(wide < edge, -math.inf)
    return wide


def _nucleus_edge(wide: Tensor, top_p: float) -> Tensor:
    """The lowest logit of the smallest set of most probable tokens that reach `top_p` together, `(num_rows, 1)`.

    Tokens that tie with the last one are in as well.
    """
    total = wide.logsumexp(-1, keepdim=True)
    for size in (min(NUCLEUS, wide.shape[-1]), wide.shape[-1]):
        best = wide.topk(size, -1).values
        reached = (best - total).exp().cumsum(-1)
        if size == wide.shape[-1] or bool((reached[:, -1] >= top_p).all()):
            break
    last = (reached < top_p).sum(-1, keepdim=True).clamp_(max=best.shape[-1] - 1)
    return best.gather(1, last)


def _invert(wide: Tensor, numbers: Tensor) -> Drawn:
    """Inverse of the cumulative distribution, tile by tile and then within the tile that the number falls into."""
    rows, vocab = wide.shape
    weights = (wide - wide.amax(-1, keepdim=True)).exp_()
    if padding := -vocab % TILE:
        weights = torch.nn.functional.pad(weights, (0, padding))
    tiles = weights.view(rows, -1, TILE)
    edges = tiles.sum(-1, dtype=torch.float32).double().cumsum(-1)
    wanted = numbers.to(edges).clamp(max=1 - 1e-12)[:, None] * edges[:, -1:]
    tile = torch.searchsorted(edges, wanted, right=True).clamp_(max=edges.shape[-1] - 1)
    before = torch.where(tile > 0, edges.gather(1, (tile - 1).clamp(min=0)), 0.0)
    inner = tiles.gather(1, tile[:, :, None].expand(-1, -1, TILE)).squeeze(1)
    place = torch.searchsorted(inner.double().cumsum(-1), wanted - before, right=True)
    # Rounding may put the number past the tile's end, or on a token of weight zero: the last one that can be drawn.
    last = (TILE - 1) - (inner > 0).flip(-1).to(torch.uint8).argmax(-1, keepdim=True)
    place = torch.minimum(place, last)
    ids = (tile * TILE + place).squeeze(1)
    drawn = inner.gather(1, place).squeeze(1)
    return Drawn(ids, drawn.log() - edges[:, -1].log().float())
