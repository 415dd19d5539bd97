"""Reviewing in the browser: by keys alone, own pairs left to others, decisions taken back, and datasets compared."""

from __future__ import annotations

import re

import pytest
from browsing import NARROW, OpenPage, Server, is_too_wide, serious
from playwright.sync_api import Page, expect
from record import ADA, BO, CY, DEE
from sqlalchemy import update

from tutelage.store import datasets, pairs, schema
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.types import Message

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def turns(question: str, answer: str = "About five metres, and a little more for a grown bull.") -> list[Message]:
    return [Message("user", question), Message("assistant", answer)]


def waiting(store: Store, *questions: str, person: Person = CY, answer: str | None = None) -> list[str]:
    """Ids of pairs that wait for review."""
    made = []
    with store.write() as connection:
        for question in questions:
            messages = turns(question) if answer is None else turns(question, answer)
            made.append(pairs.draft(connection, person, messages))
            pairs.submit(connection, person, made[-1])
    return made


def stored(store: Store, pair_id: str) -> pairs.Pair:
    with store.read() as connection:
        return pairs.get(connection, ADA, pair_id)


def is_at(page: Page, text: str) -> None:
    expect(page.locator("#pair .conversation")).to_contain_text(text)
    expect(page.locator("#pair .bar")).to_be_visible()


def is_all_sent(page: Page) -> None:
    expect(page.locator("#net")).to_be_empty()


