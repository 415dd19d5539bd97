"""Supervised fine-tuning on question/answer pairs: the negative log-likelihood of every assistant turn.

The loss is the sum over trained tokens divided by the number of trained tokens of the whole global step, never
a mean of micro-batch means. Leaves out: label smoothing and loss re-weighting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tutelage.data.load import load_conversations
from tutelage.engine.tree import Tokens, Tree
from tutelage.methods.registry import ChatRenderer, Loss, LossBatch, method
from tutelage.types import Conversation


@method("sft")
class SFT:
    """Instruction fine-tuning (Ouyang et al. 2022, arXiv:2203.02155, step 1)."""

    summary: ClassVar[str] = "supervised fine-tuning on question/answer pairs (arXiv:2203.02155)"
    learning_rate: ClassVar[float] = 2e-5

    def read(self, source: Any) -> Sequence[Conversation]:
        return load_conversations(source)

    def trees(self, record: Conversation, render: ChatRenderer) -> list[Tree]:
        trees = []
        for ids, mask in render(record):
            first = mask.index(True)
            trees.append(Tree(Tokens.prompt(ids[:first]), (Tokens(ids[first:], mask[first:]),)))
        return trees

    def loss(self, batch: LossBatch) -> Loss:
        return Loss(total=-batch.logprobs.sum(), weight=float(batch.logprobs.numel()))
