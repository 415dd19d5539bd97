"""What every page shares: each opens for each role, light and dark, on a phone and on a wide screen; and is quick."""

from __future__ import annotations

from typing import Any

import pytest
from browsing import NARROW, OpenPage, Server, is_too_wide, serious
from made_runs import make_run
from playwright.sync_api import Page, expect
from record import ADA, BO, CY

from tutelage.feedback import items, projects
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.store import pairs
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.studio.pages import NAVIGATION
from tutelage.types import Message

LARGE = {"width": 1600, "height": 1000}
PEOPLE = {"rater": CY, "reviewer": BO, "admin": ADA}
FIRST_LOAD_BYTES = 300_000
OWN_FILES_BYTES = 100_000
"""The page, its styles and its scripts, as they travel."""
MOST_REQUESTS = 50
FIRST_LOAD_MS = 3_000
"""A generous limit; alone on two cores it is a fraction of a second."""


@pytest.fixture(autouse=True)
def _something_is_there(store: Store) -> None:
    with store.write() as connection:
        pair = pairs.draft(connection, CY, [Message("user", "Why?"), Message("assistant", "So.")])
        pairs.submit(connection, CY, pair)


def quiet(page: Page) -> None:
    page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("role", PEOPLE)
@pytest.mark.parametrize(("scheme", "viewport"), [("light", NARROW), ("dark", LARGE)], ids=["phone", "wide"])
def test_every_page_of_the_navigation(
    open_page: OpenPage, server: Server, role: str, scheme: str, viewport: dict[str, int]
) -> None:
    page = open_page(PEOPLE[role], viewport=viewport, color_scheme=scheme)
    errors: list[str] = []
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    links = page.locator("nav[aria-label=Pages] a")
    titles = [entry.title for entry in NAVIGATION if allowed(role, entry.role)]
    expect(links).to_have_text(titles)
    for number, title in enumerate(titles):
        links.nth(number).click()
        expect(page.locator("nav[aria-label=Pages] [aria-current=page]")).to_have_text(title)
        quiet(page)
        expect(page.locator("h1")).to_have_count(1)
        assert errors == [], title
        assert serious(page) == [], title
        assert not is_too_wide(page), title
        assert is_seen(page, "nav[aria-label=Pages] [aria-current=page]"), title


def allowed(role: str, needed: str) -> bool:
    ranks = list(PEOPLE)
    return ranks.index(needed) <= ranks.index(role)


def is_seen(page: Page, selector: str) -> bool:
    """Whether all of it is on the screen, however far a row of links was scrolled."""
    found = "e => { const r = e.getBoundingClientRect(); return r.left >= 0 && r.right <= innerWidth; }"
    return bool(page.locator(selector).evaluate(found))


OTHERS = (
    "/sign-in", "/write/new", "/write/files", "/review/datasets", "/judge/helpful", "/judge/helpful/decide",
    "/judge/helpful/mine", "/runs/new", "/runs/one", "/runs/warnings", "/models/one", "/people/mine",
    "/people/guidelines", "/people/progress", "/people/log", "/account",
)  # fmt: skip


@pytest.mark.parametrize("path", [*(entry.path for entry in NAVIGATION), *OTHERS])
def test_a_first_load_is_small_and_quick(open_page: OpenPage, store: Store, path: str) -> None:
    """In a browser that has nothing of it yet; the best of three, for the machine may be busy with other tests."""
    make_run(store.workspace, "one", finished=True)
    with store.write() as connection:
        project = projects.create(connection, BO, "helpful", "comparison")
        items.add_items(connection, BO, project, [NewItem((Message("user", "?"),), [NewAnswer("a"), NewAnswer("b")])])
    told = first_load(open_page, path)
    assert told["own"] < OWN_FILES_BYTES
    assert told["bytes"] < FIRST_LOAD_BYTES
    assert told["requests"] < MOST_REQUESTS
    assert told["ms"] < FIRST_LOAD_MS or min(first_load(open_page, path)["ms"] for _ in range(2)) < FIRST_LOAD_MS


def first_load(open_page: OpenPage, path: str) -> dict[str, Any]:
    page = open_page(ADA, path)
    quiet(page)
    told: dict[str, Any] = page.evaluate("""() => {
      const [page, ...rest] = ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind));
      const own = rest.filter((each) => new URL(each.name).pathname.startsWith("/static/"));
      const bytes = (some) => some.reduce((sum, each) => sum + each.transferSize, page.transferSize);
      return { own: bytes(own), bytes: bytes(rest), requests: 1 + rest.length, ms: page.loadEventEnd };
    }""")
    return told


def test_the_keyboard_goes_from_the_skip_link_through_the_top_to_the_page(open_page: OpenPage) -> None:
    page = open_page(ADA, "/account")
    quiet(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    seen = []
    for _ in range(len(NAVIGATION) + 4):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()"
            )
        )
    titles = [entry.title for entry in NAVIGATION]
    assert seen == ["Tutelage, home", *titles, "Keyboard shortcuts", "Light or dark", "ada"]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_the_skip_link_skips(open_page: OpenPage) -> None:
    page = open_page(ADA, "/account")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="As the system")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_is_toggled_and_kept(open_page: OpenPage, scheme: str) -> None:
    other = "light" if scheme == "dark" else "dark"
    page = open_page(CY, color_scheme=scheme)
    shown = "getComputedStyle(document.documentElement).colorScheme"
    assert page.evaluate(shown) == scheme
    page.get_by_role("button", name="Light or dark").click()
    assert page.evaluate(shown) == other
    page.reload()
    assert page.evaluate(shown) == other


def test_the_menu_opens_closes_and_signs_out(open_page: OpenPage, server: Server) -> None:
    page = open_page(CY)
    menu = page.locator("details.menu")
    menu.locator("summary").click()
    expect(page.get_by_role("link", name="Account")).to_be_visible()
    page.locator("h1").click()
    expect(page.get_by_role("link", name="Account")).to_be_hidden()
    menu.locator("summary").press("Enter")
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Account")).to_be_hidden()
    expect(menu.locator("summary")).to_be_focused()
    menu.locator("summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(server.url + "/sign-in")
    page.goto(server.url + "/")
    assert "/sign-in" in page.url


def test_a_very_long_name_breaks_nothing(open_page: OpenPage, server: Server) -> None:
    from tutelage.store import people

    with server.store.write() as connection:
        person: Person = people.add_person(connection, "n" * 200, "admin")
    for path in ("/", "/people", "/account"):
        page = open_page(person, path, viewport=NARROW)
        quiet(page)
        assert not is_too_wide(page), path
