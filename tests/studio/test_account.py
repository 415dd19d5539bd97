"""One's own account: password, API tokens, shortcuts, light or dark, and leaving every browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher
from browsing import NARROW, OpenPage, Server, is_too_wide, serious
from playwright.sync_api import Page, expect
from record import ADA, BO, CY

from tutelage.client import Client
from tutelage.errors import TutelageError
from tutelage.store import accounts, passwords
from tutelage.store.database import Store

OLD, NEW = "the old password", "the new password"


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    passwords._nobodys.cache_clear()
    yield
    passwords._nobodys.cache_clear()


def make_token(page: Page, name: str) -> str:
    page.get_by_label("What for").fill(name)
    page.get_by_role("button", name="Make a token").click()
    return page.locator("#token input").input_value()


def test_a_token_made_here_works_in_the_client_until_it_is_revoked(open_page: OpenPage, server: Server) -> None:
    page = open_page(CY, "/account")
    token = make_token(page, "night <b>script</b>")
    expect(page.locator("#token")).to_contain_text("night <b>script</b>")
    with Client(server.url, token=token) as client:
        assert client.people.me().name == "cy"
    page.reload()
    expect(page.locator("#tokens")).to_contain_text("used just now")
    assert token not in page.content()
    page.get_by_role("button", name="Revoke the token night").click()
    expect(page.locator("#tokens")).to_contain_text("You have none.")
    with Client(server.url, token=token) as client, pytest.raises(TutelageError, match="revoked"):
        client.people.me()


def test_a_token_without_a_name_is_refused_beside_its_field(open_page: OpenPage) -> None:
    page = open_page(CY, "/account")
    page.get_by_role("button", name="Make a token").click()
    expect(page.locator("#token-form .error")).to_be_visible()
    expect(page.get_by_label("What for")).to_be_focused()


def test_a_password_is_changed_only_by_who_knows_the_old_one(open_page: OpenPage, server: Server, store: Store) -> None:
    with store.write() as connection:
        accounts.set_password(connection, ADA, CY, OLD)
    page, elsewhere = open_page(CY, "/account"), open_page(CY, "/account")
    page.get_by_label("Old password").fill("not this one")
    page.get_by_label("New password").fill(NEW)
    page.get_by_role("button", name="Change it").click()
    beside = page.locator("#password .field", has_text="Old password").locator(".error")
    expect(beside).to_have_text("the old password is wrong")
    expect(page.get_by_label("Old password")).to_be_focused()
    page.get_by_label("Old password").fill(OLD)
    page.get_by_label("New password").fill("short")
    page.get_by_role("button", name="Change it").click()
    expect(page.locator("#password .field", has_text="New password").locator(".error")).to_contain_text("5 characters")
    expect(beside).to_have_count(0)
    page.get_by_label("New password").fill(NEW)
    page.get_by_role("button", name="Change it").click()
    expect(page.locator("#toasts")).to_contain_text("Your password is changed")
    page.reload()
    expect(page.get_by_role("heading", name="Account")).to_be_visible()
    elsewhere.reload()
    assert "/sign-in" in elsewhere.url
    elsewhere.get_by_label("Name").fill("cy")
    elsewhere.get_by_label("Password").fill(NEW)
    elsewhere.get_by_role("button", name="Sign in").click()
    elsewhere.wait_for_url(server.url + "/account")


def test_signing_out_everywhere_ends_the_other_browser_too(open_page: OpenPage, server: Server) -> None:
    page, elsewhere = open_page(CY, "/account"), open_page(CY, "/account")
    page.get_by_role("button", name="Sign out everywhere").click()
    page.wait_for_url(server.url + "/sign-in")
    elsewhere.reload()
    assert "/sign-in" in elsewhere.url


def test_light_and_dark_are_kept(open_page: OpenPage, server: Server) -> None:
    page = open_page(CY, "/account", color_scheme="light")
    theme = page.get_by_role("group", name="Light or dark")
    expect(theme.get_by_role("button", name="As the system")).to_have_attribute("aria-pressed", "true")
    theme.get_by_role("button", name="Dark").click()
    page.goto(server.url + "/people")
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
    page.locator("#theme-button").click()
    page.goto(server.url + "/account")
    expect(theme.get_by_role("button", name="Light", exact=True)).to_have_attribute("aria-pressed", "true")
    theme.get_by_role("button", name="As the system").click()
    assert page.evaluate("localStorage.getItem('tutelage.theme')") is None


def test_shortcuts_are_changed_and_turned_off(open_page: OpenPage) -> None:
    page = open_page(BO, "/account")
    button = page.get_by_role("button", name="Change the key for: Show these shortcuts")
    expect(button).to_have_text("?")
    button.press("Enter")
    page.keyboard.press("h")
    expect(button).to_have_text("H")
    expect(button).to_be_focused()
    page.locator("h1").click()
    page.keyboard.press("h")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_label("Use single keys").uncheck()
    page.locator("h1").click()
    page.keyboard.press("h")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="As they were").click()
    expect(button).to_have_text("?")
    expect(page.get_by_label("Use single keys")).to_be_checked()


def test_shortcuts_stand_under_the_page_they_belong_to(open_page: OpenPage) -> None:
    page = open_page(BO, "/runs")
    page.wait_for_function("() => localStorage.getItem('tutelage.keys.met')?.includes('/runs')")
    page.get_by_role("link", name="Models").click()
    page.wait_for_function("() => localStorage.getItem('tutelage.keys.met')?.includes('/models')")
    page.goto(page.url.replace("/models", "/account"))
    titles = page.locator("#keys h3")
    expect(titles).to_have_text(["Runs", "Models"])
    for title in ("Runs", "Models"):
        own = page.locator(f"#keys h3:text-is('{title}') + ul")
        expect(own.get_by_role("button", name="Change the key for: Train a model")).to_have_text("N")


def test_the_api_is_one_click_away(open_page: OpenPage, server: Server) -> None:
    page = open_page(CY, "/account")
    page.get_by_role("link", name="all its addresses").click()
    page.wait_for_url(server.url + "/docs")
    expect(page.get_by_role("heading", name="The API of Tutelage")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_and_fits_a_phone(open_page: OpenPage, scheme: str) -> None:
    page = open_page(CY, "/account", viewport=NARROW, color_scheme=scheme)
    make_token(page, "mine")
    expect(page.locator("#tokens")).to_contain_text("mine")
    assert serious(page) == []
    assert not is_too_wide(page)
