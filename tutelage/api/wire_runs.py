"""Training runs and the methods' forms on the wire.

Leaves out: what may be asked for (`tutelage.runs.rules`).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, Field

from tutelage.api.wire import Asked, Short, clean
from tutelage.runs.look import Sight, State

RunName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
AfterRun = Annotated[str, Query(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$", description="Only runs after it.")]
MethodName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9+_-]{0,59}$")]
AfterStep = Annotated[int, Query(ge=0, le=2**31 - 1, description="Only later steps.")]
Lines = Annotated[int, Query(ge=1, le=1000, description="At most so many of the last lines.")]
Value = Annotated[str, Field(max_length=500), AfterValidator(clean)]
Given = bool | Annotated[int, Field(ge=-(2**53), le=2**53)] | Annotated[float, Field(allow_inf_nan=False)] | Value
OptionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]{0,59}$")]


class NewRun(Asked):
    """A run to start: a method, and its options by name; what is left out or empty has its default."""

    method: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+_-]{0,59}$")]
    options: Annotated[
        dict[OptionName, Given | Annotated[list[Value], Field(max_length=20)] | None], Field(max_length=100)
    ]  # fmt: skip


class Command(BaseModel):
    """The same run as a line for the terminal."""

    command: str


class Stopped(BaseModel):
    """It was asked to stop: after its step, or at once when it had been asked before."""

    at_once: bool


class RunTold(BaseModel):
    """How a run stands."""

    name: str
    state: State
    stopping: bool
    method: str
    model: str
    data: str
    step: int
    num_steps: int | None
    seconds: float
    seconds_left: float | None
    started_ms: int
    by: str
    error: str
    made: bool
    metrics: dict[str, float | None]

    @classmethod
    def of(cls, sight: Sight) -> RunTold:
        """What was seen of a run."""
        return cls(**{name: getattr(sight, name) for name in cls.model_fields})


class Spark(BaseModel):
    """The course of one metric in a few points."""

    metric: str
    values: list[float]


class RunListed(BaseModel):
    """A run in the list, with its course in small."""

    run: RunTold
    spark: Spark


class RunWhole(BaseModel):
    """One run with its options, and what would go on with it."""

    run: RunTold
    config: dict[str, Any]
    resume_command: str


class SeriesTold(BaseModel):
    """One metric over the steps that have it; null where it was no number."""

    steps: list[int]
    values: list[float | None]


class CurvesTold(BaseModel):
    """The curves after some step, thinned where they have very many points."""

    series: dict[str, SeriesTold]
    last_step: int


class AnswerTold(BaseModel):
    """What the model answered after a step."""

    step: int
    answer: str
    stopped: bool


class PromptTold(BaseModel):
    """A prompt and the answers to it, by step."""

    prompt: str
    answers: list[AnswerTold]


class WarningTold(BaseModel):
    """Something that looked wrong."""

    step: int
    name: str
    message: str


class SamplesTold(BaseModel):
    """Answers by prompt, and warnings."""

    prompts: list[PromptTold]
    warnings: list[WarningTold]


class LogTold(BaseModel):
    """The last lines of what a run said."""

    lines: list[str]


class GroupTold(BaseModel):
    """Methods that learn from the same kind of thing."""

    name: str
    title: str
    text: str


class MethodTold(BaseModel):
    """A method in one line."""

    name: str
    group: str
    plain: str
    summary: str
    paper: str


class MethodsTold(BaseModel):
    """All methods, the usual ones first in each group."""

    groups: list[GroupTold]
    methods: list[MethodTold]


class FieldTold(BaseModel):
    """One option of a method."""

    name: str
    label: str
    term: str
    help: str
    kind: str
    default: Any
    choices: list[str]
    unit: str
    basic: bool
    required: bool
    own: bool


class ChoiceTold(BaseModel):
    """Something that may be chosen, and what it is."""

    value: Short
    text: str
    argument: str = ""
    """Of a check: what it may be given, in plain words."""


class FormTold(BaseModel):
    """A method's form: its options, and what there is to choose from."""

    name: str
    group: str
    plain: str
    summary: str
    formula: str
    paper: str
    learns_from: str
    online: bool
    fields: list[FieldTold]
    models: list[ChoiceTold]
    data: list[ChoiceTold]
    prompts: list[ChoiceTold]
    rewards: list[ChoiceTold]
    checks: list[ChoiceTold]
    stop_on: list[str]
