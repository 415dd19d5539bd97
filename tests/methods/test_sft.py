"""The SFT loss worked out by hand, and that cutting a step into rows changes nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

from tutelage.data.render import Rendered
from tutelage.engine.forward import TreeEngine, padded_logprobs
from tutelage.engine.generate import Sampling, generate
from tutelage.engine.rows import pack
from tutelage.engine.tree import Tokens, Tree
from tutelage.methods.registry import Loss, LossBatch, Reading
from tutelage.methods.sft import SFT
from tutelage.models.template import end_of_turn_id, ensure_chat_template
from tutelage.train.dataset import TokenizerRenderer
from tutelage.train.optimizer import AdamWSettings, MasterAdamW
from tutelage.types import Conversation, Message


def loss_of(engine: TreeEngine, trees: list[Tree]) -> Loss:
    batch = pack(trees)
    logprobs = engine.logprobs(batch).logprobs
    return SFT().loss(LossBatch(logprobs, batch.sequence_index, batch.tree_index))


def test_the_loss_written_out() -> None:
    logprobs = torch.log(torch.tensor([0.5, 0.25, 0.125])).requires_grad_()
    loss = SFT().loss(LossBatch(logprobs, torch.tensor([0, 0, 1]), torch.tensor([0, 1])))
    # ln 2 + ln 4 + ln 8 = 6 ln 2, over three tokens of two sequences.
    assert float(loss.total.detach()) == pytest.approx(6 * math.log(2))
    assert loss.weight == 3.0
    (grad,) = torch.autograd.grad(loss.total, logprobs)
    assert grad.tolist() == [-1.0, -1.0, -1.0]


def test_golden_loss_on_a_tiny_model(family: str) -> None:
    """Sum of -log softmax of the trained tokens from the model's own logits, shifted by one; weight = their number."""
    first, second = ((5, 6, 7), (8, 9)), ((20, 21), (22, 23, 24, 25))
    model = tiny_model(family)
    total = 0.0
    with torch.no_grad():
        for prompt, answer in (first, second):
            logits = model(input_ids=torch.tensor([prompt + answer])).logits[0].double()
            for place, token in enumerate(answer, start=len(prompt)):
                row = logits[place - 1]  # the logits of the token before predict this one
                total += float(row.exp().sum().log() - row[token])
    trees = [Tree(Tokens.prompt(prompt), (Tokens.completion(answer),)) for prompt, answer in (first, second)]
    loss = loss_of(TreeEngine(model), trees)
    assert float(loss.total.detach()) == pytest.approx(total, rel=1e-5)
    assert loss.weight == 6.0


class Fixed:
    """A renderer that gives the same sequences whatever it is asked."""

    def __init__(self, sequences: list[Rendered]) -> None:
        self.sequences = sequences

    def conversation(self, record: Conversation) -> list[Rendered]:
        return self.sequences


def test_only_masked_in_tokens_count() -> None:
    """Two assistant turns: the user's turn between them costs nothing, and what comes after the last end neither."""
    record = Conversation(())
    rendered = Rendered((3, 4, 5, 6, 7, 8), (False, True, True, False, False, True))
    (tree,) = SFT().trees(record, Fixed([rendered]))
    assert tree.trunk == Tokens.prompt((3,))
    assert tree.branches == (Tokens((4, 5, 6, 7, 8), (True, True, False, False, True)),)
    assert tree.num_trained_tokens == 3


def test_a_template_that_rewrites_history_gives_one_tree_a_turn() -> None:
    turns = [Rendered((3, 4), (False, True)), Rendered((3, 9, 5), (False, False, True))]
    trees = SFT().trees(Conversation(()), Fixed(turns))
    assert [tree.num_trained_tokens for tree in trees] == [1, 1]


def test_records_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "How?", "completion": "So."}\n', encoding="utf-8")
    (record,) = SFT().read(path, Reading())
    assert record.messages == (Message("user", "How?"), Message("assistant", "So."))


def unequal_trees(num_trees: int = 8) -> list[Tree]:
    generator = torch.Generator().manual_seed(0)
    return [
        Tree(
            Tokens.prompt(torch.randint(5, 290, (2 + 3 * index,), generator=generator).tolist()),
            (Tokens.completion(torch.randint(5, 290, (1 + 2 * index**2 % 23,), generator=generator).tolist()),),
        )
        for index in range(num_trees)
    ]


