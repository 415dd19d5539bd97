"""The invariant: a packed row gives the logprobs and gradients of its sequences, run one by one by transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer
from torch import Tensor

from tutelage.engine import attention
from tutelage.engine import logprobs as engine_logprobs
from tutelage.engine.forward import TreeEngine, ordinary_attention, padded_logprobs
from tutelage.engine.generate import Sampling, generate
from tutelage.engine.rows import pack
from tutelage.engine.tree import Tokens, Tree, TreeBatch
from tutelage.models.adapt import LoraConfig, add_lora

FORKED = ("llama", "gemma2", "gemma3_text")
"""Families that also stand for the others where a check says nothing about the family."""


@pytest.fixture(autouse=True)
def _several_blocks_and_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BLOCK_QUERIES", 7)
    monkeypatch.setattr(engine_logprobs, "VOCAB_TILE", 97)
    monkeypatch.setattr(engine_logprobs, "CHUNK_TOKENS", 13)


def ids_of(num_tokens: int, seed: int) -> list[int]:
    """Random ids above the special tokens."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(5, 290, (num_tokens,), generator=generator).tolist()


def some_trees() -> list[Tree]:
    """Longer than the tiny models' windows of 8: a plain pair, a conversation, a comparison and a group of three."""
    conversation = Tokens.prompt(ids_of(9, 1)) + Tokens.completion(ids_of(5, 2)) + Tokens.prompt(ids_of(6, 3))
    pair = (Tokens.completion(ids_of(11, 6)), Tokens.completion(ids_of(4, 7)))
    group = tuple(Tokens.completion(ids_of(length, 10 + length)) for length in (1, 12, 5))
    return [
        Tree(Tokens.prompt(ids_of(5, 4)), (Tokens.completion(ids_of(17, 5)),)),
        Tree(conversation, (Tokens.completion(ids_of(7, 8)),)),
        Tree(Tokens.prompt(ids_of(13, 9)), pair),
        Tree(Tokens.prompt(ids_of(3, 20)), group),
    ]


def separate_logprobs(model: Any, batch: TreeBatch) -> Tensor:
    """Each sequence alone, unpadded, through the model's ordinary forward."""
    parts = []
    for path in (path for tree in batch.trees for path in tree.paths()):
        ids = torch.tensor(path.ids)
        everything = model(input_ids=ids[None], use_cache=False).logits[0].float().log_softmax(-1)
        trained = [index for index, flag in enumerate(path.mask) if flag and index]
        parts.append(everything[[index - 1 for index in trained], ids[trained]])
    return torch.cat(parts)


def weights_of(batch: TreeBatch) -> Tensor:
    """A different weight for each target, so that no two of them can be swapped unseen."""
    return torch.linspace(-1, 2, batch.num_targets)


def gradients(model: Any, value: Tensor) -> dict[str, Tensor]:
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    grads = torch.autograd.grad(value, list(trained.values()))
    return dict(zip(trained, grads, strict=True))


def assert_same_gradients(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, right in expected.items():
        assert right.abs().max() > 0, name
        scale = float(right.abs().max())
        torch.testing.assert_close(found[name], right, rtol=1e-3, atol=1e-5 * scale, msg=lambda m, n=name: f"{n}: {m}")


def tree_engine(model: Any) -> TreeEngine:
    engine = TreeEngine(model)
    assert engine.path == "tree", engine.reason
    return engine


def with_adapters(model: Any) -> Any:
    """LoRA adapters, always the same ones and with a B that is not 0, so that they matter."""
    adapted = add_lora(model, LoraConfig(rank=3))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return adapted


def test_packed_is_separate_in_logprobs_and_gradients(family: str) -> None:
    batch, plain = pack(some_trees()), tiny_model(family)
    expected = separate_logprobs(plain, batch)
    model = tiny_model(family)
    found = tree_engine(model).logprobs(batch).logprobs
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)
    weights = weights_of(batch)
    assert_same_gradients(gradients(model, (found * weights).sum()), gradients(plain, (expected * weights).sum()))


