"""What waits in a browser to be sent belongs to the person who submitted it, whoever else uses that browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from browsing import OpenPage, Server
from judging import labels, make, num_labels, shown
from playwright.sync_api import Page, Route, expect
from record import ADA, BO, CY, DEE

from tutelage.api.caller import COOKIE
from tutelage.store import accounts, pairs, schema, sessions
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.types import Message

Enter = Callable[[Person], None]


@pytest.fixture
def one_browser(open_page: OpenPage, server: Server) -> Callable[[Person, str], tuple[Page, Enter]]:
    """A page, and `enter(person)`, by which somebody else signs in at the same browser."""

    def opened(person: Person, path: str) -> tuple[Page, Enter]:
        page = open_page(person, path)

        def enter(other: Person) -> None:
            with server.store.write() as connection:
                token = sessions.open_session(connection, other).token
            cookie: Any = {"name": COOKIE, "value": token, "url": server.url, "httpOnly": True, "sameSite": "Lax"}
            page.context.clear_cookies()
            page.context.add_cookies([cookie])

        return page, enter

    return opened


OneBrowser = Callable[[Person, str], tuple[Page, Enter]]


def _judge_unheard(page: Page) -> None:
    """Judge the first item while nothing that is submitted arrives."""
    shown(page, 0)
    page.route("**/submit-next*", lambda route: route.abort())
    page.get_by_label("In your own words").fill("said by cy")
    page.locator("#question").click()
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#net")).to_have_text("1 not sent yet")
    page.unroute("**/submit-next*")


def test_what_one_person_left_unsent_waits_for_them_alone(one_browser: OneBrowser, server: Server) -> None:
    make(server.store, 2, overlap=2)
    page, enter = one_browser(CY, "/judge/helpful")
    shown(page, 0)
    page.goto(server.url + "/judge/helpful")
    _judge_unheard(page)
    page.context.set_offline(True)
    enter(DEE)
    page.context.set_offline(False)
    page.goto(server.url + "/judge/helpful")  # dee's first visit at this browser
    shown(page, 0)
    expect(page.locator("#net")).to_have_text("")
    expect(page.get_by_label("In your own words")).to_have_value("")
    page.keyboard.press("x")
    page.keyboard.press("Control+Enter")
    shown(page, 1)
    (label,) = labels(server.store)
    assert (label.person_id, label.critique) == (DEE.id, "")
    enter(CY)
    page.goto(server.url + "/")
    expect(page.get_by_text("One thing you had not sent yet is sent now")).to_be_visible()
    expect(page.locator("#net")).to_have_text("")
    found = {each.person_id: each for each in labels(server.store)}
    assert found[CY.id].critique == "said by cy"
    assert num_labels(server.store) == 2


def test_a_page_left_open_sends_nothing_in_the_name_of_who_signed_in_since(
    one_browser: OneBrowser, server: Server
) -> None:
    make(server.store, 2, overlap=2)
    page, enter = one_browser(CY, "/judge/helpful")
    shown(page, 0)
    enter(DEE)
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    dialog = page.get_by_role("dialog", name="dee is signed in now")
    expect(dialog).to_contain_text("This page is cy’s. What cy entered and did not send is kept in this browser")
    assert num_labels(server.store) == 0
    dialog.get_by_role("button", name="Go on as dee").click()
    expect(page.locator(".menu summary")).to_have_text("dee")
    shown(page, 0)
    expect(page.get_by_role("button", name="A is much better")).to_have_attribute("aria-pressed", "false")
    enter(CY)
    page.goto(server.url + "/judge/helpful")
    shown(page, 1)
    assert [each.person_id for each in labels(server.store)] == [CY.id]


def test_an_open_page_hears_that_somebody_else_signed_in(one_browser: OneBrowser, server: Server) -> None:
    page, enter = one_browser(CY, "/judge")
    expect(page.get_by_text("There is nothing to judge yet")).to_be_visible()
    enter(DEE)
    other = page.context.new_page()
    other.goto(server.url + "/")
    expect(page.get_by_role("dialog", name="dee is signed in now")).to_be_visible()


def test_whoever_signs_in_anew_in_another_window_goes_on_in_this_one(one_browser: OneBrowser, server: Server) -> None:
    make(server.store, 2)
    page, enter = one_browser(CY, "/judge/helpful")
    shown(page, 0)
    enter(CY)  # another session, so another token against forged requests
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    shown(page, 1)
    assert num_labels(server.store) == 1


def test_two_windows_of_one_person_both_hear_of_what_either_sends(one_browser: OneBrowser, server: Server) -> None:
    make(server.store, 2)
    page, _ = one_browser(CY, "/judge/helpful")
    shown(page, 0)
    page.context.route("**/submit-next*", lambda route: route.abort())
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#net")).to_have_text("1 not sent yet")
    other = page.context.new_page()
    other.goto(server.url + "/account")
    expect(other.locator("#net")).to_have_text("1 not sent yet")
    page.context.unroute("**/submit-next*")
    other.reload()  # this one is the first to send it
    shown(page, 1)
    expect(page.locator("#net")).to_have_text("")
    expect(other.locator("#net")).to_have_text("")
    assert num_labels(server.store) == 1


def test_a_review_left_unsent_waits_for_its_reviewer(one_browser: OneBrowser, server: Server) -> None:
    pair = _submitted(server.store)
    page, enter = one_browser(BO, "/review")
    page.route("**/accept*", lambda route: route.abort())
    page.get_by_role("button", name="Accept").click()
    expect(page.locator("#net")).to_have_text("1 not sent yet")
    enter(ADA)
    page.unroute("**/accept*")
    page.goto(server.url + "/")
    expect(page.locator("#net")).to_have_text("")
    assert _state(server.store, pair) == "submitted"
    enter(BO)
    page.goto(server.url + "/")
    expect(page.get_by_text("One thing you had not sent yet is sent now")).to_be_visible()
    assert _state(server.store, pair) == "accepted"


def _submitted(store: Store) -> str:
    with store.write() as connection:
        pair = pairs.draft(
            connection, CY, [Message("user", "Why is the sky blue?"), Message("assistant", "It scatters.")]
        )
        pairs.submit(connection, CY, pair)
    return pair


def _state(store: Store, pair: str) -> str:
    with store.read() as connection:
        return str(pairs.get(connection, ADA, pair).state)


def test_signing_out_sends_what_waits_first_and_says_where_it_cannot(one_browser: OneBrowser, server: Server) -> None:
    make(server.store, 2)
    page, _ = one_browser(CY, "/judge/helpful")
    _judge_unheard(page)
    page.route("**/submit-next*", lambda route: route.abort())
    page.route("**/api/session", lambda route: route.abort())
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are still signed in: the server cannot be reached")).to_be_visible()
    page.unroute("**/submit-next*")
    page.unroute("**/api/session")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    assert num_labels(server.store) == 1


def test_who_is_signed_out_sends_after_signing_in_again_though_another_came_between(
    open_page: OpenPage, server: Server, ada: Person
) -> None:
    make(server.store, 2, overlap=2)
    with server.store.write() as connection:
        for person in (CY, DEE):
            accounts.set_password(connection, ada, person, f"a long one of {person.name}")
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    with server.store.write() as connection:
        connection.execute(schema.sessions.update().values(revoked_ms=1))
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/sign-in?next=**")
    _sign_in(page, "dee")
    shown(page, 0)
    assert num_labels(server.store) == 0
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    _sign_in(page, "cy")
    expect(page.get_by_text("One thing you had not sent yet is sent now")).to_be_visible()
    assert [each.person_id for each in labels(server.store)] == [CY.id]


def _sign_in(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(f"a long one of {name}")
    page.get_by_role("button", name="Sign in").click()


def test_a_vote_of_the_chat_is_kept_under_its_person(one_browser: OneBrowser, server: Server) -> None:
    """The chat's page leaves its votes to the same outbox: what it kept for cy is nothing to dee."""
    body = {
        "request_key": "k1", "messages": [{"role": "user", "content": "Hi"}], "answer": {"text": "Ho", "model": "m"},
        "good": True, "reasons": [], "rewrite": "", "corrects": None,
    }  # fmt: skip
    page, enter = one_browser(CY, "/chat")
    heard: list[str] = []

    def note(route: Route) -> None:
        heard.append(route.request.headers["x-csrf-token"])
        route.abort() if len(heard) == 1 else route.fallback()

    page.route("**/api/chat/feedback", note)
    entry = {"id": "k1", "method": "POST", "path": "/api/chat/feedback", "body": body}
    page.evaluate("entry => { import('/static/js/outbox.js').then((outbox) => outbox.send(entry)) }", entry)
    expect(page.locator("#net")).to_have_text("1 not sent yet")
    enter(DEE)
    page.goto(server.url + "/chat")
    expect(page.locator("#net")).to_have_text("")
    assert num_labels(server.store) == 0
    enter(CY)
    page.goto(server.url + "/chat")
    expect(page.get_by_text("One thing you had not sent yet is sent now")).to_be_visible()
    assert [each.person_id for each in labels(server.store)] == [CY.id]