def trained(family: str, rows: list[list[Tree]], **settings: Any) -> tuple[dict[str, torch.Tensor], float]:
    """(weights after two steps over the rows, the last step's gradient norm)."""
    model = tiny_model(family).train()
    engine, optimizer, norm = TreeEngine(model), MasterAdamW(model, AdamWSettings(**settings)), 0.0
    for _ in range(2):
        weight = 0.0
        for row in rows:
            loss = loss_of(engine, row)
            loss.total.backward()
            weight += loss.weight
        norm = optimizer.step(1e-2, max_grad_norm=1.0, divisor=weight)
    return {name: value.detach().clone() for name, value in model.state_dict().items()}, norm


def test_one_row_of_eight_is_eight_rows_of_one(family: str) -> None:
    trees = unequal_trees()
    # A large epsilon: Adam divides small gradients by themselves, which would blow rounding up to a whole step.
    whole, norm = trained(family, [trees], eps=1e-3)
    split, split_norm = trained(family, [[tree] for tree in trees], eps=1e-3)
    uneven, _ = trained(family, [trees[5:], trees[:2], trees[2:5]], eps=1e-3)
    assert norm == pytest.approx(split_norm, rel=1e-4)
    start = tiny_model(family).state_dict()
    for name, value in whole.items():
        assert not torch.equal(value, start[name]), name
        torch.testing.assert_close(split[name], value, rtol=1e-4, atol=2e-5)
        torch.testing.assert_close(uneven[name], value, rtol=1e-4, atol=2e-5)


def test_two_steps_are_those_of_torchs_own_optimiser(family: str) -> None:
    """Mean loss over all tokens by the padded path, autograd's gradients, torch's clipping and AdamW."""
    trees = unequal_trees()
    found, _ = trained(family, [trees[:3], trees[3:]], eps=1e-3)
    model, batch = tiny_model(family).train(), pack(trees)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, eps=1e-3, weight_decay=0.0)
    for _ in range(2):
        optimizer.zero_grad()
        (-padded_logprobs(model, batch).logprobs.mean()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=2e-5)


def test_the_mean_over_all_tokens_is_not_the_mean_of_row_means() -> None:
    """What the test above would miss if lengths were equal: here the two differ visibly."""
    engine, trees = TreeEngine(tiny_model("llama")), unequal_trees()
    with torch.no_grad():
        parts = [loss_of(engine, [tree]) for tree in trees]
    of_all = sum(float(part.total) for part in parts) / sum(part.weight for part in parts)
    of_means = sum(float(part.total) / part.weight for part in parts) / len(parts)
    with torch.no_grad():
        whole = loss_of(engine, trees)
    assert float(whole.total) / whole.weight == pytest.approx(of_all, rel=1e-5)
    assert abs(of_all - of_means) > 0.01


def test_fifty_steps_learn_the_answer_and_to_stop(family: str) -> None:
    """Pad is the end-of-turn here, where a mask on `ids == pad` would erase the stop token."""
    tokenizer = tiny_tokenizer(family)
    ensure_chat_template(tokenizer)
    end = end_of_turn_id(tokenizer)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(end)
    pairs = [("How do you clean a pan?", "Scrub it."), ("What is the capital?", "Paris, in the north of France.")]
    model = tiny_model(family, pad_token_id=end).train()
    engine, optimizer = TreeEngine(model), MasterAdamW(model, AdamWSettings())
    records = [Conversation((Message("user", ask), Message("assistant", answer))) for ask, answer in pairs]
    trees = [tree for record in records for tree in SFT().trees(record, TokenizerRenderer(tokenizer, end))]
    losses = []
    for _ in range(50):
        loss = loss_of(engine, trees)
        loss.total.backward()
        losses.append(float(loss.total.detach()) / loss.weight)
        optimizer.step(1e-2, max_grad_norm=1.0, divisor=loss.weight)
    assert losses[0] > 3
    assert losses[-1] < 0.1
    prompts = [tree.trunk.ids for tree in trees]
    answers = generate(model, prompts, Sampling(max_new_tokens=60), stop_ids=[end], pad_id=end)
    assert [(tokenizer.decode(list(one.ids)), one.stopped) for one in answers] == [(text, True) for _, text in pairs]


def test_one_trained_token_is_enough() -> None:
    model = tiny_model("llama")
    loss = loss_of(TreeEngine(model), [Tree(Tokens.prompt((5, 6)), (Tokens.completion((7,)),))])
    assert loss.weight == 1.0
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_a_step_raises_the_logprobs_of_what_was_trained_on() -> None:
    model, trees = tiny_model("llama").train(), unequal_trees(3)
    engine, optimizer = TreeEngine(model), MasterAdamW(model, AdamWSettings())
    before = loss_of(engine, trees)
    before.total.backward()
    optimizer.step(1e-4, max_grad_norm=0.0, divisor=before.weight)
    assert loss_of(engine, trees).total < before.total
