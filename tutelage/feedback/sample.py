"""Answers for a project's prompts, sampled from models: a long job that can be stopped and gone on with.

Each batch of answers is stored as soon as it is there, with its model and sampling settings; the same call again
samples only what is missing, and a prompt that has its items already is left alone. Models are loaded one after the
other, never two at once. Leaves out: the sampler itself (`tutelage.engine`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from tutelage.engine.answer import answer_prompts
from tutelage.engine.generate import Sampling
from tutelage.errors import ConfigError
from tutelage.evaluate.run import load_for_answers
from tutelage.feedback.items import NUM_ANSWERS, NewAnswer, NewItem, add_items
from tutelage.feedback.projects import Project
from tutelage.store import people, schema
from tutelage.store.contents import add_answer, add_prompt, as_json, content_hash
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.types import Answer, Prompt

PROMPTS_AT_ONCE = 32
"""Prompts whose answers are stored together: what an interruption can cost."""


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
    """Prompts left out because their answers are all the same text."""


class _Job(NamedTuple):
    """What a call was asked for."""

    store: Store
    person: Person
    project: Project
    workspace: Path
    sampling: Sampling
    batch_size: int


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
    progress: Callable[[str, int], None] | None = None,
) -> Sampled:
    """Sample `num_answers` answers to each prompt, the models taking turns, and make items of them.

    A comparison or ranking is of all the answers to a prompt; of thumbs and ratings each answer is an item. `progress`
    gets a model and how many prompts it has answered since.
    """
    people.require(person, "reviewer")
    _check(project, models, sampling, num_answers)
    job = _Job(store, person, project, workspace, sampling, batch_size)
    different = {content_hash(as_json(prompt.messages)): prompt for prompt in prompts}
    with store.read() as connection:
        there = _with_items(connection, project, list(different))
    waiting = {key: prompt for key, prompt in different.items() if key not in there}
    shares = {model: len(range(place, num_answers, len(models))) for place, model in enumerate(models)}
    num_sampled = sum(_answer(job, model, share, waiting, progress) for model, share in shares.items())
    num_items, num_equal = _make_items(job, shares, waiting)
    return Sampled(len(different), len(there), num_sampled, num_items, num_equal)


def _check(project: Project, models: Sequence[str], sampling: Sampling, num_answers: int) -> None:
    fewest, most = NUM_ANSWERS[project.kind]
    if not models:
        raise ConfigError(f"name a --model to sample from; project '{project.name}' names none")
    if len(set(models)) < len(models):
        raise ConfigError("the same model is named twice; name each once, and say --num-answers")
    if most > 1 and not fewest <= num_answers <= most:
        raise ConfigError(f"--num-answers is {num_answers}; a {project.kind} is of {fewest} to {most}")
    if not len(models) <= num_answers <= 64:
        raise ConfigError(f"--num-answers is {num_answers}; give one for each model at least, and at most 64")
    if num_answers > len(models) and sampling.temperature == 0:
        raise ConfigError("--temperature 0 gives the same answer each time; give --temperature 1, or another model")


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


def _settings(sampling: Sampling) -> dict[str, Any]:
    names = ("temperature", "top_p", "top_k", "min_p", "max_new_tokens", "seed")
    return {name: getattr(sampling, name) for name in names}


def _answer(
    job: _Job, model: str, share: int, waiting: Mapping[str, Prompt], progress: Callable[[str, int], None] | None
) -> int:
    """Store what is missing of a model's answers; gives how many were sampled."""
    loaded, num_sampled = None, 0
    for part in _parts(list(waiting), PROMPTS_AT_ONCE):
        with job.store.read() as connection:
            stored = _stored(connection, part, model, job.sampling)
        missing = [waiting[key] for key in part if len(stored.get(key, ())) < share]
        if missing:
            loaded = loaded or load_for_answers(model, job.workspace)
            answers = answer_prompts(
                loaded.model, loaded.tokenizer, missing, job.sampling, name=model, num_samples=share,
                batch_size=job.batch_size,
            )  # fmt: skip
            _store(job, answers)
            num_sampled += len(answers)
        if progress:
            progress(model, len(part))
    return num_sampled


def _store(job: _Job, answers: Sequence[Answer]) -> None:
    settings = _settings(job.sampling)
    with job.store.write() as connection:
        for answer in answers:
            prompt = answer.prompt
            prompt_id = add_prompt(connection, prompt.messages, reference=prompt.reference, meta=_meta(prompt))
            made = settings | {"num_tokens": answer.num_tokens, "stopped": answer.stopped}
            text = answer.text.replace("\x00", "\N{REPLACEMENT CHARACTER}")  # which no database stores
            add_answer(connection, prompt_id, text, model=answer.model, sampling=made)


def _meta(prompt: Prompt) -> dict[str, Any]:
    named = {"id": prompt.id} if prompt.id else {}
    checks = {"checks": [dict(each) for each in prompt.checks]} if prompt.checks else {}
    return {**prompt.meta, **named, **checks}


def _stored(
    connection: Connection, hashes: Sequence[str], model: str, sampling: Sampling
) -> dict[str, list[NewAnswer]]:
    """Answers of a model with just these settings, by the prompt's hash, the oldest first."""
    prompts, answers, found = schema.prompts, schema.answers, dict[str, list[NewAnswer]]()
    query = select(prompts.c.content_hash, answers.c.id, answers.c.text, answers.c.sampling)
    query = query.join(answers, answers.c.prompt_id == prompts.c.id).where(answers.c.model == model)
    settings = _settings(sampling)
    for row in connection.execute(query.where(prompts.c.content_hash.in_(hashes)).order_by(answers.c.id)):
        if settings.items() <= row.sampling.items():
            found.setdefault(row.content_hash, []).append(NewAnswer(row.text, model, row.sampling, id=row.id))
    return found


def _make_items(job: _Job, shares: Mapping[str, int], waiting: Mapping[str, Prompt]) -> tuple[int, int]:
    """(items added, prompts whose answers are all equal)."""
    num_items = num_equal = 0
    for part in _parts(list(waiting), 500):
        with job.store.write() as connection:
            by_model = [(_stored(connection, part, model, job.sampling), share) for model, share in shares.items()]
            new = []
            for key in part:
                answers = [each for found, share in by_model for each in found.get(key, ())[:share]]
                groups = [answers] if NUM_ANSWERS[job.project.kind][1] > 1 else [[each] for each in answers]
                prompt = waiting[key]
                new += [NewItem(prompt.messages, group, prompt.reference, _meta(prompt)) for group in groups]
            added = add_items(connection, job.person, job.project, new)
            num_items, num_equal = num_items + len(added.ids), num_equal + added.num_equal
    return num_items, num_equal
