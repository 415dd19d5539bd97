"""Talking over the API: what is told, stopping by leaving, one at a time, and what people say about answers."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Generator, Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from api_clients import As
from fastapi import FastAPI
from record import BO, CY, DEE
from sqlalchemy import select
from talking import add_model

from tutelage.api import chat
from tutelage.serve.pool import Pool
from tutelage.store import schema
from tutelage.store.database import Store

pytestmark = pytest.mark.slow  # real model processes

HELLO = [{"role": "user", "content": "Hello?"}]
PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """The processes of two tiny models, shared by the tests of this file, for each takes seconds to start."""
    folder = tmp_path_factory.mktemp("models")
    add_model(folder, "base", num_hidden_layers=16, max_position_embeddings=4096)
    add_model(folder, "sft", seed=1, origin={"kind": "trained", "method": "sft", "base": "base"})
    pool = Pool(folder)
    yield pool
    pool.close()


@pytest.fixture
def address(app: FastAPI, store: Store, models: Pool) -> Iterator[str]:
    """A real server, since only that tells when a connection is closed."""
    (store.workspace / "models").symlink_to(models.workspace / "models")
    app.state.pool = models
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = server.force_exit = True
    thread.join(30)


Event = tuple[str, dict[str, Any]]


def events(answer: httpx.Response) -> Generator[Event, None, None]:
    kind = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield kind, json.loads(line.removeprefix("data: "))


def client(address: str, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=address, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False)


def asking(*models: str, **sampling: Any) -> dict[str, Any]:
    return {"models": list(models), "messages": HELLO, "sampling": {"max_new_tokens": 8} | sampling}


def test_an_answer_comes_in_pieces_with_its_settings(address: str, tokens: dict[str, str]) -> None:
    with client(address, tokens["cy"]) as cy, cy.stream("POST", "/api/chat", json=asking("sft")) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = list(events(answer))
    assert told[-1] == ("end", {})
    kind, done = told[-2]
    assert kind == "done"
    assert "".join(data["text"] for kind, data in told if kind == "text") == done["text"]
    assert (done["model"], done["side"]) == ("sft", 0)
    assert 0 <= done["num_tokens"] <= 8  # a random model may end at once
    assert done["num_prompt_tokens"] > 0
    assert done["sampling"] | {"seed": 0} == {"temperature": 0.7, "top_p": 1.0, "max_new_tokens": 8, "seed": 0}


def test_a_seed_gives_the_same_again_and_none_gives_another(address: str, tokens: dict[str, str]) -> None:
    with client(address, tokens["cy"]) as cy:
        texts = []
        for seed in (7, 7, None):
            with cy.stream("POST", "/api/chat", json=asking("sft", temperature=1, seed=seed)) as answer:
                texts += [data["text"] for kind, data in events(answer) if kind == "done"]
    assert texts[0] == texts[1] != texts[2]


def test_two_models_answer_side_by_side_and_one_may_fail(address: str, tokens: dict[str, str], models: Pool) -> None:
    with client(address, tokens["cy"]) as cy, cy.stream("POST", "/api/chat", json=asking("base", "sft")) as answer:
        done = {data["side"]: data["model"] for kind, data in events(answer) if kind == "done"}
    assert done == {0: "base", 1: "sft"}
    broken = add_model(models.workspace, "broken")
    (broken / "model.safetensors").write_bytes(b"nothing")
    with client(address, tokens["cy"]) as cy, cy.stream("POST", "/api/chat", json=asking("broken", "sft")) as answer:
        told = {(kind, data.get("side")): data for kind, data in events(answer)}
    assert "broken" in told["error", 0]["error"]
    assert told["done", 1]["model"] == "sft"
    shutil.rmtree(broken)


def test_leaving_stops_the_model(address: str, tokens: dict[str, str], models: Pool) -> None:
    with client(address, tokens["cy"]) as cy:
        with cy.stream("POST", "/api/chat", json=asking("base", max_new_tokens=2048, temperature=0)) as answer:
            assert "text" in (kind for kind, _ in events(answer))
        began = time.monotonic()
        while any(each.is_busy for each in models._processes.values()):
            assert time.monotonic() - began < PATIENCE_SECONDS
            time.sleep(0.01)
        with cy.stream("POST", "/api/chat", json=asking("base")) as answer:  # at once, without a refusal
            assert [kind for kind, _ in events(answer)][-2:] == ["done", "end"]


def test_a_person_has_one_answer_at_a_time(
    address: str, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "PATIENCE_SECONDS", 0.1)
    long = asking("base", max_new_tokens=2048, temperature=0)
    cy, dee = client(address, tokens["cy"]), client(address, tokens["dee"])
    with cy, dee, cy.stream("POST", "/api/chat", json=long) as answer:
        told = events(answer)  # the connection is closed when nothing holds it any more
        assert "text" in (kind for kind, _ in told)
        again = cy.post("/api/chat", json=asking("sft"))
        assert again.status_code == 429
        assert again.json()["error"] == "an answer to you is still being written; wait until it is done, or stop it"
        with dee.stream("POST", "/api/chat", json=asking("sft")) as other:
            assert [kind for kind, _ in events(other)][-2:] == ["done", "end"]
        told.close()


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        ({"models": []}, 422, "at least 1"),
        ({"models": ["sft", "sft", "sft"]}, 422, "at most 2"),
        ({"models": ["../sft"]}, 422, "use letters"),
        ({"models": ["nothing"]}, 404, "no model 'nothing' to talk to; there are sft, base"),
        ({"models": ["starter-base"]}, 404, "is not on this machine yet"),
        ({"messages": []}, 422, "at least 1"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "Hi"}]}, 422, "the user last"),
        ({"messages": [*HELLO, *HELLO]}, 422, "the user last"),
        ({"messages": [{"role": "system", "content": "x"}]}, 422, "the user last"),
        ({"sampling": {"max_new_tokens": 100_000}}, 422, "2048"),
        ({"sampling": {"temperature": -1}}, 422, "at least 0"),
        ({"sampling": {"top_q": 1}}, 422, "not permitted"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(
    acting: As, store: Store, models: Pool, change: dict[str, Any], status: int, word: str
) -> None:
    (store.workspace / "models").symlink_to(models.workspace / "models")
    answer = acting(CY).post("/api/chat", json=asking("sft") | change)
    assert answer.status_code == status
    assert word in answer.json()["error"]


def test_the_models_there_are(acting: As, store: Store, models: Pool) -> None:
    assert acting(CY).get("/api/chat/models").json() == {
        "models": [], "before": "", "after": "", "missing": ["starter-base", "starter-chat"], "most_tokens": 2048
    }  # fmt: skip
    (store.workspace / "models").symlink_to(models.workspace / "models")
    told = acting(CY).get("/api/chat/models").json()
    assert (told["before"], told["after"]) == ("base", "sft")
    by_name = {each["name"]: each for each in told["models"]}
    assert by_name["sft"]["words"] == "sft of base"
    assert by_name["sft"]["num_parameters"] > 0


ANSWER = {"text": "Hi <b>there</b>", "model": "sft", "sampling": {"temperature": 0.7}}


def test_a_thumb_with_better_words(acting: As, store: Store) -> None:
    said = {
        "request_key": "k",
        "messages": HELLO,
        "answer": ANSWER,
        "good": False,
        "reasons": ["rude"],
        "rewrite": "Hello!",
    }
    told = acting(CY).post("/api/chat/feedback", json=said)
    assert told.status_code == 201
    assert acting(CY).post("/api/chat/feedback", json=said).json() == told.json()
    pair = acting(CY).get(f"/api/pairs/{told.json()['pair_id']}").json()
    assert (pair["state"], pair["source"], pair["messages"][-1]["content"]) == ("draft", "chat with sft", "Hello!")
    assert acting(DEE).get(f"/api/pairs/{told.json()['pair_id']}").status_code == 404
    better = said | {"request_key": "k2", "corrects": "k", "good": True}
    assert acting(CY).post("/api/chat/feedback", json=better).json()["pair_id"] == told.json()["pair_id"]
    assert acting(DEE).post("/api/chat/feedback", json=better).status_code == 404
    assert acting(CY).post("/api/chat/feedback", json=said | {"good": True}).status_code == 409
    with store.read() as connection:
        rows = connection.execute(select(schema.labels.c.value, schema.labels.c.person_id)).all()
    assert [tuple(row) for row in rows] == [({"good": False}, CY.id), ({"good": True}, CY.id)]


def test_a_vote_between_two(acting: As, store: Store) -> None:
    other = ANSWER | {"model": "base", "text": "Who?"}
    said = {
        "request_key": "v",
        "messages": HELLO,
        "answers": [other, ANSWER],
        "verdict": {"winner": 1, "strength": 4},
        "blind": True,
    }
    assert acting(BO).post("/api/chat/vote", json=said).status_code == 201
    with store.read() as connection:
        row = connection.execute(select(schema.labels)).one()
        answers = connection.execute(select(schema.answers)).all()
    by_id = {each.id: each for each in answers}
    assert [by_id[each].model for each in row.answer_ids] == ["base", "sft"]
    assert (row.kind, row.value, row.meta) == ("comparison", {"outcome": "second", "strength": 4}, {"blind": True})
    wrong = said | {"request_key": "w", "verdict": {"winner": 2, "strength": 4}}
    answer = acting(BO).post("/api/chat/vote", json=wrong)
    assert (answer.status_code, answer.json()["field"]) == (422, "verdict.winner")
