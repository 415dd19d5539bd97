"""Prompts of an import, and the prompts that an import's labels are about.

Leaves out: pairs, whose questions are not prompts to sample answers to until somebody makes them so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from tutelage.data.foreign import IncomingPrompt
from tutelage.errors import DataError
from tutelage.store import schema
from tutelage.store.contents import as_json, content_hash, insert_missing
from tutelage.store.ids import now_ms
from tutelage.store.import_rows import Outcome, Run, check_storable, in_parts, ordered_ids, refused
from tutelage.types import Message


@dataclass(frozen=True, slots=True)
class NewPrompt:
    """What was asked."""

    messages: Sequence[Message]
    reference: str | None
    meta: Mapping[str, Any]


def prompts_there(connection: Connection, hashes: Sequence[str]) -> dict[str, str]:
    """The ids of the prompts that are there, by content hash."""
    table, found = schema.prompts, dict[str, str]()
    for part in in_parts(sorted(set(hashes))):
        query = select(table.c.content_hash, table.c.id).where(table.c.content_hash.in_(part))
        found |= {row.content_hash: row.id for row in connection.execute(query)}
    return found


def prompt_ids(connection: Connection, prompts: Mapping[str, NewPrompt]) -> dict[str, str]:
    """The id of each prompt by its content hash; those that are not there are added."""
    found = prompts_there(connection, list(prompts))
    missing = {key: prompt for key, prompt in prompts.items() if key not in found}
    if not missing:
        return found
    ids = dict(zip(missing, ordered_ids(len(missing)), strict=True))
    rows = [
        {
            "id": ids[key], "messages": as_json(prompt.messages), "content_hash": key, "reference": prompt.reference,
            "meta": dict(prompt.meta), "author_id": None, "created_ms": now_ms(),
        }
        for key, prompt in sorted(missing.items())
    ]  # fmt: skip
    insert_missing(connection, schema.prompts, rows)
    return found | prompts_there(connection, list(missing))


def add_prompts(connection: Connection, run: Run, incoming: Sequence[IncomingPrompt]) -> Outcome:
    """Add the prompts that are not there yet; the outcome counts every one of them."""
    outcome, wanted, num_good = Outcome(), dict[str, NewPrompt](), 0
    for each in incoming:
        try:
            check_storable([as_json(each.messages), each.reference], "messages")
            check_storable(dict(each.meta), "meta")
        except DataError as error:
            outcome.left_out.append(refused(each, error))
            continue
        num_good += 1
        meta = {**each.meta, "source": run.source_of(each, str(each.meta.get("source") or ""))}
        if run.options.licence:
            meta["licence"] = run.options.licence
        if run.options.tags:
            meta["tags"] = list(run.options.tags)
        wanted.setdefault(content_hash(as_json(each.messages)), NewPrompt(each.messages, each.reference, meta))
    there = prompts_there(connection, list(wanted)).keys() | run.seen
    new = {key: prompt for key, prompt in wanted.items() if key not in there}
    outcome.added, outcome.already = len(new), num_good - len(new)
    if run.options.dry_run:
        run.seen |= new.keys()
    elif new:
        prompt_ids(connection, new)
    return outcome
