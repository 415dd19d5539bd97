"""What came, went and changed from one snapshot of a dataset to another.

A pair has changed when it is there with another revision, or with other tags, source, licence or author; a label when a
correction took its place. Leaves out: showing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from tutelage.errors import ConfigError
from tutelage.store import schema
from tutelage.store.contents import as_messages
from tutelage.store.dataset_rows import frozen_labels, frozen_pairs
from tutelage.store.datasets import Snapshot, snapshot_of
from tutelage.store.training_lines import Line
from tutelage.store.word_diff import Change, conversation_diff

PAGE = 500
Rows = dict[str, Row[*tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Changed:
    """A record that is in both snapshots, and not the same."""

    old: Line
    new: Line
    changes: tuple[Change, ...]
    """Of a pair's words; of a label none."""


@dataclass(frozen=True, slots=True)
class DatasetDiff:
    """How `new` differs from `old`: how many records, and the first of them as they are trained on."""

    old: Snapshot
    new: Snapshot
    num_added: int
    num_removed: int
    num_changed: int
    num_same: int
    added: tuple[Line, ...]
    removed: tuple[Line, ...]
    changed: tuple[Changed, ...]


def diff(connection: Connection, old: str, new: str, *, limit: int = 100) -> DatasetDiff:
    """What differs between two snapshots of one kind, e.g. `curated@2` and `curated@3`.

    At most `limit` records of each sort are given; the counts are of all. Raises `NotFoundError` for a snapshot that is
    not there, `ConfigError` for one of pairs and one of labels.
    """
    before, after = snapshot_of(connection, old), snapshot_of(connection, new)
    if before.kind != after.kind:
        raise ConfigError(f"{before.label} holds {before.kind} and {after.label} {after.kind}; compare like with like")
    is_pairs = before.kind == "pairs"
    was, now = (_members(connection, each, is_pairs) for each in (before, after))
    heirs = {} if is_pairs else _corrected(connection, was.keys() - now.keys(), now.keys() - was.keys())
    partners = {key: key for key in was if key in now} | heirs
    changed = [(key, other) for key, other in partners.items() if not _same(was[key], now[other])]
    gone = [key for key in was if key not in partners]
    kept = set(partners.values())
    came = [key for key in now if key not in kept]
    read = frozen_pairs if is_pairs else frozen_labels

    def lines(rows: Rows, keys: Sequence[str]) -> list[Line]:
        wanted = [rows[key] for key in keys[:limit]]
        found: dict[str, Line] = {}
        for start in range(0, len(wanted), PAGE):
            for line in read(connection, wanted[start : start + PAGE]):
                found.setdefault(line["id"], line)
        return list(found.values())

    pairs_of_lines = zip(
        lines(was, [key for key, _ in changed]), lines(now, [other for _, other in changed]), strict=True
    )
    return DatasetDiff(
        before, after, len(came), len(gone), len(changed), len(partners) - len(changed), tuple(lines(now, came)),
        tuple(lines(was, gone)), tuple(_changed(one, other) for one, other in pairs_of_lines),
    )  # fmt: skip


def _members(connection: Connection, snapshot: Snapshot, is_pairs: bool) -> Rows:
    """The snapshot's rows by pair or label, in order."""
    records, revisions = schema.snapshot_records, schema.pair_revisions
    columns = (records.c.pair_revision_id, records.c.label_id, records.c.facts)
    if is_pairs:
        query = select(revisions.c.pair_id.label("key"), *columns)
        query = query.join_from(records, revisions, revisions.c.id == records.c.pair_revision_id)
    else:
        query = select(records.c.label_id.label("key"), *columns)
    query = query.where(records.c.snapshot_id == snapshot.id).order_by(records.c.position)
    return {row.key: row for row in connection.execute(query)}


def _same(one: Row[Any], other: Row[Any]) -> bool:
    return bool(
        (one.pair_revision_id, one.label_id, one.facts) == (other.pair_revision_id, other.label_id, other.facts)
    )


def _corrected(connection: Connection, gone: set[str], came: set[str]) -> dict[str, str]:
    """Label that went → label that came in its place, over any number of corrections."""
    table, heirs = schema.labels, dict[str, str]()
    waiting = {label_id: label_id for label_id in came}
    while waiting:
        earlier = dict[str, str]()
        ids = sorted(waiting)
        for start in range(0, len(ids), PAGE):
            part = ids[start : start + PAGE]
            query = select(table.c.id, table.c.supersedes).where(table.c.id.in_(part), table.c.supersedes.is_not(None))
            earlier |= {row.supersedes: waiting[row.id] for row in connection.execute(query)}
        heirs |= {label_id: heir for label_id, heir in earlier.items() if label_id in gone}
        waiting = {label_id: heir for label_id, heir in earlier.items() if label_id not in gone}
    return heirs


def _changed(old: Line, new: Line) -> Changed:
    if "messages" not in old:
        return Changed(old, new, ())
    changes = conversation_diff(as_messages(old["messages"]), as_messages(new["messages"]))
    return Changed(old, new, tuple(changes))