def test_packed_is_padded(family: str) -> None:
    batch, model = pack(some_trees()), tiny_model(family)
    weights, engine = weights_of(batch), tree_engine(model)
    found = engine.logprobs(batch, temperature=0.7, with_entropy=True)
    with ordinary_attention(model):
        expected = padded_logprobs(model, batch, temperature=0.7, with_entropy=True)
    torch.testing.assert_close(found.logprobs, expected.logprobs, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(found.entropy, expected.entropy, rtol=1e-4, atol=2e-4)
    assert_same_gradients(
        gradients(model, (found.logprobs * weights).sum()), gradients(model, (expected.logprobs * weights).sum())
    )


def test_packed_is_separate_with_lora(family: str) -> None:
    batch, plain = pack(some_trees()), with_adapters(tiny_model(family))
    expected = separate_logprobs(plain, batch)
    model = with_adapters(tiny_model(family))
    found = tree_engine(model).logprobs(batch).logprobs
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)
    weights = weights_of(batch)
    assert_same_gradients(gradients(model, (found * weights).sum()), gradients(plain, (expected * weights).sum()))


@pytest.mark.parametrize("lora", [False, True])
def test_gradient_checkpointing_changes_nothing(family: str, lora: bool) -> None:
    batch = pack(some_trees())
    results = []
    for checkpointing in (False, True):
        model = with_adapters(tiny_model(family)) if lora else tiny_model(family)
        engine = tree_engine(model)
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            if lora:
                model.enable_input_require_grads()
        model.train()
        found = engine.logprobs(batch).logprobs
        results.append((found.detach(), gradients(model, (found * weights_of(batch)).sum())))
    assert torch.equal(results[0][0], results[1][0])
    assert_same_gradients(results[1][1], results[0][1])


@pytest.mark.parametrize("family", FORKED)
def test_a_shared_trunk_gives_the_gradients_of_copied_trunks(family: str) -> None:
    shared = Tree(Tokens.prompt(ids_of(13, 9)), tuple(Tokens.completion(ids_of(n, n)) for n in (11, 4, 7)))
    copies = [Tree(shared.trunk, (branch,)) for branch in shared.branches]
    results = []
    for trees in ([shared], copies):
        model, batch = tiny_model(family), pack(trees)
        found = tree_engine(model).logprobs(batch).logprobs
        results.append((batch, found, gradients(model, (found * weights_of(batch)).sum())))
    assert (results[0][0].num_tokens, results[1][0].num_tokens) == (13 + 22, 3 * 13 + 22)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-4, atol=2e-5)
    assert_same_gradients(results[0][2], results[1][2])


def test_another_tree_changes_not_one_bit(family: str) -> None:
    engine = tree_engine(tiny_model(family))
    first, *others = some_trees()
    changed = Tree(first.trunk, (Tokens.completion(ids_of(len(first.branches[0]), 99)),))
    with torch.no_grad():
        before, after = (engine.logprobs(pack([one, *others])).logprobs for one in (first, changed))
    own = len(first.branches[0])
    assert torch.equal(before[own:], after[own:])
    assert not torch.equal(before[:own], after[:own])


@pytest.mark.parametrize("family", FORKED)
def test_a_sibling_changes_not_one_bit(family: str) -> None:
    engine = tree_engine(tiny_model(family))
    trunk, kept = Tokens.prompt(ids_of(10, 1)), Tokens.completion(ids_of(12, 2))
    siblings = [Tokens.completion(ids_of(9, seed)) for seed in (3, 4)]
    with torch.no_grad():
        before, after = (engine.logprobs(pack([Tree(trunk, (sibling, kept))])).logprobs for sibling in siblings)
    assert torch.equal(before[9:], after[9:])


@pytest.mark.parametrize("family", FORKED)
def test_the_order_of_trees_only_moves_the_logprobs(family: str) -> None:
    engine, trees = tree_engine(tiny_model(family)), some_trees()
    with torch.no_grad():
        forward = engine.logprobs(pack(trees)).logprobs
        backward = engine.logprobs(pack(trees[::-1])).logprobs
    sizes = [tree.num_trained_tokens for tree in trees]
    moved = torch.cat(backward.split(sizes[::-1])[::-1])
    torch.testing.assert_close(forward, moved, rtol=1e-5, atol=1e-5)


