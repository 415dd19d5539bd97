"""A labelling project for tests of the pages on which people judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from playwright.sync_api import Page, expect
from record import BO, CY, DEE
from sqlalchemy import func, select

from tutelage.feedback import items, projects, queue, submit
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.feedback.projects import Project
from tutelage.store import schema
from tutelage.store.database import Store
from tutelage.types import Message

HOSTILE = '<img src=x onerror="alert(1)"> <script>alert(2)</script> **bold** [a](javascript:alert(3))'
REASONS = ["true", "clear", "short", "kind"]


def make(
    store: Store, num_items: int = 3, kind: str = "comparison", answers: Sequence[str] = ("Soak it.", "Scrub it."),
    prompt: Sequence[Message] = (), **more: Any,
) -> Project:  # fmt: skip
    """A project with so many items; each prompt names its number."""
    more.setdefault("reasons", REASONS)
    with store.write() as connection:
        project = projects.create(connection, BO, "helpful", kind, **more)
        items.add_items(connection, BO, project, [
            NewItem(
                (*prompt, Message("user", f"Question {number}: how does one clean a pan?")),
                [NewAnswer(f"{text} ({number})", f"model-{place}") for place, text in enumerate(answers)],
            )
            for number in range(num_items)
        ])  # fmt: skip
    return project


STOPWATCH = """() => {
  window.times = [];
  let pressed = 0;
  const stop = () => {
    window.times.push(performance.now() - pressed);
    document.body.dataset.painted = window.times.length;
  };
  const start = (event) => { if (event.key === "Enter") pressed = performance.now(); };
  document.addEventListener("keydown", start, true);
  document.addEventListener("task-shown", () => requestAnimationFrame(() => setTimeout(stop)));
}"""
"""Milliseconds from the key press until the next task is painted."""


def labels(store: Store) -> list[Any]:
    """Labels in force, oldest first."""
    table = schema.labels
    with store.read() as connection:
        return list(connection.execute(select(table).where(table.c.superseded_ms.is_(None)).order_by(table.c.id)))


def num_labels(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(schema.labels)).scalar_one()


def shown(page: Page, number: int) -> None:
    """Wait for the task with this number."""
    expect(page.locator("#prompt")).to_contain_text(f"Question {number}:")
    expect(page.locator("#task")).to_have_attribute("aria-busy", "false")


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the control that is called so has the focus."""
    script = "document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent ?? ''"
    for _ in range(60):
        page.keyboard.press("Tab")
        if str(page.evaluate(script)).strip().startswith(name):
            return
    raise AssertionError(f"Tab does not reach {name}")


def judge_all(store: Store, project: Project, num_items: int) -> None:
    """CY and DEE judge everything; they agree on the second item only."""
    for person in (CY, DEE):
        for number in range(num_items):
            with store.write() as connection:
                task = queue.next_item(connection, person, project)
                assert task is not None
                first = min(range(2), key=lambda place: task.answers[place][1])
                winner = first if person is CY or number == 1 else 1 - first
                said = {"critique": "the first has a mistake" if person is DEE else ""}
                verdict = {"winner": winner, "strength": 2}
                submit.submit(connection, person, task.assignment_id, f"k{number}", verdict, **said)
