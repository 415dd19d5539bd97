"""Judging in the browser: twenty verdicts by keys, what is shown and what stays hidden, drafts, undo and the queue."""

from __future__ import annotations

from typing import Any

from browsing import OpenPage, Server
from judging import HOSTILE, STOPWATCH, labels, make, num_labels, shown, tab_to
from playwright.sync_api import Page, expect
from record import BO, CY, DEE
from sqlalchemy import select

from tutelage.feedback import projects, queue, submit
from tutelage.store import accounts, invitations, schema
from tutelage.types import Message

# --- from the invitation on ---------------------------------------------------------------------------------------


def test_a_raters_first_ten_minutes_from_invitation_to_the_twentieth_verdict(
    open_page: OpenPage, server: Server, ada: Any
) -> None:
    make(server.store, 20, guideline="Look for **mistakes** first.")
    with server.store.write() as connection:
        token = invitations.invite(connection, ada, "rater")[1]
    page = open_page(None, f"/join#{token}")
    page.get_by_label("Name").fill("eve")
    page.get_by_label("Password").fill("a long enough one")
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("navigation").get_by_role("link", name="Judge").click()
    expect(page.get_by_text("20 waiting for you")).to_be_visible()
    page.get_by_role("link", name="Begin helpful").click()
    expect(page.get_by_role("complementary", name="Guidelines")).to_contain_text("mistakes")
    for number in range(20):
        shown(page, number)
        page.keyboard.press(str(number % 8 + 1))
        page.keyboard.press("q")
        page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="That is all for now. Thank you.")).to_be_visible()
    expect(page.locator("#progress")).to_have_text("20 done today, 0 left")
    found = labels(server.store)
    assert len({each.item_id for each in found}) == len(found) == 20
    assert [each.value["strength"] for each in found[:8]] == [4, 3, 2, 1, 1, 2, 3, 4]
    places = [each.displayed.index(each.answer_ids[each.value["outcome"] == "second"]) for each in found[:8]]
    assert places == [0, 0, 0, 0, 1, 1, 1, 1]
    assert {(*each.reasons, each.guideline_version) for each in found} == {("true", 1)}
    assert sum(each.seconds for each in found) > 0


def test_everything_by_keyboard_from_signing_in_on(open_page: OpenPage, server: Server, ada: Any) -> None:
    make(server.store, 2)
    with server.store.write() as connection:
        accounts.set_password(connection, ada, CY, "a long enough one")
    page = open_page(None, "/judge")
    page.keyboard.type("cy")
    page.keyboard.press("Tab")
    page.keyboard.type("a long enough one")
    page.keyboard.press("Enter")
    page.wait_for_url("**/judge")
    expect(page.get_by_role("link", name="Begin helpful")).to_be_visible()
    tab_to(page, "Begin helpful")
    page.keyboard.press("Enter")
    shown(page, 0)
    page.keyboard.press("c")
    page.keyboard.type("says why, 1 2 3")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.keyboard.press("w")
    page.keyboard.press("Control+Home")
    page.keyboard.type("First: ")
    page.keyboard.press("Control+Enter")
    shown(page, 1)
    tab_to(page, "Both are bad")
    page.keyboard.press("Space")
    tab_to(page, "Submit")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="That is all for now")).to_be_focused()
    first, second = labels(server.store)
    assert (first.critique, first.value["strength"]) == ("says why, 1 2 3", 3)
    assert first.rewrite.startswith("First: S")
    assert second.value == {"outcome": "both_bad"}


# --- two people ---------------------------------------------------------------------------------------------------


def test_two_who_race_for_one_item_do_not_both_get_it(open_page: OpenPage, server: Server) -> None:
    make(server.store, 1)
    pages = [open_page(person, "/judge") for person in (CY, DEE)]
    for page in pages:
        page.evaluate(
            "setTimeout(() => location.assign('/judge/helpful'))"
        )  # both are on their way before either is there
    for page in pages:
        page.wait_for_url("**/judge/helpful")
        expect(page.locator("#task:not([hidden]), #wait:not([hidden]) h2")).to_have_count(1)
    assert sorted(page.locator("#task").is_visible() for page in pages) == [False, True]
    winner = next(page for page in pages if page.locator("#task").is_visible())
    winner.keyboard.press("1")
    winner.keyboard.press("Control+Enter")
    expect(winner.get_by_role("heading", name="That is all for now")).to_be_visible()
    assert num_labels(server.store) == 1


# --- what is shown ------------------------------------------------------------------------------------------------


def test_markup_and_script_of_a_model_are_text(open_page: OpenPage, server: Server) -> None:
    make(server.store, 1, answers=(HOSTILE, "plain"), prompt=[Message("system", HOSTILE)], reasons=["<b>bold</b>"])
    page = open_page(CY, "/judge/helpful")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    shown(page, 0)
    article = page.locator("article", has_text="onerror")
    expect(article).to_contain_text('<img src=x onerror="alert(1)"> <script>alert(2)</script>')
    expect(article.locator("strong")).to_have_text("bold")
    expect(page.get_by_role("button", name="<b>bold</b>")).to_be_visible()
    assert page.locator("main img, main script, main a[href^=javascript]").count() == 0
    page.keyboard.press("1" if "onerror" in page.locator("article").first.inner_text() else "8")
    page.keyboard.press("w")
    page.keyboard.type("<i>x</i>")
    expect(page.locator("#rewrite-diff ins")).to_contain_text("<i>x</i>")
    assert dialogs == []


