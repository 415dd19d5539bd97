"""One model behind the chat API that everybody's clients speak, with an address for people's verdicts on its answers.

    GET  /v1/models, /v1/models/MODEL     POST /v1/chat/completions     POST /v1/feedback

Answers, streams and errors have the shapes of OpenAI's API. A field that asks for something that cannot be done here
(tools, log probabilities, penalties) is an error, never ignored. The last answers are remembered, so that a verdict
needs only the id of one; it is written down in the workspace's record, by whoever started the server.

Leaves out: accounts (the workspace's own API has them), and the model's process (`tutelage.serve.pool`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse

from tutelage import __version__
from tutelage.api.chat import settings_of
from tutelage.api.guards import LOCAL_HOSTS, Guard
from tutelage.api.problems import BUSY, STATUS, place_of
from tutelage.api.wire_openai import DEFAULT_TOKENS, ChatRequest, FeedbackRequest, UnsupportedError
from tutelage.engine.generate import Sampling
from tutelage.errors import DataError, NotFoundError, SignInError, TutelageError, UnavailableError
from tutelage.feedback.items import NewAnswer
from tutelage.serve.asking import Ask, Told
from tutelage.serve.pool import Pool
from tutelage.serve.verdicts import Said, write_down
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.types import Message

MOST_REMEMBERED = 1000
MOST_REMEMBERED_CHARACTERS = 20_000_000
_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class Given(NamedTuple):
    """A response that was given."""

    messages: Sequence[Message]
    texts: Sequence[str]
    settings: Mapping[str, Any]

    @property
    def num_characters(self) -> int:
        return sum(len(each.content) for each in self.messages) + sum(map(len, self.texts))


@dataclass
class Service:
    """What is served, to whom, and what was answered of late."""

    model: str
    pool: Pool
    key: str | None
    """The API key; None where none is asked for."""
    store: Store | None = None
    """The record that verdicts go into."""
    person: Person | None = None
    """Who gives them."""
    began: int = field(default_factory=lambda: int(time.time()))
    given: OrderedDict[str, Given] = field(default_factory=OrderedDict)
    num_characters: int = 0
    verdicts: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    """The newest verdict on an answer: its key, and a hash of what was said."""

    def remember(self, id: str, given: Given) -> None:
        """Keep a response, and forget the oldest where there are too many."""
        self.given[id] = given
        self.num_characters += given.num_characters
        while len(self.given) > MOST_REMEMBERED or self.num_characters > MOST_REMEMBERED_CHARACTERS:
            oldest, gone = self.given.popitem(last=False)
            self.num_characters -= gone.num_characters
            for index in range(len(gone.texts)):
                self.verdicts.pop((oldest, index), None)


def create_openai(service: Service, hosts: Collection[str] | None = LOCAL_HOSTS) -> FastAPI:
    """The application; `hosts` as of `tutelage.api.app.create_app`."""
    app = FastAPI(
        title="Tutelage", version=__version__, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.state.service = service
    app.include_router(router)
    app.add_exception_handler(TutelageError, _of_tutelage)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(UnsupportedError, _of_unsupported)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_middleware(Guard, hosts=hosts, say=said)
    return app


# Errors, in that API's shape ------------------------------------------------------------------------------------------


def error_body(message: str, status: int, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """An error as clients of that API know it."""
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def said(status: int, message: str, param: str | None = None, code: str | None = None) -> Response:
    """An error's answer."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return JSONResponse(error_body(message, status, param, code), status, headers)


def _of_tutelage(_: Request, error: Exception) -> Response:
    assert isinstance(error, TutelageError)
    status = next(status for kind, status in STATUS if isinstance(error, kind))
    if isinstance(error, UnavailableError):
        return said(status, BUSY)
    if isinstance(error, DataError):
        return said(400, error.problem, error.field)
    code = {401: "invalid_api_key", 404: "not_found"}.get(status)
    return said(status, str(error), "model" if isinstance(error, _NoModelError) else None,
                "model_not_found" if isinstance(error, _NoModelError) else code)  # fmt: skip


class _NoModelError(NotFoundError):
    """Another model than the one that is served."""


