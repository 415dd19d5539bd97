"""What a person who judges looks at besides tasks, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from api_clients import As
from record import ADA, BO, CY, DEE
from sqlalchemy import select

from tutelage.feedback import items, projects
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.store import datasets, schema
from tutelage.store.database import Store
from tutelage.types import Message


def make(store: Store, num_items: int = 3, **more: Any) -> None:
    with store.write() as connection:
        project = projects.create(connection, BO, "helpful", "comparison", reasons=["true"], **more)
        items.add_items(connection, BO, project, [
            NewItem((Message("user", f"question {number}"),), [NewAnswer("*one*", "m-1"), NewAnswer("two", "m-2")])
            for number in range(num_items)
        ])  # fmt: skip


def judge(client: Any, winner_text: str, key: str, **more: Any) -> str:
    """Take a task and say that the answer with this text is better; gives the label's id."""
    task = client.post("/api/projects/helpful/next").json()["task"]
    winner = next(id for id, text in task["answers"] if text == winner_text)
    body = {"request_key": key, "verdict": {"winner": winner, "strength": 3}, **more}
    return str(client.post(f"/api/tasks/{task['assignment_id']}/submit", json=body).json()["label_id"])


def test_what_waits_and_what_was_done(store: Store, acting: As) -> None:
    make(store, 3)
    client = acting(CY)
    told = client.get("/api/projects/helpful/work").json()
    assert (told["num_waiting"], told["has_more"], told["num_given"]) == (3, False, 0)
    judge(client, "two", "k1")
    client.post("/api/projects/helpful/next")  # the one they hold waits for them, too
    told = client.get("/api/projects/helpful/work", params={"since_ms": 0}).json()
    assert (told["num_waiting"], told["num_given"], told["num_since"]) == (2, 1, 1)
    assert client.get("/api/projects/helpful/work", params={"since_ms": 2**53}).json()["num_since"] == 0
    assert acting(DEE).get("/api/work").json()["records"][0]["num_waiting"] == 1


def test_a_paused_project_has_nothing_waiting(store: Store, acting: As) -> None:
    make(store)
    acting(BO).put("/api/projects/helpful/state", json={"state": "paused"})
    assert acting(CY).get("/api/projects/helpful/work").json()["num_waiting"] == 0


def test_texts_come_as_safe_html_where_asked_for(store: Store, acting: As) -> None:
    make(store)
    client = acting(CY)
    assert client.post("/api/projects/helpful/next").json()["shown"] is None
    told = client.post("/api/projects/helpful/next", params={"rendered": True}).json()
    texts = [text for _, text in told["task"]["answers"]]
    assert told["shown"]["answers"][texts.index("*one*")] == "<p><em>one</em></p>\n"
    body = {"request_key": "k", "verdict": {"outcome": "tie"}}
    path = f"/api/tasks/{told['task']['assignment_id']}/submit-next"
    answer = client.post(path, params={"rendered": True}, json=body).json()
    assert answer["shown"]["messages"] == ["<p>question 1</p>\n"]
    assert abs(answer["task"]["expires_ms"] - answer["shown"]["now_ms"] - 900_000) < 60_000


def test_ones_own_labels_newest_first_as_they_were_given(store: Store, acting: As) -> None:
    make(store)
    client = acting(CY)
    first = judge(client, "two", "k1", reasons=["true"], critique="c", rewrite="r")
    second = judge(client, "*one*", "k2")
    page = client.get("/api/projects/helpful/mine", params={"limit": 1}).json()
    assert [each["id"] for each in page["records"]] == [second]
    page = client.get("/api/projects/helpful/mine", params={"limit": 1, "after": page["next"]}).json()
    (told,) = page["records"]
    assert (told["id"], told["reasons"], told["critique"], told["rewrite"]) == (first, ["true"], "c", "r")
    assert told["task"]["answers"][told["verdict"]["winner"]][1] == "two"
    corrected = client.post(f"/api/labels/{first}/correct", json={"request_key": "k3", "verdict": {"outcome": "tie"}})
    there = [each["id"] for each in client.get("/api/projects/helpful/mine").json()["records"]]
    assert there == [corrected.json()["label_id"], second]
    assert client.get(f"/api/labels/{there[0]}").json()["is_corrected"] is True
    assert acting(DEE).get(f"/api/labels/{first}").status_code == 404


