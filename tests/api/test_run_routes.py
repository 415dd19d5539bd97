"""Runs over HTTP: forms, starting and what is refused, looking, and live streams that cost little."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from api_clients import As
from fastapi import FastAPI
from made_runs import append, make_model, make_run, step
from record import ADA, BO
from sqlalchemy import select
from training_process import start_light

from tutelage.api import run_events
from tutelage.feedback import items, projects
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.runs import launch, look, tail
from tutelage.runs.files import RunFiles
from tutelage.store import schema, sessions
from tutelage.store.database import Store
from tutelage.store.people import add_person
from tutelage.train.run_folder import RunFolder
from tutelage.types import Message

SFT = {"model": "tiny", "data": "starter", "out": "one"}


@pytest.fixture
def world(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A workspace with a model, in which training is light."""
    make_model(store.workspace, "tiny")
    monkeypatch.setattr(launch, "spawn", start_light)
    yield store
    for name in look.living(store.workspace):
        process = RunFiles(store.workspace, name).record.get("process")
        if isinstance(process, int):
            os.kill(process, signal.SIGKILL)


def test_methods_and_their_forms(world: Store, acting: As) -> None:
    make_model(world.workspace, "taste", kind="LlamaForSequenceClassification")
    with world.write() as connection:
        projects.create(connection, BO, "helpful", "comparison")
    told = acting(BO).get("/api/methods").json()
    assert [group["name"] for group in told["groups"]] == ["examples", "comparisons", "practice", "teacher"]
    assert told["methods"][0]["name"] == "sft"
    form = acting(BO).get("/api/methods/ppo").json()
    assert [each["value"] for each in form["models"]] == ["tiny", "starter-base", "starter-chat"]
    assert [each["value"] for each in form["rewards"]] == ["taste"]
    assert [each["value"] for each in form["prompts"]] == ["compare", "starter", "labels:helpful"]
    assert {"math", "length"} <= {each["value"] for each in form["checks"]}
    assert form["fields"][0]["name"] == "model"
    assert acting(BO).get("/api/methods/nope").status_code == 404


def test_a_run_is_checked_started_stopped_and_resumed(world: Store, acting: As) -> None:
    client = acting(BO)
    body = {"method": "sft", "options": SFT | {"epochs": 2, "lora.rank": 8}}
    command = client.post("/api/runs/check", json=body).json()["command"]
    assert command.endswith("--model=tiny --data=starter --out=one --epochs=2 --lora.rank=8")
    assert client.get("/api/runs").json()["records"] == []
    started = client.post("/api/runs", json=body)
    assert (started.status_code, started.json()["by"]) == (201, "bo")
    _until(lambda: client.get("/api/runs/one").json()["run"]["step"] > 1)
    assert client.post("/api/runs", json=body).status_code == 409
    assert client.post("/api/runs/one/stop").json() == {"at_once": False}
    _until(lambda: client.get("/api/runs/one").json()["run"]["state"] == "interrupted")
    assert client.post("/api/runs/one/stop").status_code == 409
    assert client.post("/api/runs/one/resume").status_code == 200
    assert client.get("/api/runs/one/log", params={"lines": 1000}).json()["lines"][0].startswith("$ tutelage train sft")
    actions = [each["action"] for each in acting(ADA).get("/api/audit").json()["records"]]
    assert actions[:3] == ["runs.resumed", "runs.stopped", "runs.started"]


def _until(is_so: Any) -> None:
    for _ in range(3000):
        if is_so():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come to be so")


@pytest.mark.parametrize(
    ("method", "options", "status", "field"),
    [
        ("sft", SFT | {"data": "./pairs.jsonl"}, 422, "data"),
        ("sft", SFT | {"model": "/etc"}, 422, "model"),
        ("sft", SFT | {"trust_remote_code": True}, 422, "trust_remote_code"),
        ("sft", {"model": "tiny"}, 422, "data"),
        ("sft", SFT | {"learning_rate": "fast"}, 422, "learning_rate"),
        ("sft", SFT | {"epochs": {"a": 1}}, 422, None),
        ("./evil.py", SFT, 422, "method"),
        ("nope", SFT, 404, None),
        ("sft", SFT | {"A-B": 1}, 422, None),
        ("sft", SFT | {"data": "x" * 501}, 422, None),
    ],
)
def test_mistakes_name_their_field_and_start_nothing(
    world: Store, acting: As, method: str, options: dict[str, Any], status: int, field: str | None
) -> None:
    for path in ("/api/runs", "/api/runs/check"):
        answer = acting(BO).post(path, json={"method": method, "options": options})
        assert answer.status_code == status, answer.text
        assert field is None or answer.json()["field"] == field
    assert look.names(world.workspace) == []


