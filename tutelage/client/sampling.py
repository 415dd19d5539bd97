"""Sampling answers for a project, and choosing by a model what comes first, over HTTP: jobs of the server.

Leaves out: the rules, which are the server's (`tutelage.runs`), and choosing by chance (`client.projects.choose`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.client.http import Http
from tutelage.errors import StoreError


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it stands; `state` is running, finished, failed or stopped."""

    id: str
    kind: str
    """`sampling` or `choice`."""
    state: str
    stopping: bool
    by: str
    at_ms: int
    asked: Mapping[str, Any]
    done: int
    total: int
    """Answers that its process has to sample; 0 while that is not known."""
    num_items: int
    model: str
    seconds_left: float | None
    said: str
    """Why it failed, or who stopped it."""
    result: Mapping[str, Any]
    can_go_on: bool


@dataclass(frozen=True, slots=True)
class Source:
    """Prompts that may be asked; the number is None where that takes reading a file."""

    name: str
    text: str
    num_prompts: int | None


@dataclass(frozen=True, slots=True)
class Writer:
    """A model that can answer."""

    name: str
    words: str
    num_parameters: int | None
    made_ms: int
    is_starter: bool


@dataclass(frozen=True, slots=True)
class Reader:
    """A model by whose eyes items can be chosen."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class SamplingForm:
    """What there is to sample from and with, and what is usual in a project."""

    writers: tuple[Writer, ...]
    readers: tuple[Reader, ...]
    prompts: tuple[Source, ...]
    models: tuple[str, ...]
    fewest: int
    most: int
    num_answers: int
    temperature: float
    max_new_tokens: int
    num_free: int


class Sampling:
    """`client.sampling`"""

    def __init__(self, http: Http) -> None:
        self._http = http

    def form(self, project: str) -> SamplingForm:
        """What there is to sample from and with."""
        return self._http.get(SamplingForm, f"/api/projects/{project}/sampling")

    def keep_prompts(self, file: Path) -> Source:
        """Send a file of prompts; gives the name by which `start` takes them."""
        return self._http.upload(Source, "/api/prompt-files", file, filename=file.name)

    def start(
        self, project: str, models: Sequence[str], prompts: str = "", *, typed: Sequence[str] = (), **more: Any
    ) -> Job:
        """Sample answers and make items of them. `more`: number, num_answers, temperature, max_new_tokens, seed, again.

        A project has one job at a time, so a request that is sent twice starts one and then raises `ConflictError`.
        """
        body = {"models": list(models), "prompts": prompts, "typed": list(typed), **more}
        return self._http.send("POST", Job, f"/api/projects/{project}/samplings", body, again=False)

    def choose(self, project: str, rule: str, reward: str, number: int, **more: Any) -> Job:
        """Choose by a model which items come first. `more`: random_frac, seed."""
        body = {"rule": rule, "reward": reward, "number": number, **more}
        return self._http.send("POST", Job, f"/api/projects/{project}/choices", body, again=False)

    def jobs(self, project: str) -> tuple[Job, ...]:
        """The jobs of a project, the newest first."""
        return self._http.get(tuple[Job, ...], f"/api/projects/{project}/jobs")

    def job(self, project: str, job_id: str) -> Job:
        """How one job stands."""
        return self._http.get(Job, f"/api/projects/{project}/jobs/{job_id}")

    def log(self, project: str, job_id: str, *, lines: int = 200) -> tuple[str, ...]:
        """The end of what a job's processes said."""
        told = self._http.get(dict[str, Any], f"/api/projects/{project}/jobs/{job_id}/log", lines=lines)
        return tuple(told["lines"])

    def stop(self, project: str, job_id: str) -> bool:
        """End a job, keeping what it has; asked again, at once. Whether it is at once."""
        path = f"/api/projects/{project}/jobs/{job_id}/stop"
        return bool(self._http.send("POST", dict[str, Any], path, again=False)["at_once"])

    def resume(self, project: str, job_id: str) -> Job:
        """Go on with a job that was stopped or failed."""
        return self._http.send("POST", Job, f"/api/projects/{project}/jobs/{job_id}/resume", again=False)

    def wait(self, project: str, job_id: str, *, seconds: float = 3600.0, every_seconds: float = 1.0) -> Job:
        """The job once it has ended, however it did; `StoreError` when it has not after so many seconds."""
        until = time.monotonic() + seconds
        while (found := self.job(project, job_id)).state == "running":
            if time.monotonic() > until:
                raise StoreError(f"job {job_id} is still running after {seconds:g} seconds; wait again, or stop it")
            time.sleep(every_seconds)
        return found
