"""The first page's numbers, who works here, and leaving every browser at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from api_clients import As
from fastapi.testclient import TestClient
from record import ADA, BO, CY

from tutelage.feedback import items, projects, queue, submit
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.store import people
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.types import Message


def judged_once(store: Store, **more: Any) -> None:
    """A project of two items, one of which cy has judged."""
    with store.write() as connection:
        project = projects.create(connection, BO, "helpful", "comparison", **more)
        items.add_items(connection, BO, project, [
            NewItem((Message("user", f"question {number}"),), [NewAnswer("one"), NewAnswer("two")])
            for number in range(2)
        ])  # fmt: skip
        task = queue.next_item(connection, CY, project)
        assert task is not None
        submit.submit(connection, CY, task.assignment_id, "k", {"winner": 0, "strength": 2})


def test_home_tells_each_what_waits_for_them(acting: As, store: Store) -> None:
    judged_once(store)
    told = acting(CY).get("/api/home").json()
    assert told["loop"]["num_labels"] == 1
    assert [(each["project"], each["num_waiting"], each["num_given"]) for each in told["loop"]["queues"]] == [
        ("helpful", 1, 1)
    ]
    assert told["step"]["name"] == "write-first"
    assert told["num_training"] == 0
    assert acting(BO).get("/api/home").json()["loop"]["queues"][0]["num_given"] == 0


def test_home_names_no_model_that_answers(acting: As, store: Store) -> None:
    judged_once(store, models=["secret-model"])
    assert "secret-model" not in acting(CY).get("/api/home").text


def test_everybody_sees_who_works_here_and_no_more(acting: As, store: Store) -> None:
    with store.write() as connection:
        people.add_person(connection, "eve", "rater")
    acting(ADA).patch(f"/api/people/{BO.id}", json={"active": False})
    told = acting(CY).get("/api/team", params={"limit": 2}).json()
    assert told["records"] == [{"name": "ada", "role": "admin"}, {"name": "cy", "role": "rater"}]
    rest = acting(CY).get("/api/team", params={"after": told["next"]}).json()
    assert [each["name"] for each in rest["records"]] == ["dee", "eve"]


def test_signing_out_everywhere_ends_every_session_and_no_token(
    acting: As, browser: Callable[[Person], TestClient]
) -> None:
    here = browser(CY)
    there = TestClient(here.app, base_url=here.base_url)
    there.cookies = here.cookies
    assert there.get("/api/session").status_code == 200
    assert here.delete("/api/sessions").status_code == 200
    assert there.get("/api/session").status_code == 401
    assert acting(CY).get("/api/session").status_code == 200
