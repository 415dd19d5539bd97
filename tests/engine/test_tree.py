"""Trees and the rows that pack them, with small rows written out by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.engine.rows import pack, split_by_budget
from tutelage.engine.tree import Segment, Tokens, Tree, TreeLayout

prompt, completion = Tokens.prompt, Tokens.completion


def tree_of(num_prompt: int, *num_branches: int) -> Tree:
    return Tree(prompt(range(num_prompt)), tuple(completion(range(100, 100 + length)) for length in num_branches))


def test_a_fork_and_a_plain_tree_written_out() -> None:
    fork = Tree(prompt((1, 2, 3)), (completion((4, 5)), completion((6,))))
    plain = Tree(prompt((7,)), (Tokens((8, 9, 10), (True, False, True)),))
    batch = pack([fork, plain])
    # row:        0  1  2 | 3  4 | 5 | 6  7  8  9
    # token:      1  2  3 | 4  5 | 6 | 7  8  9 10
    # position:   0  1  2 | 3  4 | 3 | 0  1  2  3
    assert batch.input_ids.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert batch.position_ids.tolist() == [0, 1, 2, 3, 4, 3, 0, 1, 2, 3]
    assert batch.layout.segments == (
        Segment(0, 3, parent=-1, position=0),
        Segment(3, 5, parent=0, position=3),
        Segment(5, 6, parent=0, position=3),
        Segment(6, 10, parent=-1, position=0),
    )
    # 4 and 6 are both predicted by the trunk's last token, at row 2; 9 is masked out.
    assert batch.target_ids.tolist() == [4, 5, 6, 8, 10]
    assert batch.source_index.tolist() == [2, 3, 2, 6, 8]
    assert batch.sequence_index.tolist() == [0, 0, 1, 2, 2]
    assert batch.tree_index.tolist() == [0, 0, 1]
    assert batch.layout.subtree_end().tolist() == [6, 6, 6, 5, 5, 6, 10, 10, 10, 10]
    assert (batch.num_tokens, batch.num_targets, batch.num_sequences) == (10, 5, 3)
    assert batch.trees == (fork, plain)


def test_a_row_is_rounded_up_by_tokens_that_take_part_in_nothing() -> None:
    trees = [tree_of(3, 2, 1), tree_of(1, 3)]
    plain, rounded = pack(trees), pack(trees, multiple=8)
    assert rounded.layout.segments == (*plain.layout.segments, Segment(10, 16, parent=-1, position=0))
    assert rounded.input_ids.tolist() == [*plain.input_ids.tolist(), 0, 0, 0, 0, 0, 0]
    assert rounded.position_ids.tolist() == [*plain.position_ids.tolist(), 0, 1, 2, 3, 4, 5]
    assert rounded.layout.subtree_end().tolist() == [*plain.layout.subtree_end().tolist(), 16, 16, 16, 16, 16, 16]
    for name in ("target_ids", "source_index", "sequence_index", "tree_index"):
        assert torch.equal(getattr(rounded, name), getattr(plain, name))
    assert (rounded.num_tokens, rounded.num_sequences) == (10, 3)
    assert len(pack(trees, multiple=5).input_ids) == 10


def test_one_branch_and_its_trunk_are_one_segment() -> None:
    batch = pack([tree_of(3, 2)])
    assert batch.layout.segments == (Segment(0, 5, parent=-1, position=0),)
    assert batch.source_index.tolist() == [2, 3]


def test_a_conversation_trains_every_assistant_turn_of_its_trunk() -> None:
    trunk = Tokens((1, 2, 3, 4), (False, True, False, True))
    batch = pack([Tree(trunk, (completion((5,)),))])
    assert batch.target_ids.tolist() == [2, 4, 5]
    assert batch.source_index.tolist() == [0, 2, 3]


def test_the_first_token_of_a_sequence_has_nothing_to_predict_it() -> None:
    tree = Tree(completion((1, 2)), (completion((3,)),))
    assert tree.num_trained_tokens == 2
    assert pack([tree]).target_ids.tolist() == [2, 3]


def test_a_branch_without_trained_tokens_keeps_its_place() -> None:
    batch = pack([Tree(prompt((1, 2)), (prompt((3,)), completion((4,))))])
    assert batch.sequence_index.tolist() == [1]
    assert batch.num_sequences == 2


def test_an_empty_branch_keeps_its_place() -> None:
    batch = pack([Tree(prompt((1, 2)), (completion(()), completion((4, 5))))])
    assert batch.layout.segments == (Segment(0, 2, -1, 0), Segment(2, 2, 0, 2), Segment(2, 4, 0, 2))
    assert batch.sequence_index.tolist() == [1, 1]
    assert batch.layout.subtree_end().tolist() == [4, 4, 4, 4]


def test_paths_are_what_a_chat_would_see() -> None:
    tree = Tree(prompt((1, 2)), (completion((3,)), completion((4, 5))))
    assert [path.ids for path in tree.paths()] == [(1, 2, 3), (1, 2, 4, 5)]
    assert [path.mask for path in tree.paths()] == [(False, False, True), (False, False, True, True)]
    assert tree.num_tokens == 5
    assert tree.num_trained_tokens == 3


def test_ancestors_root_first() -> None:
    root, child, leaf = Segment(0, 2, -1, 0), Segment(2, 5, 0, 2), Segment(5, 6, 1, 5)
    layout = TreeLayout((root, child, leaf), 6)
    assert [layout.ancestors(index) for index in range(3)] == [[], [root], [root, child]]
    assert layout.subtree_end().tolist() == [6] * 6


def test_the_same_batch_on_a_device() -> None:
    batch = pack([tree_of(3, 2, 4)])
    moved = batch.to("meta")
    assert {t.device.type for t in (moved.input_ids, moved.position_ids, moved.source_index, moved.target_ids)} == {
        "meta"
    }
    assert moved.layout is batch.layout
    assert moved.num_targets == 6


@pytest.mark.parametrize("trees", [[], [Tree(prompt((1,)), (prompt((2, 3)),))]])
def test_nothing_to_train_on_is_an_error(trees: list[Tree]) -> None:
    with pytest.raises(ValueError, match=r"^nothing to train on: every token of the batch is masked out$"):
        pack(trees)


def test_trees_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"^a tree needs at least one branch$"):
        Tree(prompt((1,)), ())
    with pytest.raises(ValueError, match=r"^a trunk shared by several branches cannot be trained on$"):
        Tree(completion((1, 2)), (completion((3,)), completion((4,))))
    with pytest.raises(ValueError, match=r"^a tree needs at least one trunk token: the first token has nothing"):
        Tree(prompt(()), (completion((3,)),))
    with pytest.raises(ValueError, match=r"^2 token ids but 1 mask values$"):
        Tokens((1, 2), (True,))


trees = st.builds(
    lambda trunk, branches: tree_of(trunk, *branches),
    st.integers(1, 30),
    st.lists(st.integers(1, 30), min_size=1, max_size=4),
)


@given(st.lists(trees, min_size=1, max_size=8))
def test_each_path_can_be_read_back_from_the_row(made: list[Tree]) -> None:
    batch = pack(made)
    ids, positions = batch.input_ids.tolist(), batch.position_ids.tolist()
    leaves = [
        index
        for index in range(len(batch.layout.segments))
        if index not in {segment.parent for segment in batch.layout.segments}
    ]
    found = []
    for leaf in leaves:
        spans = [*batch.layout.ancestors(leaf), batch.layout.segments[leaf]]
        rows = [row for span in spans for row in range(span.start, span.end)]
        assert [positions[row] for row in rows] == list(range(len(rows)))
        found.append(tuple(ids[row] for row in rows))
    assert found == [path.ids for tree in made for path in tree.paths()]
    # Every trained token once, predicted by the token before it on its own path.
    assert batch.num_targets == sum(tree.num_trained_tokens for tree in made)
    expected = [
        (path.ids[index - 1], path.ids[index])
        for tree in made
        for path in tree.paths()
        for index in range(1, len(path))
        if path.mask[index]
    ]
    assert list(zip(batch.input_ids[batch.source_index].tolist(), batch.target_ids.tolist(), strict=True)) == expected
    assert (batch.sequence_index.diff() >= 0).all()


@given(st.lists(trees, min_size=1, max_size=8))
def test_the_interval_rule_is_the_ancestor_definition(made: list[Tree]) -> None:
    layout = pack(made).layout
    owner = [index for index, segment in enumerate(layout.segments) for _ in range(segment.start, segment.end)]
    ancestors = [{index, *map(layout.segments.index, layout.ancestors(index))} for index in range(len(layout.segments))]
    rows = torch.arange(layout.num_tokens)
    interval = (rows <= rows[:, None]) & (rows[:, None] < layout.subtree_end()[None])
    for query in range(layout.num_tokens):
        expected = [key <= query and owner[key] in ancestors[owner[query]] for key in range(layout.num_tokens)]
        assert interval[query].tolist() == expected


def test_rows_are_evenly_filled() -> None:
    rows = split_by_budget([tree_of(1, length - 1) for length in (2, 3, 4, 5, 6)], 10)
    # Two rows to begin with, longest first into the emptier one: 6 | 5, 6 | 5 4, 6 3 | 5 4, and neither has room for 2.
    assert [[tree.num_tokens for tree in row] for row in rows] == [[6, 3], [5, 4], [2]]


def test_a_tree_longer_than_the_budget_stands_alone() -> None:
    rows = split_by_budget([tree_of(1, 1), tree_of(5, 20), tree_of(1, 2)], 8)
    assert [25] in [[tree.num_tokens for tree in row] for row in rows]


def test_a_tree_beyond_the_budget_does_not_spread_the_others() -> None:
    small = [tree_of(1, 99) for _ in range(10)]
    rows = split_by_budget([tree_of(1, 1999), *small], 1000)
    # 2000 tokens in a row of their own; ten times 100 fill one row of 1000 instead of two of 500.
    assert [[tree.num_tokens for tree in row] for row in rows] == [[2000], [100] * 10]
