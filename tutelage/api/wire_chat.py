"""The wire models of the chat: what is asked of models, what they tell, and what people say about their answers.

Leaves out: the events of the stream, which are told in `tutelage.api.chat`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field

from tutelage.api.wire import Asked, Key, Name, Object, Text, Turns
from tutelage.api.wire_projects import Answer, Reason
from tutelage.models.talkers import Known, Talker

MOST_TOKENS = 2048
"""Of one answer."""


class ChatSampling(Asked):
    """How an answer is drawn."""

    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 0.7
    """0 takes the most probable word piece each time."""
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0
    max_new_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] = 512
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """Without it one is drawn, and told at the end."""


class ToAnswer(Asked):
    """A conversation that ends with the user, and who is to answer it: one model, or two side by side."""

    models: Annotated[list[Name], Field(min_length=1, max_length=2)]
    messages: Annotated[Turns, Field(min_length=1)]
    sampling: ChatSampling = Field(default_factory=ChatSampling)


class SaidInChat(Asked):
    """What every verdict in a chat holds. The same `request_key` again changes nothing."""

    request_key: Key
    messages: Annotated[Turns, Field(min_length=1)]
    """The conversation before the answer."""
    reasons: Annotated[list[Reason], Field(max_length=50)] = Field(default_factory=list)
    critique: Annotated[Text, Field(max_length=100_000)] = ""
    rewrite: Annotated[Text, Field(max_length=100_000)] = ""
    """What should have been said; it becomes a draft pair of the person's."""
    corrects: Key | None = None
    """The `request_key` of the verdict whose place this one takes."""


class Feedback(SaidInChat):
    """Thumbs up or down for one answer."""

    answer: Answer
    good: bool


class Vote(SaidInChat):
    """Which of two answers is better, in the order they were shown: `{"winner": 0, "strength": 3}`, or an outcome."""

    answers: Annotated[list[Answer], Field(min_length=2, max_length=2)]
    verdict: Object
    blind: bool = False
    """Whether the models' names were hidden."""
    after_reveal: bool = False
    """Whether the vote was changed once the names were known."""


class WrittenDown(BaseModel):
    """The label that a verdict became, and the draft pair that its rewrite became."""

    label_id: str
    pair_id: str | None


class TalkerTold(BaseModel):
    """A model to talk to."""

    name: str
    words: str
    num_parameters: int | None
    made_ms: int
    is_starter: bool
    is_loaded: bool
    """Whether it would answer without being loaded first."""

    @classmethod
    def of(cls, one: Talker, loaded: Sequence[str]) -> TalkerTold:
        return cls(
            name=one.name, words=one.words, num_parameters=one.num_parameters, made_ms=one.made_ms,
            is_starter=one.is_starter, is_loaded=one.name in loaded,
        )  # fmt: skip


class TalkersTold(BaseModel):
    """The models there are to talk to, the newest first, and the two that show best what training did."""

    models: list[TalkerTold]
    before: str
    after: str
    missing: list[str]
    """Starter models that are not on this machine yet."""
    most_tokens: int

    @classmethod
    def of(cls, known: Known, loaded: Sequence[str]) -> TalkersTold:
        return cls(
            models=[TalkerTold.of(each, loaded) for each in known.talkers], before=known.before, after=known.after,
            missing=list(known.missing), most_tokens=MOST_TOKENS,
        )  # fmt: skip