def test_the_list_goes_page_by_page_from_the_newest(world: Store, acting: As) -> None:
    for number in range(5):
        folder = make_run(world.workspace, f"r{number}", finished=number == 0)
        os.utime(folder / "config.json", (1000 + number, 1000 + number))
    client, seen, after = acting(BO), [], ""
    while True:
        page = client.get("/api/runs", params={"limit": 2, "after": after}).json()
        seen += [each["run"]["name"] for each in page["records"]]
        if not (after := page["next"]):
            break
    assert seen == ["r4", "r3", "r2", "r1", "r0"]
    last = client.get("/api/runs", params={"after": "r1"}).json()["records"][0]
    assert last["run"]["state"] == "finished"
    assert last["spark"] == {"metric": "loss", "values": [3.0, 1.5, 1.0]}


def test_curves_samples_and_options(world: Store, acting: As) -> None:
    sample = {"step": 2, "prompt": "<b>p</b>", "answer": "<script>", "stopped": True}
    make_run(world.workspace, "one", samples=[sample, {"step": 3, "warning": "kl-runaway", "message": "9"}])
    client = acting(BO)
    curves = client.get("/api/runs/one/metrics", params={"after": 1}).json()
    assert curves["last_step"] == 3
    assert curves["series"]["loss"] == {"steps": [2, 3], "values": [1.5, 1.0]}
    assert client.get("/api/runs/one/samples").json() == {
        "prompts": [{"prompt": "<b>p</b>", "answers": [{"step": 2, "answer": "<script>", "stopped": True}]}],
        "warnings": [{"step": 3, "name": "kl-runaway", "message": "9"}],
    }
    whole = client.get("/api/runs/one").json()
    assert whole["config"]["num_steps"] == 10
    assert whole["resume_command"].endswith("--out=one --resume")