def _of_validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return said(400, str(first["msg"]).removeprefix("Value error, ")[:500], place_of(first["loc"]) or None)


def _of_unsupported(_: Request, error: Exception) -> Response:
    assert isinstance(error, UnsupportedError)
    return said(400, str(error), error.field, "unsupported_parameter")


def _of_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return said(error.status_code, str(error.detail))


# Who asks -------------------------------------------------------------------------------------------------------------


async def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    if service.key is not None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not _is_same(key.strip(), service.key):
            raise SignInError("the API key is missing or wrong; `tutelage serve` printed it when it began")
    return service


def _is_same(one: str, other: str) -> bool:
    """Whether two keys are equal; how long it takes tells nothing."""
    digests = [hashlib.sha256(each.encode("utf-8", "replace")).digest() for each in (one, other)]
    return hmac.compare_digest(*digests)


Served = Annotated[Service, Depends(_service)]
router = APIRouter(prefix="/v1")


@router.get("/models")
async def list_models(service: Served) -> dict[str, Any]:
    """The one model."""
    return {"object": "list", "data": [_model(service)]}


@router.get("/models/{model:path}")
async def get_model(model: str, service: Served) -> dict[str, Any]:
    """The one model, by its name."""
    _check_model(service, model)
    return _model(service)


def _model(service: Service) -> dict[str, Any]:
    return {"id": service.model, "object": "model", "created": service.began, "owned_by": "tutelage"}


def _check_model(service: Service, name: str) -> None:
    if name != service.model:
        raise _NoModelError(f"no model '{name[:100]}' here; this server has '{service.model}'")


# Answers --------------------------------------------------------------------------------------------------------------


class Reply(NamedTuple):
    """A response while it is made."""

    service: Service
    asked: ChatRequest
    ask: Ask
    id: str
    created: int

    def body(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id, "object": kind, "created": self.created, "model": self.service.model,
            "system_fingerprint": None, "choices": choices,
        }  # fmt: skip

    def remember(self, done: Told) -> None:
        texts = [each["text"] for each in done.data["answers"]]
        self.service.remember(self.id, Given(self.ask.messages, texts, settings_of(self.ask.sampling)))


@router.post("/chat/completions", response_model=None)
async def complete(body: ChatRequest, service: Served, request: Request) -> Response:
    """Answer a conversation, whole or as a stream."""
    _check_model(service, body.model)
    reply = Reply(service, body, _ask(body), f"chatcmpl-{secrets.token_hex(16)}", int(time.time()))
    if body.stream:
        first, events = await _first_event(reply)
        return StreamingResponse(
            _stream(reply, first, events), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
        )
    return await _whole(reply, request)


def _ask(body: ChatRequest) -> Ask:
    seed = secrets.randbelow(2**31) if body.seed is None else body.seed % 2**63
    sampling = Sampling(
        max_new_tokens=body.max_completion_tokens or body.max_tokens or DEFAULT_TOKENS,
        temperature=1.0 if body.temperature is None else body.temperature, top_p=body.top_p or 1.0, seed=seed,
        stop=tuple(body.stop),
    )  # fmt: skip
    messages = tuple(each.turn() for each in body.messages)
    if messages[-1].role != "user":
        raise DataError("the last message must be the user's", field="messages")
    return Ask(messages, sampling, body.n or 1)


def _failed(told: Told) -> tuple[int, str, str | None]:
    """(status, message, field) of an answer that did not come about."""
    return (400 if told.data["theirs"] else 500), told.data["error"], told.data["field"]


async def _whole(reply: Reply, request: Request) -> Response:
    async with aclosing(reply.service.pool.answer(reply.service.model, reply.ask)) as events:
        async for told in events:
            if told.kind == "error":
                return said(*_failed(told))
            if told.kind == "done":
                reply.remember(told)
                return JSONResponse(reply.body("chat.completion", _choices(told)) | {"usage": _usage(told)})
            if told.kind in ("waiting", "loading", "text") and await request.is_disconnected():
                break
    return said(499, "nobody waits for the answer any more")