def test_earlier_turns_are_shown_as_turns_and_long_ones_closed(open_page: OpenPage, server: Server) -> None:
    make(server.store, 1, prompt=[Message("user", "Hello. " * 300), Message("assistant", "Well met.")])
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    expect(page.get_by_text("Well met.")).to_be_hidden()
    page.get_by_text("Before that: 2 turns").click()
    expect(page.get_by_text("Well met.")).to_be_visible()


def test_nothing_says_which_model_wrote_what_before_the_verdict(open_page: OpenPage, server: Server) -> None:
    make(server.store, 2)
    page = open_page(CY, "/judge/helpful")
    told: list[str] = []
    page.on("response", lambda response: told.append(response.text()) if "/next" in response.url else None)
    page.reload()
    shown(page, 0)
    assert told
    assert "model-" not in "".join(told)
    assert "model-" not in page.content()
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    shown(page, 1)
    page.get_by_role("button", name="Who wrote them?").click()
    first = labels(server.store)[0]
    models = [f"model-{first.answer_ids.index(each)}" for each in first.displayed]
    expect(page.locator(".revealed")).to_have_text(f"A: {models[0]} · B: {models[1]}")


def test_guidelines_stand_beside_the_task_and_say_that_they_changed(open_page: OpenPage, server: Server) -> None:
    project = make(server.store, 3, guideline="Be strict.")
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    expect(page.locator("#guide")).to_contain_text("Be strict.")
    page.keyboard.press("g")
    expect(page.locator("#guide")).to_be_hidden()
    with server.store.write() as connection:
        projects.add_guideline(connection, BO, project, "Be kind.")
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    shown(page, 1)
    expect(page.get_by_role("button", name="Guidelines: changed")).to_be_visible()
    page.keyboard.press("g")
    page.get_by_role("button", name="What changed?").click()
    expect(page.locator("#guide ins")).to_have_text("kind.")
    page.keyboard.press("g")
    expect(page.get_by_role("button", name="Guidelines: changed")).to_be_hidden()


# --- keys ---------------------------------------------------------------------------------------------------------


def test_single_keys_are_letters_while_one_types(open_page: OpenPage, server: Server) -> None:
    make(server.store, 1)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.get_by_label("In your own words").focus()
    page.keyboard.type("12qus =x")
    expect(page.get_by_label("In your own words")).to_have_value("12qus =x")
    assert page.locator("[aria-pressed=true]").filter(visible=True).count() == 0


def test_keys_are_moved_and_turned_off(open_page: OpenPage, server: Server) -> None:
    make(server.store, 1)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    better = page.get_by_role("button", name="A is much better")
    expect(better.locator("kbd")).to_have_text("1")
    page.keyboard.press("?")
    page.get_by_role("button", name="Change the key for: A is much better").click()
    page.keyboard.press("y")
    page.get_by_role("button", name="Close", exact=True).click()
    expect(better.locator("kbd")).to_have_text("Y")
    page.keyboard.press("1")
    expect(better).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("y")
    expect(better).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("?")
    page.get_by_label("Use single keys").uncheck()
    page.get_by_role("button", name="Close", exact=True).click()
    expect(better.locator("kbd")).to_be_hidden()
    page.keyboard.press("8")
    expect(better).to_have_attribute("aria-pressed", "true")


def test_nothing_is_chosen_beforehand_and_nothing_is_sent_without_a_verdict(
    open_page: OpenPage, server: Server
) -> None:
    make(server.store, 1)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    assert page.locator("#panel [aria-pressed=true]").count() == 0
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("Say first which is better")
    assert num_labels(server.store) == 0


def test_a_verdict_alone_submits_for_whoever_turned_that_on(open_page: OpenPage, server: Server) -> None:
    make(server.store, 3)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.keyboard.press("1")
    page.get_by_label("Send at once").check()
    page.keyboard.press("2")
    shown(page, 1)
    page.reload()
    shown(page, 1)
    page.keyboard.press("x")
    shown(page, 2)
    assert [each.value for each in labels(server.store)][1] == {"outcome": "both_bad"}


# --- drafts -------------------------------------------------------------------------------------------------------


def test_a_reload_and_another_device_keep_what_was_entered(open_page: OpenPage, server: Server) -> None:
    make(server.store, 1)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.keyboard.press("2")
    page.keyboard.press("q")
    page.get_by_label("In your own words").fill("half a thou")
    page.get_by_role("button", name="Write a better answer").click()
    page.get_by_label("A better answer").fill("A better one.")
    page.reload()
    _has_draft(page)
    expect(page.get_by_text("Draft saved")).to_be_hidden()  # it was there before
    page.get_by_label("In your own words").press("End")
    page.keyboard.type("ght")
    expect(page.get_by_text("Draft saved")).to_be_visible()
    other = open_page(CY, "/judge/helpful")
    _has_draft(other, "half a thought")


