"""What people write to say which answer is better, and by how much: winners, ranks, scores, labels, strengths, raters.

Each function reads it from a record, and notes there what it cannot read. Leaves out: the answers
(`tutelage.data.sides`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.data.raw import type_name
from tutelage.data.record import Record, from_json
from tutelage.data.verdict_shapes import LABELS, NUMBERS, RANKS, SCORES, is_list

WINNERS = ("winner", "preference", "preferred", "label", "choice", "better_response_id")
RATERS = ("rater", "rater_id", "annotator", "annotator_id", "worker_id", "user", "judge")
MAX_PREFERENCE = 3  # HelpSteer3's scale
# The words of Llama 2's raters (https://arxiv.org/abs/2307.09288, section 3.2.1).
STRENGTHS = {
    "significantly": 3.0,
    "": 2.0,
    "slightly": 1.0,
    "negligibly": 0.0,
    "unsure": 0.0,
    "negligibly_better_unsure": 0.0,
}
GOOD = frozenset(["true", "good", "up", "thumbs_up", "thumb_up", "positive", "yes", "1", "👍"])
BAD = frozenset(["false", "bad", "down", "thumbs_down", "thumb_down", "negative", "no", "0", "-1", "👎"])
TIES = frozenset(
    ["tie", "tied", "draw", "both", "equal", "same", "neither", "both_good", "both_bad", "bothbad", "tie_bothbad"]
)

_not_word = re.compile(r"[^\w👍👎]+")


def word(value: Any) -> str:
    """A value as one lower-case word, so that "Thumbs up", `thumbs-up` and "THUMBS_UP" are the same; 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip().casefold()
    return text if text == "-1" else _not_word.sub("_", text).strip("_")


def optional(record: Record, *names: str) -> tuple[str, Any] | None:
    """The field and value of the first of `names` that holds something; an empty cell of a CSV file holds nothing."""
    for name in names:
        key = record.names.get(name)
        if key is not None and record.values[key] != "":
            record.used.add(key)
            return key, record.values[key]
    return None


def verdict_word(value: Any) -> bool | None:
    """Whether a label says good or bad; None when it says neither."""
    if not isinstance(value, (bool, int, float, str)):
        return None
    told = word(value)
    return True if told in GOOD else False if told in BAD else None


def number(record: Record, value: Any, field: str) -> float | None:
    """A finite number, which a cell of a CSV file holds as text."""
    found = _as_number(value)
    if found is None:
        record.note("wrong-type", f"expected a number, found {type_name(value)}", field)
    elif not math.isfinite(found):
        record.note("wrong-type", f"expected a finite number, found {found}; correct it or leave it out", field)
        return None
    return found


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:
        return None


def numbers(record: Record, value: Any, field: str, count: int) -> list[float] | None:
    """A list of one number for each answer."""
    value = from_json(value) if isinstance(value, str) else value
    if not isinstance(value, (list, tuple)):
        record.note("wrong-type", f"expected a list with a number for each answer, found {type_name(value)}", field)
        return None
    if len(value) != count:
        record.note("wrong-type", f"{len(value)} numbers for {count} answers; give one for each", field)
        return None
    found = [number(record, item, f"{field}[{index}]") for index, item in enumerate(value)]
    return [item for item in found if item is not None] if None not in found else None


def dense(values: Sequence[float]) -> tuple[int, ...]:
    """Ranks from 0, the lowest value first, equal values sharing one: (2, 5, 2) gives (0, 1, 0)."""
    places = {value: rank for rank, value in enumerate(sorted(set(values)))}
    return tuple(places[value] for value in values)


def is_tie(record: Record) -> bool:
    found = optional(record, "tie")
    verdict = verdict_word(found[1]) if found else False
    if found and verdict is None:
        record.note("wrong-type", f"expected true or false, found {_told(found[1])}", found[0])
    return bool(verdict)


def choice(record: Record, sides: tuple[str, ...]) -> tuple[tuple[int, ...], float | None]:
    """Ranks of two answers, and the strength where the verdict is a number such as HelpSteer3's."""
    preference = optional(record, "overall_preference")
    if preference:
        return _scaled(record, *preference)
    winner = optional(record, *WINNERS)
    if winner is None:
        if not is_tie(record):
            record.missing("winner", record.names.values())
        return (0, 0), None
    ranks = _winner_ranks(winner[1], sides)
    if ranks is None:
        known = f"'{sides[0]}' (also a, 1), '{sides[1]}' (also b, 2) or 'tie'"
        if sides[0].endswith("0"):
            known = f"'{sides[0]}' (also 0), '{sides[1]}' (also 1) or 'tie'"
        record.note("unknown-winner", f"expected {known}, found {_told(winner[1])}", winner[0])
    return ranks or (0, 0), None


def _scaled(record: Record, field: str, value: Any) -> tuple[tuple[int, ...], float | None]:
    preference = number(record, value, field)
    if preference is None:
        return (0, 0), None
    if abs(preference) > MAX_PREFERENCE:
        limits = f"-{MAX_PREFERENCE} (the first is better) and {MAX_PREFERENCE} (the second is)"
        record.note("unknown-winner", f"expected a number between {limits}, found {preference:g}", field)
    return dense((preference, -preference)), abs(preference)