def _choices(done: Told) -> list[dict[str, Any]]:
    return [
        {
            "index": index, "message": {"role": "assistant", "content": each["text"], "refusal": None},
            "finish_reason": _reason(each), "logprobs": None,
        }
        for index, each in enumerate(done.data["answers"])
    ]  # fmt: skip


def _reason(answer: Mapping[str, Any]) -> str:
    return "stop" if answer["stopped"] else "length"


def _usage(done: Told) -> dict[str, int]:
    written = sum(each["num_tokens"] for each in done.data["answers"])
    read = int(done.data["num_prompt_tokens"])
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


Events = AsyncGenerator[Told, None]


async def _first_event(reply: Reply) -> tuple[Told, Events]:
    """Wait until the answer begins, so that an error is an error's answer and no stream."""
    events = reply.service.pool.answer(reply.service.model, reply.ask)
    async with AsyncExitStack() as undo:
        undo.push_async_callback(events.aclose)
        async for told in events:
            if told.kind == "error":
                status, message, place = _failed(told)
                raise DataError(message, field=place) if status == 400 else HTTPException(status, message)
            if told.kind not in ("waiting", "loading"):
                undo.pop_all()
                return told, events
    raise HTTPException(500, "the model ended without a word")


async def _stream(reply: Reply, first: Told, events: Events) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        for index in range(reply.ask.num):
            yield _chunk(reply, index, {"role": "assistant", "content": ""})
        told: Told | None = first
        while told is not None:
            if told.kind == "text":
                yield _chunk(reply, told.data["index"], {"content": told.data["text"]})
            elif told.kind == "error":
                status, message, place = _failed(told)
                yield _data(error_body(message, status, place))
            elif told.kind == "done":
                reply.remember(told)
                for last in _last_chunks(reply, told):
                    yield last
            told = await anext(events, None)
    yield b"data: [DONE]\n\n"


def _last_chunks(reply: Reply, done: Told) -> list[bytes]:
    chunks = [_chunk(reply, index, {}, _reason(each)) for index, each in enumerate(done.data["answers"])]
    if reply.asked.stream_options is not None and reply.asked.stream_options.include_usage:
        chunks.append(_data(reply.body("chat.completion.chunk", []) | {"usage": _usage(done)}))
    return chunks


def _chunk(reply: Reply, index: int, delta: Mapping[str, Any], reason: str | None = None) -> bytes:
    choice = {"index": index, "delta": dict(delta), "finish_reason": reason, "logprobs": None}
    return _data(reply.body("chat.completion.chunk", [choice]))


def _data(body: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()


# Verdicts -------------------------------------------------------------------------------------------------------------


@router.post("/feedback", status_code=201)
def give_feedback(body: FeedbackRequest, service: Served) -> dict[str, Any]:
    """Thumbs up or down for an answer, and what it should have said. Said again, it takes the earlier one's place."""
    if service.store is None or service.person is None:
        raise DataError(
            "this workspace has no record to write verdicts into; make it with `tutelage init`, and start anew"
        )
    given = service.given.get(body.response_id)
    if given is None or body.index >= len(given.texts):
        raise DataError(
            f"no such answer; the last {MOST_REMEMBERED:,} are remembered, until the server ends", field="response_id"
        )
    place = (body.response_id, body.index)
    hashed = hashlib.sha256(body.model_dump_json().encode("utf-8", "surrogatepass")).hexdigest()
    before = service.verdicts.get(place)
    if before is not None and before[1] == hashed:
        key, corrects = before[0], None
    else:
        key, corrects = f"serve-{secrets.token_hex(16)}", before and before[0]
    person, verdict = service.person, _verdict(service, body, given, key, corrects)
    written = service.store.run(lambda connection: write_down(connection, person, verdict))
    service.verdicts[place] = (key, hashed)
    return {"id": written.label_id, "object": "feedback", "pair_id": written.pair_id}


def _verdict(service: Service, body: FeedbackRequest, given: Given, key: str, corrects: str | None) -> Said:
    answer = NewAnswer(given.texts[body.index], service.model[:200], given.settings)
    return Said(
        key, "thumbs", given.messages, [answer], {"good": body.good}, list(dict.fromkeys(body.tags)), body.comment,
        body.correction, corrects=corrects, source="serve",
    )  # fmt: skip
