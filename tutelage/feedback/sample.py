"""Answers for a project's prompts, sampled from models: a long job that can be stopped and gone on with.

Each answer is stored within a second of its end, with its model, its sampling settings and the number of its draw; the
same call again samples only what is missing, and what it samples then is what it would have sampled. Items are made as
soon as all the answers to a prompt are there, so that people may judge the first ones while the last are still to come.
Models are loaded one after the other, never two at once. Leaves out: the sampler itself (`tutelage.engine`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from tutelage.engine.answer import answer_each, can_read
from tutelage.engine.generate import Sampling
from tutelage.errors import ConfigError, DataError
from tutelage.evaluate.run import load_for_answers
from tutelage.feedback.items import MAX_PROMPT_CHARS, NUM_ANSWERS, NewAnswer, NewItem, add_items
from tutelage.feedback.projects import Project
from tutelage.feedback.words import storable_json, typed
from tutelage.store import people, schema
from tutelage.store.contents import add_answer, add_prompt, as_json, content_hash
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.types import Answer, Prompt

PROMPTS_AT_ONCE = 256
"""Prompts that are handed to the sampler together."""
STORE_EVERY_SECONDS = 0.5
ITEMS_EVERY_SECONDS = 15.0
MOST_ANSWERS = 64
"""To one prompt."""
USUAL_ANSWERS = {"comparison": 2, "ranking": 4, "thumbs": 1, "rating": 1}


class Sampled(NamedTuple):
    """What a call did."""

    num_prompts: int
    """Different prompts it was given."""
    num_there: int
    """Those that had their items already."""
    num_answers: int
    """Answers sampled now."""
    num_items: int
    """Items added."""
    num_equal: int
    """Items left out because the answers are all the same text."""
    num_unreadable: int
    """Prompts left out because a model cannot read them: too long, or with a control token."""


class Progress(NamedTuple):
    """How far a call is."""

    done: int
    """Answers sampled by it."""
    total: int
    """Answers it has to sample in all."""
    num_items: int
    """Items added by it."""
    model: str
    """The one at work; empty before the first is loaded."""


Told = Callable[[Progress], None]


@dataclass
class _Job:
    """What a call was asked for, and how far it is."""

    store: Store
    person: Person
    project: Project
    workspace: Path
    sampling: Sampling
    shares: Mapping[str, int]
    """How many answers to each prompt every model gives."""
    batch_size: int
    tell: Told
    waiting: Mapping[str, Prompt]
    """The prompts by their hash."""
    done: int = 0
    total: int = 0
    num_items: int = 0
    num_equal: int = 0
    model: str = ""
    unreadable: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    """Prompts whose items were seen to."""

    def told(self) -> None:
        """Tell how far it is."""
        self.tell(Progress(self.done, self.total, self.num_items, self.model))


def sample_items(
    store: Store,
    person: Person,
    project: Project,
    prompts: Sequence[Prompt],
    models: Sequence[str],
    sampling: Sampling,
    *,
    num_answers: int,
    workspace: Path,
    batch_size: int = 64,
    again: bool = False,
    tell: Told = lambda _: None,
) -> Sampled:
    """Sample `num_answers` answers to each prompt, the models taking turns, and make items of them.

    A comparison or ranking is of all the answers to a prompt; of thumbs and ratings each answer is an item. A prompt
    that has items in the project is left alone, unless `again` asks for a new round on it: with another model or seed
    that gives new items, and with the same ones nothing. `tell` hears how far it is, at the beginning and whenever
    something was stored.
    """
    people.require(person, "reviewer")
    check(project, models, sampling, num_answers)
    check_prompts(prompts)
    different = {content_hash(as_json(prompt.messages)): prompt for prompt in prompts}
    with store.read() as connection:
        there = set() if again else _with_items(connection, project, list(different))
    waiting = {key: prompt for key, prompt in different.items() if key not in there}
    shares = {model: len(range(place, num_answers, len(models))) for place, model in enumerate(models)}
    job = _Job(store, person, project, workspace, sampling, shares, batch_size, tell, waiting)
    _sample(job)
    store.refresh_statistics(job.done)
    return Sampled(len(different), len(there), job.done, job.num_items, job.num_equal, len(job.unreadable))


def check(project: Project, models: Sequence[str], sampling: Sampling, num_answers: int) -> None:
    """Raise `ConfigError` for what no items can be made of."""
    fewest, most = NUM_ANSWERS[project.kind]
    if not models:
        raise ConfigError(f"name a --model to sample from; project '{project.name}' names none")
    if len(set(models)) < len(models):
        raise ConfigError("the same model is named twice; name each once, and say --num-answers")
    if most > 1 and not fewest <= num_answers <= most:
        raise ConfigError(f"--num-answers is {num_answers}; a {project.kind} is of {fewest} to {most}")
    if not len(models) <= num_answers <= MOST_ANSWERS:
        raise ConfigError(
            f"--num-answers is {num_answers}; give one for each model at least, and at most {MOST_ANSWERS}"
        )
    if num_answers > len(models) and sampling.temperature == 0:
        raise ConfigError("--temperature 0 gives the same answer each time; give --temperature 1, or another model")


def check_prompts(prompts: Sequence[Prompt]) -> None:
    """Raise `DataError`, its line the prompt's number, for one that cannot be stored."""
    for number, prompt in enumerate(prompts, start=1):
        try:
            for message in prompt.messages:
                typed(message.content, "messages", MAX_PROMPT_CHARS)
            storable_json([_meta(prompt), prompt.reference], "meta")
        except DataError as error:
            file, line = (prompt.source.file, prompt.source.line) if prompt.source else (None, number)
            raise DataError(error.problem, file=file, line=line, field=error.field) from error


