"""Our own sampler: prompts prefilled once, a static cache, sequences that leave when finished and others that join.

Every sequence has a seed of its own, made of the run's seed and its key, and on the CPU its numbers do not depend on
its neighbours: the same seed gives the same tokens whatever the batch size. Works for every model whose attention is
pluggable; `generate` asks `why_not` first and falls back on transformers' own sampling. Leaves out: text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tutelage.engine.attention import ATTENTION_NAME, register
from tutelage.engine.draw import draw, uniforms
from tutelage.engine.forward import base_causal_lm, read_head, tree_support
from tutelage.engine.logprobs import Head
from tutelage.engine.merged import packed_linear
from tutelage.engine.prefix import num_common, share_prefixes
from tutelage.engine.slots import Decode, KeysValues, Prefill, Slots, shape_of
from tutelage.engine.tree import Segment, TreeLayout

PREFILL_TOKENS = 2048
"""Prompt tokens computed at once."""
MIN_ROWS = {torch.float32: 16, torch.bfloat16: 2}
"""Below this the products of the CPU take another path, whose last bits differ."""


@dataclass
class Growing:
    """One answer while it grows."""

    index: int
    prompt: Sequence[int]
    numbers: np.ndarray
    """A uniform number for each token it may have."""
    limit: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False

    @property
    def length(self) -> int:
        """Tokens whose keys are in the cache before the next step."""
        return len(self.prompt) - 1 + len(self.ids)

    @property
    def newest(self) -> int:
        return self.ids[-1] if self.ids else self.prompt[-1]


def why_not(model: nn.Module) -> str:
    """Why this sampler cannot run the model; empty when it can."""
    inner = base_causal_lm(model)
    reason = tree_support(model)
    if reason:
        return reason
    config = inner.config.get_text_config()
    layers = {module.layer_idx for module in inner.modules() if isinstance(getattr(module, "layer_idx", None), int)}
    if layers != set(range(int(config.num_hidden_layers))) or getattr(config, "num_kv_shared_layers", None):
        return f"{type(inner).__name__} does not keep keys and values a layer each"
    return ""


@contextmanager
def slot_attention(model: nn.Module) -> Iterator[None]:
    """Give the model the pluggable attention while it samples."""
    inner = base_causal_lm(model)
    before = inner.config._attn_implementation
    register()
    if before != ATTENTION_NAME:
        inner.set_attn_implementation(ATTENTION_NAME)
    try:
        yield
    finally:
        if before != ATTENTION_NAME:
            inner.set_attn_implementation(before)


class Sampler:
    """Runs sequences of one model. Use inside `slot_attention`, without gradients, in evaluation mode."""

    def __init__(
        self, model: nn.Module, sampling: Any, stop_ids: Sequence[int], batch_size: int,
        ends_text: Callable[[Sequence[int]], bool] | None = None, goes_on: Callable[[Growing], bool] | None = None,
    ) -> None:  # fmt: skip
        """`ends_text` says of the ids so far whether a stop string is complete.

        `goes_on` is shown every answer after each of its tokens, and cuts it off there by saying no.
        """
        self.goes_on = goes_on
        self.decoder = base_causal_lm(model).get_decoder()
        self.head: Head = read_head(model)
        self.through_head = packed_linear(self.head.weight, self.head.bias)
        self.shape = shape_of(base_causal_lm(model))
        self.sampling, self.batch_size, self.ends_text = sampling, batch_size, ends_text
        self.stop_ids = frozenset(() if sampling.ignore_eos else stop_ids)
        on_cpu = self.shape.device.type == "cpu"
        self.min_rows = MIN_ROWS.get(self.shape.dtype, 1) if on_cpu else 1
        # In bf16 a prompt's numbers are the same bits however it is cut; the fp32 products of the CPU are not so kind.
        self.sharing = not (on_cpu and self.shape.dtype == torch.float32)
        self.prompts: dict[tuple[int, ...], list[KeysValues]] = {}

    # 1. All of them -----------------------------------------------------------------------------------------------
    def run(self, requests: Sequence[tuple[Sequence[int], int, int]], done: Callable[[Growing], None]) -> None:
        """Sample a sequence for each (prompt, key, limit); `done` is told of each as soon as it has ended."""
        order = sorted(range(len(requests)), key=lambda i: (len(requests[i][0]), tuple(requests[i][0]), i))
        waiting = deque(self._sequence(i, *requests[i]) for i in order)
        if not waiting:
            return
        rows = max(min(self.batch_size, len(waiting)), self.min_rows)
        slots = Slots(rows, self.shape)
        active: list[Growing] = []
        while active or waiting:
            self._join(waiting, active, slots)
            self._step(active, slots)
            self._leave(active, slots, done)

    def _sequence(self, index: int, prompt: Sequence[int], key: int, limit: int) -> Growing:
        numbers = uniforms(self.sampling.seed, key, limit) if self.sampling.temperature > 0 else np.zeros(limit)
        return Growing(index, tuple(prompt), numbers, limit)

    # 2. Joining: each distinct prompt is computed once ---------------------------------------------------------------
    def _join(self, waiting: deque[Growing], active: list[Growing], slots: Slots) -> None:
        free = min(self.batch_size, slots.num_slots) - len(active)
        # A prefill is worth its price for several sequences at once; a group that is half in needs none.
        if not waiting or not free or (active and free < self.batch_size // 8 and not self._is_known(waiting[0])):
            return
        joining = [waiting.popleft() for _ in range(min(free, len(waiting)))]
        self._prefill({tuple(one.prompt) for one in joining})
        groups: dict[tuple[int, ...], list[int]] = {}
        for one in joining:
            groups.setdefault(tuple(one.prompt), []).append(len(active))
            active.append(one)
        slots.fit(max(one.length for one in active) + 1)
        for prompt, places in groups.items():
            slots.load(places, self.prompts[prompt])
        # A prompt is kept as long as a sequence of its group waits; sequences wait in order of their prompts.
        needed = tuple(waiting[0].prompt) if waiting else None
        self.prompts = {prompt: kept for prompt, kept in self.prompts.items() if prompt == needed}

    def _is_known(self, sequence: Growing) -> bool:
        return tuple(sequence.prompt) in self.prompts

    def _prefill(self, prompts: set[tuple[int, ...]]) -> None:
        """Compute the keys and values of new prompts, all but the last token of each: the first step adds that one."""
        row: list[tuple[int, ...]] = []
        size = 0
        for prompt in sorted(prompts - self.prompts.keys()):  # those that begin alike stand together
            shared = num_common(row[-1], prompt) if row and self.sharing else 0
            if row and size + len(prompt) - shared > PREFILL_TOKENS:
                self._prefill_row(row)
                row, size, shared = [], 0, 0
            row.append(prompt)
            size += len(prompt) - shared
        if row:
            self._prefill_row(row)

    def _prefill_row(self, prompts: list[tuple[int, ...]]) -> None:
        longer = [prompt for prompt in prompts if len(prompt) > 1]
        self.prompts |= {prompt: [] for prompt in prompts if len(prompt) == 1}
        if not longer:
            return
        row = share_prefixes([prompt[:-1] for prompt in longer], sharing=self.sharing)
        segments, ids, positions = row.segments, row.ids, row.positions
        if filling := max(self.min_rows - len(ids), 0):
            segments.append(Segment(len(ids), len(ids) + filling, -1, 0))
            ids, positions = ids + [0] * filling, [*positions, *range(filling)]
        prefill = Prefill(TreeLayout(tuple(segments), len(ids)), self.shape.num_layers)
        self._forward(ids, positions, prefill)
        for prompt, leaf in zip(longer, row.leaves, strict=True):
            self.prompts[prompt] = prefill.of_path(leaf)

    # 3. One token for every active sequence --------------------------------------------------------------------------
    def _step(self, active: list[Growing], slots: Slots) -> None:
        filling = max(self.min_rows - len(active), 0)
        lengths = [one.length for one in active] + [0] * filling
        ids = [one.newest for one in active] + [0] * filling
        decode = Decode(slots, torch.tensor(lengths, device=self.shape.device), max(lengths))
        hidden = self._forward(ids, lengths, decode)
        numbers = torch.tensor([one.numbers[len(one.ids)] for one in active] + [0.0] * filling, dtype=torch.float64)
        drawn = draw(self._logits(hidden), self.sampling, numbers.to(self.shape.device))
        for one, token, logprob in zip(active, drawn.ids.tolist(), drawn.logprobs.tolist(), strict=False):
            one.ids.append(token)
            one.logprobs.append(logprob)
            if token in self.stop_ids or (self.ends_text is not None and self.ends_text(one.ids)):
                one.ended = True
            if self.goes_on is not None and not self.goes_on(one):
                one.limit = len(one.ids)

    def _forward(self, ids: list[int], positions: list[int], slots: Any) -> Tensor:
        device = self.shape.device
        output = self.decoder(
            input_ids=torch.tensor(ids, device=device)[None], position_ids=torch.tensor(positions, device=device)[None],
            use_cache=False, slots=slots,
        )  # fmt: skip
        return output.last_hidden_state[0]

    def _logits(self, hidden: Tensor) -> Tensor:
        logits = self.through_head(hidden)
        if self.head.scale != 1.0 or self.head.softcap is not None:
            logits = logits.float() * self.head.scale
        if self.head.softcap is not None:
            logits = (logits / self.head.softcap).tanh_().mul_(self.head.softcap)
        return logits

    # 4. Leaving: the last slot takes the place of one that has ended -------------------------------------------------
    def _leave(self, active: list[Growing], slots: Slots, done: Callable[[Growing], None]) -> None:
        for place in range(len(active) - 1, -1, -1):
            one = active[place]
            if not (one.ended or len(one.ids) >= one.limit):
                continue
            last = active.pop()
            if last is not one:
                slots.move(len(active), place, last.length)
                active[place] = last
            done(one)
