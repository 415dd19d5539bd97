"""Errors of pages are pages; errors of the API stay JSON."""

from __future__ import annotations

import pytest
from browsing import OpenPage, Server, is_too_wide, serious
from playwright.sync_api import expect
from record import ADA, BO, CY
from sqlalchemy.exc import OperationalError

from tutelage.store.database import Store
from tutelage.studio import home


def test_what_is_not_there_says_so_and_leads_home(open_page: OpenPage, server: Server) -> None:
    page = open_page(CY, "/nowhere/<b>at</b>/all")
    expect(page.get_by_role("heading", name="There is nothing at this address")).to_be_visible()
    assert serious(page) == []
    page.get_by_role("link", name="Home", exact=True).last.click()
    page.wait_for_url(server.url + "/")


def test_a_stranger_learns_nothing_and_may_sign_in(open_page: OpenPage) -> None:
    page = open_page(None, "/nowhere")
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()
    assert page.locator("header.top").count() == 0


@pytest.mark.parametrize(("path", "status"), [
    ("/nowhere", 404), (f"/people/{'f' * 32}", 404), ("/people/not-an-id", 404), ("/people/log", 200),
])  # fmt: skip
def test_the_status_is_told_too(open_page: OpenPage, server: Server, path: str, status: int) -> None:
    page = open_page(ADA)
    answer = page.goto(server.url + path)
    assert answer is not None
    assert answer.status == status


def test_what_is_not_for_ones_role_says_whose_it_is(open_page: OpenPage, server: Server) -> None:
    page = open_page(CY)
    for path in ("/review", "/runs", "/people/progress", "/people/log", f"/people/{BO.id}"):
        answer = page.goto(server.url + path)
        assert answer is not None
        assert answer.status == 403, path
        expect(page.get_by_role("heading", name="This is not for your role")).to_be_visible()
        assert not is_too_wide(page)
    expect(page.get_by_text("this needs the role admin")).to_be_visible()


def test_what_nobody_foresaw_is_one_line_and_no_traceback(
    open_page: OpenPage, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page(CY, "/account")

    def broken(*_: object) -> None:
        raise RuntimeError("the inside of it")

    monkeypatch.setattr(home, "page", broken)
    answer = page.goto(server.url + "/")
    assert answer is not None
    assert answer.status == 500
    assert answer.headers["content-security-policy"]
    expect(page.get_by_role("heading", name="Something went wrong")).to_be_visible()
    assert "inside" not in page.content()


def test_a_database_that_is_away_is_told_without_its_address(
    open_page: OpenPage, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page(CY, "/account")

    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT secret", {}, Exception("no such table"))

    monkeypatch.setattr(Store, "read", away)
    answer = page.goto(server.url + "/")
    assert answer is not None
    assert answer.status == 500
    assert "secret" not in page.content()
    expect(page.get_by_role("heading", name="Something went wrong")).to_be_visible()


def test_the_api_answers_json_as_before(open_page: OpenPage, server: Server) -> None:
    page = open_page(CY)
    for path, status in (("/api/nowhere", 404), ("/api/audit", 403), ("/api/pairs/xyz", 422)):
        answer = page.request.get(server.url + path)
        assert answer.status == status
        assert "error" in answer.json()
    assert page.request.get(server.url + "/static/nothing.js").headers["content-type"] == "application/json"