# Live ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The application on a real socket."""
    monkeypatch.setattr(tail, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(tail, "IDLE_SECONDS", 0.05)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    _until(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = server.force_exit = True
    thread.join(30)


async def _events(answer: httpx.Response) -> AsyncIterator[tuple[str, str, Any]]:
    """(event, id, data) of each."""
    found: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            found[name] = value
        elif "data" in found:
            yield found["event"], found.get("id", ""), json.loads(found["data"])
            found = {}


async def _first(answer: httpx.Response, kind: str) -> tuple[str, Any]:
    async def look_for() -> tuple[str, Any]:
        async for event, number, data in _events(answer):
            if event == kind:
                return number, data
        raise AssertionError(f"the stream ended without {kind}")

    return await asyncio.wait_for(look_for(), 60)


def _asking(tokens: dict[str, str], url: str, **more: Any) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {tokens['bo']}"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=120, trust_env=False, **more)


def test_a_stream_tells_the_state_and_what_is_new_and_goes_on_without_a_gap(
    store: Store, served: str, tokens: dict[str, str]
) -> None:
    folder = make_run(store.workspace, "one", steps=3)

    async def listen() -> None:
        async with _asking(tokens, served) as client:
            async with client.stream("GET", "/api/runs/one/events", params={"after": 3}) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                assert answer.headers["cache-control"] == "no-store"
                assert (await _first(answer, "state"))[1]["state"] == "interrupted"
                append(folder / "metrics.jsonl", [step(4)])
            async with client.stream("GET", "/api/runs/one/events", headers={"Last-Event-ID": "3"}) as answer:
                number, points = await _first(answer, "points")
                assert (number, [each["step"] for each in points]) == ("4", [4])
            append(folder / "metrics.jsonl", [step(5), step(6)])  # while nobody listens
            append(folder / "samples.jsonl", [{"step": 6, "prompt": "p", "answer": "a\n\nb: c", "stopped": True}])
            async with client.stream("GET", "/api/runs/one/events", headers={"Last-Event-ID": "4"}) as answer:
                number, points = await _first(answer, "points")
                assert (number, [each["step"] for each in points]) == ("6", [5, 6])
            async with client.stream("GET", "/api/runs/one/events", headers={"Last-Event-ID": "6"}) as answer:
                assert (await _first(answer, "samples"))[1]["answers"][0]["answer"] == "a\n\nb: c"
                with RunFolder.resume(folder) as run:
                    run.rewind(5)

    asyncio.run(listen())


def test_a_run_set_back_to_a_checkpoint_is_to_be_read_anew(store: Store, served: str, tokens: dict[str, str]) -> None:
    folder = make_run(store.workspace, "one", steps=9)

    async def listen() -> None:
        async with _asking(tokens, served) as client, client.stream("GET", "/api/runs/one/events?after=9") as answer:
            events = _events(answer)
            assert (await anext(events))[0] == "state"
            with RunFolder.resume(folder) as run:
                run.rewind(5)
                assert "reload" in [(await asyncio.wait_for(anext(events), 60))[0] for _ in range(2)]

    asyncio.run(listen())


def test_streams_end_by_themselves_with_signs_of_life_before(
    store: Store, served: str, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_events, "STREAM_SECONDS", 0.5)
    monkeypatch.setattr(run_events, "HEARTBEAT_SECONDS", 0.1)
    make_run(store.workspace, "one")

    async def listen() -> str:
        async with _asking(tokens, served) as client:
            return (await client.get("/api/runs/one/events")).text

    text = asyncio.run(listen())
    assert text.startswith("retry: ")
    assert text.count(": still here") >= 2


def test_a_stream_of_nothing_is_not_found_and_a_bad_number_refused(acting: As, store: Store) -> None:
    make_run(store.workspace, "one")
    assert acting(BO).get("/api/runs/nope/events").status_code == 404
    assert acting(BO).get("/api/runs/one/events", headers={"Last-Event-ID": "x"}).status_code == 422


NUM_STREAMS, NUM_RATERS, NUM_EACH = 200, 50, 2
SPREAD_SECONDS = 4
"""In which all of them judge theirs: some 25 verdicts a second, five times as many as fifty people who read give."""


def test_two_hundred_streams_are_open_while_fifty_people_label(
    store: Store, served: str, tokens: dict[str, str]
) -> None:
    folder = make_run(store.workspace, "one", steps=3)
    raters = _fifty_raters(store)

    async def work() -> list[tuple[str, float]]:
        limits = httpx.Limits(max_connections=NUM_STREAMS + NUM_RATERS)
        async with _asking(tokens, served, limits=limits) as client, asyncio.TaskGroup() as group:
            opened = asyncio.Semaphore(0)
            heard = [group.create_task(_listen(client, opened)) for _ in range(NUM_STREAMS)]
            for _ in heard:
                await asyncio.wait_for(opened.acquire(), 120)
            assert threading.active_count() < 120  # a thread a stream would be 200 more
            labelling = [group.create_task(_label(client, token, place)) for place, token in enumerate(raters)]
            said = [each for task in labelling for each in await asyncio.wait_for(task, 120)]
            assert not any(task.done() for task in heard)  # every stream was open all the while
            append(folder / "metrics.jsonl", [step(4)])
            assert [await asyncio.wait_for(task, 60) for task in heard] == [[4]] * NUM_STREAMS
            return said

    said = asyncio.run(work())
    spent = sorted(seconds for _, seconds in said)
    assert spent[len(spent) // 2] < 1, spent  # on two quiet cores, clients and server in one process: 0.02
    acknowledged = [label_id for label_id, _ in said]
    with store.read() as connection:
        kept = connection.execute(select(schema.labels.c.id, schema.labels.c.item_id)).all()
    assert sorted(acknowledged) == sorted(row.id for row in kept)
    assert len(set(acknowledged)) == NUM_RATERS * NUM_EACH
    assert max(Counter(row.item_id for row in kept).values()) == 1  # no item was given to two


def _fifty_raters(store: Store) -> list[str]:
    """A token of each, and just so many items that nobody may be given another's."""
    with store.write() as connection:
        project = projects.create(connection, BO, "helpful", "comparison")
        new = [
            NewItem((Message("user", f"{n}?"),), [NewAnswer("a"), NewAnswer("b")]) for n in range(NUM_RATERS * NUM_EACH)
        ]
        items.add_items(connection, BO, project, new)
        people = [add_person(connection, f"r{number}", "rater") for number in range(NUM_RATERS)]
        return [sessions.add_token(connection, each, "test")[1] for each in people]


async def _label(client: httpx.AsyncClient, token: str, place: int) -> list[tuple[str, float]]:
    """The label that was acknowledged and how long the item took to come, of each that one person judges."""
    headers, said = {"Authorization": f"Bearer {token}"}, []
    await asyncio.sleep(SPREAD_SECONDS * place / NUM_RATERS)
    for number in range(NUM_EACH):
        begun = time.perf_counter()
        task = (await client.post("/api/projects/helpful/next", json={}, headers=headers)).json()["task"]
        seconds = time.perf_counter() - begun
        await asyncio.sleep(0.2)
        body = {"request_key": f"{place}.{number}", "verdict": {"winner": 0, "strength": 2}}
        answer = await client.post(f"/api/tasks/{task['assignment_id']}/submit", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        said.append((answer.json()["label_id"], seconds))
    return said


async def _listen(client: httpx.AsyncClient, opened: asyncio.Semaphore) -> list[int]:
    async with client.stream("GET", "/api/runs/one/events?after=3") as answer:
        events = _events(answer)
        assert (await anext(events))[0] == "state"
        opened.release()
        async for event, _, data in events:
            if event == "points":
                return [each["step"] for each in data]
    raise AssertionError("the stream ended")
