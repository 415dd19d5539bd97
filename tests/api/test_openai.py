"""The OpenAI-compatible server, asked by OpenAI's own client; and people's verdicts on its answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from openai import OpenAI
from record import ADA
from sqlalchemy import select
from talking import add_model

from tutelage.api import openai as served
from tutelage.api.openai import Given, Service, create_openai
from tutelage.serve.pool import Pool
from tutelage.store import pairs, schema
from tutelage.store.database import Store
from tutelage.types import Message

pytestmark = pytest.mark.slow  # real model processes

KEY = "tut-serve-key"
HELLO: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]
PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One tiny model for the tests of this file."""
    folder = tmp_path_factory.mktemp("models")
    add_model(folder, "tiny", num_hidden_layers=12, max_position_embeddings=4096)
    made = Service("tiny", Pool(folder, most=1), KEY)
    yield made
    made.pool.close()


@pytest.fixture(scope="module")
def address(service: Service) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(create_openai(service), port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/v1"
    server.should_exit = server.force_exit = True
    thread.join(30)


@pytest.fixture
def client(address: str) -> Iterator[OpenAI]:
    with httpx.Client(trust_env=False) as plain:
        yield OpenAI(base_url=address, api_key=KEY, timeout=PATIENCE_SECONDS, max_retries=0, http_client=plain)


def test_the_model_is_listed(client: OpenAI) -> None:
    assert [each.id for each in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "tutelage"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_an_answer_with_its_usage(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=8, temperature=0)
    assert answer.id.startswith("chatcmpl-")
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 8


def test_a_stream_adds_up_to_the_answer(client: OpenAI) -> None:
    how: dict[str, Any] = {"model": "tiny", "messages": HELLO, "max_tokens": 12, "temperature": 1, "seed": 7, "n": 2}
    whole = client.chat.completions.create(**how)
    texts, reasons, usage = ["", ""], ["", ""], None
    for chunk in client.chat.completions.create(**how, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [each.message.content for each in whole.choices]
    assert len(set(texts)) == 2
    assert reasons == [each.finish_reason for each in whole.choices]
    assert usage == whole.usage


def test_seeds_and_stops(client: OpenAI) -> None:
    def text(**more: Any) -> tuple[str, str]:
        answer = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=30, **more)
        return answer.choices[0].message.content or "", answer.choices[0].finish_reason

    assert text(seed=3) == text(seed=3) != text(seed=4)
    assert text() != text()
    whole, _ = text(temperature=0)
    stop = whole[8:11]
    assert text(temperature=0, stop=stop) == (whole[: whole.index(stop)].strip(), "stop")


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "other"}, 404, "model"),
        ({"messages": []}, 400, "messages"),
        ({"messages": HELLO[:1]}, 400, "messages"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, 400, "messages.0.role"),
        ({"messages": [{"role": "user", "content": "word " * 30_000}]}, 400, "messages"),
        ({"temperature": 3}, 400, "temperature"),
        ({"n": 5}, 400, "n"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"stop": ["a"] * 5}, 400, "stop"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "tools"),
        ({"frequency_penalty": 0.5}, 400, "frequency_penalty"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_have_that_apis_shape(
    client: OpenAI, change: dict[str, Any], status: int, param: str, stream: bool
) -> None:
    how: dict[str, Any] = {"model": "tiny", "messages": HELLO, "max_tokens": 4, "stream": stream} | change
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**how)
    error = caught.value
    assert error.status_code == status
    assert (error.param or "").startswith(param)
    assert error.type in ("invalid_request_error", "not_found_error")
    assert isinstance(error.body, dict)
    assert error.body["message"]


def test_fields_that_ask_for_nothing_are_taken(client: OpenAI) -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo?"}]
    answers = [
        client.chat.completions.create(
            model="tiny", messages=messages, max_tokens=4, temperature=0, frequency_penalty=0, logprobs=False,
            user="somebody", response_format={"type": "text"},
        ).choices[0].message.content
        for messages in ([{"role": "user", "content": "Hello?"}], [{"role": "user", "content": parts}])
    ]  # fmt: skip
    assert answers[0] == answers[1]


def test_the_key_is_asked_for(address: str) -> None:
    with httpx.Client(trust_env=False) as plain:
        stranger = OpenAI(base_url=address, api_key="wrong", http_client=plain, max_retries=0)
        with pytest.raises(openai.AuthenticationError, match="the API key is missing or wrong"):
            stranger.models.list()
        for path in ("/models", "/models/tiny"):
            assert plain.get(address + path).status_code == 401
        for path in ("/chat/completions", "/feedback"):
            told = plain.post(address + path, json={})
            assert (told.status_code, told.json()["error"]["code"]) == (401, "invalid_api_key")