# The job --------------------------------------------------------------------------------------------------------------


def _sample(job: _Job) -> None:
    missing = {model: _missing(job, model, share) for model, share in job.shares.items()}
    job.total = sum(len(numbers) for each in missing.values() for numbers in each.values())
    job.told()
    *_, last = job.shares
    for model, lacking in missing.items():
        if model == last:
            _make_items(job, [key for key in job.waiting if key not in lacking])
        if lacking:
            _answer(job, model, lacking, is_last=model == last)
    _make_items(job, job.waiting)
    job.told()


def _missing(job: _Job, model: str, share: int) -> dict[str, list[int]]:
    """The numbers of the draws that are still to come, by prompt; those that lack none are left out."""
    found: dict[str, list[int]] = {}
    for part in _parts(list(job.waiting), 500):
        with job.store.read() as connection:
            stored = _stored(connection, part, model, job.sampling)
        for key in part:
            there = stored.get(key, {})
            if lacking := [number for number in range(share) if number not in there]:
                found[key] = lacking
    return found


def _answer(job: _Job, model: str, lacking: Mapping[str, Sequence[int]], *, is_last: bool) -> None:
    """Sample what a model lacks, each answer stored soon after its end."""
    job.total -= sum(len(numbers) for key, numbers in lacking.items() if key in job.unreadable)
    lacking = {key: numbers for key, numbers in lacking.items() if key not in job.unreadable}
    job.model = model
    job.told()
    loaded = load_for_answers(model, job.workspace)
    for part in _parts(list(lacking), PROMPTS_AT_ONCE):
        unreadable = {key for key in part if not can_read(loaded.model, loaded.tokenizer, job.waiting[key])}
        job.total -= sum(len(lacking[key]) for key in unreadable)
        job.unreadable |= unreadable
        asked = [(key, number) for key in part if key not in unreadable for number in lacking[key]]
        keeper = _Keeper(job, asked, lacking, makes_items=is_last)
        try:
            answer_each(
                loaded.model, loaded.tokenizer, [job.waiting[key] for key, _ in asked],
                [_draw(key, number) for key, number in asked], job.sampling, keeper.take, name=model,
                batch_size=job.batch_size,
            )  # fmt: skip
        finally:  # what has ended is kept, and can be judged, however this ends
            keeper.keep()
            keeper.make()


def _draw(key: str, number: int) -> int:
    """What the draws of an answer hang on, besides the seed: the prompt and the answer's number."""
    return (int(key[:14], 16) << 8) + number


class _Keeper:
    """Answers that have ended, on their way into the record."""

    def __init__(
        self, job: _Job, asked: Sequence[tuple[str, int]], lacking: Mapping[str, Sequence[int]], *, makes_items: bool
    ) -> None:
        self.job, self.asked, self.makes_items = job, asked, makes_items
        self.left = {key: len(lacking[key]) for key, _ in asked}
        self.waiting: list[tuple[Answer, int]] = []
        self.complete: list[str] = []
        self.kept_at, self.made_at = time.monotonic(), float("-inf")

    def take(self, place: int, answer: Answer) -> None:
        key, number = self.asked[place]
        self.waiting.append((answer, number))
        self.left[key] -= 1
        if not self.left[key]:
            self.complete.append(key)
        if time.monotonic() - self.kept_at >= STORE_EVERY_SECONDS:
            self.keep()
            if time.monotonic() - self.made_at >= ITEMS_EVERY_SECONDS:
                self.make()

    def keep(self) -> None:
        if not self.waiting:
            return
        answers, settings = self.waiting, _settings(self.job.sampling)
        self.job.store.run(partial(_store, answers=answers, settings=settings))
        self.job.done += len(answers)
        self.waiting, self.kept_at = [], time.monotonic()
        self.job.told()

    def make(self) -> None:
        """Items of the prompts whose answers are all there, where this is the last model."""
        if self.makes_items and self.complete:
            _make_items(self.job, self.complete)
            self.complete, self.made_at = [], time.monotonic()
            self.job.told()


