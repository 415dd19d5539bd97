"""Models in processes of their own: loaded when asked, stopped, ended, started again; with real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from talking import add_model

from tutelage.engine.generate import Sampling
from tutelage.serve import pool as pool_module
from tutelage.serve.asking import Ask, Told, ask_line, read_ask
from tutelage.serve.pool import Pool
from tutelage.types import Message

pytestmark = pytest.mark.slow  # real model processes

HELLO = (Message("user", "Hello?"),)
SHORT = Ask(HELLO, Sampling(max_new_tokens=8))
LONG = Ask(HELLO, Sampling(max_new_tokens=400, ignore_eos=True))
PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talking")
    for seed, name in enumerate(("one", "two", "three")):
        add_model(folder, name, seed=seed)
    return folder


@pytest.fixture(scope="module")
def pool(workspace: Path) -> Iterator[Pool]:
    """One for most tests, for a process takes seconds to start; each test runs in an event loop of its own."""
    made = Pool(workspace)
    yield made
    made.close()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, PATIENCE_SECONDS))


async def heard(
    pool: Pool, model: str, ask: Ask = SHORT, until: Callable[[Told], bool] = lambda told: False
) -> list[Told]:
    """All that is told of an ask, up to the first thing that `until` likes; then its asker leaves."""
    found = []
    answers = pool.answer(model, ask)
    async for told in answers:
        found.append(told)
        if until(told):
            break
    await answers.aclose()
    return found


def kinds(told: list[Told]) -> list[str]:
    """Each kind of what was told, once."""
    return list(dict.fromkeys(each.kind for each in told))


def process_of(pool: Pool, model: str) -> psutil.Process:
    (found,) = [each for each in pool._processes.values() if each.model == model]
    return psutil.Process(found.process_id)


def test_an_ask_travels_whole() -> None:
    ask = Ask(HELLO, Sampling(max_new_tokens=3, stop=("a", "\n")), 2)
    assert read_ask(json.loads(ask_line(7, ask))) == ask


def test_a_model_is_loaded_answers_and_answers_again_at_once(pool: Pool) -> None:
    assert pool.loaded() == []
    first = run(heard(pool, "one"))
    assert kinds(first) == ["loading", "begun", "text", "done"]
    assert pool.loaded() == ["one"]
    (answer,) = first[-1].data["answers"]
    assert "".join(each.data["text"] for each in first if each.kind == "text") == answer["text"]
    assert 1 <= answer["num_tokens"] <= 8
    assert first[-1].data["num_prompt_tokens"] > 1
    again = run(heard(pool, "one"))
    assert kinds(again) == ["begun", "text", "done"]
    assert again[-1].data["answers"] == first[-1].data["answers"]


def test_several_answers_and_a_seed(pool: Pool) -> None:
    ask = Ask(HELLO, Sampling(max_new_tokens=8, temperature=1.0, seed=4), 3)
    told = run(heard(pool, "one", ask))
    texts = [each["text"] for each in told[-1].data["answers"]]
    assert len(texts) == 3
    assert len(set(texts)) > 1
    for index, text in enumerate(texts):
        assert "".join(t.data["text"] for t in told if t.kind == "text" and t.data["index"] == index) == text


def test_whoever_leaves_stops_the_answer(pool: Pool) -> None:
    async def work() -> tuple[Told, list[Told]]:
        whole = await heard(pool, "one", LONG)
        left = await heard(pool, "one", LONG, until=lambda told: told.kind == "text")
        assert left[-1].kind == "text"
        assert not any(each.is_busy for each in pool._processes.values())
        return whole[-1], await heard(pool, "one")

    whole, after = run(work())
    assert whole.data["answers"][0]["num_tokens"] == 400
    assert after[-1].kind == "done"


def test_asks_of_one_model_are_answered_in_turn(pool: Pool) -> None:
    async def work() -> list[list[Told]]:
        return list(await asyncio.gather(*(heard(pool, "one") for _ in range(4))))

    for told in run(work()):
        assert told[-1].kind == "done"
    assert len(pool._processes) == 1


def test_the_model_that_rested_longest_makes_room(pool: Pool) -> None:
    for model in ("one", "two", "one"):
        run(heard(pool, model))
    two = process_of(pool, "two")
    run(heard(pool, "three"))
    assert sorted(pool.loaded()) == ["one", "three"]
    two.wait(PATIENCE_SECONDS)


def test_a_third_model_waits_until_one_has_answered(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "SIGN_SECONDS", 0.02)
    small = Pool(workspace, most=1)

    async def work() -> list[Told]:
        busy = asyncio.ensure_future(heard(small, "one", LONG))
        while not any(each.is_busy for each in small._processes.values()):
            await asyncio.sleep(0.01)
        other = await heard(small, "two")
        await busy
        return other

    try:
        told = run(work())
        assert told[0].kind == "waiting"
        assert told[-1].kind == "done"
        assert small.loaded() == ["two"]
    finally:
        small.close()


def test_a_crash_is_said_plainly_and_the_next_try_works(pool: Pool) -> None:
    async def work() -> list[Told]:
        def crash(told: Told) -> bool:
            if told.kind == "begun":
                process_of(pool, "one").send_signal(signal.SIGKILL)
            return False

        return await heard(pool, "one", LONG, until=crash)

    told = run(work())
    assert told[-1].kind == "error"
    assert told[-1].data["error"].startswith("'one' stopped in the middle: it was ended from outside (SIGKILL)")
    assert run(heard(pool, "one"))[-1].kind == "done"


def test_a_model_that_rests_ends_and_comes_back(workspace: Path) -> None:
    restless = Pool(workspace, idle_seconds=0.1)
    try:
        run(heard(restless, "one"))
        process_of(restless, "one").wait(PATIENCE_SECONDS)
        assert run(heard(restless, "one"))[-1].kind == "done"
    finally:
        restless.close()


@pytest.mark.parametrize("name", ["nothing", "../models/one", "/tmp", "", "owner/name", ".", "starter-base"])
def test_a_name_is_no_path_and_fetches_nothing(pool: Pool, name: str) -> None:
    before = dict(pool._processes)
    (told,) = run(heard(pool, name))
    assert told.kind == "error"
    assert told.data["theirs"]
    assert (
        "is not on this machine yet" in told.data["error"]
        if name.startswith("starter")
        else "one" in told.data["error"]
    )
    assert pool._processes == before


def test_a_model_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    (add_model(tmp_path, "broken") / "model.safetensors").write_bytes(b"nothing")
    broken = Pool(tmp_path)
    try:
        told = run(heard(broken, "broken"))
        assert told[-1].kind == "error"
        assert "broken" in told[-1].data["error"]
    finally:
        broken.close()


def test_what_the_model_refuses_is_an_error_of_the_asker(pool: Pool) -> None:
    for messages in ((Message("user", "a </s> b"),), (Message("user", "word " * 600),)):
        told = run(heard(pool, "one", Ask(messages, Sampling())))
        assert told[-1].kind == "error"
        assert told[-1].data["theirs"]
    assert run(heard(pool, "one"))[-1].kind == "done"


def test_the_processes_end_with_the_server(workspace: Path) -> None:
    script = f"""
import asyncio, os, sys
from pathlib import Path
from tutelage.engine.generate import Sampling
from tutelage.serve.asking import Ask
from tutelage.serve.pool import Pool
from tutelage.types import Message
async def work():
    pool = Pool(Path({str(workspace)!r}))
    async for told in pool.answer("one", Ask((Message("user", "Hi"),), Sampling(max_new_tokens=4))):
        pass
    print([each.process_id for each in pool._processes.values()][0], flush=True)
    os.kill(os.getpid(), 9)
asyncio.run(work())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    worker = int(done.stdout)
    for _ in range(600):
        if not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    raise AssertionError("the model's process outlived the server")
