"""Judging through a network that fails: every verdict arrives, and none twice."""

from __future__ import annotations

from typing import Any

from browsing import OpenPage, Server, serious
from judging import labels, make, num_labels, shown
from playwright.sync_api import Route, expect
from record import CY

from tutelage.store import accounts, schema

# --- the network --------------------------------------------------------------------------------------------------


def test_an_answer_that_is_lost_on_its_way_back_makes_one_label(open_page: OpenPage, server: Server) -> None:
    make(server.store, 2)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    lost: list[str] = []

    def lose_once(route: Route) -> None:
        if lost:
            route.fallback()
            return
        lost.append(str(route.request.post_data))
        route.fetch()  # the server has done its work
        route.abort()

    page.route("**/submit-next*", lose_once)
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    shown(page, 1)
    assert len(lost) == num_labels(server.store) == 1


def test_a_server_that_dies_and_comes_back_gets_the_verdict_once(open_page: OpenPage, server: Server) -> None:
    make(server.store, 2)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    server.stop()
    page.keyboard.press("7")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#net")).to_have_text("1 not sent yet")
    expect(page.locator("#offline")).to_contain_text("kept in this browser")
    assert num_labels(server.store) == 0
    server.start()
    shown(page, 1)
    expect(page.locator("#net")).to_have_text("")
    expect(page.locator("#offline")).to_be_hidden()
    (label,) = labels(server.store)
    assert label.value["strength"] == 3


def test_offline_one_finishes_what_one_has_and_all_is_sent_on_return(open_page: OpenPage, server: Server) -> None:
    make(server.store, 2)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.context.set_offline(True)
    expect(page.locator("#offline")).to_contain_text("There is no network. Finish this one all the same")
    page.get_by_label("In your own words").fill("written without a network")
    page.locator("#question").click()
    page.keyboard.press("=")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#offline")).to_contain_text("The next one comes then")
    assert serious(page) == []
    page.keyboard.press("1")  # nothing more can be said about it
    page.context.set_offline(False)
    shown(page, 1)
    (label,) = labels(server.store)
    assert (label.value, label.critique) == ({"outcome": "tie"}, "written without a network")


def test_what_was_not_sent_survives_a_reload(open_page: OpenPage, server: Server) -> None:
    make(server.store, 2)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.route("**/submit-next*", lambda route: route.abort())
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#net")).to_have_text("1 not sent yet")
    page.unroute("**/submit-next*")
    page.reload()
    shown(page, 1)
    assert num_labels(server.store) == 1


def test_whoever_was_signed_out_signs_in_and_loses_nothing(open_page: OpenPage, server: Server, ada: Any) -> None:
    make(server.store, 2)
    with server.store.write() as connection:
        accounts.set_password(connection, ada, CY, "a long enough one")
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    with server.store.write() as connection:
        connection.execute(schema.sessions.update().values(revoked_ms=1))
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/sign-in*")
    page.get_by_label("Name").fill("cy")
    page.get_by_label("Password").fill("a long enough one")
    page.get_by_role("button", name="Sign in").click()
    shown(page, 1)
    assert num_labels(server.store) == 1
