"""Choosing what a project labels next.

`random` needs nothing else. The other rules look at the hidden states of a model: `look` says which answers they are
needed of, whoever has the model computes them, and sends them with the choice. The server runs no model.

Leaves out: the rules (`tutelage.feedback.selection`); `tutelage choose` does all of it where the model is.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from numpy.typing import NDArray
from sqlalchemy import Connection

from tutelage.api.caller import Record, Reviewer
from tutelage.api.wire import IdempotencyKey, NamePath
from tutelage.api.wire_projects import ChoiceMade, Chosen, Features, LookedAt, PromptToRead
from tutelage.errors import DataError
from tutelage.feedback import choosing, projects
from tutelage.store.contents import as_json
from tutelage.store.idempotency import once

router = APIRouter(prefix="/api/projects", tags=["selection"])
MAX_LOOK = 1000
LookAt = Annotated[int, Query(ge=1, le=MAX_LOOK)]
Seed = Annotated[int, Query(ge=0, le=2**31 - 1)]


@router.get("/{project}/look")
def look_at_items(
    project: NamePath, person: Reviewer, store: Record, look_at: LookAt = 200, seed: Seed = 0
) -> LookedAt:
    """Items to choose from, drawn at random, and the answers whose features a choice needs."""
    with store.read() as connection:
        found = choosing.look(connection, person, projects.get(connection, project), look_at=look_at, seed=seed)
    prompts = [PromptToRead(messages=as_json(each.messages), texts=each.texts) for each in found.prompts]
    return LookedAt(items=list(found.items), num_open=found.num_open, prompts=prompts)


@router.post("/{project}/choose", status_code=201)
def choose_items(
    project: NamePath, body: Features, person: Reviewer, store: Record, idempotency_key: IdempotencyKey = None
) -> ChoiceMade:
    """Choose items and put them first in the queue; each keeps by which rule and with what probability."""
    features = _arrays(body.features)

    def work(connection: Connection) -> dict[str, Any]:
        made = choosing.choose(
            connection, person, projects.get(connection, project), body.rule, features, body.number,
            random_frac=body.random_frac, seed=body.seed, looked_at=body.looked_at, num_clusters=body.num_clusters,
        )._asdict()  # fmt: skip
        items = [Chosen(item_id=id, rule=rule, probability=chance) for id, rule, chance in made.pop("items")]
        return ChoiceMade(items=items, **made).model_dump(mode="json")

    asked = {"choose_items": project, **body.model_dump(mode="json")}
    return ChoiceMade(
        **store.run(lambda connection: once(connection, person, idempotency_key, asked, lambda: work(connection)))
    )


def _arrays(features: dict[str, list[float]] | None) -> dict[str, NDArray[np.float64]] | None:
    if features is None:
        return None
    lengths = {len(each) for each in features.values()}
    if len(lengths) != 1 or not 1 <= max(lengths) <= 8192:
        raise DataError("give every answer 1 to 8,192 numbers, each as many as the others", field="features")
    return {id: np.array(each, dtype=np.float64) for id, each in features.items()}
