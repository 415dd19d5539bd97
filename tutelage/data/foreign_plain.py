"""Reads what every other part of Tutelage reads, record by record, as pairs, verdicts or prompts to import.

The shapes are those of docs/data.md. Here a file may mix them, for each record is read by its own keys. A verdict's
own words that the training data has no place for are kept: "both bad" stays different from a tie. So is what it says of
its answers: `model` (or one for each: `models`, `model_a` and `model_b`, `chosen_model` and `rejected_model`), the
settings they were sampled with, and `shown_first`.

Leaves out: verdicts on answers of several turns, which the labelling screens cannot show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from tutelage.data.foreign import (
    Incoming,
    IncomingAnswer,
    IncomingKind,
    IncomingLabel,
    IncomingPair,
    IncomingPrompt,
    LeftOut,
    Place,
    parse_one,
)
from tutelage.data.formats import parse_conversations, parse_prompts
from tutelage.data.raw import Problem, RawFile, RawRecord
from tutelage.data.shapes import SHAPES
from tutelage.data.verdict_shapes import EDITED, NUMBERS, ORIGINAL, find_verdict
from tutelage.data.verdict_values import WINNERS, word
from tutelage.data.verdicts import kind_of, parse_verdicts
from tutelage.types import Comparison, Rating

AUTHORS = ("author", "written_by", "writer")
LICENCES = ("licence", "license")
BOTH_BAD = ("both_bad", "bothbad", "tie_bothbad", "neither")
MODELS = (("chosen_model", "rejected_model"), ("model_a", "model_b"))
SETTINGS = ("temperature", "top_p", "top_k", "min_p", "max_new_tokens")
STATED_STRENGTH = ("strength", "margin", "overall_preference")
UNSTATED_STRENGTH = 3
"""How clear a verdict counts whose file does not say how clear it is: plainly better."""


def read_plain(file: RawFile, kind: IncomingKind | None = None) -> Iterator[Incoming]:
    """The records of a file; without `kind` the first of them decides what the file holds."""
    for number, item in enumerate(file, start=1):
        if isinstance(item, Problem):
            yield Place(file, item.line or 0, number).problems([item])
            continue
        kind = kind or kind_of_record(item.value)
        yield _READ[kind](Place(file, item.line, number), item)


def kind_of_record(value: Any) -> IncomingKind:
    """Whether a record is a verdict, a conversation with its answer, or a prompt alone."""
    if not isinstance(value, Mapping):
        return "pairs"
    if kind_of(value) != "conversations":
        return "labels"
    keys = {str(key).strip().lower(): each for key, each in value.items() if each not in (None, "")}
    if find_verdict(keys) is not None:
        return "pairs"
    turns = keys.get("messages") or keys.get("conversations")
    if isinstance(turns, list) and turns:
        last = turns[-1] if isinstance(turns[-1], Mapping) else {}
        return "prompts" if str(last.get("role") or last.get("from")).lower() in ("user", "human") else "pairs"
    asks = next((shape for shape in SHAPES if shape.answer and keys.keys() & set(shape.question)), None)
    return "prompts" if asks and not keys.keys() & set(asks.answer) else "pairs"


def _pair(place: Place, item: RawRecord) -> Incoming:
    found = parse_one(parse_conversations, place.file, item)
    if isinstance(found, list):
        return place.problems(found)
    meta = dict(found.conversation.meta)
    author, licence = _text_of(meta, AUTHORS), _text_of(meta, LICENCES)
    return IncomingPair(found.conversation.messages, place.source, meta, author, licence)


def _text_of(meta: dict[str, Any], names: tuple[str, ...]) -> str:
    """The text under the first of `names`, taken out of `meta`."""
    key = next((key for key in meta if key.strip().lower() in names and isinstance(meta[key], str)), None)
    return str(meta.pop(key)).strip() if key is not None else ""


def _prompt(place: Place, item: RawRecord) -> Incoming:
    found = parse_one(parse_prompts, place.file, item)
    if isinstance(found, list):
        return place.problems(found)
    extra: dict[str, Any] = {"id": found.id} if found.id else {}
    if found.checks:
        extra["checks"] = [dict(check) for check in found.checks]
    return IncomingPrompt(found.messages, place.source, found.reference, {**found.meta, **extra})


def _label(place: Place, item: RawRecord) -> Incoming:
    found = parse_one(parse_verdicts, place.file, item)
    if isinstance(found, list):
        return place.problems(found)
    values = {str(key).strip().lower(): value for key, value in item.value.items() if value is not None}
    verdict = found.verdict
    if any(len(answer) > 1 for answer in found.answers):
        problem = "an answer goes on for several turns, and a verdict here is on one answer; cut the talk there"
        return place.left_out("long-answer", problem, next(iter(found.answer_fields[0]), None))
    if isinstance(verdict, Rating):
        return _rating(place, verdict, values)
    return _comparison(place, verdict, values)


def _rating(place: Place, verdict: Rating, values: Mapping[str, Any]) -> IncomingLabel:
    answers = _answers([verdict.answer[0].content], values)
    if isinstance(verdict.value, bool):
        value: dict[str, Any] = {"good": verdict.value}
        return _made(place, "thumbs", verdict, answers, value)
    name = next((name for name in NUMBERS if name in values), "rating")
    return _made(place, "rating", verdict, answers, {"scores": {name: verdict.value}})


def _made(
    place: Place, kind: str, verdict: Comparison | Rating, answers: tuple[IncomingAnswer, ...], value: dict[str, Any],
    **more: Any,
) -> IncomingLabel:  # fmt: skip
    told = {"model", "models", *chain.from_iterable(MODELS)} if any(one.model for one in answers) else set()
    told |= {"sampling", *SETTINGS} if any(one.sampling for one in answers) else set()
    meta = {key: each for key, each in verdict.meta.items() if key.strip().lower() not in told}
    meta |= more.pop("meta", {})
    return IncomingLabel(kind, verdict.messages, answers, value, place.source, verdict.rater, meta=meta, **more)


def _answers(texts: list[str], values: Mapping[str, Any]) -> tuple[IncomingAnswer, ...]:
    """The answers with the model and the settings that each was made with, where the record says so."""
    given = values.get("sampling")
    named = {name: values[name] for name in SETTINGS if name in values}
    sampling = dict(given) if isinstance(given, Mapping) else named
    keys = next((pair for pair in MODELS if values.keys() & set(pair)), ("model",) * len(texts))
    each = values.get("models") or [values.get(key) for key in keys]
    if not isinstance(each, list) or len(each) != len(texts):
        each = [values.get("model")] * len(texts)
    names = [name if isinstance(name, str) else "" for name in each]
    return tuple(IncomingAnswer(text, name, sampling) for text, name in zip(texts, names, strict=True))


def _displayed(values: Mapping[str, Any]) -> tuple[int, ...]:
    """The order in which two answers were shown; empty where the record does not say."""
    return {"chosen": (0, 1), "rejected": (1, 0)}.get(str(values.get("shown_first")).lower(), ())


def _comparison(place: Place, verdict: Comparison, values: Mapping[str, Any]) -> IncomingLabel:
    texts, ranks, rewrite = [turns[0].content for turns in verdict.answers], list(verdict.ranks), ""
    has_edit = any(values.get(name) for name in EDITED) and not any(values.get(name) for name in ORIGINAL)
    if has_edit and len(texts) == 3:
        rewrite, *texts = texts
        ranks = [rank - 1 for rank in ranks[1:]]
    answers = _answers(texts, values)
    if len(answers) > 2:
        return _made(place, "ranking", verdict, answers, {"ranks": ranks}, rewrite=rewrite)
    value = {"outcome": _unsided(values)} if ranks[0] == ranks[1] else {"outcome": _sided(ranks)}
    meta: dict[str, Any] = {}
    if value["outcome"] in ("first", "second"):
        value["strength"], meta = strength_of(verdict.strength, stated=any(name in values for name in STATED_STRENGTH))
    return _made(place, "comparison", verdict, answers, value, rewrite=rewrite, displayed=_displayed(values), meta=meta)


def _sided(ranks: list[int]) -> str:
    return "first" if ranks[0] < ranks[1] else "second"


def _unsided(values: Mapping[str, Any]) -> str:
    said = next((word(values[name]) for name in WINNERS if values.get(name) not in (None, "")), "")
    return "both_bad" if said in BOTH_BAD else "tie"


def strength_of(given: float | None, *, stated: bool) -> tuple[Any, dict[str, Any]]:
    """(one of 1 … 4, what `meta` has to remember): 0 … 3 of Llama 2's and HelpSteer's scales are 1 … 4 here."""
    if given is None:
        return UNSTATED_STRENGTH, {"strength_given": None}
    if stated and given in (0, 1, 2, 3):
        return int(given) + 1, {}
    return UNSTATED_STRENGTH, {"strength_given": given}


def plain_verdict(place: Place, values: Mapping[str, Any], rater: str = "") -> IncomingLabel | LeftOut:
    """A verdict that a reader of another tool has put into the words of docs/data.md."""
    made = _label(place, RawRecord(place.line, {**values, **({"rater": rater} if rater else {})}))
    assert isinstance(made, (IncomingLabel, LeftOut))
    return made


_READ = {"pairs": _pair, "labels": _label, "prompts": _prompt}