def _winner_ranks(value: Any, sides: tuple[str, ...]) -> tuple[int, ...] | None:
    if isinstance(value, bool):
        return None
    told = word(value)
    if told in TIES:
        return 0, 0
    places = ("0", "1") if sides[0].endswith("0") else ("1", "2")
    for at, ranks in enumerate(((0, 1), (1, 0))):
        letter = "ab"[at]
        names = {places[at], sides[at], letter, f"model_{letter}", f"response_{letter}", f"answer_{letter}"}
        if told in names | {f"assistant_{letter}", f"conversation_{letter}", ("first", "second")[at]}:
            return ranks
    return None


def ranking(record: Record, key: str, items: Sequence[Any]) -> tuple[tuple[int, ...], float | None]:
    """Ranks of a list of answers: from ranks (lower is better) or scores (higher is better), beside it or in it."""
    beside = _list_beside(record, RANKS), _list_beside(record, SCORES)
    ranks, scores = (numbers(record, found[1], found[0], len(items)) if found else None for found in beside)
    if not any(beside):
        ranks = _own_numbers(record, key, items, ("rank",))
        scores = _own_numbers(record, key, items, ("rating", "score", "overall_score")) if ranks is None else None
    if record.problems or (ranks is None and scores is None):
        if not record.problems:
            message = "nothing says which answer is better; add 'ranks', a number for each answer, where 1 is the best"
            record.note("missing-field", message, "ranks")
        return (0,) * len(items), None
    if ranks is not None:
        return dense(ranks), None
    assert scores is not None
    return dense([-score for score in scores]), abs(scores[0] - scores[1]) if len(scores) == 2 else None


def _list_beside(record: Record, names: Sequence[str]) -> tuple[str, Any] | None:
    """The first of `names` that holds a list; a single score is about the record, not about its answers."""
    key = next((name for name in names if is_list(record.get(name))), None)
    return optional(record, key) if key else None


def _own_numbers(record: Record, key: str, items: Sequence[Any], names: tuple[str, ...]) -> list[float] | None:
    """The numbers that the answers of a list carry themselves; None when none of them does."""
    name = next((name for name in names if any(isinstance(item, Mapping) and name in item for item in items)), None)
    if name is None:
        return None
    values = [item.get(name) if isinstance(item, Mapping) else None for item in items]
    found = [number(record, value, f"{key}[{index}].{name}") for index, value in enumerate(values)]
    return [item for item in found if item is not None]


def rating(record: Record) -> bool | float:
    """Good or bad, or a number."""
    label = optional(record, *LABELS)
    if label:
        verdict = verdict_word(label[1])
        if verdict is None:
            expected = "expected good or bad (true or false, 1 or 0, up or down)"
            remedy = "; a number belongs in 'rating'" if _as_number(label[1]) is not None else ""
            record.note("unknown-label", f"{expected}, found {_told(label[1])}{remedy}", label[0])
        return bool(verdict)
    score = optional(record, *NUMBERS)
    if score is None:
        name = "label" if record.shape.name.endswith("label") else "rating"
        record.missing(name, record.names.values())
        return False
    return number(record, score[1], score[0]) or 0.0


def strength(record: Record) -> float | None:
    """How much better the winner is: a number from 0, one of `STRENGTHS`, or else the difference of two scores."""
    found = optional(record, "strength", "margin")
    if found is None:
        return _score_difference(record)
    field, value = found
    if isinstance(value, str) and _as_number(value) is None:
        told = re.sub(r"_?better$", "", word(value))
        if told in STRENGTHS and (told or word(value)):
            return STRENGTHS[told]
        known = "significantly better, better, slightly better, negligibly better or unsure"
        record.note("bad-strength", f"expected a number or {known}, found {_told(value)}", field)
        return None
    amount = number(record, value, field)
    if amount is not None and amount < 0:
        remedy = "a strength is 0 or more; if the other answer is better, swap the two"
        record.note("bad-strength", f"found {amount:g}; {remedy}", field)
    return amount


def _score_difference(record: Record) -> float | None:
    for name in ("score", "rating", "reward"):
        best, worst = (
            optional(record, f"{name}_{side}", f"{side}_{name}", f"{side}-{name}") for side in ("chosen", "rejected")
        )
        if best and worst:
            return _difference(record, best, worst)
    return None


def _difference(record: Record, best: tuple[str, Any], worst: tuple[str, Any]) -> float | None:
    chosen, rejected = number(record, best[1], best[0]), number(record, worst[1], worst[0])
    if chosen is None or rejected is None:
        return None
    if chosen < rejected:
        told = f"the chosen answer has {chosen:g} and the rejected one {rejected:g}, so the sides seem reversed"
        record.note("reversed-scores", f"{told}; swap the answers or correct the scores", best[0])
    return chosen - rejected


def rater(record: Record) -> str:
    """Who judged, empty where nobody is named; a `user` that is an object is something else."""
    for name in RATERS:
        value = record.get(name)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool) and value != "":
            record.used.add(record.names[name])
            is_whole = isinstance(value, float) and value.is_integer()
            return str(int(value) if is_whole else value).strip()
    return ""


def _told(value: Any) -> str:
    """A value as a message names it."""
    is_shown = isinstance(value, (str, int, float)) and not isinstance(value, bool)
    return f"'{str(value)[:60]}'" if is_shown else type_name(value)
