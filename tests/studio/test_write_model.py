"""A model's draft in the pair editor: streamed, marked until edited, stopped, and one's own words put back.

The API of models is answered by the test, in the words of `tutelage.api.chat`.
"""

from __future__ import annotations

import json

from browsing import NARROW, OpenPage, is_too_wide, serious
from pairs_written import GIRAFFE, answer, is_saved, only_pair, question, written
from playwright.sync_api import Page, expect
from record import CY

from tutelage.store.database import Store


def speaking(page: Page, *pieces: str, models: tuple[str, ...] = ("tutor", "base")) -> None:
    """Let the API of models answer with these pieces, as `tutelage.api.chat` tells them."""
    told = {"models": [{"name": name, "words": "tiny"} for name in models], "after": "base"}
    page.route("**/api/chat/models", lambda route: route.fulfill(json=told))
    events = [("loading", {"side": 0, "text": "base is being loaded"})]
    events += [("text", {"side": 0, "text": piece}) for piece in pieces]
    events += [("done", {"side": 0, "text": "".join(pieces)}), ("end", {})]
    body = "".join(f"event: {kind}\ndata: {json.dumps(data)}\n\n" for kind, data in events)
    page.route("**/api/chat", lambda route: route.fulfill(body=body, content_type="text/event-stream"))


def test_a_model_drafts_and_its_words_are_marked_until_edited(open_page: OpenPage, store: Store) -> None:
    page = open_page(CY, "/write/new")
    speaking(page, "About ", "five ", "metres\r\n<b>or so</b>.")
    question(page).fill(GIRAFFE)
    answer(page).fill("My own words.")
    page.get_by_text("Let a model draft it").click()
    expect(page.get_by_label("Which model")).to_have_value("base")
    page.get_by_label("Which model").select_option("tutor")
    page.get_by_role("button", name="Draft the answer").click()
    expect(answer(page)).to_have_value("About five metres\n<b>or so</b>.")
    mark = page.get_by_text("tutor’s words, not yet yours")
    expect(mark).to_be_visible()
    is_saved(page)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#problem")).to_contain_text("still what tutor wrote, word for word")
    assert only_pair(store).state == "draft"
    page.reload()
    expect(mark).to_be_visible()
    answer(page).fill("About five metres.")
    expect(mark).to_be_hidden()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#state")).to_have_text("waiting for review")


def test_my_words_are_put_back_and_history_tells_of_the_model(open_page: OpenPage, store: Store) -> None:
    page = open_page(CY, f"/write/{written(store)}")
    speaking(page, "A model's answer.")
    page.get_by_text("Let a model draft it").click()
    page.get_by_role("button", name="Draft the answer").click()
    expect(answer(page)).to_have_value("A model's answer.")
    is_saved(page)
    page.get_by_role("button", name="History").click()
    expect(page.locator(".history")).to_contain_text("drafted by base, as it came")
    page.get_by_role("button", name="Put my words back").click()
    expect(answer(page)).to_have_value("About five metres.")


def test_without_a_model_it_says_where_to_get_one(open_page: OpenPage) -> None:
    page = open_page(CY, "/write/new", viewport=NARROW)
    speaking(page, models=())
    page.get_by_text("Let a model draft it").click()
    expect(page.locator(".drafting")).to_contain_text("No model is here yet")
    box = page.locator(".drafting").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert not is_too_wide(page)
    assert serious(page) == []


def test_a_model_can_be_stopped_while_turns_are_drawn_anew(open_page: OpenPage) -> None:
    page = open_page(CY, "/write/new")
    speaking(page)
    page.route("**/api/chat", lambda route: None)  # never answered
    question(page).fill(GIRAFFE)
    page.get_by_text("Let a model draft it").click()
    page.get_by_role("button", name="Draft the answer").click()
    expect(page.get_by_text("base: writing…")).to_be_visible()
    question(page).press("Alt+Enter")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Let a model draft it")).to_have_count(2)
    expect(page.locator("#problem")).to_be_hidden()


def test_a_model_that_fails_says_so_and_takes_nothing_away(open_page: OpenPage, store: Store) -> None:
    page = open_page(CY, f"/write/{written(store)}")
    speaking(page)
    body = 'event: error\ndata: {"side": 0, "error": "the model <b>broke</b>"}\n\n'
    page.route("**/api/chat", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
    page.get_by_text("Let a model draft it").click()
    page.get_by_role("button", name="Draft the answer").click()
    expect(page.locator("#problem")).to_have_text("the model <b>broke</b>")
    expect(answer(page)).to_have_value("About five metres.")