def test_refusals_of_the_guard_have_that_shape_too(address: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(trust_env=False, headers=headers) as plain:
        other = plain.get(address + "/models", headers={"Host": "evil.example"})
        assert (other.status_code, other.json()["error"]["type"]) == (400, "invalid_request_error")
        forged = plain.post(address + "/feedback", json={}, headers={"Origin": "https://evil.example"})
        assert forged.status_code == 403
        large = plain.post(address + "/chat/completions", content=b"x" * (5 * 2**20))
        assert (large.status_code, large.json()["error"]["param"]) == (413, None)
        assert plain.get(address + "/nothing").json()["error"]["type"] == "not_found_error"
        assert plain.post(address + "/chat/completions", content=b"{").status_code == 400


def test_whoever_leaves_a_stream_stops_it(client: OpenAI, service: Service) -> None:
    stream = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=3000, temperature=0, stream=True)
    for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    stream.close()
    began = time.monotonic()
    while any(each.is_busy for each in service.pool._processes.values()):
        assert time.monotonic() - began < PATIENCE_SECONDS
        time.sleep(0.01)


# Verdicts -------------------------------------------------------------------------------------------------------------


def feedback(client: OpenAI, **said: Any) -> dict[str, Any]:
    return dict(client.post("/feedback", body=said, cast_to=dict[str, Any]))  # type: ignore[arg-type]


@pytest.fixture
def recorded(service: Service, store: Store) -> Iterator[Store]:
    service.store, service.person = store, ADA
    yield store
    service.store = service.person = None


def test_a_verdict_lands_in_the_record(client: OpenAI, recorded: Store) -> None:
    answer = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=4, temperature=0, n=2)
    said = {"response_id": answer.id, "index": 1, "good": False, "tags": ["rude"], "correction": "Hello!"}
    told = feedback(client, **said)
    assert feedback(client, **said) == told
    with recorded.read() as connection:
        label = connection.execute(select(schema.labels)).one()
        made = connection.execute(select(schema.answers)).one()
        pair = pairs.get(connection, ADA, told["pair_id"])
    assert (label.id, label.value, label.reasons, label.source) == (told["id"], {"good": False}, ["rude"], "serve")
    assert (made.model, made.text) == ("tiny", answer.choices[1].message.content)
    assert made.sampling["max_new_tokens"] == 4
    assert (pair.state, pair.source) == ("draft", "chat with tiny")
    assert [each.role for each in pair.messages] == ["system", "user", "assistant"]


def test_one_may_change_ones_mind_and_change_it_back(client: OpenAI, recorded: Store) -> None:
    answer = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=4)
    for good in (True, False, True):
        feedback(client, response_id=answer.id, good=good)
    with recorded.read() as connection:
        rows = connection.execute(select(schema.labels.c.value, schema.labels.c.superseded_ms)).all()
    assert [(row.value["good"], row.superseded_ms is None) for row in rows] == [
        (True, False),
        (False, False),
        (True, True),
    ]


def test_verdicts_that_cannot_be_kept(client: OpenAI, service: Service, store: Store) -> None:
    with pytest.raises(openai.BadRequestError, match="no record to write verdicts into"):
        feedback(client, response_id="chatcmpl-1", good=True)
    service.store, service.person = store, ADA
    try:
        with pytest.raises(openai.BadRequestError, match="no such answer"):
            feedback(client, response_id="chatcmpl-1", good=True)
        with pytest.raises(openai.BadRequestError):
            feedback(client, response_id="chatcmpl-1", good=True, model="x")
    finally:
        service.store = service.person = None


def test_only_so_much_is_remembered(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    monkeypatch.setattr(served, "MOST_REMEMBERED", 3)
    mine = Service("m", service.pool, None)
    for number in range(5):
        mine.remember(str(number), Given((Message("user", "x" * 10),), ["y" * 5], {}))
        mine.verdicts[str(number), 0] = ("k", "h")
    assert list(mine.given) == ["2", "3", "4"]
    assert mine.num_characters == 45
    assert list(mine.verdicts) == [("2", 0), ("3", 0), ("4", 0)]
    monkeypatch.setattr(served, "MOST_REMEMBERED_CHARACTERS", 20)
    mine.remember("5", Given((), ["z" * 10], {}))
    assert list(mine.given) == ["5"]
