"""Pairs for tests of the pages that write them, and where things are in the editor."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect
from record import ADA, CY

from tutelage.store import pairs
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.types import Message

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> **bold** [x](javascript:alert(3))"
GIRAFFE = "How tall is a giraffe when it is fully grown?"


def turns(question: str = GIRAFFE, answer: str = "About five metres.") -> list[Message]:
    return [Message("user", question), Message("assistant", answer)]


def written(store: Store, person: Person = CY, *, submit: bool = False, accept: bool = False, **more: object) -> str:
    """A pair of somebody; gives its id."""
    messages = more.pop("messages", turns())
    with store.write() as connection:
        pair_id = pairs.draft(connection, person, messages, **more)  # type: ignore[arg-type]
        if submit or accept:
            pairs.submit(connection, person, pair_id)
        if accept:
            pairs.accept(connection, ADA, pair_id)
    return pair_id


def stored(store: Store, pair_id: str) -> pairs.Pair:
    with store.read() as connection:
        return pairs.get(connection, ADA, pair_id)


def only_pair(store: Store, person: Person = CY) -> pairs.Pair:
    with store.read() as connection:
        (pair,) = pairs.listing(connection, ADA, author=person.name)
    return pair


def question(page: Page) -> Locator:
    return page.locator("[name='question-0']")


def answer(page: Page) -> Locator:
    return page.locator("[name='answer-0']")


def is_saved(page: Page) -> None:
    expect(page.locator("#saved[data-kind='saved']")).to_have_text("saved")
