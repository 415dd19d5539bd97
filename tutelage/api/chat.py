"""Talking to the workspace's models: a conversation goes out, an answer comes back as server-sent events.

    event: loading   {side, seconds, text, usual_seconds}   the model is being loaded
    event: waiting   {side, seconds, text}                  others are answered first
    event: text      {side, text}                           the next piece
    event: done      {side, model, text, num_tokens, num_prompt_tokens, stopped, seconds, sampling}
    event: error     {side, error}                          this side has no answer; the other one goes on
    event: end       {}                                     nothing more comes

`side` is 0, or 1 for the second of two models. Whoever closes the connection stops the answers. A person has one
request under way at a time, in each process of the server.

Leaves out: the models' processes (`tutelage.serve.pool`), and keeping conversations, which the browser does.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

from fastapi import APIRouter, Request

from tutelage.api.caller import Rater, Record
from tutelage.api.problems import BROKEN, log
from tutelage.api.streams import EventStream
from tutelage.api.wire import messages_of
from tutelage.api.wire_chat import Feedback, SaidInChat, TalkersTold, ToAnswer, Vote, WrittenDown
from tutelage.engine.generate import Sampling
from tutelage.errors import DataError, TooManyError
from tutelage.feedback.items import NewAnswer
from tutelage.models import talkers
from tutelage.serve.asking import Ask, Told
from tutelage.serve.pool import Pool
from tutelage.serve.verdicts import Said, write_down
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.types import Message

router = APIRouter(prefix="/api/chat", tags=["chat"])
PATIENCE_SECONDS = 2.0
"""How long a request waits for the person's one before, which may have been stopped just now."""
LOOK_SECONDS = 0.05


def pool_of(request: Request, store: Store) -> Pool:
    """The models of this process of the server."""
    state = request.app.state
    if not hasattr(state, "pool"):
        state.pool = Pool(store.workspace)
    assert isinstance(state.pool, Pool)
    return state.pool


@router.get("/models")
def list_talkers(person: Rater, store: Record, request: Request) -> TalkersTold:
    """The models there are to talk to."""
    del person
    return TalkersTold.of(talkers.known(store.workspace), pool_of(request, store).loaded())


@router.post("", response_class=EventStream)
async def talk(body: ToAnswer, person: Rater, store: Record, request: Request) -> EventStream:
    """Answer a conversation: server-sent events `loading`, `waiting`, `text`, `done`, `error` and `end`."""
    messages = messages_of(body.messages)
    _check_order(messages)
    for name in body.models:
        await asyncio.to_thread(talkers.find, name, store.workspace)
    turns = _turns(request)
    await _wait_for_turn(turns, person)
    events = _events(pool_of(request, store), turns, person, body, messages)
    return EventStream(events, headers={"X-Accel-Buffering": "no"})


def _check_order(messages: tuple[Message, ...]) -> None:
    """Perhaps a system message, then the user and the assistant in turn, the user last."""
    rest = messages[1:] if messages[0].role == "system" else messages
    wanted = ["user" if place % 2 == 0 else "assistant" for place in range(len(rest))]
    if not rest or [each.role for each in rest] != wanted or rest[-1].role != "user":
        raise DataError("give the turns in order: user, assistant, user …, the user last", field="messages")


def _turns(request: Request) -> set[str]:
    """The people whose request is under way in this process."""
    state = request.app.state
    if not hasattr(state, "talking"):
        state.talking = set()
    found: set[str] = state.talking
    return found


async def _wait_for_turn(turns: set[str], person: Person) -> None:
    for _ in range(int(PATIENCE_SECONDS / LOOK_SECONDS)):
        if person.id not in turns:
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise TooManyError("an answer to you is still being written; wait until it is done, or stop it")


