"""Who is better than a chosen model, by evaluations that have finished: win rates with intervals, and no more.

For each model counts the newest evaluation in which it met the chosen one. Win rates stand together only where the same
prompts were asked, with the same limit, and the same rater judged. A place is given only to a model whose interval
overlaps no other one's: elsewhere no difference is shown, and the order says nothing. An evaluation of a model that was
made anew since counts no more.

Leaves out: contests between others than the chosen one, which stand in the reports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.evaluate.summary import MIN_PROMPTS_FOR_VERDICT
from tutelage.runs.evaluations import Evaluation, see_all
from tutelage.runs.shelf import find_folder, interval_of
from tutelage.stats.intervals import Interval
from tutelage.store.origins import made_ms


class Terms(NamedTuple):
    """What must be the same for win rates to be comparable."""

    prompts: str
    num_prompts: int
    sha256: str
    max_new_tokens: int
    rater: str


@dataclass(frozen=True, slots=True)
class Row:
    """How a model did against the chosen one."""

    model: str
    rate: Interval
    """Share of prompts on which its answer was better; ties count half."""
    wins: int
    ties: int
    losses: int
    verdict: str
    """Against the chosen one: better, worse, or undecided."""
    place: int | None
    """Among the models beside it; None where its interval overlaps another one's."""
    like: tuple[str, ...]
    """Those beside it from which no difference is shown."""
    evaluation: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Table:
    """Models that may be compared with each other, the highest win rate first."""

    terms: Terms
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """Everything that is known against one model."""

    base: str
    """Empty where nothing was evaluated."""
    bases: tuple[str, ...]
    """Models that others have met, those met most often first."""
    tables: tuple[Table, ...]
    num_outdated: int
    """Results that do not count, since a model in them was made anew."""


class Met(NamedTuple):
    """One model against another in one evaluation."""

    model: str
    against: str
    rate: Interval
    wins: int
    ties: int
    number: int
    terms: Terms
    evaluation: Evaluation

    @property
    def turned(self) -> Met:
        """The same from the other side."""
        rate = Interval(1 - self.rate.estimate, 1 - self.rate.high, 1 - self.rate.low)
        losses = self.number - self.wins - self.ties
        return self._replace(model=self.against, against=self.model, rate=rate, wins=losses)


def board(workspace: Path, base: str | None = None) -> Board:
    """What evaluations say against `base`, or against the model that most others have met."""
    fresh, num_outdated = [], 0
    for evaluation in see_all(workspace):
        met = list(_met(evaluation))
        if _is_outdated(workspace, evaluation.numbers):
            num_outdated += len(met)
        else:
            fresh += met
    bases = _bases(fresh)
    chosen = base if base is not None else next(iter(bases), "")
    both = [one for met in fresh for one in (met, met.turned) if one.against == chosen]
    return Board(chosen, bases, _tables(both), num_outdated)


def _bases(fresh: Sequence[Met]) -> tuple[str, ...]:
    """Those that most others have met; of as many, those that stood before, as a report has the older model first."""
    opponents = {(one.against, one.model) for met in fresh for one in (met, met.turned)}
    counts = Counter(against for against, _ in opponents)
    stood_before = Counter(met.against for met in fresh)
    return tuple(sorted(counts, key=lambda name: (-counts[name], -stood_before[name], name)))


def _tables(met: Sequence[Met]) -> tuple[Table, ...]:
    newest: dict[tuple[Terms, str], Met] = {}
    for one in met:  # the newest evaluation comes first
        newest.setdefault((one.terms, one.model), one)
    found = []
    for terms in dict.fromkeys(terms for terms, _ in newest):
        beside = [one for (its, _), one in newest.items() if its == terms]
        beside.sort(key=lambda one: (-one.rate.estimate, one.model))
        found.append(Table(terms, tuple(_row(one, beside) for one in beside)))
    return tuple(sorted(found, key=lambda table: -len(table.rows)))


def _row(one: Met, beside: Sequence[Met]) -> Row:
    like = tuple(other.model for other in beside if other is not one and overlap(one.rate, other.rate))
    place = None if like else 1 + sum(other.rate.estimate > one.rate.estimate for other in beside)
    return Row(
        one.model, one.rate, one.wins, one.ties, one.number - one.wins - one.ties, verdict_of(one.rate, one.number),
        place, like, one.evaluation.name, one.evaluation.at_ms,
    )  # fmt: skip


def overlap(one: Interval, other: Interval) -> bool:
    """Whether two intervals have a point in common."""
    return one.low <= other.high and other.low <= one.high


def verdict_of(rate: Interval, number: int) -> str:
    """Better or worse where the interval leaves out one half and there are enough prompts, else undecided."""
    if number < MIN_PROMPTS_FOR_VERDICT or rate.contains(0.5):
        return "undecided"
    return "better" if rate.estimate > 0.5 else "worse"


# Reading what was written --------------------------------------------------------------------------------------------


def _met(evaluation: Evaluation) -> Iterator[Met]:
    """The contests in the numbers; what is damaged there is left out."""
    numbers = evaluation.numbers
    contests, terms = numbers.get("contests"), _terms(numbers)
    for found in contests if isinstance(contests, list) else ():
        if not isinstance(found, dict):
            continue
        rate, counts = interval_of(found.get("rate")), [found.get(name) for name in ("wins", "ties", "number")]
        if rate is not None and all(isinstance(count, int) for count in counts):
            wins, ties, number = (int(count) for count in counts if isinstance(count, int))
            model, against = str(found.get("model")), str(found.get("against"))
            yield Met(model, against, rate, wins, ties, number, terms, evaluation)


def _terms(numbers: Mapping[str, Any]) -> Terms:
    prompts, sampling = numbers.get("prompts"), numbers.get("sampling")
    prompts = prompts if isinstance(prompts, dict) else {}
    limit = sampling.get("max_new_tokens") if isinstance(sampling, dict) else None
    number = prompts.get("number")
    return Terms(
        str(prompts.get("name", "")), number if isinstance(number, int) else 0, str(prompts.get("sha256", "")),
        limit if isinstance(limit, int) else 0, str(numbers.get("rater", "")),
    )  # fmt: skip


def _is_outdated(workspace: Path, numbers: Mapping[str, Any]) -> bool:
    """Whether a model in it was made anew since."""
    models = numbers.get("models")
    return any(is_anew(workspace, each) for each in (models if isinstance(models, list) else ()))


def is_anew(workspace: Path, told: Any) -> bool:
    """Whether the model of which numbers tell is another one than stands there now; a starter model never is."""
    if not isinstance(told, dict) or not isinstance(told.get("made_ms"), int):
        return False
    folder = find_folder(workspace, str(told.get("name")))
    return folder is not None and made_ms(folder) != told["made_ms"]
