"""Who beats whom: win rates of models on the same prompts under a rater, and how far one moved from another.

Leaves out: drawing them (`report`, `terminal`), and raters that are people.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tutelage.engine.answer import kl_of_samples
from tutelage.engine.forward import TreeEngine
from tutelage.engine.generate import Sampling
from tutelage.errors import ModelError
from tutelage.evaluate.rater import ScriptedRater, WinRate, win_rate
from tutelage.evaluate.summary import ModelResult, aligned_answers
from tutelage.models.load import Loaded
from tutelage.stats.intervals import Interval, mean_interval
from tutelage.types import Prompt


@dataclass(frozen=True)
class Contest:
    """How often the later of two models beat the earlier, one answer of each a prompt."""

    winner: str
    loser: str
    rate: WinRate

    @property
    def verdict(self) -> str:
        """Better or worse where the interval leaves out one half, else undecided."""
        if self.rate.score.contains(0.5):
            return "undecided"
        return "better" if self.rate.score.estimate > 0.5 else "worse"


@dataclass(frozen=True)
class Moved:
    """KL(model ‖ origin) in nats an answer, over prompts, from answers of the model drawn at temperature 1."""

    model: str
    origin: str
    kl: Interval
    num_prompts: int


@dataclass(frozen=True)
class Standings:
    """What a report says of its models under a rater."""

    rater: str
    contests: Sequence[Contest]
    moved: Sequence[Moved] = ()


def hold_contests(models: Sequence[ModelResult], rater: ScriptedRater, moved: Sequence[Moved] = ()) -> Standings:
    """Each model against each before it, by quality without noise. Raises `DataError` for unlike prompts."""
    answers = aligned_answers(models)
    contests = [
        Contest(models[later].name, models[earlier].name, win_rate(rater, answers[later], answers[earlier]))
        for later in range(len(models))
        for earlier in range(later)
    ]
    return Standings(rater.name, contests, moved)


def how_far_moved(
    policy: Loaded, origin: Loaded, prompts: Sequence[Prompt], sampling: Sampling,
    progress: Callable[[int], None] | None = None,
) -> Moved:  # fmt: skip
    """The mean over prompts of log π − log π_origin, summed over one sampled answer each, with its 95 % interval.

    The estimate k1 is unbiased, so a small KL may come out below 0. Raises `ModelError` where the two cut text into
    different tokens.
    """
    if policy.tokenizer.get_vocab() != origin.tokenizer.get_vocab():
        raise ModelError(f"'{policy.name}' and '{origin.name}' have different tokens; KL compares models of one family")
    differences = kl_of_samples(
        TreeEngine(policy.model), TreeEngine(origin.model), policy.tokenizer, prompts, sampling, progress
    )
    return Moved(policy.name, origin.name, mean_interval(differences), len(prompts))
