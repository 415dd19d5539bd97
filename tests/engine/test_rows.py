"""Trees that begin alike in one row: stored once, read back whole, and trained as if each stood alone."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_model
from torch import nn

from tutelage.engine.forward import TreeEngine
from tutelage.engine.prefix import WORTH_SHARING
from tutelage.engine.rows import MOST_FORKS, opening_of, pack, split_by_budget
from tutelage.engine.tree import Segment, Tokens, Tree
from tutelage.models.adapt import LoraConfig, add_lora

prompt, completion = Tokens.prompt, Tokens.completion
SYSTEM = tuple(range(10, 10 + WORTH_SHARING))


def stored(trees: list[Tree]) -> int:
    return pack(trees).layout.num_tokens


def test_a_shared_opening_written_out() -> None:
    fork = Tree(prompt((*SYSTEM, 1)), (completion((2, 3)), completion((4,))))
    plain = Tree(prompt((*SYSTEM, 5, 6)), (completion((7,)),))
    batch = pack([fork, plain])
    # row:       0 ... 7 |  8 |  9 10 | 11 | 12 13 14
    # token:     SYSTEM  |  1 |  2  3 |  4 |  5  6  7
    # position:  0 ... 7 |  8 |  9 10 |  9 |  8  9 10
    assert batch.input_ids.tolist() == [*SYSTEM, 1, 2, 3, 4, 5, 6, 7]
    assert batch.position_ids.tolist() == [*range(8), 8, 9, 10, 9, 8, 9, 10]
    assert batch.layout.segments == (
        Segment(0, 8, parent=-1, position=0),
        Segment(8, 9, parent=0, position=8),
        Segment(9, 11, parent=1, position=9),
        Segment(11, 12, parent=1, position=9),
        Segment(12, 15, parent=0, position=8),
    )
    assert batch.target_ids.tolist() == [2, 3, 4, 7]
    assert batch.source_index.tolist() == [8, 9, 8, 13]
    assert batch.sequence_index.tolist() == [0, 0, 1, 2]
    assert batch.tree_index.tolist() == [0, 0, 1]
    assert batch.end_index.tolist() == [10, 11, 14]
    assert batch.layout.subtree_end().tolist() == [15] * 8 + [12, 11, 11, 12, 15, 15, 15]
    assert batch.num_tokens == fork.num_tokens + plain.num_tokens == 23


def test_one_question_with_its_answers_in_trees_of_their_own_is_read_once() -> None:
    trees = [Tree(prompt((*SYSTEM, 1, 2)), (completion((3, token)),)) for token in (4, 5, 6)]
    batch = pack(trees)
    assert [segment.parent for segment in batch.layout.segments] == [-1, 0, 0, 0]
    assert batch.layout.num_tokens == WORTH_SHARING + 2 + 3 * 2
    assert batch.source_index.tolist() == [9, 10, 9, 12, 9, 14]  # each first answer token from the question's last


def test_a_few_equal_tokens_are_not_worth_a_fork() -> None:
    trees = [Tree(prompt((*SYSTEM[:-1], token)), (completion((3,)),)) for token in (1, 2)]
    assert [segment.parent for segment in pack(trees).layout.segments] == [-1, -1]


def test_what_is_trained_on_is_never_shared() -> None:
    mask = (False,) * 9 + (True, False, False)
    trees = [Tree(Tokens((*SYSTEM, 1, 2, 3, 4), mask), (completion((token,)),)) for token in (5, 6)]
    assert opening_of(trees[0]) == (*SYSTEM, 1)
    batch = pack(trees)
    assert batch.target_ids.tolist() == [2, 5, 2, 6]
    assert batch.num_targets == sum(tree.num_trained_tokens for tree in trees)


def test_an_empty_answer_keeps_its_last_token() -> None:
    trees = [Tree(prompt((*SYSTEM, 1)), (prompt(()),)), Tree(prompt((*SYSTEM, 1)), (completion((2,)),))]
    batch = pack(trees)
    assert batch.end_index.tolist() == [8, 10]
    assert batch.input_ids[batch.end_index].tolist() == [1, 2]


def test_openings_inside_openings_follow_the_order_given() -> None:
    longer = (*SYSTEM, *SYSTEM)
    trees = [Tree(prompt((*start, 1)), (completion((2,)),)) for start in (longer, SYSTEM, longer, longer)]
    parents = [segment.parent for segment in pack(trees).layout.segments]
    assert parents == [-1, 0, 0, 0, 3, 3]  # the second interrupts the long ones, which share again after it
    assert [tree for row in split_by_budget(trees, 100) for tree in row] == [trees[i] for i in (1, 0, 2, 3)]


def test_openings_nested_without_end_are_cut_off() -> None:
    steps = [SYSTEM * number for number in range(1, 3 * MOST_FORKS)]
    trees = [Tree(prompt((*start, 1)), (completion((2,)),)) for start in steps]
    layout = pack(trees).layout
    assert max(len(layout.ancestors(index)) for index in range(len(layout.segments))) == MOST_FORKS


letters = st.lists(st.integers(1, 2), min_size=1, max_size=40)
masks = st.lists(st.booleans(), min_size=40, max_size=40)
alike = st.builds(
    lambda ids, mask, branches: Tree(
        Tokens(tuple(ids), tuple(mask[: len(ids)]) if len(branches) == 1 else (False,) * len(ids)),
        tuple(completion(branch) for branch in branches),
    ),
    letters,
    st.one_of(masks, st.just([False] * 40)),
    st.lists(letters, min_size=1, max_size=3),
)


@given(st.lists(alike, min_size=1, max_size=10), st.integers(1, 9))
def test_each_path_is_read_back_whatever_is_shared(trees: list[Tree], multiple: int) -> None:
    batch = pack(trees, multiple=multiple)
    layout, ids = batch.layout, batch.input_ids.tolist()
    assert [s.start for s in layout.segments[1:]] == [s.end for s in layout.segments[:-1]]
    owner = [index for index, segment in enumerate(layout.segments) for _ in range(segment.start, segment.end)]
    found = []
    for end in batch.end_index.tolist():
        path = [*layout.ancestors(owner[end]), layout.segments[owner[end]]]
        places = [place for segment in path for place in range(segment.start, segment.end)]
        assert places[-1] == end
        assert batch.position_ids[places].tolist() == list(range(len(places)))
        found.append(tuple(ids[place] for place in places))
    paths = [path for tree in trees for path in tree.paths()]
    assert found == [path.ids for path in paths]
    trained = [
        (number, path.ids[place - 1], path.ids[place])
        for number, path in enumerate(paths) for place in range(1, len(path)) if path.mask[place]
    ]  # fmt: skip
    sources = batch.input_ids[batch.source_index].tolist()
    assert list(zip(batch.sequence_index.tolist(), sources, batch.target_ids.tolist(), strict=True)) == trained
    assert batch.layout.num_tokens <= -(-sum(tree.num_tokens for tree in trees) // multiple) * multiple


def chats(num: int, seed: int = 0) -> list[Tree]:
    """Conversations under one system prompt, some with more in common than that, some of several answers."""
    draws = random.Random(seed)
    opening = [draws.randrange(5, 200) for _ in range(21)]
    questions = [[draws.randrange(5, 200) for _ in range(length)] for length in (3, 12, 30)]
    made = []
    for number in range(num):
        answers = [[draws.randrange(5, 200) for _ in range(draws.randrange(1, 25))] for _ in range(1 + number % 2)]
        ids = (*opening, *questions[number % 3], draws.randrange(5, 200))
        made.append(Tree(prompt(ids), tuple(completion(answer) for answer in answers)))
    return made


def results(model: nn.Module, rows: list[list[Tree]]) -> tuple[list[float], dict[str, torch.Tensor]]:
    """(logprobs in the order of the rows, gradients of a weighted sum of them) of a model in fp32."""
    engine = TreeEngine(model)
    assert engine.path == "tree"
    model.zero_grad()
    found: list[float] = []
    for row in rows:
        batch = pack(row, multiple=8)
        logprobs = engine.logprobs(batch).logprobs
        (logprobs * torch.linspace(1, 2, 7)[batch.target_ids % 7]).sum().backward()
        found += logprobs.tolist()
    return found, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("adapted", [False, True], ids=["full", "lora"])
def test_a_shared_opening_changes_neither_logprobs_nor_gradients(family: str, adapted: bool) -> None:
    """The tiny models' sliding windows are shorter than these conversations."""
    model = tiny_model(family)
    if adapted:
        model = add_lora(model, LoraConfig(rank=4))
        torch.manual_seed(0)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.1)
    (trees,) = split_by_budget(chats(8), 2000)
    assert stored(trees) < 0.7 * sum(tree.num_tokens for tree in trees)
    together, separate = results(model, [trees]), results(model, [[tree] for tree in trees])
    torch.testing.assert_close(together[0], separate[0], rtol=1e-4, atol=1e-4)
    assert together[1].keys() == separate[1].keys()
    for name, grad in separate[1].items():
        torch.testing.assert_close(together[1][name], grad, rtol=1e-3, atol=1e-3 * float(grad.abs().max() + 1e-6))


