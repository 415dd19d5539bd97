"""From raw records to verdicts: comparisons and ratings, each made into the other where it says enough.

Leaves out: the ways to write them (`tutelage.data.verdict_shapes`) and whether they are any good
(`tutelage.data.check_verdicts`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tutelage.data.formats import Parsed, parse_records
from tutelage.data.raw import Problem, RawFile, RawRecord
from tutelage.data.record import Record, Turn
from tutelage.data.report import Kind
from tutelage.data.sides import Given, Sides, given_items, part, read_sides, unpack_cells
from tutelage.data.verdict_shapes import (
    CHOSEN,
    EDITED,
    ORIGINAL,
    REJECTED,
    VerdictKind,
    VerdictShape,
    find_verdict,
    shape_of_verdict,
)
from tutelage.data.verdict_values import choice, dense, is_tie, optional, ranking, rater, rating, strength
from tutelage.types import Comparison, Conversation, Message, Rating, Source

Verdict = Comparison | Rating


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict, the field of each message as the file names it, and how its record was written."""

    verdict: Verdict
    fields: tuple[str, ...]
    answer_fields: tuple[tuple[str, ...], ...]
    shape: str
    unit: str = "line"

    @property
    def rater(self) -> str:
        return self.verdict.rater

    @property
    def answers(self) -> tuple[tuple[Message, ...], ...]:
        return self.verdict.answers if isinstance(self.verdict, Comparison) else (self.verdict.answer,)

    def sides(self) -> Iterator[Parsed]:
        """The conversation that each answer ends."""
        num_context = len(self.fields)
        for index, (answer, fields) in enumerate(zip(self.answers, self.answer_fields, strict=True)):
            conversation = Conversation((*self.verdict.messages, *answer), self.verdict.source)
            num_seen = num_context if index else 0
            yield Parsed(conversation, (*self.fields, *fields), self.shape, self.unit, num_context, num_seen)

    def whole(self) -> Parsed:
        """The prompt and all answers, the best first, as one text to compare with others."""
        ranks = self.verdict.ranks if isinstance(self.verdict, Comparison) else (0,)
        order = sorted(range(len(ranks)), key=lambda index: ranks[index])
        answers = [message for index in order for message in self.answers[index]]
        fields = [field for index in order for field in self.answer_fields[index]]
        conversation = Conversation((*self.verdict.messages, *answers), self.verdict.source)
        return Parsed(conversation, (*self.fields, *fields), self.shape, self.unit, len(self.fields))


def kind_of(record: Any) -> Kind:
    """What a record holds, by its keys; a label or score that is no verdict leaves it a conversation."""
    shape = find_verdict(record) if isinstance(record, Mapping) else None
    if shape is None:
        return "conversations"
    if shape.kind != "rating":
        return "comparisons"
    probe = Record(RawRecord(1, record), shape)
    rating(probe)
    return "conversations" if probe.problems else "ratings"


def parse_verdicts(raw_file: RawFile) -> Iterator[Judged | Problem]:
    """The comparisons or ratings of a file, and a problem for everything that is neither."""
    return parse_records(raw_file, _judged, shape_of_verdict)


def _judged(record: Record, raw_file: RawFile) -> Judged:
    if raw_file.container in ("CSV", "TSV"):
        unpack_cells(record)
    assert isinstance(record.shape, VerdictShape)
    sides, verdict = _READERS[record.shape.kind](record, Source(raw_file.name, record.line))
    fields = tuple(field for field, _ in sides.prompt)
    answer_fields = tuple(tuple(field for field, _ in answer) for answer in sides.answers)
    return Judged(verdict, fields, answer_fields, record.shape.name, raw_file.unit)


def _pair(record: Record, source: Source) -> tuple[Sides, Comparison]:
    """Chosen and rejected, and a rewrite above both: edited > chosen > rejected."""
    names = (EDITED, (*CHOSEN, *ORIGINAL), REJECTED)
    edited, *others = [optional(record, *each) or _blank(record, each) for each in names]
    found = [each for each in (edited, *others) if each]
    if not edited or len(found) < 2:
        for name, other in zip(("chosen", "rejected"), others, strict=True):
            if other is None:
                record.missing(name, record.names.values())
    ranks = [*range(len(found))]
    if is_tie(record) and all(others):
        ranks[-1] -= 1
    return _comparison(record, source, [Given(*each) for each in found], ranks)


