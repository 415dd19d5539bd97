"""Ids sort by the time they were made at, also within a millisecond."""

from __future__ import annotations

import multiprocessing
import threading
from typing import Any

import pytest

from tutelage.store import ids
from tutelage.store.ids import new_id


def test_ids_of_one_millisecond_sort_in_the_order_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "now_ms", lambda: 1_795_852_128_789)
    made = [new_id() for _ in range(2_000)]
    assert made == sorted(set(made))
    assert {len(each) for each in made} == {32}
    assert {each[:12] for each in made} == {f"{1_795_852_128_789:012x}"}


def test_ids_of_different_milliseconds_sort_by_them(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1_000, 1_300))
    monkeypatch.setattr(ids, "now_ms", lambda: next(clock))
    made = [new_id() for _ in range(300)]
    assert made == sorted(made)
    assert len({each[12:] for each in made}) == 300  # drawn anew


def test_threads_get_ids_of_their_own() -> None:
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend(new_id() for _ in range(500))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(made)) == 4_000


def _make(sent: Any) -> None:
    ids.now_ms = lambda: 7
    sent.put([new_id() for _ in range(50)])


def test_a_fork_draws_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "now_ms", lambda: 7)
    new_id()
    context = multiprocessing.get_context("fork")
    sent = context.Queue()
    children = [context.Process(target=_make, args=(sent,)) for _ in range(2)]
    for each in children:
        each.start()
    made = [name for _ in children for name in sent.get(timeout=30)] + [new_id() for _ in range(50)]
    for each in children:
        each.join()
    assert len(set(made)) == 150