def test_who_wrote_what_is_told_to_whoever_judged_and_a_correction_says_so(store: Store, acting: As) -> None:
    make(store)
    client = acting(CY)
    label = judge(client, "two", "k1")
    told = client.post(f"/api/labels/{label}/reveal").json()
    assert sorted(each["model"] for each in told) == ["m-1", "m-2"]
    assert acting(DEE).post(f"/api/labels/{label}/reveal").status_code == 404
    newer = client.post(f"/api/labels/{label}/correct", json={"request_key": "k2", "verdict": {"outcome": "tie"}})
    other = judge(client, "two", "k3")
    blind = client.post(f"/api/labels/{other}/correct", json={"request_key": "k4", "verdict": {"outcome": "tie"}})
    with store.read() as connection:
        metas = dict(connection.execute(select(schema.labels.c.id, schema.labels.c.meta)).all())  # type: ignore[arg-type]
    assert metas[newer.json()["label_id"]] == {"after_reveal": True}
    assert metas[blind.json()["label_id"]] == {}


def test_a_project_that_asks_again_keeps_hidden_who_wrote_what(store: Store, acting: As) -> None:
    make(store, repeat_frac=0.1)
    label = judge(acting(CY), "two", "k1")
    answer = acting(CY).post(f"/api/labels/{label}/reveal")
    assert answer.status_code == 403
    assert "again" not in answer.text  # nor that it asks again


def test_what_ones_labels_went_into(store: Store, acting: As) -> None:
    make(store, overlap=2)
    for client in (acting(CY), acting(DEE)):
        judge(client, "two", f"k{id(client)}")
    judge(acting(CY), "two", "k")
    with store.write() as connection:
        datasets.make_snapshot(connection, ADA, "labels:helpful")
    told = acting(CY).get("/api/uses").json()
    assert told["num_labels"] == 2
    assert [(each["name"], each["num_held"]) for each in told["labels"]["held"]] == [("labels:helpful@1", 2)]
    assert told["pairs"] == {"held": [], "uses": []}


@pytest.mark.parametrize(("second", "is_disputed"), [("two", False), ("*one*", True)])
def test_items_on_which_raters_disagree(store: Store, acting: As, second: str, is_disputed: bool) -> None:
    make(store, 1, overlap=2)
    judge(acting(CY), "two", "k1", critique="clearer")
    judge(acting(DEE), second, "k2")
    client = acting(BO)
    found = client.get("/api/projects/helpful/disagreements").json()["records"]
    assert len(found) == is_disputed
    if is_disputed:
        (item,) = found
        names = {each["label"]["person"]: item["answers"][each["verdict"]["winner"]][1] for each in item["opinions"]}
        assert names == {"cy": "two", "dee": "*one*"}
        body = {"request_key": "k", "verdict": {"outcome": "tie"}}
        assert client.post(f"/api/items/{item['id']}/decision", json=body).status_code == 201
        assert client.get("/api/projects/helpful/disagreements").json() == {"records": [], "next": None}


def test_disagreements_are_counted_without_their_texts(store: Store, acting: As) -> None:
    make(store, 3, overlap=2)
    for number, second in enumerate(["*one*", "two", "*one*"]):
        judge(acting(CY), "two", f"c{number}")
        judge(acting(DEE), second, f"d{number}")
    address = "/api/projects/helpful/disagreements/count"
    assert acting(BO).get(address).json() == {"number": 2, "has_more": False}
    assert acting(BO).get(f"{address}?most=1").json() == {"number": 1, "has_more": True}


def test_items_come_from_a_file(store: Store, acting: As) -> None:
    make(store, 0)
    line = '{"prompt": "Why?", "answers": ["So.", "Because."]}\n'
    client = acting(BO)
    answer = client.post("/api/items", params={"project": "helpful", "filename": "a.jsonl"}, content=line)
    assert answer.status_code == 201, answer.text
    assert len(answer.json()["ids"]) == 1
    again = client.post("/api/items", params={"project": "helpful", "filename": "a.jsonl"}, content=line)
    assert (again.json()["ids"], again.json()["num_there"]) == ([], 1)


def test_a_file_with_a_mistake_adds_nothing_and_names_the_line(store: Store, acting: As) -> None:
    make(store, 0)
    lines = '{"prompt": "Why?", "answers": ["So.", "Because."]}\n{"prompt": "Who?"}\n'
    client = acting(BO)
    answer = client.post("/api/items", params={"project": "helpful", "filename": "../a.jsonl"}, content=lines)
    assert answer.status_code == 422
    assert (answer.json()["file"], answer.json()["line"]) == ("a.jsonl", 2)
    assert client.get("/api/projects/helpful/items/counts").json()["open"] == 0
