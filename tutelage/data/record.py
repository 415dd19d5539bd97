"""One raw record, read field by field, with every problem of it noted on the way.

Leaves out: files of records (`tutelage.data.formats`).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tutelage.data.raw import Problem, RawRecord, type_name
from tutelage.data.shapes import Shape, listed
from tutelage.types import ROLES, Message, Role

ROLE_ALIASES: Mapping[str, Role] = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
ALLOWED_ROLES = f"{', '.join(ROLES)} (also {', '.join(ROLE_ALIASES)})"

Turn = tuple[str, Message]  # the field that holds the text, as the file names it, and the message


class Record:
    """Reads one raw record field by field, and notes every problem on the way."""

    def __init__(self, raw: RawRecord, shape: Shape) -> None:
        self.line, self.shape = raw.line, shape
        self.values: dict[str, Any] = {str(key): value for key, value in raw.value.items()}
        # A field without a value counts as absent: Parquet and CSV have a cell for every column.
        self.names = {key.strip().lower(): key for key, value in self.values.items() if value is not None}
        self.used: set[str] = set()
        self.problems: list[Problem] = []

    def note(self, code: str, message: str, field: str | None) -> None:
        self.problems.append(Problem(code, message, self.line, field))

    def find(self, *names: str) -> str | None:
        """The record's own spelling of the first of `names` that it has; it then no longer counts as meta."""
        key = next((self.names[name] for name in names if name in self.names), None)
        if key is not None:
            self.used.add(key)
        return key

    def get(self, name: str) -> Any:
        """The value of a field, or None; it still counts as meta."""
        return self.values[self.names[name]] if name in self.names else None

    def text(self, *names: str) -> str:
        """The text of an optional field, empty when there is none."""
        key = self.find(*names)
        return self.checked_text(self.values[key], key) if key else ""

    def checked_text(self, value: Any, field: str) -> str:
        if not isinstance(value, str):
            self.note("wrong-type", f"expected text, found {type_name(value)}", field)
            return ""
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            self.note("broken-character", "holds half a character (a lone surrogate); write the text again", field)
        return value

    def turns(self, *, needs_answer: bool) -> list[Turn]:
        """(field, message) of every turn; for a prompt the answer may be missing or empty."""
        return self.question_turns() + self.answer_turns(needs_answer)

    def question_turns(self) -> list[Turn]:
        """The system message and what was asked; of a shape without answer keys, all turns."""
        turns = self.system_turns()
        self.refuse_history()
        question = self.find(*self.shape.question)
        if question is None:
            self.missing(self.shape.question[0], self.names.values())
        elif not self.shape.answer or isinstance(self.values[question], list):
            turns += self.turn_list(question)
        else:
            turns.append((question, Message("user", self.asked(question))))
        return turns

    def system_turns(self) -> list[Turn]:
        system = self.text("system")
        return [(self.names["system"], Message("system", system))] if system else []

    def refuse_history(self) -> None:
        """Some Alpaca files keep earlier turns aside; dropping them would teach answers out of context."""
        key = self.names.get("history", "")
        turns = self.values[key] if key else []
        if turns and isinstance(turns, list) and self.shape.answer:
            self.note("unread-turns", "earlier turns are not read from this field; write the record as messages", key)

    def asked(self, question: str) -> str:
        """The question with its context (Alpaca's `input`) below it."""
        text = self.checked_text(self.values[question], question)
        context = self.text(*self.shape.context)
        return f"{text}\n\n{context}" if context.strip() else text

    def answer_turns(self, needs_answer: bool) -> list[Turn]:
        if not self.shape.answer:
            return []
        key = self.find(*self.shape.answer)
        if key is None:
            if needs_answer:
                self.missing(self.shape.answer[0], self.names.values())
            return []
        if isinstance(self.values[key], list):
            return self.turn_list(key)
        text = self.checked_text(self.values[key], key)
        return [(key, Message("assistant", text))] if text or needs_answer else []

    def turn_list(self, key: str) -> list[Turn]:
        value = self.values[key]
        if isinstance(value, str):  # a cell of a CSV file holds the list as JSON
            value = from_json(value)
        if not isinstance(value, (list, tuple)):
            self.note("wrong-type", f"expected a list of messages, found {type_name(value)}", key)
            return []
        return self.turns_of(value, key)

    def turns_of(self, value: Sequence[Any], key: str) -> list[Turn]:
        if not value:
            self.note("empty-messages", "the list of messages is empty; a conversation has at least two turns", key)
        turns = [self.turn(item, f"{key}[{index}]") for index, item in enumerate(value)]
        return [turn for turn in turns if turn]

    def turn(self, item: Any, place: str) -> Turn | None:
        if not isinstance(item, Mapping):
            self.note("wrong-type", f"expected an object with 'role' and 'content', found {type_name(item)}", place)
            return None
        is_sharegpt = "from" in item and "role" not in item
        role_key, text_key = ("from", "value") if is_sharegpt else ("role", "content")
        absent = [key for key in (role_key, text_key) if key not in item]
        for key in absent:
            self.missing(key, (str(name) for name in item), f"{place}.{key}")
        if absent:
            return None
        role = self.role(item[role_key], f"{place}.{role_key}")
        text = self.checked_text(item[text_key], f"{place}.{text_key}")
        return (f"{place}.{text_key}", Message(role, text)) if role else None

    def role(self, value: Any, field: str) -> Role | None:
        name = self.checked_text(value, field).strip().lower()
        if name in ROLES:
            return name
        if name in ROLE_ALIASES:
            return ROLE_ALIASES[name]
        if not self.about(field):
            self.note("unknown-role", f"unknown role '{value}'; allowed: {ALLOWED_ROLES}", field)
        return None

    def missing(self, name: str, present: Iterable[str], field: str | None = None) -> None:
        keys = list(present)
        nearest = difflib.get_close_matches(name, keys, n=1, cutoff=0.6)
        found = f"the nearest field here is '{nearest[0]}'" if nearest else f"this record has {listed(keys)}"
        self.note("missing-field", f"missing; {found}", field or name)

    def check_order(self, turns: list[Turn]) -> None:
        """System first and only there, then user and assistant in turn, beginning with the user."""
        if self.problems:
            return  # the turns that could not be read would look like gaps
        roles = [message.role for _, message in turns]
        spoken = roles[1:] if roles[:1] == ["system"] else roles
        skipped = len(roles) - len(spoken)
        if not spoken:
            self.note("bad-order", "no user turn; a conversation starts with the user", self.turn_field(turns))
        for index, role in enumerate(spoken):
            expected = "user" if index % 2 == 0 else "assistant"
            if role != expected:
                self.note("bad-order", _order_message(role, index, skipped), turns[index + skipped][0])
                return

    def turn_field(self, turns: list[Turn]) -> str:
        if turns:
            return turns[0][0]
        name = (self.shape.question or self.shape.answer)[0]
        return self.names.get(name, name)

    def check_end(self, turns: list[Turn]) -> None:
        """A conversation to learn from ends with an answer, and no answer is empty."""
        for field, message in turns:
            if message.role == "assistant" and not message.content.strip() and not self.about(field):
                self.note("empty-answer", "the assistant's answer is empty, so there is nothing to learn from", field)
        if not self.problems and turns[-1][1].role == "user":
            remedy = "add the assistant's answer or remove this turn"
            self.note("ends-with-user", f"the conversation ends with the user; {remedy}", turns[-1][0])

    def about(self, field: str) -> bool:
        return any(problem.field == field for problem in self.problems)

    def checks(self) -> tuple[Mapping[str, Any], ...]:
        """The verifiable instructions of a prompt; a cell of a CSV file holds them as JSON."""
        key = self.find("checks")
        value = self.values[key] if key else ""
        if key is None or value == "":
            return ()
        value = from_json(value) if isinstance(value, str) else value
        is_list = isinstance(value, (list, tuple))
        if is_list and all(isinstance(check, Mapping) and isinstance(check.get("check"), str) for check in value):
            return tuple(value)
        expected = 'a list such as [{"check": "max_words", "value": 20}]'
        self.note("wrong-type", f"expected {expected}", key)
        return ()

    def identifier(self) -> str:
        key = self.find("id")
        return str(self.values[key]) if key else ""

    def rest(self) -> dict[str, Any]:
        """Everything in the record that has no place of its own."""
        return {key: value for key, value in self.values.items() if key not in self.used}


def _order_message(role: Role, index: int, skipped: int) -> str:
    place = index + skipped
    if role == "system":
        return f"message {place} is a system message; a system message stands only at the start"
    if index == 0:
        return f"message {place} is the assistant's; a conversation starts with the user"
    return f"messages {place - 1} and {place} are both the {role}'s; user and assistant take turns"


def from_json(text: str) -> Any:
    """The value that a text holds as JSON, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
