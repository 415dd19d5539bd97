"""Tree attention against plain masked attention, in values and gradients, for every shape of tree."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention.flex_attention import create_mask

from tutelage.engine import attention
from tutelage.engine.attention import TreeUnsupportedError, layout_positions, tree_attention
from tutelage.engine.tree import Segment, TreeLayout

SCALING = 0.37
THREE_DEEP = TreeLayout(
    (
        Segment(0, 9, -1, 0),
        Segment(9, 14, 0, 9),
        Segment(14, 21, 1, 14),
        Segment(21, 23, 1, 14),
        Segment(23, 30, 0, 9),
        Segment(30, 41, -1, 0),
    ),
    41,
)


@pytest.fixture(autouse=True)
def _several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BLOCK_QUERIES", 3)


def visible(layout: TreeLayout, window: int | None) -> Tensor:
    """The definition, pair by pair: a key on the query's own path, not after it, within the window."""
    owner = [index for index, segment in enumerate(layout.segments) for _ in range(segment.start, segment.end)]
    paths = [{index, *map(layout.segments.index, layout.ancestors(index))} for index in range(len(layout.segments))]
    positions = layout_positions(layout, "cpu").tolist()
    seen = torch.zeros(layout.num_tokens, layout.num_tokens, dtype=torch.bool)
    for query, key in torch.cartesian_prod(*[torch.arange(layout.num_tokens)] * 2).tolist():
        distance = positions[query] - positions[key]
        on_path = owner[key] in paths[owner[query]]
        seen[query, key] = on_path and distance >= 0 and (window is None or distance < window)
    return seen


def dense(
    query: Tensor, key: Tensor, value: Tensor, seen: Tensor, scaling: float, softcap: float | None = None
) -> Tensor:
    """Plain masked attention of `(heads, num_tokens, dim)` in fp64, `(num_tokens, heads, dim)`."""
    groups = len(query) // len(key)
    key, value = (tensor.double().repeat_interleave(groups, 0) for tensor in (key, value))
    scores = query.double() @ key.transpose(1, 2) * scaling
    if softcap is not None:
        scores = softcap * (scores / softcap).tanh()
    return (scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value).transpose(0, 1)


def random_heads(num_tokens: int, heads: int, kv_heads: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(heads, num_tokens, 8), (kv_heads, num_tokens, 8), (kv_heads, num_tokens, 6), (num_tokens, heads, 6)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def check(
    layout: TreeLayout, window: int | None, softcap: float | None, heads: int = 4, kv_heads: int = 2, seed: int = 0
) -> None:
    """Values and all three gradients of a random weighting agree with the dense reference to fp32 rounding."""
    *inputs, weights = random_heads(layout.num_tokens, heads, kv_heads, seed)
    ours = [tensor.clone().requires_grad_() for tensor in inputs]
    theirs = [tensor.clone().requires_grad_() for tensor in inputs]
    output = tree_attention(*ours, layout, window=window, scaling=SCALING, softcap=softcap)
    expected = dense(*theirs, visible(layout, window), SCALING, softcap)
    torch.testing.assert_close(output.double(), expected, rtol=1e-5, atol=1e-5)
    grads = torch.autograd.grad((output * weights).sum(), ours)
    for found, right in zip(grads, torch.autograd.grad((expected * weights).sum(), theirs), strict=True):
        torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [None, 1, 2, 4, 7, 100])
@pytest.mark.parametrize("softcap", [None, 1.5])
def test_values_and_gradients_of_a_tree_three_deep(window: int | None, softcap: float | None) -> None:
    check(THREE_DEEP, window, softcap)


@pytest.mark.parametrize(("heads", "kv_heads"), [(1, 1), (4, 4), (6, 2), (4, 1)])
def test_grouped_heads(heads: int, kv_heads: int) -> None:
    check(THREE_DEEP, 5, None, heads, kv_heads)


