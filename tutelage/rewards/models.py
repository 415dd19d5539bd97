"""Reward models as rewards: one, or an ensemble whose disagreement lowers the score.

Answers to one prompt share its computation. An answer that the model cannot read (too long for its context, or with a
control token in its text) cannot be scored. Leaves out training them (`tutelage.methods.reward`).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tutelage.data.render import render_answers
from tutelage.engine.forward import TreeEngine
from tutelage.engine.rows import ROW_MULTIPLE, pack, split_by_budget
from tutelage.engine.tree import Tokens, Tree
from tutelage.errors import DataError
from tutelage.models.ensemble import read_ensemble
from tutelage.models.find import resolve_model
from tutelage.models.load import Loaded
from tutelage.models.reward import load_reward_model
from tutelage.models.template import end_of_turn_id
from tutelage.types import Answer, Message


def member_names(model: str, workspace: Path) -> list[str]:
    """The reward models that a name stands for: itself, or the members of an ensemble."""
    path = resolve_model(model, workspace).path
    members = read_ensemble(path) if path is not None else None
    return [model] if members is None else [str(member) for member in members]


@torch.no_grad()
def score_trees(
    engine: TreeEngine, trees: Sequence[Tree], advance: Callable[[int], None] = lambda _: None
) -> list[tuple[float, ...]]:
    """The score of each branch of each tree, in the order given."""
    found: dict[int, tuple[float, ...]] = {}
    for row in split_by_budget(trees, engine.row_tokens):
        batch = pack(row, multiple=ROW_MULTIPLE).to(next(engine.model.parameters()).device)
        scores = engine.scores(batch).tolist()
        for tree in row:
            found[id(tree)] = tuple(scores[: len(tree.branches)])
            del scores[: len(tree.branches)]
        advance(len(row))
    return [found[id(tree)] for tree in trees]


@dataclass
class Scorer:
    """One reward model in memory."""

    loaded: Loaded
    engine: TreeEngine

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        """Scores in the answers' order."""
        places: dict[tuple[Message, ...], list[int]] = {}
        for place, answer in enumerate(answers):
            places.setdefault(answer.prompt.messages, []).append(place)
        found: list[float | None] = [None] * len(answers)
        trees, where = [], []
        for group in places.values():
            readable = [(place, tokens) for place in group if (tokens := self._read(answers[place])) is not None]
            if readable:
                trees.append(Tree(readable[0][1][0], tuple(branch for _, (_, branch) in readable)))
                where.append([place for place, _ in readable])
        for chosen, scores in zip(where, score_trees(self.engine, trees), strict=True):
            for place, score in zip(chosen, scores, strict=True):
                found[place] = score
        return found

    def _read(self, answer: Answer) -> tuple[Tokens, Tokens] | None:
        """(prompt, answer) in the reward model's own tokens, or None where it cannot read them."""
        tokenizer, model = self.loaded.tokenizer, self.loaded.model
        said = (Message("assistant", answer.text),)
        try:
            prompt, (branch,) = render_answers(
                tokenizer, answer.prompt.messages, (said,), end_of_turn_id(tokenizer), answer.prompt.source
            )
        except DataError:
            return None
        context = getattr(model.config, "max_position_embeddings", None)
        if context and len(prompt) + len(branch.ids) > context:
            return None
        return Tokens.prompt(prompt), Tokens.completion(branch.ids)


@dataclass
class ModelReward:
    """A reward model, or the mean of an ensemble less `penalty` times its variance (Coste et al. 2023)."""

    name: str
    members: list[Scorer]
    penalty: float = 0.0
    _spreads: list[float | None] = field(default_factory=list)

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        columns = [member.score(answers) for member in self.members]
        rows = [[score for score in row if score is not None] for row in zip(*columns, strict=True)]
        whole = [row if len(row) == len(self.members) else None for row in rows]
        self._spreads = [None if row is None else statistics.pstdev(row) for row in whole]
        return [None if row is None else self._together(row) for row in whole]

    def _together(self, row: list[float]) -> float:
        return statistics.fmean(row) - self.penalty * (statistics.pvariance(row) if len(row) > 1 else 0.0)

    def spreads(self) -> list[float | None] | None:
        return self._spreads if len(self.members) > 1 else None


def load_model_reward(
    name: str, workspace: Path, penalty: float, say: Callable[[str], None], metric: str, device: str | None = None
) -> ModelReward:
    """Load every member into memory. Raises ModelError for what is no reward model."""
    members = []
    for member in member_names(name, workspace):
        loaded = load_reward_model(member, workspace=workspace, device=device, fresh_head=False, progress=say)
        members.append(Scorer(loaded, TreeEngine(loaded.model.requires_grad_(False).eval())))
    return ModelReward(metric, members, penalty)
