"""The wire models of labelling projects, their items, tasks and verdicts.

Leaves out: what a verdict of each kind is (`tutelage.feedback.verdicts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from tutelage.api.wire import Asked, Frac, Id, Key, Name, Note, Object, Seconds, Short, Text, Turns, clean, clean_json
from tutelage.feedback.queue import Task

KindName = Literal["comparison", "ranking", "thumbs", "rating"]
StateName = Literal["open", "paused", "closed"]
Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Reason = Annotated[str, Field(min_length=1, max_length=60), AfterValidator(clean)]


class Attribute(Asked):
    """What a rating gives a number for."""

    name: Name
    low: Number
    high: Number
    help: Note = ""


class NewProject(Asked):
    """A labelling project to make; its facts are fixed from then on."""

    name: Name
    kind: KindName
    question: Annotated[Note, Field(max_length=2000)] = ""
    attributes: Annotated[list[Attribute], Field(max_length=50)] = Field(default_factory=list)
    reasons: Annotated[list[Reason], Field(max_length=100)] = Field(default_factory=list)
    overlap: Annotated[int, Field(ge=1, le=100)] = 1
    gold_frac: Frac = 0.0
    repeat_frac: Frac = 0.0
    lease_seconds: Annotated[int, Field(ge=10, le=604_800)] = 900
    models: Annotated[list[Short], Field(max_length=50)] = Field(default_factory=list)
    sampling: Object = Field(default_factory=dict)
    guideline: Text = ""


class SetState(Asked):
    """Whether the project hands out tasks."""

    state: StateName


class NewGuideline(Asked):
    """A new version of a project's guidelines, in Markdown."""

    text: Annotated[Text, Field(min_length=1)]
    note: Annotated[Note, Field(max_length=500)] = ""
    """What is new in it."""


class GuidelineVersion(BaseModel):
    """One version of a project's guidelines."""

    version: int
    text: str
    created_ms: int
    note: str
    created_by: str


class Answer(Asked):
    """An answer to judge, and what made it."""

    text: Text
    model: Short = ""
    sampling: Object = Field(default_factory=dict)


class ItemToAdd(Asked):
    """A prompt and the answers to judge, in their canonical order."""

    messages: Turns
    answers: Annotated[list[Answer], Field(min_length=1, max_length=50)]
    reference: Text | None = None
    meta: Object = Field(default_factory=dict)
    priority: Number = 0.0
    gold: Object | None = None
    """The verdict a gold item should get; it counts answers in canonical order."""


class AddItems(Asked):
    """Items for a project; those that it has already are left as they are."""

    items: Annotated[list[ItemToAdd], Field(min_length=1, max_length=500)]


class AddedItems(BaseModel):
    """What became of items that were to be added."""

    ids: list[str]
    num_there: int
    num_equal: int


class MakeGold(Asked):
    """The verdict that an item, which nobody was given yet, should get."""

    value: Object


class Shown(BaseModel):
    """The texts of a task as safe HTML, and what time it is, to tell how long its lease lasts."""

    messages: list[str]
    answers: list[str]
    now_ms: int


class NextTask(BaseModel):
    """A task; null where there is nothing for this person now."""

    task: Task | None
    shown: Shown | None = None
    """Where it was asked for."""


class Verdict(Asked):
    """A verdict, and a name for the request: the same name again gives the label that is there."""

    request_key: Key
    verdict: Object
    reasons: Annotated[list[Reason], Field(max_length=50)] = Field(default_factory=list)
    critique: Annotated[Text, Field(max_length=100_000)] = ""
    rewrite: Annotated[Text, Field(max_length=100_000)] = ""
    seconds: Seconds | None = None


class FreeVerdict(Verdict):
    """A verdict outside the queue; it names answers by their place, counted from 0."""

    kind: KindName
    messages: Turns
    answers: Annotated[list[Answer], Field(min_length=1, max_length=50)]
    source: Note = ""
    meta: Object = Field(default_factory=dict)


class Submitted(BaseModel):
    """The label that a verdict became."""

    label_id: str


class SubmittedNext(BaseModel):
    """The label that a verdict became, and the next task."""

    label_id: str
    task: Task | None
    shown: Shown | None = None
    """Where it was asked for."""


class Skip(Asked):
    """Why a task is given back."""

    reason: Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(clean)]


class Draft(Asked):
    """What was entered so far: any JSON value."""

    draft: Annotated[Any, AfterValidator(clean_json)] = None


class Lease(BaseModel):
    """When the lease on a task ends."""

    expires_ms: int


class Features(Asked):
    """How to choose what is labelled next."""

    rule: Literal["random", "uncertainty", "gap", "d-optimal"] = "random"
    number: Annotated[int, Field(ge=1, le=100_000)]
    random_frac: Frac = 0.25
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    looked_at: Annotated[list[Id], Field(max_length=100_000)] | None = None
    """The items of the look that the features are for; without it all that can be chosen."""
    features: Annotated[dict[str, list[Number]], Field(max_length=20_000)] | None = None
    """Of each answer by its id, all of one length; `random` needs none."""
    num_clusters: Annotated[int, Field(ge=1, le=1000)] = 8


class Chosen(BaseModel):
    """One chosen item."""

    item_id: str
    rule: str
    probability: float


class ChoiceMade(BaseModel):
    """What was chosen, in the order to label in."""

    items: list[Chosen]
    num_open: int
    num_looked_at: int
    num_unreadable: int
    num_verdicts: int
    num_waiting: int


class PromptToRead(BaseModel):
    """A prompt and the answers whose features are needed: their texts by id."""

    messages: list[dict[str, str]]
    texts: Mapping[str, str]


class LookedAt(BaseModel):
    """What has to be known before a choice."""

    items: list[str]
    num_open: int
    prompts: list[PromptToRead]
