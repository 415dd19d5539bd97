"""The wire models of the OpenAI-compatible endpoints: what clients of that API send, as far as it can be done here.

Leaves out: what is answered (`tutelage.api.openai`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from tutelage.api.wire import Text, clean
from tutelage.api.wire_projects import Reason
from tutelage.types import Message, Role

MOST_ANSWERS = 4
MOST_TOKENS = 8192
DEFAULT_TOKENS = 1024
NEUTRAL: tuple[Any, ...] = (None, False, 0, "", [], {})
"""A field that is not known may be sent with one of these: it asks for nothing."""
ASKS_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "response_format": ({"type": "text"},), "modalities": (["text"],), "tool_choice": ("none", "auto"),
    "service_tier": ("auto", "default"), "parallel_tool_calls": (True,), "logit_bias": ({},),
}  # fmt: skip
FOR_THE_ASKER = ("user", "metadata", "store", "safety_identifier", "prompt_cache_key")
"""Fields that change nothing about an answer."""
_ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


class Lenient(BaseModel):
    """A body of which unknown fields are looked at afterwards."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Part(Lenient):
    """A part of a message; only text can be read."""

    type: Literal["text"]
    text: Text


class ChatMessage(Lenient):
    """One turn, as that API spells it."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[Part], Field(max_length=1000)]

    def turn(self) -> Message:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message(_ROLES[self.role], text)


class StreamOptions(Lenient):
    """What a stream tells besides."""

    include_usage: bool = False


class ChatRequest(Lenient):
    """`POST /v1/chat/completions`."""

    model: Annotated[str, Field(max_length=300), AfterValidator(clean)]
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=500)]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None
    stop: list[str] = Field(default_factory=list, max_length=4)
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_ANSWERS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [] if value is None else [value] if isinstance(value, str) else value

    @field_validator("stop")
    @classmethod
    def _no_empty_stop(cls, value: list[str]) -> list[str]:
        if any(not each or len(each) > 200 for each in value):
            raise ValueError("a stop text has 1 to 200 characters")
        return value

    @model_validator(mode="after")
    def _nothing_that_cannot_be_done(self) -> ChatRequest:
        for name, value in (self.model_extra or {}).items():
            if value not in NEUTRAL and name not in FOR_THE_ASKER and value not in ASKS_NOTHING.get(name, ()):
                raise UnsupportedError(name)
        return self


class UnsupportedError(Exception):
    """A field that asks for what cannot be done here."""

    def __init__(self, field: str) -> None:
        super().__init__(f"'{field[:100]}' cannot be done here; leave it out")
        self.field = field[:100]


class FeedbackRequest(BaseModel):
    """`POST /v1/feedback`: what a person says about an answer that this server gave."""

    model_config = ConfigDict(extra="forbid")

    response_id: Annotated[str, Field(max_length=100)]
    good: bool
    index: Annotated[int, Field(ge=0, lt=MOST_ANSWERS)] = 0
    """Which of the answers, where `n` asked for several."""
    tags: Annotated[list[Reason], Field(max_length=50)] = Field(default_factory=list)
    comment: Annotated[Text, Field(max_length=100_000)] = ""
    correction: Annotated[Text, Field(max_length=100_000)] = ""
    """What should have been said; it becomes a draft pair."""