def _blank(record: Record, names: Sequence[str]) -> tuple[str, Any] | None:
    """An empty chosen or rejected is an empty answer; an empty cell for a rewrite is none."""
    if names == EDITED or optional(record, *EDITED):
        return None
    key = record.find(*names)
    return (key, record.values[key]) if key else None


def _choice(record: Record, source: Source) -> tuple[Sides, Comparison]:
    keys = [record.find(name) for name in record.shape.answer]
    given = [Given(key, record.values[key]) for key in keys if key]
    for name, key in zip(record.shape.answer, keys, strict=True):
        if key is None:
            record.missing(name, record.names.values())
    ranks, scaled = choice(record, record.shape.answer)
    return _comparison(record, source, given, ranks, scaled)


def _ranking(record: Record, source: Source) -> tuple[Sides, Comparison]:
    key = record.find(*record.shape.answer)
    if key is None:
        record.missing(record.shape.answer[0], record.names.values())
        return _comparison(record, source, [], [])
    given = given_items(record, key)
    ranks, scaled = ranking(record, key, [each.value for each in given]) if given else ((), None)
    return _comparison(record, source, given, ranks, scaled)


def _comparison(
    record: Record, source: Source, given: Sequence[Given], ranks: Sequence[int], scaled: float | None = None
) -> tuple[Sides, Comparison]:
    amount = strength(record)
    sides = read_sides(record, given)
    _refuse_identical(record, sides, ranks)
    prompt, answers = _messages(sides.prompt), tuple(map(_messages, sides.answers))
    amount = scaled if amount is None else amount
    name = rater(record)
    return sides, Comparison(prompt, answers, tuple(ranks), amount, name, source, record.rest())


def _messages(turns: Iterable[Turn]) -> tuple[Message, ...]:
    return tuple(message for _, message in turns)


def _refuse_identical(record: Record, sides: Sides, ranks: Sequence[int]) -> None:
    """Two equal answers of which one is said to be better: nothing can be learned from the difference."""
    seen: dict[tuple[str, ...], tuple[int, str]] = {}
    for answer, rank in zip(sides.answers, ranks, strict=False):
        text = tuple(message.content.strip() for _, message in answer)
        other, field = seen.setdefault(text, (rank, answer[0][0]))
        if other != rank:
            message = f"the same answer as '{field}', yet one is ranked above the other; correct or remove it"
            record.note("identical-sides", message, answer[0][0])
            return


def _rating(record: Record, source: Source) -> tuple[Sides, Rating]:
    value, name = rating(record), rater(record)
    if record.shape.answer:
        key = record.find(*record.shape.answer)
        if key is None:
            record.missing(record.shape.answer[0], record.names.values())
        sides = read_sides(record, [Given(key, record.values[key])] if key else [])
    else:
        sides = part(record, [record.question_turns()])
    answer = _messages(sides.answers[0]) if sides.answers else ()
    return sides, Rating(_messages(sides.prompt), answer, value, name, source, record.rest())


_READERS: dict[VerdictKind, Callable[[Record, Source], tuple[Sides, Verdict]]] = {
    "pair": _pair,
    "choice": _choice,
    "ranking": _ranking,
    "rating": _rating,
}


def as_ratings(comparisons: Iterable[Comparison]) -> list[Rating]:
    """The best-ranked answers as good and the others as bad; where all are equal nothing is."""
    return [
        Rating(each.messages, answer, rank == 0, each.rater, each.source, each.meta)
        for each in comparisons
        if any(each.ranks)
        for answer, rank in zip(each.answers, each.ranks, strict=True)
    ]


def as_comparisons(ratings: Iterable[Rating]) -> list[Comparison]:
    """The answers to one prompt, best mean rating first in rank; a prompt with one answer is left out."""
    groups: dict[tuple[Message, ...], list[Rating]] = defaultdict(list)
    for each in ratings:
        groups[each.messages].append(each)
    grouped = (_grouped(messages, group) for messages, group in groups.items())
    return [comparison for comparison in grouped if len(comparison.answers) > 1]


def _grouped(messages: tuple[Message, ...], group: Sequence[Rating]) -> Comparison:
    values: dict[tuple[Message, ...], list[float]] = defaultdict(list)
    for each in group:
        values[each.answer].append(float(each.value))
    ranks = dense([-fmean(given) for given in values.values()])
    raters = {each.rater for each in group}
    lines = [each.source.line for each in group if each.source]
    rater = raters.pop() if len(raters) == 1 else ""
    return Comparison(messages, tuple(values), ranks, None, rater, group[0].source, {"lines": lines})
