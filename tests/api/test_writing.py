"""What the pages of writers and reviewers ask besides pairs: guideline, checks, tags, differences, second thoughts."""

from __future__ import annotations

from typing import Any

from api_clients import As
from record import ADA, BO, CY, DEE

from tutelage.store import pairs
from tutelage.store.database import Store
from tutelage.types import Message

QUESTION = {"role": "user", "content": "How tall is a giraffe?"}


def answered(text: str) -> list[dict[str, str]]:
    return [QUESTION, {"role": "assistant", "content": text}]


def handed_in(acting: As, text: str = "About five metres.", **more: Any) -> dict[str, Any]:
    body = {"messages": answered(text), "submit": True} | more
    made: dict[str, Any] = acting(CY).post("/api/pairs", json=body).json()
    return made


def test_the_guideline_is_read_by_all_and_written_by_reviewers(acting: As) -> None:
    first = acting(CY).get("/api/guidelines/writing").json()
    assert (first["version"], "A good pair" in first["text"]) == (0, True)
    body = {"text": "Be short.", "base_version": 0}
    assert acting(CY).put("/api/guidelines/writing", json=body).status_code == 403
    assert acting(BO).put("/api/guidelines/writing", json=body).json()["version"] == 1
    assert acting(ADA).put("/api/guidelines/writing", json=body).status_code == 409
    assert acting(CY).get("/api/guidelines/writing").json()["text"] == "Be short."
    assert acting(CY).get("/api/guidelines/writing/0").json()["text"] == first["text"]


def test_turns_are_checked_and_compared_without_being_kept(acting: As) -> None:
    found = acting(CY).post("/api/pairs/check", json={"messages": answered("")}).json()
    assert [(each["severity"], each["field"]) for each in found] == [("error", "messages[1].content")]
    both = {"old": answered("About five metres."), "new": answered("About six metres.")}
    changes = acting(CY).post("/api/diff", json=both).json()
    assert [(each["op"], each["text"]) for each in changes if each["turn"] == 1] == [
        ("equal", "About "), ("delete", "five "), ("insert", "six "), ("equal", "metres."),
    ]  # fmt: skip
    assert acting(ADA).get("/api/pairs").json()["records"] == []


def test_one_is_offered_the_tags_of_pairs_one_may_read(acting: As) -> None:
    mine = handed_in(acting, tags=["animals", "arithmetic"])
    acting(DEE).post("/api/pairs", json={"messages": answered("Tall."), "tags": ["a secret of dee"]})
    assert acting(CY).get("/api/pairs/tags", params={"beginning": "a"}).json() == ["animals", "arithmetic"]
    assert acting(BO).get("/api/pairs/tags").json() == ["a secret of dee", "animals", "arithmetic"]
    assert acting(DEE).get("/api/pairs/tags", params={"beginning": "an"}).json() == []
    acting(CY).post(f"/api/pairs/{mine['id']}/withdraw", json={})
    assert acting(CY).get("/api/pairs/tags").json() == []


def test_ones_own_pairs_are_counted(acting: As) -> None:
    handed_in(acting)
    acting(DEE).post("/api/pairs", json={"messages": [QUESTION]})
    assert acting(BO).get("/api/pairs/counts").json()["submitted"] == 1
    assert acting(BO).get("/api/pairs/counts", params={"mine": True}).json()["submitted"] == 0
    assert acting(CY).get("/api/pairs/counts", params={"mine": True}).json()["submitted"] == 1


def test_a_pair_says_why_it_was_sent_back(acting: As) -> None:
    pair = handed_in(acting)
    acting(BO).post(f"/api/pairs/{pair['id']}/return", json={"comment": "Which giraffe?"})
    told = acting(CY).get("/api/pairs", params={"state": "returned"}).json()["records"][0]
    assert (told["said"], told["said_by"]) == ("Which giraffe?", "bo")
    acting(CY).post(f"/api/pairs/{pair['id']}/submit", json={})
    assert acting(CY).get(f"/api/pairs/{pair['id']}").json()["said"] == ""


def test_a_decision_is_taken_back_by_whoever_made_it(acting: As) -> None:
    pair = handed_in(acting)
    where = f"/api/pairs/{pair['id']}"
    assert acting(BO).post(f"{where}/reopen", json={}).status_code == 409  # nothing is decided yet
    for step, comment in (("accept", ""), ("return", "why?"), ("reject", "no")):
        assert acting(BO).post(f"{where}/{step}", json={"comment": comment}).status_code == 200
        assert acting(ADA).post(f"{where}/reopen", json={}).status_code == 403
        assert acting(BO).post(f"{where}/reopen", json={"base_revision": 1}).json()["state"] == "submitted"
    events = acting(CY).get(f"{where}/history").json()["events"]
    assert [each["action"] for each in events].count("submitted") == 4


def test_what_its_author_works_on_again_is_not_taken_back(acting: As) -> None:
    pair = handed_in(acting)
    where = f"/api/pairs/{pair['id']}"
    acting(BO).post(f"{where}/return", json={"comment": "Which giraffe?"})
    acting(CY).put(f"{where}/messages", json={"messages": answered("A bull: 5.5 m."), "base_revision": 1})
    assert acting(BO).post(f"{where}/reopen", json={}).status_code == 409


def test_two_snapshots_are_compared(acting: As, store: Store) -> None:
    made = [handed_in(acting, text) for text in ("About five metres.", "Taller than a house.")]
    for pair in made:
        acting(BO).post(f"/api/pairs/{pair['id']}/accept", json={})
    acting(BO).post("/api/snapshots", json={"name": "curated", "why": "first"})
    with store.write() as connection:
        turns = [Message("user", QUESTION["content"]), Message("assistant", "About six metres.")]
        pairs.edit(connection, BO, made[0]["id"], turns, base_revision=1)
        pairs.accept(connection, ADA, made[0]["id"])
        pairs.withdraw(connection, BO, made[1]["id"])
    acting(BO).post("/api/snapshots", json={"name": "curated", "why": "second"})
    told = acting(BO).get("/api/snapshots/diff", params={"old": "curated@1", "new": "curated@2"}).json()
    assert [told[f"num_{name}"] for name in ("added", "removed", "changed", "same")] == [0, 1, 1, 0]
    assert [each["text"] for each in told["changed"][0]["changes"] if each["op"] == "insert"] == ["six "]
    assert told["removed"][0]["messages"][1]["content"] == "Taller than a house."