async def _events(
    pool: Pool, turns: set[str], person: Person, body: ToAnswer, messages: tuple[Message, ...]
) -> AsyncGenerator[bytes, None]:
    if person.id in turns:  # another request was quicker, between its check and this
        yield _encoded("error", {"side": 0, "error": "an answer to you is still being written; wait, or stop it"})
        return
    turns.add(person.id)
    try:
        seed = body.sampling.seed if body.sampling.seed is not None else secrets.randbelow(2**31)
        sampling = Sampling(**body.sampling.model_dump() | {"seed": seed})
        async with _together(pool, body.models, Ask(messages, sampling)) as told_by_side:
            left = len(body.models)
            while left:
                side, told = await told_by_side.get()
                left -= told.is_last
                if (event := _event(side, body.models[side], sampling, told)) is not None:
                    yield event
        yield _encoded("end", {})
    finally:
        turns.discard(person.id)


@asynccontextmanager
async def _together(
    pool: Pool, models: list[str], ask: Ask
) -> AsyncGenerator[asyncio.Queue[tuple[int, Told]], None]:  # fmt: skip
    """What the models tell, by side; leaving stops them."""
    queue: asyncio.Queue[tuple[int, Told]] = asyncio.Queue()

    async def follow(side: int, model: str) -> None:
        try:
            async with aclosing(pool.answer(model, ask)) as answers:
                async for told in answers:
                    queue.put_nowait((side, told))
        except Exception:  # or whoever asked would wait for an end for ever
            log.exception("talking to %s", model)
            queue.put_nowait((side, Told("error", {"error": BROKEN})))

    tasks = [asyncio.ensure_future(follow(side, model)) for side, model in enumerate(models)]
    try:
        yield queue
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _event(side: int, model: str, sampling: Sampling, told: Told) -> bytes | None:
    if told.kind == "begun":
        return None
    if told.kind == "text":
        return _encoded("text", {"side": side, "text": told.data["text"]})
    if told.kind == "error":
        return _encoded("error", {"side": side, "error": told.data["error"]})
    if told.kind == "done":
        (answer,) = told.data["answers"]
        rest = {name: told.data[name] for name in ("num_prompt_tokens", "seconds")}
        return _encoded("done", {"side": side, "model": model, **answer, **rest, "sampling": settings_of(sampling)})
    return _encoded(told.kind, {"side": side, **told.data})


def settings_of(sampling: Sampling) -> dict[str, Any]:
    """What is kept of how an answer was drawn."""
    return {name: getattr(sampling, name) for name in ("temperature", "top_p", "max_new_tokens", "seed")}


def _encoded(kind: str, data: Mapping[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


# What people say about answers ----------------------------------------------------------------------------------------


@router.post("/feedback", status_code=201)
def give_feedback(body: Feedback, person: Rater, store: Record) -> WrittenDown:
    """Thumbs up or down for an answer, with reasons, and what it should have said as a draft pair."""
    answers = [NewAnswer(body.answer.text, body.answer.model, body.answer.sampling)]
    return _written(store, person, Said(
        body.request_key, "thumbs", messages_of(body.messages), answers, {"good": body.good}, **_more(body)
    ))  # fmt: skip


@router.post("/vote", status_code=201)
def vote(body: Vote, person: Rater, store: Record) -> WrittenDown:
    """Which of two answers is better, given in the order they were shown."""
    answers = [NewAnswer(each.text, each.model, each.sampling) for each in body.answers]
    return _written(store, person, Said(
        body.request_key, "comparison", messages_of(body.messages), answers, body.verdict,
        meta={"blind": body.blind} | ({"after_reveal": True} if body.after_reveal else {}), **_more(body),
    ))  # fmt: skip


def _more(body: SaidInChat) -> dict[str, Any]:
    return {name: getattr(body, name) for name in ("reasons", "critique", "rewrite", "corrects")}


def _written(store: Store, person: Person, said: Said) -> WrittenDown:
    written = store.run(lambda connection: write_down(connection, person, said))
    return WrittenDown(label_id=written.label_id, pair_id=written.pair_id)
