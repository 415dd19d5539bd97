"""What one pair or one label is as lines of a file to train on. Pure: rows in, JSON objects out.

A pair is a conversation. Labels become what `tutelage.data` reads:

    comparison  prompt, chosen, rejected, strength (1 = hardly … 4 = much better, as it was given), tie
    ranking     prompt, completions, ranks
    thumbs      prompt, completion, label
    rating      prompt, completion, rating: one attribute's score as it is, or the mean of all, each scaled to 0 … 1

A rewrite stands above the answers: `edited` of a comparison, the first of a ranking, beside a thumb a second line with
a good answer. Both bad is a tie, and its `meta` says so. What nobody could judge, an empty answer, and equal texts one
of which was called better teach nothing; `NothingToLearn` says so.

Leaves out: which pairs and labels a dataset holds (`tutelage.store.datasets`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tutelage.store.contents import as_json
from tutelage.types import Message

Line = dict[str, Any]


class NothingToLearn(Exception):
    """Why a pair or label makes no line."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A label with what it is about."""

    id: str
    kind: str
    value: Mapping[str, Any]
    rewrite: str
    prompt: Sequence[Message]
    answers: Sequence[str]
    """Texts in canonical order."""
    rater: str
    meta: Mapping[str, Any]
    rating: float | None = None
    """Of a rating: the number to learn from (`rating_of`)."""


def pair_line(pair_id: str, messages: Sequence[Message], facts: Mapping[str, Any]) -> Line:
    """A pair's line; `facts` are its author, source, licence and tags as they were."""
    return {
        "messages": as_json(messages), "id": pair_id, "author": facts["author"], "source": facts["source"],
        "licence": facts["licence"], "tags": list(facts["tags"]),
    }  # fmt: skip


def label_lines(label: Judged) -> list[Line]:
    """A label's lines, one or two. Raises `NothingToLearn`."""
    read = {"comparison": _comparison, "ranking": _ranking, "thumbs": _thumbs, "rating": _rating}
    prompt, rest = as_json(label.prompt), {"rater": label.rater, "id": label.id, "meta": _sorted(label.meta)}
    return [{"prompt": prompt, **line, **rest} for line in read[label.kind](label)]


def _comparison(label: Judged) -> list[Line]:
    outcome, (first, second) = label.value["outcome"], label.answers
    if outcome == "cannot_judge":
        raise NothingToLearn("nobody could judge")
    if not first.strip() or not second.strip():
        raise NothingToLearn("an answer is empty")
    chosen, rejected = (second, first) if outcome == "second" else (first, second)
    line: Line = {"chosen": chosen, "rejected": rejected}
    if outcome in ("first", "second"):
        if first.strip() == second.strip():
            raise NothingToLearn("the answers are the same, and one was called better")
        line["strength"] = label.value["strength"]
    else:
        line["tie"] = True
    if edited := _rewrite(label):
        line["edited"] = edited
    return [line]


def _rewrite(label: Judged) -> str:
    """The rewrite, where it is another text than every answer."""
    told = label.rewrite.strip()
    return "" if told in {text.strip() for text in label.answers} else label.rewrite


def _ranking(label: Judged) -> list[Line]:
    if "ranks" not in label.value:
        raise NothingToLearn("nobody could judge")
    ranked = [(text, rank) for text, rank in zip(label.answers, label.value["ranks"], strict=True) if text.strip()]
    if edited := _rewrite(label):
        ranked = [(edited, 0), *((text, rank + 1) for text, rank in ranked)]
    if len(ranked) < 2:
        raise NothingToLearn("an answer is empty")
    texts = {text.strip() for text, _ in ranked}
    if len(texts) < len({(text.strip(), rank) for text, rank in ranked}):
        raise NothingToLearn("the answers are the same, and one was called better")
    places = {rank: place for place, rank in enumerate(sorted({rank for _, rank in ranked}))}
    return [{"completions": [text for text, _ in ranked], "ranks": [places[rank] for _, rank in ranked]}]


def _thumbs(label: Judged) -> list[Line]:
    (answer,) = label.answers
    lines: list[Line] = [{"completion": answer, "label": label.value["good"]}] if answer.strip() else []
    if edited := _rewrite(label):
        lines.append({"completion": edited, "label": True})
    if not lines:
        raise NothingToLearn("an answer is empty")
    return lines


def _rating(label: Judged) -> list[Line]:
    (answer,) = label.answers
    if not answer.strip():
        raise NothingToLearn("an answer is empty")
    if label.rating is None:
        raise NothingToLearn("the attribute was not rated")
    return [{"completion": answer, "rating": label.rating}]


def rating_of(
    scores: Mapping[str, float], attributes: Sequence[Mapping[str, Any]], attribute: str | None
) -> float | None:
    """The number to learn from: the score of `attribute`, or the mean of those of the project, each scaled to 0 … 1."""
    if attribute is not None:
        return scores.get(attribute)
    limits = {each["name"]: (each["low"], each["high"]) for each in attributes}
    scaled = [(scores[name] - low) / (high - low) for name, (low, high) in limits.items() if name in scores]
    return round(fmean(scaled), 6) if scaled else None


def _sorted(value: Any) -> Any:
    """A JSON value with the keys of its objects in order, which PostgreSQL does not keep."""
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list | tuple) else value
