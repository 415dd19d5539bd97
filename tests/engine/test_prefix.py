"""Prompts that begin alike: laid out once, told apart again, and sampled as if each stood alone."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_model

from tutelage.engine import sampler
from tutelage.engine.generate import Completion, Sampling, generate
from tutelage.engine.prefix import WORTH_SHARING, Shared, share_prefixes
from tutelage.engine.slots import COLUMNS, Shape, Slots
from tutelage.engine.tree import TreeLayout

SYSTEM = tuple(range(10, 10 + WORTH_SHARING))


def prompt_of(row: Shared, index: int) -> tuple[tuple[int, ...], list[int]]:
    """(ids, positions) of one prompt, read along its path."""
    layout = TreeLayout(tuple(row.segments), len(row.ids))
    path = [*layout.ancestors(row.leaves[index]), row.segments[row.leaves[index]]]
    places = [place for segment in path for place in range(segment.start, segment.end)]
    return tuple(row.ids[place] for place in places), [row.positions[place] for place in places]


def test_a_shared_opening_is_stored_once() -> None:
    row = share_prefixes([(*SYSTEM, 1, 2), (*SYSTEM, 3), (*SYSTEM, 1, 4, 5)])
    assert len(row.ids) == WORTH_SHARING + 2 + 1 + 3
    assert [segment.parent for segment in row.segments] == [-1, 0, 0, 0]
    assert all(segment.position == WORTH_SHARING for segment in row.segments[1:])


def test_a_prompt_that_is_the_opening_of_another_ends_with_the_trunk() -> None:
    row = share_prefixes([(*SYSTEM, 1), SYSTEM])
    assert row.leaves == [1, 0]
    assert len(row.ids) == WORTH_SHARING + 1


def test_a_few_equal_tokens_are_not_worth_a_fork() -> None:
    short = SYSTEM[:-1]
    row = share_prefixes([(*short, 1), (*short, 2)])
    assert [segment.parent for segment in row.segments] == [-1, -1]
    assert len(row.ids) == 2 * WORTH_SHARING


def test_without_sharing_each_prompt_stands_alone() -> None:
    row = share_prefixes([(*SYSTEM, 1), (*SYSTEM, 2)], sharing=False)
    assert row.leaves == [0, 1]
    assert len(row.ids) == 2 * (WORTH_SHARING + 1)


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=40).map(tuple), min_size=1, max_size=12))
def test_every_prompt_is_read_back_along_its_path(prompts: list[tuple[int, ...]]) -> None:
    row = share_prefixes(prompts)
    for index, prompt in enumerate(prompts):
        assert prompt_of(row, index) == (prompt, list(range(len(prompt))))
    assert [segment.start for segment in row.segments[1:]] == [segment.end for segment in row.segments[:-1]]
    assert all(segment.parent < number for number, segment in enumerate(row.segments))


def alike(num: int) -> list[list[int]]:
    """Prompts with a long opening in common, some with more than that, of many lengths."""
    draws = random.Random(0)
    opening = [draws.randrange(5, 290) for _ in range(60)]
    ends = [draws.choice([1, 2, 5, 11, 30]) for _ in range(num)]
    return [opening[: draws.choice([9, 20, 60])] + [draws.randrange(5, 290) for _ in range(end)] for end in ends]


def sampled(model: Any, prompts: list[list[int]], batch_size: int = 64) -> list[Completion]:
    return generate(
        model, prompts, Sampling(12, temperature=1.0), stop_ids=[295], pad_id=0, batch_size=batch_size
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_answers_are_the_same_whoever_else_is_asked(family: str, dtype: torch.dtype) -> None:
    model, prompts = tiny_model(family).to(dtype), alike(14)
    together = sampled(model, prompts)
    for some in (sampled(model, prompts[:1]), sampled(model, prompts, batch_size=3)):
        assert [one.ids for one in some] == [one.ids for one in together[: len(some)]]
        for one, other in zip(some, together, strict=False):
            # bf16 products with weights as small as these may round otherwise in another number of rows.
            assert one.logprobs == pytest.approx(other.logprobs, abs=0.05 if dtype == torch.bfloat16 else 1e-6)


def test_the_model_reads_a_shared_opening_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    forward = sampler.Sampler._forward

    def counted(self: Any, ids: list[int], positions: list[int], slots: Any) -> torch.Tensor:
        read.append(len(ids))
        return forward(self, ids, positions, slots)

    monkeypatch.setattr(sampler.Sampler, "_forward", counted)
    opening = [7] * 50
    sampled(tiny_model("llama").bfloat16(), [[*opening, 5, 9], [*opening, 6, 9]])
    assert read[0] == 50 + 2


# The memory that grows with the sequences -----------------------------------------------------------------------------


def test_the_cache_is_as_long_as_the_longest_sequence_and_keeps_what_it_holds() -> None:
    slots = Slots(2, Shape(1, torch.float32, torch.device("cpu")))
    like = torch.zeros(3, 1, 4)
    keys, values = slots.of_layer(0, like, like)
    keys[1, :, :5], values[1, :, :5] = 7.0, 8.0
    slots.fit(COLUMNS + 1)
    keys, values = slots.of_layer(0, like, like)
    assert keys.shape == (2, 3, 2 * COLUMNS, 4)
    assert keys.is_contiguous()
    assert (keys[1, :, :5] == 7).all()
    assert (values[1, :, :5] == 8).all()
    assert keys.sum() == 7 * 3 * 5 * 4


def test_the_cache_shrinks_only_when_much_of_it_is_unused() -> None:
    slots = Slots(1, Shape(1, torch.float32, torch.device("cpu")))
    slots.fit(8 * COLUMNS)
    slots.fit(5 * COLUMNS)
    assert slots.num_columns == 8 * COLUMNS
    slots.fit(4 * COLUMNS)
    assert slots.num_columns == 4 * COLUMNS
