"""Jobs of a labelling project: sampling answers to judge, and choosing by a model what comes first.

A job is a process of its own; the server may come and go. Models and prompts are named as the form lists them, never by
a path or an address.

Leaves out: choosing by chance, or by features that somebody else computed (`tutelage.api.selection`).
"""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import Connection

from tutelage.api.caller import Record, Reviewer
from tutelage.api.uploads import BODY, Received
from tutelage.api.wire import NamePath
from tutelage.api.wire_runs import Lines, LogTold
from tutelage.api.wire_sampling import (
    AtOnce,
    JobPath,
    JobTold,
    NewChoice,
    NewSampling,
    ReaderTold,
    SamplingForm,
    SourceTold,
    WriterTold,
)
from tutelage.feedback import choosing, projects
from tutelage.feedback.items import NUM_ANSWERS
from tutelage.feedback.projects import Project
from tutelage.feedback.sample import MOST_ANSWERS, USUAL_ANSWERS
from tutelage.runs import asked_models, choices, jobs, prompts, sampling
from tutelage.runs.prompt_lines import keep_file

router = APIRouter(prefix="/api", tags=["sampling"])


@router.get("/projects/{project}/sampling")
def get_sampling_form(project: NamePath, person: Reviewer, store: Record) -> SamplingForm:
    """What there is to sample answers from and with, and what is usual in this project."""
    del person
    with store.read() as connection:
        there = projects.get(connection, project)
        sources = prompts.sources(connection, store.workspace)
        return _form(connection, there, store, sources)


def _form(connection: Connection, project: Project, store: Record, sources: list[prompts.Source]) -> SamplingForm:
    fewest, most = NUM_ANSWERS[project.kind]
    writers = asked_models.writers(store.workspace)
    plain = ("name", "words", "num_parameters", "made_ms", "is_starter")
    return SamplingForm(
        writers=[WriterTold(**{name: getattr(each, name) for name in plain}) for each in writers],
        readers=[ReaderTold(**each._asdict()) for each in asked_models.readers(store.workspace)],
        prompts=[SourceTold(**each._asdict()) for each in sources],
        models=list(project.models), fewest=fewest, most=most if most > 1 else MOST_ANSWERS,
        num_answers=USUAL_ANSWERS[project.kind], temperature=float(project.sampling.get("temperature", 1.0)),
        max_new_tokens=int(project.sampling.get("max_new_tokens", 256)),
        num_free=choosing.num_free(connection, project),
    )  # fmt: skip


@router.post("/prompt-files", status_code=201, openapi_extra=BODY)
def keep_prompt_file(upload: Received, person: Reviewer, store: Record) -> SourceTold:
    """Keep the prompts of the file in the body, under its name or one like it; the same file again is kept once."""
    del person
    return SourceTold(**keep_file(store.workspace, upload.path, upload.name)._asdict())


@router.post("/projects/{project}/samplings", status_code=201)
def start_sampling(project: NamePath, body: NewSampling, person: Reviewer, store: Record) -> JobTold:
    """Sample answers of models and make items of them, as a process of its own; a project has one job at a time."""
    given = body.model_dump() | {"models": tuple(body.models), "typed": tuple(body.typed)}
    return _told(store, project, sampling.start(store, person, project, sampling.Wanted(**given)))


@router.post("/projects/{project}/choices", status_code=201)
def start_choice(project: NamePath, body: NewChoice, person: Reviewer, store: Record) -> JobTold:
    """Choose by a model which items come first, as a process of its own."""
    wanted = choices.Wanted(**body.model_dump())
    return _told(store, project, choices.start(store, person, project, wanted))


@router.get("/projects/{project}/jobs")
def list_jobs(project: NamePath, person: Reviewer, store: Record) -> list[JobTold]:
    """The jobs of a project, the newest first; the newest 50 are kept."""
    del person
    return [JobTold.of(each) for each in jobs.see_all(store.workspace, _project(store, project))]


@router.get("/projects/{project}/jobs/{job}")
def get_job(project: NamePath, job: JobPath, person: Reviewer, store: Record) -> JobTold:
    """How one job stands."""
    del person
    return _told(store, project, job)


@router.get("/projects/{project}/jobs/{job}/log")
def get_job_log(project: NamePath, job: JobPath, person: Reviewer, store: Record, lines: Lines = 200) -> LogTold:
    """The end of what a job's processes said."""
    del person
    return LogTold(lines=jobs.log_tail(store.workspace, _project(store, project), job, lines))


@router.post("/projects/{project}/jobs/{job}/stop")
def stop_job(project: NamePath, job: JobPath, person: Reviewer, store: Record) -> AtOnce:
    """End a job; answers that have ended are kept. Asked again, at once."""
    return AtOnce(at_once=not jobs.stop(store, person, _project(store, project), job))


@router.post("/projects/{project}/jobs/{job}/resume")
def resume_job(project: NamePath, job: JobPath, person: Reviewer, store: Record) -> JobTold:
    """Go on with a job that was stopped or failed; no answer is sampled again."""
    jobs.resume(store, person, _project(store, project), job)
    return _told(store, project, job)


def _project(store: Record, name: str) -> Project:
    with store.read() as connection:
        return projects.get(connection, name)


def _told(store: Record, project: str, job: str) -> JobTold:
    return JobTold.of(jobs.see(store.workspace, _project(store, project), job))
