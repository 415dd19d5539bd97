"""Where models came from, what came of a pair or a label, and taking somebody's work out.

Leaves out: the graph itself (`tutelage.store.lineage`).
"""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy import Connection

from tutelage.api.caller import Admin, Record, Reviewer
from tutelage.api.wire import Asked, IdPath
from tutelage.api.wire_models import ModelName
from tutelage.runs import shelf
from tutelage.store import lineage
from tutelage.store.lineage import Forward, Made, Removal
from tutelage.store.people import person_by_id

router = APIRouter(prefix="/api", tags=["lineage"])


class HeldBy(BaseModel):
    """A snapshot that holds some of the records."""

    id: str
    name: str
    num_held: int


class Link(BaseModel):
    """One link of a path: what was used, and as what."""

    role: str
    name: str


class UsedBy(BaseModel):
    """A model, and the shortest way by which it used the records."""

    model: str
    path: list[Link]


class Uses(BaseModel):
    """The snapshots that hold a pair or label, and the models made with it, directly or through others."""

    held: list[HeldBy]
    uses: list[UsedBy]


class RemoveWork(Asked):
    """Whether to take it out, or only to say what that would mean."""

    dry_run: bool = True


class Removed(BaseModel):
    """What was taken out, or would be, and the models to train again."""

    person: str
    num_pairs_written: int
    num_pairs_edited: int
    num_labels_given: int
    num_labels_on_their_words: int
    snapshots: list[HeldBy]
    retrain: list[UsedBy]


class Rescanned(BaseModel):
    """The models that were read anew, and what could not be read."""

    models: list[str]
    unreadable: list[str]


@router.post("/models/rescan")
def rescan_models(person: Admin, store: Record) -> Rescanned:
    """Read every model folder of the workspace again."""
    del person
    done, unreadable = store.run(lambda connection: lineage.rescan(connection, store.workspace))
    return Rescanned(models=done, unreadable=unreadable)


@router.get("/models/{model}/lineage")
def get_lineage(model: ModelName, person: Reviewer, store: Record) -> Made:
    """What a model was made from, as a tree: models, snapshots with counts and people, files."""
    del person
    shelf.catch_up(store)
    with store.read() as connection:
        return lineage.ancestors(connection, model)


@router.get("/pairs/{pair_id}/uses")
def get_uses_of_pair(pair_id: IdPath, person: Reviewer, store: Record) -> Uses:
    """The snapshots and models that a pair went into."""
    del person
    with store.read() as connection:
        return told_uses(lineage.forward(connection, pair_id=pair_id))


@router.get("/labels/{label_id}/uses")
def get_uses_of_label(label_id: IdPath, person: Reviewer, store: Record) -> Uses:
    """The snapshots and models that a label went into."""
    del person
    with store.read() as connection:
        return told_uses(lineage.forward(connection, label_id=label_id))


def told_uses(found: Forward) -> Uses:
    """What came of records, as it is told."""
    return Uses(held=_held(found.held), uses=_used(found.uses))


def _held(held: list[lineage.Held]) -> list[HeldBy]:
    return [HeldBy(**each._asdict()) for each in held]


def _used(uses: list[lineage.Use]) -> list[UsedBy]:
    return [UsedBy(model=each.model, path=[Link(**step._asdict()) for step in each.path]) for each in uses]


@router.post("/people/{person_id}/remove-work")
def remove_work(person_id: IdPath, body: RemoveWork, person: Admin, store: Record) -> Removed:
    """Take all work of somebody out of every later snapshot, and list the models to train again."""

    def work(connection: Connection) -> Removal:
        return lineage.remove_person(
            connection, person, person_by_id(connection, person_id), dry_run=body.dry_run
        )  # fmt: skip

    made = store.run(work)._asdict()
    return Removed(snapshots=_held(made.pop("snapshots")), retrain=_used(made.pop("retrain")), **made)
