"""Reads Argilla's exports: records of version 2 (`to_list`, `to_dict`, `to_json`, flattened for the hub) and of the
FeedbackDataset of version 1.

Each person's submitted response to a record is one thing, built from all the questions they answered: ranking, rating,
label, several labels, text. Discarded and draft responses, and records that nobody answered, are left out. Suggestions
are a model's and no verdicts. Format: https://docs.argilla.io/latest/reference/argilla/records/records/

Leaves out: spans, images, vectors, and the settings of the dataset, which these exports do not hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tutelage.data.foreign import CRITIQUE_KEYS, REWRITE_KEYS, Incoming, Place, named_like
from tutelage.data.foreign_judgement import Judgement, assembled, find_answers, find_prompt, side_of
from tutelage.data.raw import Problem, RawFile, RawRecord, type_name
from tutelage.data.verdict_values import dense, verdict_word

SUBMITTED = ("submitted", None, "")
NOT_FIELDS = {"id", "status", "_server_id", "external_id", "metadata", "vectors", "inserted_at", "updated_at", "score"}
COLUMNS = ("fields", "responses")
_number = re.compile(r"(\d+)\s*$")
_flat = re.compile(r"\.(responses|suggestion)(\.|$)|-suggestion(-metadata)?$")


def is_record(record: Any) -> bool:
    """Whether a record is one of Argilla's, in any of its forms."""
    if not isinstance(record, Mapping):
        return False
    nested = isinstance(record.get("fields"), Mapping) and "responses" in record
    return nested or any(str(key).endswith(".responses") for key in record) or _is_hub_v1(record)


def _is_hub_v1(record: Mapping[Any, Any]) -> bool:
    has_mark = any(str(key).endswith("-suggestion") for key in record) or "external_id" in record
    return has_mark and any(_is_response_list(value) for value in record.values())


def _is_response_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(
        isinstance(item, Mapping) and {"user_id", "value"} <= item.keys() for item in value
    )  # fmt: skip


def unrolled(value: Mapping[str, Any]) -> list[Any] | None:
    """The records of a whole JSON file that `to_dict` made, by columns or by ids; None when it is something else."""
    if all(isinstance(value.get(name), list) for name in COLUMNS):
        columns = {key: column for key, column in value.items() if isinstance(column, list)}
        count = len(value["fields"])
        if all(len(column) == count for column in columns.values()):
            return [{key: column[at] for key, column in columns.items()} for at in range(count)]
    records = list(value.values())
    return records if records and all(is_record(record) for record in records) else None


def read_argilla(file: RawFile) -> Iterator[Incoming]:
    """A verdict or a pair of each person's response to each record."""
    for number, item in enumerate(file, start=1):
        place = Place(file, item.line or 0, number)
        if isinstance(item, Problem):
            yield place.problems([item])
        elif is_record(item.value):
            yield from _record(place, item)
        else:
            problem = f"no record with 'fields' and 'responses': found {type_name(item.value)}"
            yield place.left_out("other-format", problem)


def _record(place: Place, item: RawRecord) -> Iterator[Incoming]:
    fields, people, meta = _parts(item.value)
    if not people:
        yield place.left_out(
            "no-response", "nobody answered it; suggestions are a model's and are not taken", "responses"
        )
    for user, (status, values) in people.items():
        name = f"responses of {user}" if user else "responses"
        if status not in SUBMITTED:
            yield place.left_out(str(status), f"the response is {status}, so it says nothing final", name)
        elif not values:
            yield place.left_out("empty-response", "a response without an answer", name)
        else:
            yield _response(place, name, fields, values, {**meta, "user_id": user})


Answers = dict[str, tuple[Any, dict[str, Any]]]  # user: (status, question: value)


def _parts(record: Mapping[str, Any]) -> tuple[dict[str, Any], Answers, dict[str, Any]]:
    """The fields that were shown, what each person answered, and what else is known."""
    meta = {key: record[key] for key in ("id", "external_id", "metadata") if record.get(key) not in (None, "", {})}
    if isinstance(record.get("fields"), Mapping):
        fields = {str(key): value for key, value in record["fields"].items()}
        return fields, _nested(record.get("responses")), meta
    people: Answers = {}
    fields = {}
    for key, value in record.items():
        if str(key).endswith(".responses"):
            _flat_question(people, record, str(key).removesuffix(".responses"))
        elif _is_response_list(value):
            _listed(people, str(key), value)
        elif not _flat.search(str(key)) and key not in NOT_FIELDS:
            fields[str(key)] = value
    return fields, people, meta


