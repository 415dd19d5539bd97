"""Following a run: one watcher for all who listen, nothing lost and nothing twice, and what is set back is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from made_runs import append, make_run, step

from tutelage.runs import tail
from tutelage.runs.tail import Follower, News, Watchers, since
from tutelage.train.run_folder import RunFolder


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(tail, "IDLE_SECONDS", 0.01)


def test_a_follower_gives_each_whole_line_once(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    follower = Follower(file)
    follower.skip()
    assert follower.read() == []
    append(file, [step(1)])
    assert [each["step"] for each in follower.read() or ()] == [1]
    with file.open("a") as stream:
        stream.write('{"step"')
    assert follower.read() == []
    with file.open("a") as stream:
        stream.write(': 2}\n{"step": 3}\n')
    assert [each["step"] for each in follower.read() or ()] == [2, 3]
    assert follower.read() == []


def test_a_follower_that_begins_in_the_middle_of_a_line_gets_it_whole(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n{"step"')
    follower = Follower(file)
    follower.skip()
    with file.open("a") as stream:
        stream.write(": 2}\n")
    assert [each["step"] for each in follower.read() or ()] == [2]


def test_a_run_that_is_set_back_is_told(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "one", steps=5)
    follower = Follower(folder / "metrics.jsonl")
    follower.skip()
    with RunFolder.resume(folder) as run:
        run.rewind(3)
        assert follower.read() is None
        run.append_metrics(step(4))
        assert [each["step"] for each in follower.read() or ()] == [4]


def test_what_was_missed_is_read_from_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "metrics.jsonl"
    append(file, [step(number) for number in range(1, 3001)])
    assert [each["step"] for each in since(file, 2997) or ()] == [2998, 2999, 3000]
    assert len(since(file, 0) or ()) == 3000
    assert since(file, 3000) == []
    assert since(tmp_path / "nothing.jsonl", 0) == []
    monkeypatch.setattr(tail, "MOST_NEW_BYTES", 70_000)
    assert since(file, 0) is None


async def _next(queue: asyncio.Queue[News | None], kind: str) -> Any:
    while True:
        news = await asyncio.wait_for(queue.get(), 30)
        assert news is not None
        if news.kind == kind:
            return news.data


def test_everybody_hears_of_everything_new(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "one", steps=2)

    async def listen() -> None:
        watchers = Watchers(tmp_path)
        async with watchers.listen("one") as (first, one), watchers.listen("one") as (second, two):
            assert first is second
            append(folder / "metrics.jsonl", [step(3)])
            append(folder / "samples.jsonl", [{"step": 3, "prompt": "p", "answer": "a", "stopped": True}])
            for queue in (one, two):
                assert [each["step"] for each in await _next(queue, "points")] == [3]
            for queue in (one, two):
                assert (await _next(queue, "samples"))["answers"][0]["answer"] == "a"
            with RunFolder.resume(folder):
                assert (await _next(one, "state"))["state"] in ("interrupted", "running")
        assert len(watchers.by_name) == 1
        await asyncio.wait_for(first.task, 30)  # ends by itself once nobody listens
        async with watchers.listen("one") as (third, _):
            assert third is not first

    asyncio.run(listen())


def test_a_listener_who_is_too_slow_is_told_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "QUEUE", 2)
    folder = make_run(tmp_path, "one", steps=1)

    async def listen() -> None:
        watchers = Watchers(tmp_path)
        async with watchers.listen("one") as (watcher, queue):
            for number in range(2, 6):
                append(folder / "metrics.jsonl", [step(number)])
                await asyncio.sleep(0.1)
                if queue not in watcher.listeners:
                    break
            assert await asyncio.wait_for(queue.get(), 30) is None

    asyncio.run(listen())


def test_listeners_of_a_run_that_is_removed_are_let_go(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "one", steps=1)

    async def listen() -> None:
        async with Watchers(tmp_path).listen("one") as (_, queue):
            folder.rename(tmp_path / "gone")
            while await asyncio.wait_for(queue.get(), 30) is not None:
                pass

    asyncio.run(listen())
