"""Datasets and their immutable snapshots: listed, taken, downloaded.

Names may hold a colon and a slash (`labels:helpful/correct`), so they stand in the query, not in the path.

Leaves out: which records a dataset takes (`tutelage.store.datasets`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import FileResponse

from tutelage.api.caller import Record, Reviewer
from tutelage.api.downloads import sent, written
from tutelage.api.paging import page_of
from tutelage.api.wire import Asked, Limit, Note, Page, Short
from tutelage.api.wire_pairs import Tags, TextChange
from tutelage.store import datasets
from tutelage.store.database import Store
from tutelage.store.dataset_diff import diff
from tutelage.store.datasets import Dataset, Snapshot
from tutelage.store.pair_views import State

router = APIRouter(prefix="/api", tags=["datasets"])
_NAME = r"(?:labels:)?[A-Za-z0-9][A-Za-z0-9._/-]{0,200}"
Plain = Annotated[str, Query(pattern=f"^{_NAME}$", description="A dataset: `curated`, or `labels:PROJECT`.")]
Numbered = Annotated[str, Query(pattern=f"^{_NAME}(?:@[0-9]{{1,9}})?$", description="A snapshot: `curated@3`.")]
AfterDataset = Annotated[str | None, Query(pattern=f"^{_NAME}$", description="Only names after it.")]
Before = Annotated[int | None, Query(ge=1, le=10**9, description="Only snapshots with smaller numbers.")]


class NewSnapshot(Asked):
    """A snapshot to take: of pairs, or with a name `labels:PROJECT` of its labels."""

    name: Annotated[str, Field(pattern=f"^{_NAME}$")]
    states: Annotated[tuple[State, ...], Field(min_length=1, max_length=5)] = ("accepted",)
    tags: Tags = Field(default_factory=list)
    sources: Annotated[list[Short], Field(max_length=50)] = Field(default_factory=list)
    gold: bool = False
    repeats: bool = False
    why: Note = ""


class ChangedRecord(BaseModel):
    """A record that is in both snapshots, and not the same; `changes` are those of a pair's words."""

    old: dict[str, Any]
    new: dict[str, Any]
    changes: list[TextChange]


class SnapshotDiff(BaseModel):
    """How two snapshots differ: how many records, and the first of them as they are trained on."""

    old: Snapshot
    new: Snapshot
    num_added: int
    num_removed: int
    num_changed: int
    num_same: int
    added: list[dict[str, Any]]
    removed: list[dict[str, Any]]
    changed: list[ChangedRecord]


@router.get("/datasets")
def list_datasets(person: Reviewer, store: Record, after: AfterDataset = None, limit: Limit = 100) -> Page[Dataset]:
    """Datasets by name, each with its newest snapshot."""
    del person
    with store.read() as connection:
        return page_of(datasets.listing(connection, after=after, limit=limit), limit, key="name")


@router.get("/snapshots")
def list_snapshots(
    dataset: Plain, person: Reviewer, store: Record, before: Before = None, limit: Limit = 100
) -> list[Snapshot]:
    """The snapshots of a dataset, the newest first."""
    del person
    with store.read() as connection:
        return datasets.snapshots_of(connection, dataset, before=before, limit=limit)


@router.post("/snapshots", status_code=201)
def take_snapshot(body: NewSnapshot, person: Reviewer, store: Record) -> Snapshot:
    """A new snapshot, or the newest one where that holds the same."""
    return datasets.take_snapshot(store, person, **body.model_dump())


@router.get("/snapshots/one")
def get_snapshot(name: Numbered, person: Reviewer, store: Record) -> Snapshot:
    """One snapshot, or the newest of a dataset."""
    del person
    with store.read() as connection:
        return datasets.snapshot_of(connection, name)


@router.get("/snapshots/diff")
def diff_snapshots(
    old: Numbered, new: Numbered, person: Reviewer, store: Record, limit: Annotated[int, Query(ge=0, le=200)] = 50
) -> SnapshotDiff:
    """What came, went and changed from one snapshot to another: how many records, and the first of them."""
    del person
    with store.read() as connection:
        found = diff(connection, old, new, limit=limit)
    changed = [
        ChangedRecord(old=dict(each.old), new=dict(each.new), changes=[TextChange(**c._asdict()) for c in each.changes])
        for each in found.changed
    ]
    return SnapshotDiff(
        old=found.old, new=found.new, num_added=found.num_added, num_removed=found.num_removed,
        num_changed=found.num_changed, num_same=found.num_same, added=[dict(each) for each in found.added],
        removed=[dict(each) for each in found.removed], changed=changed,
    )  # fmt: skip


@router.get("/snapshots/file", response_class=FileResponse)
def download_snapshot(name: Numbered, person: Reviewer, store: Record) -> FileResponse:
    """The snapshot's file of JSON lines, as training reads it."""
    del person
    file_name = re.sub(r"[^A-Za-z0-9._@-]", "-", name) + ".jsonl"
    return sent(written(lambda path: _write(store, name, path)), file_name)


def _write(store: Store, name: str, path: Path) -> None:
    with store.read() as connection, path.open("wb") as file:
        for line in datasets.records(connection, datasets.snapshot_of(connection, name)):
            file.write(datasets.as_bytes(line))