@st.composite
def layouts(draw: st.DrawFn) -> TreeLayout:
    """Up to three roots with children and grandchildren, in depth-first order; some branches are empty."""
    segments: list[Segment] = []

    def grow(parent: int, depth: int) -> None:
        start = segments[-1].end if segments else 0
        length = draw(st.integers(1 if parent < 0 else 0, 9))
        position = 0 if parent < 0 else segments[parent].position + segments[parent].end - segments[parent].start
        segments.append(Segment(start, start + length, parent, position))
        own = len(segments) - 1
        for _ in range(draw(st.integers(0, 2)) if depth < 2 else 0):
            grow(own, depth + 1)

    for _ in range(draw(st.integers(1, 3))):
        grow(-1, 0)
    return TreeLayout(tuple(segments), segments[-1].end)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layouts(), st.none() | st.integers(1, 12), st.none() | st.just(1.5), st.integers(0, 3))
def test_any_layout(layout: TreeLayout, window: int | None, softcap: float | None, seed: int) -> None:
    check(layout, window, softcap, seed=seed)


def cpu_visibility(layout: TreeLayout, window: int | None) -> Tensor:
    """What the CPU path lets through: with all scores equal, a key's share of a query's output is above zero or not."""
    size = layout.num_tokens
    zeros = torch.zeros(1, size, 4)
    return tree_attention(zeros, zeros, torch.eye(size)[None], layout, window=window, scaling=1.0)[:, 0] > 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layouts(), st.none() | st.integers(1, 12))
def test_the_cpu_path_and_the_flex_mask_are_the_definition(layout: TreeLayout, window: int | None) -> None:
    expected = visible(layout, window)
    assert torch.equal(cpu_visibility(layout, window), expected)
    block_mask = attention._flex_mask(layout, window, layout_positions(layout, "cpu"))
    size = layout.num_tokens
    assert torch.equal(create_mask(block_mask.mask_mod, 1, 1, size, size, device="cpu")[0, 0], expected)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("softcap", [None, 1.5])
def test_the_flex_path_gives_the_same_values(window: int | None, softcap: float | None) -> None:
    query, key, value, _ = random_heads(THREE_DEEP.num_tokens, 4, 2)
    value = torch.cat([value, value[..., :2]], -1)
    found = attention._flex_attention(query, key, value, THREE_DEEP, window, SCALING, softcap)
    expected = tree_attention(query, key, value, THREE_DEEP, window=window, scaling=SCALING, softcap=softcap)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_sibling_or_neighbour_changes_not_one_bit() -> None:
    query, key, value, _ = random_heads(THREE_DEEP.num_tokens, 4, 2)
    before = tree_attention(query, key, value, THREE_DEEP, scaling=SCALING)
    # Rows 14-20 are a leaf; its sibling (21-22), its parent's sibling (23-29) and the other root (30-40) cannot see it.
    for tensor in (query, key, value):
        tensor[:, 14:21] += 100
    after = tree_attention(query, key, value, THREE_DEEP, scaling=SCALING)
    assert torch.equal(before[:14], after[:14])
    assert torch.equal(before[21:], after[21:])
    assert not torch.equal(before[14:21], after[14:21])


def test_large_scores_stay_finite() -> None:
    query, key, value, _ = random_heads(THREE_DEEP.num_tokens, 4, 2)
    tensors = [(1000 * query).requires_grad_(), key.requires_grad_(), value.requires_grad_()]
    output = tree_attention(*tensors, THREE_DEEP, scaling=SCALING)
    assert output.isfinite().all()
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(output.sum(), tensors))


def test_bf16_is_close_to_fp32() -> None:
    query, key, value, _ = (tensor.bfloat16() for tensor in random_heads(THREE_DEEP.num_tokens, 4, 2))
    low = tree_attention(query, key, value, THREE_DEEP, window=5, scaling=SCALING)
    wide = tree_attention(query.float(), key.float(), value.float(), THREE_DEEP, window=5, scaling=SCALING)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), wide, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [({}, "no tree"), ({"s_aux": torch.zeros(4)}, "attention sinks"), ({"dropout": 0.1}, "attention dropout")],
)
def test_what_tree_attention_does_not_compute_is_refused(arguments: dict[str, object], reason: str) -> None:
    query, key, value, _ = random_heads(THREE_DEEP.num_tokens, 4, 2)
    tree = None if reason == "no tree" else THREE_DEEP
    with pytest.raises(TreeUnsupportedError, match=f"^{reason}$"):
        attention._transformers_attention(
            torch.nn.Identity(), query[None], key[None], value[None], None, tree=tree, **arguments
        )
