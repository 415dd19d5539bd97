"""Prompts and answers as rows, and the hash by which equal texts are known again.

Leaves out: pairs, which people write and review (`tutelage.store.pairs`), and what is judged about answers
(`tutelage.store.labels`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from tutelage.store import schema
from tutelage.store.ids import new_id, now_ms
from tutelage.types import Message


def as_json(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Turns as they are stored."""
    return [{"role": turn.role, "content": turn.content} for turn in messages]


def as_messages(stored: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    """Turns as everything else uses them."""
    return tuple(Message(turn["role"], turn["content"]) for turn in stored)


def content_hash(value: Any) -> str:
    """SHA-256 of a JSON value, the same whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def add_prompt(
    connection: Connection,
    messages: Sequence[Message],
    *,
    reference: str | None = None,
    meta: Mapping[str, Any] | None = None,
    author_id: str | None = None,
) -> str:
    """The id of the prompt with these turns: the one there is, or a new one."""
    stored = as_json(messages)
    key = content_hash(stored)
    query = select(schema.prompts.c.id).where(schema.prompts.c.content_hash == key)
    found = connection.execute(query).scalar()
    if found is not None:
        return str(found)
    row = {
        "id": new_id(), "messages": stored, "content_hash": key, "reference": reference, "meta": dict(meta or {}),
        "author_id": author_id, "created_ms": now_ms(),
    }  # fmt: skip
    insert_missing(connection, schema.prompts, [row])
    return str(connection.execute(query).scalar_one())


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose unique keys are not there yet, those that another transaction is just adding included.

    Where many may be new in two transactions at once, give them sorted by their key: each waits for the other's.
    """
    new = sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
    connection.execute(new.on_conflict_do_nothing(), list(rows))


def add_answer(
    connection: Connection,
    prompt_id: str,
    text: str,
    *,
    model: str = "",
    sampling: Mapping[str, Any] | None = None,
    author_id: str | None = None,
) -> str:
    """A new answer to a prompt, by a model with its sampling settings or by a person; gives its id."""
    row = {
        "id": new_id(), "prompt_id": prompt_id, "text": text, "model": model, "sampling": dict(sampling or {}),
        "author_id": author_id, "created_ms": now_ms(),
    }  # fmt: skip
    connection.execute(insert(schema.answers).values(**row))
    return str(row["id"])
