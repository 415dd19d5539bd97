"""What is asked of a model's process, and what it tells: one JSON object a line, both ways.

To it:    {"do": "answer", "id", "messages", "sampling", "num"}   {"do": "stop", "id"}   {"do": "threads", "num"}
From it:  {"event": "loading", "text"}   {"event": "ready"}   {"event": "failed", "error"}
          {"event": "begun", "id"}   {"event": "text", "id", "index", "text"}
          {"event": "done", "id", "num_prompt_tokens", "seconds", "answers": [{"text", "num_tokens", "stopped"}]}
          {"event": "error", "id", "error", "field", "theirs"}

Leaves out: both ends (`tutelage.serve.worker`, `tutelage.serve.process`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from tutelage.engine.generate import Sampling
from tutelage.types import Message

MOST_PROMPT_TOKENS = 8192
"""A longer conversation would keep everybody else waiting."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A conversation to answer, `num` times at once."""

    messages: tuple[Message, ...]
    sampling: Sampling
    num: int = 1


class Told(NamedTuple):
    """Something that happened to an ask: `kind` is an event's name, or `waiting`."""

    kind: str
    data: Mapping[str, Any]

    @property
    def is_last(self) -> bool:
        return self.kind in ("done", "error")


def line(record: Mapping[str, Any]) -> bytes:
    """A record as it travels; JSON has no bare line break."""
    return json.dumps(record).encode() + b"\n"


def ask_line(id: int, ask: Ask) -> bytes:
    """An ask as it travels."""
    messages = [{"role": each.role, "content": each.content} for each in ask.messages]
    return line({"do": "answer", "id": id, "messages": messages, "sampling": asdict(ask.sampling), "num": ask.num})


def read_ask(record: Mapping[str, Any]) -> Ask:
    """The other way round."""
    sampling = dict(record["sampling"])
    sampling["stop"] = tuple(sampling["stop"])
    messages = tuple(Message(each["role"], each["content"]) for each in record["messages"])
    return Ask(messages, Sampling(**sampling), record["num"])
