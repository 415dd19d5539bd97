"""The vocabulary that every room shares: what passes between people, files and models, free of tensors.

Leaves out: token ids and masks (`tutelage.engine.tree`), and the wire formats of files (`tutelage.data`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where a record came from: a file (or dataset name) and the 1-based line or row in it."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns that end with the assistant; every assistant turn is something to learn from."""

    messages: tuple[Message, ...]
    source: Source | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prompt:
    """Turns that end with the user, waiting for an answer; with a reference answer where one is known.

    `checks` are the verifiable instructions of the prompt, e.g. `{"check": "max_words", "value": 20}`.
    """

    messages: tuple[Message, ...]
    id: str = ""
    reference: str | None = None
    checks: tuple[Mapping[str, Any], ...] = ()
    source: Source | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to a prompt. `stopped` is False when the token limit cut it off."""

    prompt: Prompt
    text: str
    num_tokens: int
    stopped: bool
    model: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Answers to one prompt that someone put in order: two for a pair, K for a ranking; equal ranks are a tie.

    A rewrite is a third answer that ranks above both: edited > chosen > rejected.
    """

    messages: tuple[Message, ...]
    """The prompt, shared by all answers: ends with the user."""
    answers: tuple[tuple[Message, ...], ...]
    """Each begins and ends with the assistant; usually one message, more where the comparison was of longer talk."""
    ranks: tuple[int, ...]
    """One for each answer, 0 = best; every rank up to the largest occurs."""
    strength: float | None = None
    """How much better, in the data's own units, larger = clearer; None where nobody said."""
    rater: str = ""
    """Who judged; empty where the data does not say."""
    source: Source | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rating:
    """A verdict on one answer alone: thumbs up or down, or a number."""

    messages: tuple[Message, ...]
    """The prompt: ends with the user."""
    answer: tuple[Message, ...]
    """Begins and ends with the assistant."""
    value: bool | float
    """True = good, False = bad; a number is in the data's own units, larger = better."""
    rater: str = ""
    source: Source | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
