"""What a reward is, and the weighted sum of several that training sees.

A reward may be unable to score an answer (no reference to compare with, a judge that replied nonsense). That is None,
not zero: the answer is counted and left out. A number that is no number stops the run and names the answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from tutelage.errors import TrainingError
from tutelage.types import Answer, Prompt

SHOWN_CHARS = 80


@runtime_checkable
class Reward(Protocol):
    """Scores answers; larger is better."""

    @property
    def name(self) -> str:
        """What metrics call it."""

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        """A number for each answer, None where it cannot be scored."""


@runtime_checkable
class HasSpread(Protocol):
    """A reward that also says how far its members were apart."""

    def spreads(self) -> list[float | None] | None:
        """Standard deviation over the members for each answer of the last `score`; None for a lone member."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one answer was found worth."""

    total: float | None
    """The weighted sum; None when any part could not score the answer."""
    components: Mapping[str, float] = field(default_factory=dict)
    """The unweighted score of each part that could."""
    spread: float | None = None
    """Standard deviation over an ensemble's members, where there is one."""


@dataclass(frozen=True)
class Part:
    """One reward in a sum."""

    reward: Reward
    weight: float = 1.0


@dataclass(frozen=True)
class RewardSum:
    """The weighted sum of its parts. Names are distinct."""

    parts: tuple[Part, ...]
    first_model: str | None = None
    """The name of the first reward model among the parts; what a critic starts from."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(part.reward.name for part in self.parts)

    @property
    def weights(self) -> tuple[float, ...]:
        return tuple(part.weight for part in self.parts)

    @property
    def has_model(self) -> bool:
        """Whether the zero of the sum is arbitrary, as a reward model's is."""
        return self.first_model is not None

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        """A judgement of each answer. Raises TrainingError for a score that is NaN or infinite."""
        columns: list[list[float | None]] = []
        spreads: list[float | None] | None = None
        for part in self.parts:
            scores = part.reward.score(answers)
            _check_finite(part.reward.name, scores, answers)
            columns.append(scores)
            if spreads is None and isinstance(part.reward, HasSpread):
                spreads = part.reward.spreads()
        return [
            self._judgement([column[index] for column in columns], spreads[index] if spreads else None)
            for index in range(len(answers))
        ]

    def _judgement(self, scores: list[float | None], spread: float | None) -> Judgement:
        named = zip(self.parts, scores, strict=True)
        found = {part.reward.name: score for part, score in named if score is not None}
        if len(found) < len(self.parts):
            return Judgement(None, found, spread)
        return Judgement(sum(part.weight * found[part.reward.name] for part in self.parts), found, spread)


def _check_finite(name: str, scores: Sequence[float | None], answers: Sequence[Answer]) -> None:
    for score, answer in zip(scores, answers, strict=True):
        if score is not None and not math.isfinite(score):
            raise TrainingError(
                f"reward '{name}' is {score} for {describe_prompt(answer.prompt)}, answer "
                f"{shortened(answer.text)!r}; mend the reward, or leave such answers out by returning None"
            )


def describe_prompt(prompt: Prompt) -> str:
    """A prompt in a message: where it stands, and how it ends."""
    where = str(prompt.source or prompt.id)
    text = f"prompt {shortened(prompt.messages[-1].content)!r}"
    return f"{where}, {text}" if where else text


def shortened(text: str) -> str:
    """The first characters of a text, for messages."""
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
