"""The curves of a run for drawing, thinned where there are many steps, and its samples and warnings.

A curve of more than `MAX_POINTS` keeps its first and last point and, of each stretch between, the lowest and the
highest, so that no spike is lost. Leaves out: following a run that goes on (`tail`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tutelage.runs.files import last_bytes, records_in
from tutelage.runs.look import numbers

MAX_POINTS = 1000
MAX_SERIES = 200
MAX_PROMPTS = 50
MAX_ANSWERS = 60
MAX_SAMPLE_BYTES = 16 * 1024 * 1024


@dataclass
class Series:
    """One metric over the steps that have it."""

    steps: list[int] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    """None where it was no finite number."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Every metric of a run after some step."""

    series: dict[str, Series]
    last_step: int


@dataclass
class Answers:
    """A prompt and what the model answered to it at different steps."""

    prompt: str
    answers: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Samples:
    """What samples.jsonl holds."""

    prompts: list[Answers]
    warnings: list[dict[str, Any]]


def read_curves(path: Path, after: int = 0) -> Curves:
    """The curves in the file metrics.jsonl from the step behind `after` on; none where there is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return Curves({}, after)
    return _read_curves(path, after, found.st_ino, found.st_size)


@lru_cache(maxsize=8)
def _read_curves(path: Path, after: int, inode: int, size: int) -> Curves:
    """As `read_curves`; of a file of this size, so that many who look at once read it once."""
    del inode, size
    series: dict[str, Series] = {}
    last_step = after
    for record in _records(path):
        step = record["step"]
        if step <= after:
            continue
        last_step = step
        for name, value in numbers(record).items():
            if name in series or len(series) < MAX_SERIES:
                one = series.setdefault(name, Series())
                one.steps.append(step)
                one.values.append(value)
    return Curves({name: thinned(one) for name, one in series.items()}, last_step)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            try:
                record = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                continue
            if isinstance(record, dict) and isinstance(record.get("step"), int):
                yield record


def thinned(series: Series, most: int = MAX_POINTS) -> Series:
    """At most so many points; the ends and the extremes of every stretch stay."""
    count = len(series.steps)
    if count <= most:
        return series
    stretches = (most - 2) // 2
    kept = {0, count - 1}
    for number in range(stretches):
        places = range(1 + number * (count - 2) // stretches, 1 + (number + 1) * (count - 2) // stretches)
        known = [place for place in places if series.values[place] is not None] or list(places[:1])
        kept |= {min(known, key=lambda place: series.values[place] or 0.0)}
        kept |= {max(known, key=lambda place: series.values[place] or 0.0)}
    places_kept = sorted(kept)
    return Series([series.steps[place] for place in places_kept], [series.values[place] for place in places_kept])


def read_samples(path: Path) -> Samples:
    """The answers by prompt, and the warnings; of a very long file the newest."""
    records = records_in(last_bytes(path, MAX_SAMPLE_BYTES))
    by_prompt: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if is_answer(record) and (record["prompt"] in by_prompt or len(by_prompt) < MAX_PROMPTS):
            by_prompt.setdefault(record["prompt"], []).append(answer_of(record))
    warnings = [warning_of(record) for record in records if "warning" in record]
    return Samples([Answers(prompt, _some(answers)) for prompt, answers in by_prompt.items()], warnings[-500:])


def is_answer(record: Mapping[str, Any]) -> bool:
    """Whether a line of samples.jsonl is an answer of the model."""
    return isinstance(record.get("prompt"), str) and isinstance(record.get("answer"), str)


def answer_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """An answer without its prompt."""
    return {"step": record["step"], "answer": record["answer"], "stopped": bool(record.get("stopped", True))}


def warning_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """A warning as it is told of."""
    return {"step": record["step"], "name": str(record["warning"]), "message": str(record.get("message", ""))}


def _some(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most `MAX_ANSWERS` of them, evenly, the first and the last among them."""
    count = len(answers)
    if count <= MAX_ANSWERS:
        return answers
    places = sorted({round(number * (count - 1) / (MAX_ANSWERS - 1)) for number in range(MAX_ANSWERS)})
    return [answers[place] for place in places]
