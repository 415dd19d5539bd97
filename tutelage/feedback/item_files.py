"""Items from a file: a prompt in any shape that a prompt can have, and its answers.

A record holds a list of answers (`answers`, `completions`, `responses` or `generations`; each a text, or an object with
`text` and where known `model`, `sampling` and `author`, a person's name), the two sides of a comparison (`response_a`
and `response_b` and their like), or one `answer`, as `tutelage generate` writes them; then records with the same prompt
are taken together. `gold` is the verdict that a gold item should get, which names answers by their place from 0.

Leaves out: verdicts of people, which `tutelage import` reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.data.files import open_path
from tutelage.data.formats import parse_prompts
from tutelage.data.raw import Problem, RawFile, RawRecord
from tutelage.data.verdict_shapes import CHOICES, LISTS
from tutelage.errors import DataError
from tutelage.feedback.items import NUM_ANSWERS, NewAnswer, NewItem
from tutelage.feedback.projects import Project
from tutelage.feedback.verdicts import project_value
from tutelage.types import Prompt

SIDES = tuple(dict.fromkeys(name for names in CHOICES for name in names))
ONE = ("answer", "completion", "response", "output")
_OTHERS = (*LISTS, *SIDES, *ONE, "gold", "priority", "model", "sampling", "num_tokens", "stopped", "author")


def read_items(path: str | Path, project: Project, people: Mapping[str, str]) -> list[NewItem]:
    """The items of a file for a project; `people` are ids by name. Raises `DataError` with file, line and field."""
    raw_file = open_path(path)
    waiting: dict[tuple[Any, ...], tuple[Prompt, list[NewAnswer]]] = {}
    found: list[NewItem] = []
    fewest, most = NUM_ANSWERS[project.kind]
    for record in _records(raw_file):
        try:
            prompt, answers = _prompt(raw_file, record), _answers(record.value, people)
            if "gold" in record.value or len(answers) > 1 or most == 1:
                found += _items(project, record.value, prompt, answers)
                continue
        except DataError as error:
            raise _at(raw_file, record, error) from error
        _, together = waiting.setdefault(prompt.messages, (prompt, []))
        together += answers
        if len(together) == most:
            found.append(NewItem(prompt.messages, waiting.pop(prompt.messages)[1], prompt.reference, dict(prompt.meta)))
    for prompt, together in waiting.values():
        if len(together) < fewest:
            line = prompt.source.line if prompt.source else None
            raise DataError(f"a {project.kind} is of {fewest} answers, and this prompt has one", file=path, line=line)
        found.append(NewItem(prompt.messages, together, prompt.reference, dict(prompt.meta)))
    return found


def _records(raw_file: RawFile) -> Iterator[RawRecord]:
    for record in raw_file:
        if isinstance(record, Problem):
            raise raw_file.error(record)
        if not isinstance(record.value, Mapping):
            raise raw_file.error(Problem("wrong-type", "a record is an object with named fields", record.line))
        yield record


def _at(raw_file: RawFile, record: RawRecord, error: DataError) -> DataError:
    return raw_file.error(Problem("bad-item", error.problem, record.line, error.field))


def _prompt(raw_file: RawFile, record: RawRecord) -> Prompt:
    """The prompt alone, read as `tutelage generate` reads it."""
    asked = {key: value for key, value in record.value.items() if key not in _OTHERS}
    alone = RawFile(raw_file.name, raw_file.container, [RawRecord(record.line, asked)], raw_file.unit)
    for item in parse_prompts(alone):
        if isinstance(item, Problem):
            raise DataError(item.message, field=item.field)
        return item
    raise DataError("there is no prompt")


def _items(
    project: Project, record: Mapping[str, Any], prompt: Prompt, answers: Sequence[NewAnswer]
) -> Iterator[NewItem]:
    priority = record.get("priority", 0.0)
    if isinstance(priority, bool) or not isinstance(priority, (int, float)):
        raise DataError(f"{priority!r} is no number", field="priority")
    groups = [list(answers)] if NUM_ANSWERS[project.kind][1] > 1 else [[each] for each in answers]
    for group in groups:
        places = [str(place) for place in range(len(group))]
        gold = project_value(project, record["gold"], places, places) if record.get("gold") is not None else None
        yield NewItem(
            prompt.messages, group, prompt.reference, dict(prompt.meta), priority=float(priority), gold_value=gold
        )


def _answers(record: Mapping[str, Any], people: Mapping[str, str]) -> list[NewAnswer]:
    for name in LISTS:
        if isinstance(record.get(name), list):
            return [_one(each, f"{name}[{place}]", {}, people) for place, each in enumerate(record[name])]
    sides = next((names for names in CHOICES if all(record.get(name) is not None for name in names)), None)
    if sides:
        return [_one(record[name], name, {}, people) for name in sides]
    name = next((each for each in ONE if record.get(each) is not None), "")
    if not name:
        raise DataError(f"there are no answers; give a list 'answers', {', '.join(SIDES[:2])}, or 'answer'")
    return [_one(record[name], name, record, people)]


def _one(value: Any, field: str, record: Mapping[str, Any], people: Mapping[str, str]) -> NewAnswer:
    given = value if isinstance(value, Mapping) else {**record, "text": value}
    text, model, sampling = given.get("text"), given.get("model") or "", given.get("sampling") or {}
    if not isinstance(text, str):
        raise DataError("an answer is a text, or an object with 'text'", field=field)
    if not isinstance(model, str) or not isinstance(sampling, Mapping):
        raise DataError("'model' is a name, and 'sampling' an object", field=field)
    made = {name: given[name] for name in ("num_tokens", "stopped") if name in given}
    author = given.get("author")
    if author is not None and author not in people:
        raise DataError(f"nobody here is called '{author}'; `tutelage people` lists everyone", field=f"{field}.author")
    return NewAnswer(text, model, {**sampling, **made}, people[author] if author is not None else None)
