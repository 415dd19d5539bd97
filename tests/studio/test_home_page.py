"""The first page: the loop with its counts, what waits, and the one next step, kept fresh while one looks."""

from __future__ import annotations

import re

import pytest
from browsing import NARROW, OpenPage, Server, is_too_wide, serious
from playwright.sync_api import Page, expect
from record import BO, CY, DEE
from sqlalchemy import insert

from tutelage.feedback import items, projects, queue, submit
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.store import pairs, schema
from tutelage.store.database import Store
from tutelage.types import Message

PAIR = [Message("user", "What is a leap year?"), Message("assistant", "A year of 366 days.")]


def judged(store: Store, name: str = "helpful") -> None:
    """A project of three items; on one of them two raters disagree."""
    with store.write() as connection:
        project = projects.create(connection, BO, name, "comparison", "Which answer helps more?", overlap=2)
        items.add_items(connection, BO, project, [
            NewItem((Message("user", f"question {number}"),), [NewAnswer("one"), NewAnswer("two")])
            for number in range(3)
        ])  # fmt: skip
        for person, text in ((CY, "one"), (DEE, "two")):
            task = queue.next_item(connection, person, project)
            assert task is not None
            place = [shown for _, shown in task.answers].index(text)
            submit.submit(connection, person, task.assignment_id, "k", {"winner": place, "strength": 4})


def station(page: Page, name: str) -> str:
    return page.locator(f".at-{name}").inner_text()


def test_nobody_has_done_anything_and_the_first_step_is_one_click_away(open_page: OpenPage, server: Server) -> None:
    page = open_page(CY)
    expect(page.get_by_role("heading", name="Write the first pair")).to_be_visible()
    expect(page.get_by_text("Nothing waits for you")).to_be_visible()
    assert "4" in station(page, "people")
    page.get_by_role("link", name="Write a pair").first.click()
    page.wait_for_url(server.url + "/write/new")


def test_what_waits_is_one_click_away(open_page: OpenPage, server: Server, store: Store) -> None:
    judged(store)
    with store.write() as connection:
        pair = pairs.draft(connection, CY, PAIR)
        pairs.submit(connection, CY, pair)
        pairs.send_back(connection, BO, pair, comment="say more")
    page = open_page(CY)
    waiting = page.locator("#waiting")
    expect(waiting.get_by_role("link")).to_have_count(2)
    expect(page.get_by_role("heading", name="2 things wait for you")).to_be_visible()
    expect(page.get_by_role("link", name="See what they said")).to_have_attribute("href", "/write?state=returned")
    waiting.get_by_role("link", name="to judge in helpful").click()
    page.wait_for_url(server.url + "/judge/helpful")


def test_a_reviewer_sees_what_raters_disagree_on(open_page: OpenPage, store: Store) -> None:
    judged(store)
    page = open_page(BO)
    expect(page.get_by_role("link", name="to decide in helpful")).to_have_attribute("href", "/judge/helpful/decide")


def test_counts_are_looked_at_again_when_one_comes_back(open_page: OpenPage, store: Store) -> None:
    page = open_page(CY)
    expect(page.locator(".at-verdicts")).to_contain_text("0")
    judged(store)
    page.locator(".at-pairs a").focus()
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.locator(".at-verdicts .station-count")).to_have_text("2")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "/write"  # where one was


def test_old_counts_say_so_while_the_server_is_away(open_page: OpenPage, server: Server) -> None:
    page = open_page(CY)
    expect(page.get_by_role("heading", name="Write the first pair")).to_be_visible()
    server.stop()
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.get_by_role("alert")).to_contain_text("may be old: the server cannot be reached")
    server.start()
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.locator("#problem")).to_be_hidden()


def test_models_stand_where_they_belong_and_names_are_text(open_page: OpenPage, store: Store) -> None:
    judged(store, name="a.b-c")
    with store.write() as connection:
        for number, (name, method) in enumerate((("<b>first</b>", "sft"), ("taste", "reward"), ("better", "ppo"))):
            row = {"id": str(number), "name": name, "method": method, "run": "", "origin": {}, "created_ms": number}
            connection.execute(insert(schema.models).values(**row))
    page = open_page(BO)
    expect(page.locator(".at-assistant")).to_contain_text("<b>first</b>")
    expect(page.locator(".at-reward")).to_contain_text("taste")
    expect(page.locator(".at-rlhf")).to_contain_text("newest by ppo")
    expect(page.locator(".at-better")).to_contain_text("better")
    assert page.locator("#home b").count() == 0


def test_the_keyboard_reaches_the_step_first(open_page: OpenPage) -> None:
    page = open_page(CY)
    expect(page.get_by_role("heading", name="Write the first pair")).to_be_visible()
    page.locator("#main").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Write a pair"
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/write/new"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_and_fits_a_phone(open_page: OpenPage, store: Store, scheme: str) -> None:
    judged(store)
    page = open_page(BO, viewport=NARROW, color_scheme=scheme)
    expect(page.get_by_role("link", name="to decide in helpful")).to_be_visible()
    assert serious(page) == []
    assert not is_too_wide(page)
    order = [box["y"] for name in ("people", "answers", "verdicts", "better")
             if (box := page.locator(f".at-{name}").bounding_box())]  # fmt: skip
    assert order == sorted(order)
