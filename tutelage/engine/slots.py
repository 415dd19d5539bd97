"""Keys and values of sequences that grow, in memory laid out ahead: a slot a sequence, the active ones in front.

Two attentions stand behind one forward of the decoder. `Prefill` runs prompts as a packed row (tree attention) and
keeps each prompt's keys and values; `Decode` adds one token to every active slot. Grouped heads are folded into the
rows of one product, so keys are never repeated. On the CPU a sequence's numbers come out the same to the last bit
however many others are in the batch, save that products with very small bf16 weights (32 x 32) may round otherwise.
Leaves out: which sequences run (`sampler`), and paging.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tutelage.engine.attention import tree_attention
from tutelage.engine.tree import TreeLayout

COLUMNS = 32
"""Lengths are rounded up to this many columns, so that few shapes of products occur."""
SPARE = 4
"""How many times `COLUMNS` the cache may be too long before it is laid out anew."""


class Shape(NamedTuple):
    """What a cache needs to know of the model."""

    num_layers: int
    dtype: torch.dtype
    device: torch.device


KeysValues = tuple[Tensor, Tensor]
"""Keys and values of one sequence in one layer, `(kv_heads, num_tokens, dim)` each."""


class Prefill:
    """Attention over prompts in a packed row; afterwards `kept[layer]` holds the row's keys and values."""

    def __init__(self, layout: TreeLayout, num_layers: int) -> None:
        self.layout = layout
        self.kept: list[KeysValues | None] = [None] * num_layers

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, window: int | None, scaling: float,
        softcap: float | None,
    ) -> Tensor:  # fmt: skip
        self.kept[layer] = (key, value)
        return tree_attention(query, key, value, self.layout, window=window, scaling=scaling, softcap=softcap)

    def of_path(self, leaf: int) -> list[KeysValues]:
        """Keys and values of the prompt that ends with segment `leaf`, a pair a layer, in memory of their own."""
        path = [*self.layout.ancestors(leaf), self.layout.segments[leaf]]
        spans = [slice(segment.start, segment.end) for segment in path]
        pairs = [pair for pair in self.kept if pair is not None]
        return [
            (torch.cat([key[:, span] for span in spans], 1), torch.cat([value[:, span] for span in spans], 1))
            for key, value in pairs
        ]