def test_padding_side_and_batch_size_do_not_change_the_padded_path(family: str) -> None:
    batch, model = pack(some_trees()), tiny_model(family)
    paths = [path for tree in batch.trees for path in tree.paths()]
    longest = max(map(len, paths))
    left = []
    with torch.no_grad():
        right = padded_logprobs(model, batch).logprobs
        alone = separate_logprobs(model, batch)
        ids = torch.tensor([[0] * (longest - len(path)) + list(path.ids) for path in paths])
        mask = torch.tensor([[0] * (longest - len(path)) + [1] * len(path) for path in paths])
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits
    for row, path in enumerate(paths):
        trained = [longest - len(path) + index for index, flag in enumerate(path.mask) if flag and index]
        everything = logits[row].log_softmax(-1)
        left.append(everything[[index - 1 for index in trained], ids[row, trained]])
    torch.testing.assert_close(right, alone, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(torch.cat(left), alone, rtol=1e-4, atol=2e-5)


def test_the_end_of_turn_is_trained_even_where_it_is_the_pad_token(family: str) -> None:
    end = tiny_tokenizer(family).eos_token_id
    tree = Tree(Tokens.prompt(ids_of(6, 1)), (Tokens.completion([*ids_of(6, 2), end]),))
    model = tiny_model(family, pad_token_id=end)
    found = tree_engine(model).logprobs(pack([tree])).logprobs
    assert len(found) == 7
    (path,) = tree.paths()
    with torch.no_grad(), ordinary_attention(model):
        expected = model(input_ids=torch.tensor([path.ids])).logits[0, -2].log_softmax(-1)[end]
    assert float(found[-1].detach()) == pytest.approx(float(expected), abs=1e-4)


def test_the_pad_token_gets_the_gradient_that_it_has_in_the_model_itself(family: str) -> None:
    """An embedding with a padding index gives that row no gradient from being read."""
    model = tiny_model(family, pad_token_id=7, tie_word_embeddings=False)
    tree = Tree(Tokens.prompt([9, 7, 11]), (Tokens.completion(ids_of(9, 1)),))
    engine, batch = tree_engine(model), pack([tree])
    found = gradients(model, engine.logprobs(batch).logprobs.sum())["model.embed_tokens.weight"]
    plain = tiny_model(family, pad_token_id=7, tie_word_embeddings=False)
    right = gradients(plain, separate_logprobs(plain, batch).sum())["model.embed_tokens.weight"]
    torch.testing.assert_close(found, right, rtol=1e-3, atol=1e-5)


def test_bf16_is_close_to_fp32(family: str) -> None:
    batch = pack(some_trees())
    with torch.no_grad():
        wide = tree_engine(tiny_model(family)).logprobs(batch).logprobs
        low_model = tiny_model(family).bfloat16()
        low = tree_engine(low_model).logprobs(batch).logprobs
        with ordinary_attention(low_model):
            plain_low = padded_logprobs(low_model, batch).logprobs
    assert low.dtype == torch.float32
    # These random models turn rounding into more than a real one does: plain transformers is the yardstick.
    assert (low - wide).abs().mean() < 1.5 * (plain_low - wide).abs().mean()
    assert (low - wide).abs().max() < 1.0


def test_training_after_sampling_and_the_other_way_round(family: str) -> None:
    model, batch = tiny_model(family), pack(some_trees())
    engine, prompts = tree_engine(model), [ids_of(5, 1), ids_of(12, 2)]
    answer = generate(model, prompts, Sampling(max_new_tokens=6), stop_ids=[2], pad_id=0)
    before = engine.logprobs(batch).logprobs
    assert generate(model, prompts, Sampling(max_new_tokens=6), stop_ids=[2], pad_id=0) == answer
    after = engine.logprobs(batch).logprobs
    assert torch.equal(before, after)
    after.sum().backward()
