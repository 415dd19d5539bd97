"""Coming in: by invitation, by name and password, and only then."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browsing import NARROW, OpenPage, Server, is_too_wide, serious
from playwright.sync_api import expect

from tutelage.store import invitations
from tutelage.store.people import Person
from tutelage.studio import pages


def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_back(open_page: OpenPage) -> None:
    page = open_page(None, "/?tab=mine")
    assert "/sign-in?next=/%3Ftab%3Dmine" in page.url
    expect(page.get_by_text("You come back to where you were.")).to_be_visible()
    expect(open_page(None, "/").get_by_text("You come back to where you were.")).to_have_count(0)


def test_an_address_without_its_invitation_says_what_is_missing(open_page: OpenPage) -> None:
    page = open_page(None, "/join")
    expect(page.get_by_role("alert")).to_contain_text("Open the whole link that you were given")
    expect(page.get_by_label("Password")).to_be_hidden()
    page.get_by_role("link", name="Sign in").click()
    expect(page.get_by_label("Password")).to_be_visible()


def test_an_invitation_opens_an_account_once(open_page: OpenPage, server: Server, ada: Person) -> None:
    with server.store.write() as connection:
        token = invitations.invite(connection, ada, "rater")[1]
    page = open_page(None, f"/join#{token}")
    page.get_by_label("Name").fill("eve")
    page.get_by_label("Password").fill("short")
    page.get_by_role("button", name="Begin").click()
    expect(page.locator(".field", has_text="Password").get_by_role("alert")).to_contain_text("5 characters")
    page.get_by_label("Password").fill("a long enough one")
    page.get_by_role("button", name="Begin").click()
    page.wait_for_url(server.url + "/")
    assert page.locator("summary", has_text="eve").is_visible()
    again = open_page(None, f"/join#{token}")
    again.get_by_label("Name").fill("mallory")
    again.get_by_label("Password").fill("a long enough one")
    again.get_by_role("button", name="Begin").click()
    assert again.get_by_role("alert").inner_text() != ""
    assert again.url.startswith(server.url + "/join")


def test_a_wrong_password_says_so_and_lets_one_try_again(open_page: OpenPage) -> None:
    page = open_page(None, "/sign-in")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Sign in").click()
    assert page.get_by_role("alert").inner_text() != ""
    assert page.get_by_role("button", name="Sign in").is_enabled()


def test_the_way_back_never_leads_to_another_host(open_page: OpenPage, server: Server, ada: Person) -> None:
    with server.store.write() as connection:
        token = invitations.invite(connection, ada, "rater")[1]
    page = open_page(None, f"/join#{token}")
    page.get_by_label("Name").fill("eve")
    page.get_by_label("Password").fill("a long enough one")
    page.get_by_role("button", name="Begin").click()
    page.wait_for_url(server.url + "/")
    page.goto(server.url + "/sign-in?next=//elsewhere.example/")
    page.get_by_label("Name").fill("eve")
    page.get_by_label("Password").fill("a long enough one")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(server.url + "/")


def test_a_password_stays_out_of_the_address_while_the_page_still_loads(open_page: OpenPage) -> None:
    page = open_page(None, "/")
    page.route("**/*.js", lambda route: route.abort())
    page.goto(page.url)
    page.get_by_label("Name").fill("eve")
    page.get_by_label("Password").fill("a long enough one")
    before = page.url
    page.get_by_role("button", name="Sign in").click()
    assert page.url == before


def test_no_form_sends_itself() -> None:
    """A form that is pressed before its script has come would put what it holds into the address."""
    for template in (Path(pages.__file__).parent / "templates").glob("*.html"):
        for form in re.findall("<form[^>]*>", template.read_text("utf-8")):
            assert 'method="dialog"' in form, template.name


@pytest.mark.parametrize("path", ["/sign-in", "/join"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_doors_are_accessible_and_fit_a_phone(open_page: OpenPage, path: str, scheme: str) -> None:
    page = open_page(None, path, viewport=NARROW, color_scheme=scheme)
    assert serious(page) == []
    assert not is_too_wide(page)