def _has_draft(page: Page, critique: str = "half a thou") -> None:
    shown(page, 0)
    expect(page.get_by_role("button", name="A is better", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#words .chip").first).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_label("In your own words")).to_have_value(critique)
    expect(page.get_by_label("A better answer")).to_have_value("A better one.")


# --- undo ---------------------------------------------------------------------------------------------------------


def test_undo_goes_back_as_far_as_one_likes_and_on_again(open_page: OpenPage, server: Server) -> None:
    make(server.store, 4)
    page = open_page(CY, "/judge/helpful")
    for number, key in enumerate("18="):
        shown(page, number)
        page.keyboard.press(key)
        page.keyboard.press("Control+Enter")
    shown(page, 3)
    page.keyboard.press("3")  # a beginning that must not be lost
    page.keyboard.press("u")
    shown(page, 2)
    expect(page.get_by_role("button", name="About the same")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("u")
    shown(page, 1)
    expect(page.get_by_role("button", name="B is much better")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("x")
    page.keyboard.press("Control+Enter")
    shown(page, 3)
    expect(page.get_by_role("button", name="A is slightly better")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("u")
    shown(page, 1)
    expect(page.get_by_role("button", name="Both are bad")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    shown(page, 3)
    assert num_labels(server.store) == 4
    assert [each.value["outcome"] for each in labels(server.store)].count("both_bad") == 1


def test_ones_labels_are_listed_and_each_can_be_corrected(open_page: OpenPage, server: Server) -> None:
    project = make(server.store, 25)
    for number in range(25):
        with server.store.write() as connection:
            task = queue.next_item(connection, CY, project)
            assert task is not None
            submit.submit(connection, CY, task.assignment_id, f"k{number}", {"outcome": "tie"}, ["true"], "because")
    page = open_page(CY, "/judge/helpful/mine")
    expect(page.locator("article")).to_have_count(20)
    expect(page.locator("article").first).to_contain_text("Question 24")
    page.get_by_role("button", name="Earlier ones").click()
    expect(page.locator("article")).to_have_count(25)
    expect(page.get_by_role("button", name="Earlier ones")).to_be_hidden()
    page.get_by_role("link", name="Correct: Question 3:").click()
    shown(page, 3)
    expect(page.get_by_label("In your own words")).to_have_value("because")
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/mine")
    expect(page.locator("article").first).to_contain_text("A is much better")
    expect(page.locator("article").first).to_contain_text("corrected")


# --- the queue ----------------------------------------------------------------------------------------------------


def test_skipping_needs_a_reason_and_gives_the_next(open_page: OpenPage, server: Server) -> None:
    make(server.store, 2)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.keyboard.press("s")
    page.get_by_role("button", name="Skip it").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text("Say in a few words why.")
    page.get_by_role("button", name="Not my subject").click()
    page.keyboard.press("Enter")
    shown(page, 1)
    with server.store.read() as connection:
        assert "Not my subject" in connection.execute(select(schema.assignments.c.skip_reason)).scalars().all()


def test_the_lease_is_seen_renews_itself_and_its_end_costs_nothing(open_page: OpenPage, server: Server) -> None:
    make(server.store, 2, lease_seconds=900)
    page = open_page(CY, "/judge")
    page.clock.install()
    page.goto(server.url + "/judge/helpful")
    shown(page, 0)
    expect(page.get_by_role("timer")).to_contain_text("14:")
    page.clock.fast_forward("10:00")
    expect(page.get_by_role("timer")).to_contain_text("4:5")
    with page.expect_response("**/renew"):
        page.keyboard.press("1")
    page.clock.fast_forward("04:20")  # the server's clock, which counts, went on for seconds only
    expect(page.locator("#live")).to_contain_text("Little time is left")
    page.clock.fast_forward("01:00")
    expect(page.get_by_role("timer")).to_have_text("time is over")
    expect(page.locator("#live")).to_contain_text("what you submit is kept")
    page.keyboard.press("Control+Enter")
    shown(page, 1)
    assert num_labels(server.store) == 1


def test_a_paused_project_says_so(open_page: OpenPage, server: Server) -> None:
    project = make(server.store, 1)
    with server.store.write() as connection:
        projects.set_state(connection, BO, project, "paused")
    page = open_page(CY, "/judge/helpful")
    expect(page.get_by_role("heading", name="This project is paused")).to_be_visible()


def test_the_next_item_is_painted_at_once(open_page: OpenPage, server: Server) -> None:
    make(server.store, 12)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.evaluate(STOPWATCH)
    for number in range(11):
        shown(page, number)
        page.keyboard.press("1")
        page.keyboard.press("Control+Enter")
    shown(page, 11)
    expect(page.locator("body")).to_have_attribute("data-painted", "11")
    times = sorted(page.evaluate("window.times"))
    assert times[5] < 500, times  # about 60 on two quiet cores