# Which trees share a row ---------------------------------------------------------------------------------------------
@given(st.lists(st.one_of(alike, st.builds(lambda n: Tree(prompt(range(n)), (completion((1,)),)), st.integers(1, 60)))),
       st.integers(1, 120))  # fmt: skip
def test_rows_hold_every_tree_once_and_keep_the_budget(made: list[Tree], budget: int) -> None:
    rows = split_by_budget(made, budget)
    assert sorted(id(tree) for row in rows for tree in row) == sorted(map(id, made))
    assert all(rows)
    for row in rows:
        # What several trees begin with comes on top, and is never longer than the shortest of their prompts.
        openings = max(len(opening_of(tree)) for tree in row)
        assert len(row) == 1 or pack_size(row) <= openings + max(budget, openings)
    assert rows == split_by_budget(iter(made), budget)


def pack_size(trees: list[Tree]) -> int:
    anything = Tree(prompt((99,)), (completion((98,)),))
    return stored([*trees, anything]) - 2  # a row needs something to train on


def test_without_anything_in_common_a_row_keeps_to_the_budget() -> None:
    made = [Tree(prompt((number, *range(20))), (completion((1,)),)) for number in range(40)]
    assert all(sum(tree.num_tokens for tree in row) <= 100 for row in split_by_budget(made, 100))


def test_an_opening_comes_on_top_of_the_budget() -> None:
    made = [Tree(prompt((*SYSTEM, number)), (completion((1,)),)) for number in range(10)]
    assert [len(row) for row in split_by_budget(made, 10)] == [5, 5]  # 2 tokens each besides the system prompt's 8
    assert [stored(row) for row in split_by_budget(made, 10)] == [18, 18]


def test_a_system_prompt_longer_than_the_budget_is_still_shared() -> None:
    opening = range(1000)
    made = [Tree(prompt((*opening, 2000 + number)), (completion(range(299)),)) for number in range(6)]
    rows = split_by_budget(made, 512)
    assert [len(row) for row in rows] == [3, 3]  # as many other tokens as the opening has
    assert [stored(row) for row in rows] == [1900, 1900]


def test_other_trees_do_not_join_the_rows_of_a_long_system_prompt() -> None:
    long = [Tree(prompt((*range(1000), number)), (completion((1,)),)) for number in range(4)]
    others = [Tree(prompt((5000 + number,)), (completion(range(99)),)) for number in range(10)]
    rows = split_by_budget([*others, *long], 500)
    assert [len(row) for row in rows] == [4, 5, 5]
