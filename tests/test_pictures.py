"""The workspace of the documentation's pictures: it can be filled, and what it shows is as the pages expect it."""

from __future__ import annotations

import sys
from pathlib import Path

from tutelage.feedback.loop import loop
from tutelage.runs import board
from tutelage.store import lineage
from tutelage.store.database import open_store
from tutelage.store.founding import found

sys.path.append(str(Path(__file__).parents[1] / "docs"))
from picture_workspace import fill


def test_every_page_has_something_to_show(tmp_path: Path) -> None:
    found(tmp_path / "workspace", None, "mira")
    with open_store(tmp_path / "workspace") as store:
        crew = fill(store)
        with store.read() as connection:
            now = loop(connection, crew["jonas"])
            made = lineage.forward_of_person(connection, crew["aylin"].id, "labels")[0]
    assert set(now.models) == {"sft", "reward", "policy"}
    assert [each.kind for each in now.queues] == ["comparison", "ranking", "rating"]
    assert all(each.num_waiting for each in now.queues)
    assert now.num_to_review
    assert [each.model for each in made.uses] == ["taste-1", "assistant-2"]
    assert board.board(tmp_path / "workspace", "assistant-1").tables
