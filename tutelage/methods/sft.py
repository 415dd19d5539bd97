"""Supervised fine-tuning on question/answer pairs: the negative log-likelihood of every assistant turn.

The loss is the sum over trained tokens divided by the number of trained tokens of the whole global step, never
a mean of micro-batch means. Leaves out: label smoothing and loss re-weighting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tutelage.data.load import load_conversations
from tutelage.engine.tree import Tokens, Tree
from tutelage.errors import DataError
from tutelage.methods.registry import Loss, LossBatch, Reading, Renderer, method
from tutelage.types import Conversation


@method("sft")
class SFT:
    """Instruction fine-tuning (Ouyang et al. 2022, step 1)."""

    summary = "supervised fine-tuning on question/answer pairs"
    paper = "arXiv:2203.02155"
    formula = "−Σ log π(token) / number of trained tokens in the whole step"
    learns_from = "pairs"
    learning_rate = 2e-5
    epochs = 3

    def read(self, source: Any, reading: Reading) -> Sequence[Conversation]:
        dropped: list[DataError] = []
        records = load_conversations(source, on_bad=reading.on_bad, dropped=dropped)
        reading.say_dropped(dropped)
        return records

    def trees(self, record: Conversation, render: Renderer) -> list[Tree]:
        trees = []
        for ids, mask in render.conversation(record):
            first = mask.index(True)
            trees.append(Tree(Tokens.prompt(ids[:first]), (Tokens(ids[first:], mask[first:]),)))
        return trees

    def loss(self, batch: LossBatch) -> Loss:
        return Loss(total=-batch.logprobs.sum(), weight=float(batch.logprobs.numel()))