def _with_items(connection: Connection, project: Project, hashes: Sequence[str]) -> set[str]:
    """Those of the prompts that the project has items of."""
    prompts, items, found = schema.prompts, schema.items, set[str]()
    for part in _parts(hashes, 500):
        query = select(prompts.c.content_hash).join(items, items.c.prompt_id == prompts.c.id)
        query = query.where(items.c.project_id == project.id, prompts.c.content_hash.in_(part))
        found |= set(connection.execute(query).scalars())
    return found


def _parts(many: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(many), size):
        yield many[start : start + size]


# Rows of the record ---------------------------------------------------------------------------------------------------


def _settings(sampling: Sampling) -> dict[str, Any]:
    names = ("temperature", "top_p", "top_k", "min_p", "max_new_tokens", "seed")
    return {name: getattr(sampling, name) for name in names}


def _store(connection: Connection, answers: Iterable[tuple[Answer, int]], settings: Mapping[str, Any]) -> None:
    for answer, number in answers:
        prompt = answer.prompt
        prompt_id = add_prompt(connection, prompt.messages, reference=prompt.reference, meta=_meta(prompt))
        made = {**settings, "num_tokens": answer.num_tokens, "stopped": answer.stopped, "draw": number}
        text = answer.text.replace("\x00", "\N{REPLACEMENT CHARACTER}")  # which no database stores
        add_answer(connection, prompt_id, text, model=answer.model, sampling=made)


def _meta(prompt: Prompt) -> dict[str, Any]:
    named = {"id": prompt.id} if prompt.id else {}
    checks = {"checks": [dict(each) for each in prompt.checks]} if prompt.checks else {}
    return {**prompt.meta, **named, **checks}


def _stored(
    connection: Connection, hashes: Sequence[str], model: str, sampling: Sampling
) -> dict[str, dict[int, NewAnswer]]:
    """Answers of a model with just these settings, by the prompt's hash and the number of the draw."""
    prompts, answers, found = schema.prompts, schema.answers, dict[str, dict[int, NewAnswer]]()
    query = select(prompts.c.content_hash, answers.c.id, answers.c.text, answers.c.sampling)
    query = query.join(answers, answers.c.prompt_id == prompts.c.id).where(answers.c.model == model)
    settings = _settings(sampling)
    for row in connection.execute(query.where(prompts.c.content_hash.in_(hashes)).order_by(answers.c.id)):
        if settings.items() <= row.sampling.items() and isinstance(number := row.sampling.get("draw"), int):
            answer = NewAnswer(row.text, model, row.sampling, id=row.id)
            found.setdefault(row.content_hash, {}).setdefault(number, answer)
    return found


def _make_items(job: _Job, keys: Iterable[str]) -> None:
    """Items of the prompts whose answers are all there."""
    wanted = [key for key in keys if key not in job.made | job.unreadable]
    for part in _parts(wanted, 500):
        num_items, num_equal = job.store.run(partial(_add, job=job, part=part))
        job.num_items, job.num_equal = job.num_items + num_items, job.num_equal + num_equal
        job.made |= set(part)


def _add(connection: Connection, job: _Job, part: Sequence[str]) -> tuple[int, int]:
    """(items added, items left out since their answers are all equal)."""
    stored = {model: _stored(connection, part, model, job.sampling) for model in job.shares}
    new = []
    for key in part:
        numbers = [(model, number) for model, share in job.shares.items() for number in range(share)]
        answers = [stored[model].get(key, {}).get(number) for model, number in numbers]
        whole = [each for each in answers if each is not None]
        if len(whole) < len(answers):
            continue
        groups = [whole] if NUM_ANSWERS[job.project.kind][1] > 1 else [[each] for each in whole]
        prompt = job.waiting[key]
        new += [NewItem(prompt.messages, group, prompt.reference, _meta(prompt)) for group in groups]
    added = add_items(connection, job.person, job.project, new)
    return len(added.ids), added.num_equal
