"""Jobs of a labelling project on the wire: sampling answers, choosing by a model, and how they stand.

Leaves out: what may be asked for (`tutelage.runs.sampling`, `tutelage.runs.choices`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import AfterValidator, BaseModel, Field

from tutelage.api.wire import Asked, Frac, Text, clean
from tutelage.runs.choices import MOST_ITEMS
from tutelage.runs.jobs import Job, Kind, State
from tutelage.runs.prompts import MOST_PROMPTS
from tutelage.runs.sampling import HOTTEST, MOST_TOKENS

JobPath = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Named = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(clean)]
SourceName = Annotated[str, Field(max_length=200), AfterValidator(clean)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class NewSampling(Asked):
    """Whose answers to which prompts are to become items."""

    models: Annotated[list[Named], Field(max_length=50)] = Field(default_factory=list)
    """Models of the workspace, or starter models."""
    prompts: SourceName = ""
    """What the form names: `compare`, `record`, `pairs`, `project:NAME`, or a file in the folder `prompts/`."""
    typed: Annotated[list[Text], Field(max_length=MOST_PROMPTS)] = Field(default_factory=list)
    """Or the prompts themselves."""
    number: Annotated[int, Field(ge=1, le=MOST_PROMPTS)] | None = None
    """At most so many of them, drawn at random by the seed."""
    num_answers: Annotated[int, Field(ge=1, le=64)] | None = None
    """To each prompt, the models taking turns; the usual number of the project's kind without it."""
    temperature: Annotated[float, Field(ge=0, le=HOTTEST, allow_inf_nan=False)] = 1.0
    max_new_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] = 256
    seed: Seed = 0
    again: bool = False
    """A new round: also on prompts that the project has items of."""


class NewChoice(Asked):
    """By which rule and whose eyes items are to be chosen; chance alone is `POST …/choose`."""

    rule: Literal["uncertainty", "gap", "d-optimal"]
    reward: Named
    """A reward model, or while there is none a language model."""
    number: Annotated[int, Field(ge=1, le=MOST_ITEMS)]
    random_frac: Frac = 0.25
    seed: Seed = 0


class JobTold(BaseModel):
    """How a job stands."""

    id: str
    kind: Kind
    state: State
    stopping: bool
    by: str
    at_ms: int
    asked: dict[str, Any]
    done: int
    total: int
    num_items: int
    model: str
    seconds_left: float | None
    said: str
    result: dict[str, Any]
    can_go_on: bool

    @classmethod
    def of(cls, job: Job) -> JobTold:
        """What was seen of a job."""
        return cls(**{name: getattr(job, name) for name in cls.model_fields})


class WriterTold(BaseModel):
    """A model that can answer."""

    name: str
    words: str
    num_parameters: int | None
    made_ms: int
    is_starter: bool


class ReaderTold(BaseModel):
    """A model by whose eyes items can be chosen."""

    name: str
    kind: str


class SourceTold(BaseModel):
    """Prompts that may be asked; the number is null where that takes reading a file."""

    name: str
    text: str
    num_prompts: int | None


class SamplingForm(BaseModel):
    """What there is to sample from and with, and what is usual in this project."""

    writers: list[WriterTold]
    readers: list[ReaderTold]
    prompts: list[SourceTold]
    models: list[str]
    """Those that the project was made for."""
    fewest: int
    most: int
    num_answers: int
    temperature: float
    max_new_tokens: int
    num_free: int
    """Items that can be chosen: open, and nobody has judged or holds them."""


class AtOnce(BaseModel):
    """It was asked to stop: politely, or at once when it had been asked before."""

    at_once: bool