class Slots:
    """The memory: for each layer keys and values `(num_slots, kv_heads, num_columns, dim)`, made when first needed.

    It has as many columns as the longest sequence needs, rounded up, and is laid out anew when that changes: a product
    with a part of the columns would copy that part first, at every step.
    """

    def __init__(self, num_slots: int, shape: Shape) -> None:
        self.num_slots, self.shape, self.num_columns = num_slots, shape, COLUMNS
        self.keys: list[Tensor | None] = [None] * shape.num_layers
        self.values: list[Tensor | None] = [None] * shape.num_layers

    def of_layer(self, layer: int, like_key: Tensor, like_value: Tensor) -> KeysValues:
        key, value = self.keys[layer], self.values[layer]
        if key is None or value is None:
            # Zeros, since a column that is masked out is still multiplied by its weight of 0.
            key, value = self._empty(like_key), self._empty(like_value)
            self.keys[layer], self.values[layer] = key, value
        return key, value

    def _empty(self, like: Tensor) -> Tensor:
        return like.new_zeros(self.num_slots, like.shape[0], self.num_columns, like.shape[-1])

    def fit(self, num_columns: int) -> None:
        """Make room for sequences of `num_columns` tokens, and give back what is far more than that."""
        wanted = -(-num_columns // COLUMNS) * COLUMNS
        if self.num_columns < wanted or wanted <= self.num_columns - SPARE * COLUMNS:
            self.num_columns = wanted
            self.keys = [self._laid_out_anew(tensor) for tensor in self.keys]
            self.values = [self._laid_out_anew(tensor) for tensor in self.values]

    def _laid_out_anew(self, tensor: Tensor | None) -> Tensor | None:
        if tensor is None:
            return None
        kept = tensor[:, :, : self.num_columns]
        return functional.pad(kept, (0, 0, 0, self.num_columns - kept.shape[2])).contiguous()

    def load(self, slots: Sequence[int], prompt: Sequence[KeysValues]) -> None:
        """Put one prompt's keys and values into each of these slots; `fit` has made room."""
        for layer, (key, value) in enumerate(prompt):
            keys, values = self.of_layer(layer, key, value)
            for slot in slots:
                keys[slot, :, : key.shape[1]] = key
                values[slot, :, : key.shape[1]] = value

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` columns of a slot into another one."""
        for tensor in (*self.keys, *self.values):
            if tensor is not None:
                tensor[target, :, :length] = tensor[source, :, :length]


class Decode:
    """Attention of one new token a slot, for the first `len(lengths)` slots."""

    def __init__(self, slots: Slots, lengths: Tensor, longest: int) -> None:
        """`lengths` `(num_rows,)` tokens that each slot holds already; `longest` is their largest."""
        self.slots, self.lengths = slots, lengths
        self.num_rows = len(lengths)
        slots.fit(longest + 1)
        self.columns = slots.num_columns
        self._places: dict[int, Tensor] = {}
        """By the number of key heads, where in the cache's rows the newest keys go, `(num_rows * kv_heads,)`."""
        self._bias: dict[int | None, Tensor] = {}

    def bias(self, window: int | None) -> Tensor:
        """fp32 `(num_rows, 1, 1, columns)`: 0 where a key may be seen, -inf elsewhere."""
        if window not in self._bias:
            columns = torch.arange(self.columns, device=self.lengths.device)
            hidden = columns > self.lengths[:, None]
            if window is not None:
                hidden |= columns <= self.lengths[:, None] - window
            bias = torch.zeros(hidden.shape, device=hidden.device).masked_fill_(hidden, float("-inf"))
            self._bias[window] = bias[:, None, None, :]
        return self._bias[window]

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, window: int | None, scaling: float,
        softcap: float | None,
    ) -> Tensor:  # fmt: skip
        keys, values = self.slots.of_layer(layer, key, value)
        kv_heads = key.shape[0]
        keys, values = (self._with_newest(*pair) for pair in ((keys, key), (values, value)))
        folded = query.transpose(0, 1).reshape(self.num_rows * kv_heads, -1, query.shape[-1])
        scores = torch.bmm(folded, keys.transpose(1, 2)).unflatten(0, (-1, kv_heads))
        if softcap is None:
            scores = torch.add(self.bias(window), scores, alpha=scaling)
        else:
            scores = scores.float().mul_(scaling / softcap).tanh_().mul_(softcap).add_(self.bias(window))
        weights = torch.softmax(scores, -1).to(values.dtype).flatten(0, 1)
        return torch.bmm(weights, values).view(self.num_rows, -1, values.shape[-1])

    def _with_newest(self, kept: Tensor, newest: Tensor) -> Tensor:
        """Write `newest` `(kv_heads, num_rows, dim)` into the cache, then `(num_rows * kv_heads, columns, dim)`."""
        kv_heads, _, dim = newest.shape
        if kv_heads not in self._places:
            heads = torch.arange(self.num_rows * kv_heads, device=self.lengths.device)
            self._places[kv_heads] = heads * self.columns + self.lengths.repeat_interleave(kv_heads)
        rows = kept[: self.num_rows].view(-1, dim)
        rows.index_copy_(0, self._places[kv_heads], newest.transpose(0, 1).reshape(-1, dim))
        return rows.view(-1, self.columns, dim)


def shape_of(model: Any) -> Shape:
    """The shape of a decoder's cache."""
    config = model.config.get_text_config()
    weight = model.get_input_embeddings().weight
    return Shape(int(config.num_hidden_layers), weight.dtype, weight.device)
