"""The teacher of a method that distils: a frozen model whose next-token distribution the policy's is compared with.

It reads the very tokens that the policy read, in the policy's chat template, so both must have the same tokens. Models
of one family often have more rows in their embeddings than the tokenizer has tokens, and not equally many: what is
compared is the distribution over the tokens that the tokenizer knows and both models have a row for. Leaves out
teachers with other tokens, and teachers behind an endpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tutelage.engine.divergence import Divergence, Side, chunked_divergence, whole_divergence
from tutelage.engine.forward import TreeEngine, read_head, tree_hidden
from tutelage.engine.tree import TreeBatch
from tutelage.train.prepare import other_engine
from tutelage.train.rollouts import Group
from tutelage.train.setting import Setting


@dataclass
class Teacher:
    """A frozen model, and how many tokens it shares with the policy: the first `num_vocab`."""

    engine: TreeEngine
    num_vocab: int

    def known(self, group: Group) -> Group:
        """The group without answers that hold a token beyond the shared ones; they are counted as unscored."""
        prompt_known = max(group.item.ids) < self.num_vocab
        kept = [one for one in group.scored if prompt_known and max(one.completion.sampled) < self.num_vocab]
        return replace(group, scored=kept, num_unscored=group.num_unscored + len(group.scored) - len(kept))

    def compare(self, student: TreeEngine, batch: TreeBatch, method: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """(the student's logprobs of the targets without gradient, what else is found of each target by name).

        `divergence` is differentiable in the student; `teacher_logprobs` is the teacher's of the sampled token.
        """
        found = self._divergence(student, batch, method.beta, method.loss_temperature)
        return found.logprobs, {"divergence": found.divergence, "teacher_logprobs": found.teacher_logprobs}

    def _divergence(self, student: TreeEngine, batch: TreeBatch, beta: float, temperature: float) -> Divergence:
        if student.path == self.engine.path == "tree":
            with torch.no_grad():
                teachers = _side(self.engine, batch)
            return chunked_divergence(
                _side(student, batch), teachers, batch.target_ids, beta=beta, num_vocab=self.num_vocab,
                temperature=temperature,
            )  # fmt: skip
        with torch.no_grad():
            logits = self.engine.logits(batch)[:, : self.num_vocab] / temperature
        own = student.logits(batch)[:, : self.num_vocab] / temperature
        return whole_divergence(own, logits, batch.target_ids, beta=beta)


def _side(engine: TreeEngine, batch: TreeBatch) -> Side:
    return Side(tree_hidden(engine.model, batch).index_select(0, batch.source_index), read_head(engine.model))


def make_teacher(setting: Setting) -> Teacher:
    """Load the teacher. Raises ConfigError when its tokens are not the policy's."""
    load = other_engine(setting.config, setting.tokenizer, setting.say, "--teacher")
    engine = load(setting.method.teacher)
    num_tokens = max(setting.tokenizer.get_vocab().values()) + 1
    rows = [_num_rows(one.model) for one in (setting.engine, engine)]
    return Teacher(engine, min(num_tokens, *rows))


def _num_rows(model: Any) -> int:
    return min(len(model.get_input_embeddings().weight), len(read_head(model).weight))