def test_three_pairs_by_keys_alone(open_page: OpenPage, store: Store) -> None:
    ids = waiting(store, "How tall is a giraffe?", "How long is a python?", "How old is an oak?")
    page = open_page(BO, "/review")
    is_at(page, "giraffe")
    expect(page.locator("#place")).to_have_text("1 of 3, 0 decided")
    page.keyboard.press("j")
    is_at(page, "python")
    page.keyboard.press("k")
    is_at(page, "giraffe")
    page.keyboard.press("a")
    is_at(page, "python")
    page.keyboard.press("s")
    expect(page.locator("#comment")).to_be_focused()
    expect(page.locator("#comment-error")).to_contain_text("Say what is to be done")
    page.keyboard.type("Which kind? a s x j")
    page.keyboard.press("Control+Enter")
    is_at(page, "oak")
    page.keyboard.press("x")
    page.keyboard.type("We teach no trees.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="All is decided")).to_be_focused()
    expect(page.locator("#place")).to_have_text(re.compile("3 decided"))
    is_all_sent(page)
    found = [stored(store, each) for each in ids]
    assert [each.state for each in found] == ["accepted", "returned", "rejected"]
    assert [each.said for each in found] == ["", "Which kind? a s x j", "We teach no trees."]


def test_the_last_decision_is_taken_back(open_page: OpenPage, store: Store) -> None:
    first, _ = waiting(store, "How tall is a giraffe?", "How long is a python?")
    page = open_page(BO, "/review")
    is_at(page, "giraffe")
    page.keyboard.press("a")
    is_at(page, "python")
    page.keyboard.press("u")
    is_at(page, "giraffe")
    expect(page.locator(".toast")).to_contain_text("waits for review again")
    assert stored(store, first).state == "submitted"
    expect(page.get_by_role("button", name="Accept")).to_be_visible()


def test_ones_own_pair_is_left_to_somebody_else(open_page: OpenPage, store: Store) -> None:
    (own,) = waiting(store, "How tall is a giraffe?", person=BO)
    page = open_page(BO, "/review")
    is_at(page, "giraffe")
    expect(page.locator(".caution")).to_contain_text("You wrote this, so somebody else must review it.")
    page.keyboard.press("a")
    expect(page.locator("#told")).to_have_text("Somebody else must review this.")
    page.get_by_role("button", name="Nobody else can: accept my own").click()
    expect(page.locator("#problem")).to_contain_text("ask ada to accept it")
    assert stored(store, own).state == "submitted"
    with store.write() as connection:
        connection.execute(update(schema.people).where(schema.people.c.id == ADA.id).values(active=False))
    page.get_by_role("button", name="Nobody else can: accept my own").click()
    expect(page.get_by_role("heading", name="All is decided")).to_be_visible()
    is_all_sent(page)
    with store.read() as connection:
        assert pairs.get(connection, BO, own).state == "accepted"


def test_an_edit_in_place_shows_what_differs_and_needs_another_reviewer(open_page: OpenPage, store: Store) -> None:
    (pair_id,) = waiting(store, "How tall is a giraffe?")
    page = open_page(BO, "/review")
    is_at(page, "giraffe")
    page.keyboard.press("e")
    area = page.locator("#turn-1")
    expect(area).to_be_focused()
    area.fill("About six metres, and a little more for a grown bull.")
    expect(page.locator("#pair ins")).to_have_text(["yours", "six "])
    page.keyboard.press("Control+Enter")
    expect(page.locator(".caution")).to_contain_text("You edited this last, so somebody else must accept it.")
    assert stored(store, pair_id).revision == 2
    page = open_page(ADA, "/review")
    is_at(page, "six metres")
    page.keyboard.press("a")
    is_all_sent(page)
    assert stored(store, pair_id).state == "accepted"


def test_who_was_slower_is_told(open_page: OpenPage, store: Store) -> None:
    first, _ = waiting(store, "How tall is a giraffe?", "How long is a python?")
    page = open_page(BO, "/review")
    is_at(page, "giraffe")
    with store.write() as connection:
        pairs.accept(connection, ADA, first)
    page.keyboard.press("a")
    expect(page.locator(".toast.bad")).to_contain_text("only a pair that is submitted can be accepted")
    expect(page.locator("#queue li").first).to_contain_text("accepted")


def test_an_edit_under_a_reviewer_is_not_overwritten(open_page: OpenPage, store: Store) -> None:
    (pair_id,) = waiting(store, "How tall is a giraffe?")
    page = open_page(BO, "/review")
    is_at(page, "giraffe")
    page.keyboard.press("e")
    page.locator("#turn-1").fill("Mine.")
    with store.write() as connection:
        pairs.edit(connection, ADA, pair_id, turns("How tall is a giraffe?", "Theirs."), base_revision=1)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert").filter(has_text="ada saved other words")).to_be_visible()
    expect(page.locator("#pair del")).to_contain_text(["the author's", "Theirs."])
    assert stored(store, pair_id).messages[1].content == "Theirs."
    page.keyboard.press("Control+Enter")
    expect(page.locator(".toast")).to_contain_text("Saved as a new revision")
    assert stored(store, pair_id).messages[1].content == "Mine."


def test_a_decision_waits_for_the_server_to_come_back(open_page: OpenPage, server: Server, store: Store) -> None:
    first, _ = waiting(store, "How tall is a giraffe?", "How long is a python?")
    page = open_page(BO, "/review")
    is_at(page, "giraffe")
    expect(page.locator("#queue li")).to_have_count(2)
    page.wait_for_load_state("networkidle")
    server.stop()
    page.keyboard.press("a")
    is_at(page, "python")
    expect(page.locator("#net")).to_have_text("1 not sent yet")
    server.start()
    is_all_sent(page)
    assert stored(store, first).state == "accepted"


def test_what_is_decided_and_not_sent_does_not_come_back(open_page: OpenPage, store: Store) -> None:
    first, _ = waiting(store, "How tall is a giraffe?", "How long is a python?")
    page = open_page(BO, "/review")
    is_at(page, "giraffe")
    page.route("**/accept", lambda route: route.abort())
    page.keyboard.press("a")
    is_at(page, "python")
    page.reload()
    is_at(page, "python")
    expect(page.locator("#queue li")).to_have_count(1)
    page.unroute("**/accept")
    is_all_sent(page)
    assert stored(store, first).state == "accepted"


def test_checks_and_near_duplicates_stand_above_the_pair(open_page: OpenPage, store: Store) -> None:
    waiting(store, "How tall is a giraffe when it is grown?", answer="Ask jo.miller@mailbox.org.")
    waiting(store, "How tall is a giraffe when it is grown?", answer="Five metres.", person=DEE)
    page = open_page(BO, "/review")
    found = page.get_by_role("region", name="What the checks found")
    expect(found).to_contain_text("likely e-mail address")
    expect(found).to_contain_text("This is asked already")
    page.keyboard.press("j")
    expect(found).to_contain_text("the answer is 2 words long")


def test_a_long_queue_comes_page_by_page(open_page: OpenPage, store: Store) -> None:
    waiting(store, *(f"Question number {number} of many?" for number in range(24)))
    page = open_page(BO, "/review")
    expect(page.locator("#place")).to_have_text("1 of 24, 0 decided")
    expect(page.locator("#queue li")).to_have_count(20)
    page.locator("#queue li").nth(19).get_by_role("button").click()
    is_at(page, "number 19")
    expect(page.locator("#queue li")).to_have_count(24)
    page.keyboard.press("j")
    is_at(page, "number 20")


def test_hostile_text_is_shown_as_text(open_page: OpenPage, store: Store) -> None:
    with store.write() as connection:
        pair_id = pairs.draft(connection, CY, turns(HOSTILE, HOSTILE), tags=["<i>t</i>"], source="<b>s</b>")
        pairs.submit(connection, CY, pair_id, comment=HOSTILE)
    page = open_page(BO, "/review")
    is_at(page, "<script>alert(2)</script>")
    expect(page.locator("#pair")).to_contain_text("<i>t</i>")
    expect(page.locator("#pair")).to_contain_text("<b>s</b>")
    page.get_by_text("History").click()
    expect(page.locator(".history")).to_contain_text("<img src=x")
    page.keyboard.press("e")
    page.locator("#turn-1").fill(HOSTILE + " more")
    expect(page.locator("#pair ins")).to_contain_text(["yours", "more"])
    assert page.locator("main img, main script, main i, main b").count() == 0


def test_nothing_waits(open_page: OpenPage) -> None:
    page = open_page(BO, "/review")
    expect(page.get_by_role("heading", name="Nothing waits for review")).to_be_visible()
    page.keyboard.press("a")
    page.keyboard.press("j")
    page.get_by_role("link", name="Take a snapshot of what is accepted").click()
    expect(page.get_by_role("heading", name="No dataset yet")).to_be_visible()


def test_reviewing_is_for_reviewers(open_page: OpenPage) -> None:
    page = open_page(CY, "/write")
    for path in ("/review", "/review/datasets"):
        answer = page.goto(page.url.split("/write")[0].split("/review")[0] + path)
        assert answer is not None
        assert answer.status == 403


def test_snapshots_are_taken_compared_and_downloaded(open_page: OpenPage, store: Store) -> None:
    first, second = waiting(store, "How tall is a giraffe?", "How long is a python?")
    with store.write() as connection:
        for pair_id in (first, second):
            pairs.accept(connection, BO, pair_id)
    page = open_page(BO, "/review/datasets")
    expect(page.locator("main")).to_contain_text("never changes")
    page.get_by_label("Why").fill("The <b>first</b> ones")
    page.get_by_role("button", name="Take it").click()
    expect(page.locator("#made")).to_have_text("curated@1 holds 2 pairs. Train a model on it")
    expect(page.locator("#one")).to_contain_text("The <b>first</b> ones")
    page.get_by_role("button", name="Take it").click()
    expect(page.locator("#made")).to_have_text(
        "Nothing is new since curated@1, so that one stands. Train a model on it"
    )
    (third,) = waiting(store, "How old is an oak?")
    with store.write() as connection:
        pairs.edit(connection, BO, first, turns("How tall is a giraffe?", "About six metres."), base_revision=1)
        for pair_id in (first, third):
            pairs.accept(connection, ADA, pair_id)
        pairs.withdraw(connection, BO, second)
    page.get_by_role("button", name="Take it").click()
    expect(page.locator("#made")).to_contain_text("curated@2 holds 2 pairs.")
    link = page.get_by_role("link", name="Train a model on it")
    expect(link).to_have_attribute("href", "/runs/new?method=sft&data=curated%402")
    page.get_by_role("button", name="What differs").click()
    diff = page.locator("#diff")
    expect(diff.locator(".tally")).to_have_text("came1went1changed1stayed0")
    expect(diff).to_contain_text("oak")
    expect(diff).to_contain_text("python")
    diff.locator("summary").first.click()
    expect(diff.locator(".diff ins")).to_contain_text(["six"])
    page.reload()
    expect(diff.locator("h2")).to_have_text("From @1 to @2")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download curated@1").click()
    assert download.value.suggested_filename == "curated@1.jsonl"


def test_a_snapshot_of_nothing_says_why(open_page: OpenPage) -> None:
    page = open_page(BO, "/review/datasets")
    page.get_by_role("button", name="Take it").click()
    expect(page.locator("#make .error")).to_contain_text("no pair is accepted")
    page.get_by_label("Name", exact=True).fill("labels:helpful")
    expect(page.get_by_label("with quiet repeats")).to_be_visible()
    expect(page.get_by_label("Only with these tags")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_are_accessible_and_fit_a_phone(open_page: OpenPage, store: Store, scheme: str) -> None:
    long = "Donaudampfschifffahrtsgesellschaft" * 6
    waiting(store, "How tall is a giraffe?", long)
    (accepted,) = waiting(store, long)
    with store.write() as connection:
        pairs.accept(connection, BO, accepted)
    datasets.take_snapshot(store, BO, "curated", why=long)
    page = open_page(BO, "/review", viewport=NARROW, color_scheme=scheme)
    is_at(page, "giraffe")
    assert serious(page) == []
    page.get_by_role("button", name="Next").click()
    is_at(page, long)
    page.keyboard.press("s")
    assert serious(page) == []
    assert not is_too_wide(page)
    page.get_by_role("button", name="Edit").click()
    expect(page.locator("#turn-1")).to_be_focused()
    assert serious(page) == []
    assert not is_too_wide(page)
    page = open_page(BO, "/review/datasets", viewport=NARROW, color_scheme=scheme)
    expect(page.locator("#one")).to_contain_text("curated@1")
    assert serious(page) == []
    assert not is_too_wide(page)