def _put(people: Answers, user: Any, status: Any, question: str, value: Any) -> None:
    kept = people.setdefault(str(user or ""), (status, {}))
    if value is not None:
        kept[1][question] = value
    if status not in SUBMITTED:
        people[str(user or "")] = (status, kept[1])


def _nested(responses: Any) -> Answers:
    """Version 2 has a list of answers for each question, version 1 a list of responses with the values of all."""
    people: Answers = {}
    if isinstance(responses, Mapping):
        for question, answers in responses.items():
            _listed(people, str(question), answers if isinstance(answers, list) else [])
    for response in responses if isinstance(responses, list) else []:
        if not isinstance(response, Mapping):
            continue
        user, status, values = response.get("user_id"), response.get("status"), response.get("values")
        people.setdefault(str(user or ""), (status, {}))
        for question, value in values.items() if isinstance(values, Mapping) else []:
            _put(people, user, status, str(question), value.get("value") if isinstance(value, Mapping) else value)
    return people


def _listed(people: Answers, question: str, answers: Sequence[Any]) -> None:
    for answer in answers:
        if isinstance(answer, Mapping):
            _put(people, answer.get("user_id"), answer.get("status"), question, answer.get("value"))


def _flat_question(people: Answers, record: Mapping[str, Any], question: str) -> None:
    columns = [record.get(f"{question}.responses{end}") or [] for end in ("", ".users", ".status")]
    values, users, states = (column if isinstance(column, list) else [] for column in columns)
    for at, value in enumerate(values):
        user = users[at] if at < len(users) else ""
        _put(people, user, states[at] if at < len(states) else None, question, value)


def _response(
    place: Place, name: str, fields: dict[str, Any], values: dict[str, Any], meta: dict[str, Any]
) -> Incoming:
    prompt_name, prompt = find_prompt(fields)
    said = Judgement(place, name, prompt, find_answers(fields, prompt_name), meta=meta)
    said.rater = f"argilla:{meta['user_id']}" if meta["user_id"] else ""
    for question, value in values.items():
        _question(said, question, value)
    return assembled(said)


def _question(said: Judgement, question: str, value: Any) -> None:
    """Sort one answer in: its kind is told by its shape, a label from a text by its words and the question's name."""
    ranks = _ranks(said, value)
    if ranks is not None:
        said.ranks = ranks
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        said.scores[question] = value
    elif isinstance(value, list):
        said.words += [each for each in value if isinstance(each, str)]
    elif isinstance(value, str):
        if named_like(question, (*REWRITE_KEYS, *CRITIQUE_KEYS)) or not _is_label(said, value):
            said.texts[question] = value
        else:
            said.words.append(value)


def _is_label(said: Judgement, value: str) -> bool:
    names = [name for name, _ in said.answers]
    if len(names) == 2 and side_of(value, names):
        return True
    if len(names) == 1 and verdict_word(value) is not None:
        return True
    return bool(names) and len(value) <= 40 and len(value.split()) <= 4


def _ranks(said: Judgement, value: Any) -> list[int] | None:
    """Ranks of the answers from a ranking: a list of values with ranks, two columns, or the values in order."""
    if isinstance(value, Mapping) and isinstance(value.get("rank"), list) and isinstance(value.get("value"), list):
        value = [{"rank": rank, "value": each} for rank, each in zip(value["rank"], value["value"], strict=False)]
    if not isinstance(value, list) or len(said.answers) < 2 or len(value) != len(said.answers):
        return None
    if all(isinstance(each, Mapping) and "value" in each for each in value):
        ordered = [(each.get("rank"), str(each["value"])) for each in value]
    else:
        ordered = [(at, str(each)) for at, each in enumerate(value)]
    places = [_answer_at(said, name) for _, name in ordered]
    if sorted(each for each in places if each is not None) != list(range(len(said.answers))):
        return None
    ranks = {at: rank for at, (rank, _) in zip(places, ordered, strict=True)}
    numbers = [ranks[at] for at in range(len(said.answers))]
    whole = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in numbers)
    return list(dense([float(each or 0) for each in numbers])) if whole else None


def _answer_at(said: Judgement, name: str) -> int | None:
    """Which answer an option of a ranking means: the field of that name, or the one with its number."""
    names = [each.lower() for each, _ in said.answers]
    if name.lower() in names:
        return names.index(name.lower())
    numbers = [_number.search(each) for each in names]
    wanted = _number.search(name)
    if wanted and all(numbers):
        found = [int(each.group(1)) for each in numbers if each]
        return found.index(int(wanted.group(1))) if int(wanted.group(1)) in found else None
    return int(wanted.group(1)) - 1 if wanted and 0 < int(wanted.group(1)) <= len(names) else None
