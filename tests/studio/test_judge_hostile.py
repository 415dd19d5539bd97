"""Judging as it happens: double clicks, keys held down, the back button, two windows, time that runs out, projects and
guidelines that change meanwhile, and answers that are empty, the same, very long or read from the right."""

from __future__ import annotations

from typing import Any

from browsing import NARROW, OpenPage, Server, is_too_wide, serious
from judging import labels, make, num_labels, shown
from playwright.sync_api import Page, expect
from record import BO, CY, DEE
from sqlalchemy import func, select, update

from tutelage.feedback import projects, queue, submit
from tutelage.feedback.projects import Project
from tutelage.store import schema
from tutelage.store.database import Store

CRITIQUE = "In your own words"
ALL_DONE = "That is all for now"

# --- hands ------------------------------------------------------------------------------------------------------------


def test_a_double_click_judges_one_item(open_page: OpenPage, server: Server) -> None:
    make(server.store, 4)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.get_by_label("Send at once").check()
    page.keyboard.press("1")
    shown(page, 1)
    box = page.get_by_role("button", name="A is slightly better").bounding_box()
    assert box is not None
    x, y = box["x"] + 20, box["y"] + 20
    page.mouse.click(x, y)
    page.mouse.click(x, y)  # of the same double click, though the next item may be there by now
    shown(page, 2)
    assert page.locator("#panel [aria-pressed=true]").count() == 0
    assert num_labels(server.store) == 2
    page.wait_for_timeout(450)
    page.mouse.click(x, y)  # a click of its own
    shown(page, 3)
    assert num_labels(server.store) == 3


def test_a_double_click_does_not_confirm_an_untouched_ranking(open_page: OpenPage, server: Server) -> None:
    make(server.store, 1, kind="ranking", answers=("one", "two", "three"))
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.get_by_role("button", name="Submit").dblclick()
    expect(page.get_by_role("alert")).to_contain_text("You have not moved anything")
    expect(page.locator("#task")).to_have_attribute("aria-busy", "false")
    assert num_labels(server.store) == 0


def test_a_key_held_down_counts_once(open_page: OpenPage, server: Server) -> None:
    make(server.store, 3)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.get_by_label("Send at once").check()
    for _ in range(3):
        page.keyboard.down("1")
    shown(page, 1)
    page.keyboard.down("1")
    page.keyboard.up("1")
    assert page.locator("#panel [aria-pressed=true]").count() == 0
    page.get_by_label("Send at once").uncheck()
    page.keyboard.press("2")
    page.get_by_role("button", name="Submit").focus()
    for _ in range(3):
        page.keyboard.down("Enter")
    shown(page, 2)
    page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    expect(page.locator("#problem")).to_be_hidden()
    assert num_labels(server.store) == 2


def test_enter_held_on_submit_does_not_confirm_an_untouched_ranking(open_page: OpenPage, server: Server) -> None:
    make(server.store, 1, kind="ranking", answers=("one", "two", "three"))
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.get_by_role("button", name="Submit").focus()
    for _ in range(4):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    expect(page.get_by_role("alert")).to_contain_text("You have not moved anything")
    assert num_labels(server.store) == 0


# --- coming back ------------------------------------------------------------------------------------------------------


def _enter_all(page: Page) -> None:
    page.keyboard.press("2")
    page.keyboard.press("q")
    page.get_by_label(CRITIQUE).fill("half a thought")
    page.get_by_role("button", name="Write a better answer").click()
    page.get_by_label("A better answer").fill("A better one.")


def _expect_all(page: Page) -> None:
    expect(page.get_by_text("Your draft is back")).to_be_visible()
    expect(page.get_by_role("button", name="A is better", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#words .chip").first).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_label(CRITIQUE)).to_have_value("half a thought")
    expect(page.get_by_label("A better answer")).to_have_value("A better one.")


def _drafts(store: Store) -> list[Any]:
    """What the server has of every item that somebody works on; not the response to saving it, which a reload drops."""
    with store.read() as connection:
        return list(connection.execute(select(schema.assignments.c.draft)).scalars())


def test_the_back_button_and_forward_again(open_page: OpenPage, server: Server) -> None:
    make(server.store, 1)
    page = open_page(CY, "/judge")
    page.get_by_role("link", name="Begin helpful").click()
    shown(page, 0)
    _enter_all(page)
    page.go_back()
    expect(page.get_by_role("heading", name="Judge", exact=True)).to_be_visible()
    page.go_forward()
    shown(page, 0)
    _expect_all(page)


def test_a_reload_while_a_draft_is_on_its_way_loses_nothing_and_saves_it_later(
    open_page: OpenPage, server: Server
) -> None:
    make(server.store, 1)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.route("**/draft", lambda route: route.abort())
    _enter_all(page)
    page.reload()
    shown(page, 0)
    _expect_all(page)
    assert _drafts(server.store) == [None]
    page.unroute("**/draft")
    page.reload()  # nothing is typed any more: what this browser has goes to the server all the same
    shown(page, 0)
    for _ in range(400):
        if _drafts(server.store) != [None]:
            break
        page.wait_for_timeout(50)
    _expect_all(open_page(CY, "/judge/helpful"))  # another device


def test_what_was_submitted_without_a_network_is_sent_once_after_a_reload(open_page: OpenPage, server: Server) -> None:
    make(server.store, 2)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    _enter_all(page)
    page.route("**/submit-next*", lambda route: route.abort())
    page.get_by_label(CRITIQUE).press("Control+Enter")
    expect(page.locator("#net")).to_have_text("1 not sent yet")
    page.reload()  # the network is still gone for what is submitted
    expect(page.locator("#wait")).to_contain_text("Sending what you said before")
    expect(page.locator("#offline")).to_contain_text("is kept in this browser")
    page.unroute("**/submit-next*")
    shown(page, 1)
    expect(page.locator("#last")).to_contain_text("Saved: A is better")
    expect(page.locator("#begun")).to_be_hidden()
    (label,) = labels(server.store)
    assert (label.critique, label.rewrite, label.reasons) == ("half a thought", "A better one.", ["true"])
    page.locator("#last").get_by_role("button", name="Undo").click()
    shown(page, 0)
    expect(page.get_by_label(CRITIQUE)).to_have_value("half a thought")


# --- two windows ------------------------------------------------------------------------------------------------------


def _two_windows(open_page: OpenPage) -> tuple[Page, Page]:
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    other = page.context.new_page()
    other.goto(page.url)
    shown(other, 0)
    return page, other


def test_what_the_second_window_says_about_the_same_item_becomes_a_correction(
    open_page: OpenPage, server: Server
) -> None:
    make(server.store, 2)
    page, other = _two_windows(open_page)
    other.get_by_label(CRITIQUE).fill("with reasons")
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    shown(page, 1)
    other.locator("#question").click()
    other.keyboard.press("x")
    other.keyboard.press("Control+Enter")
    expect(other.locator("#mode")).to_contain_text("You judged this one in another window meanwhile")
    shown(other, 0)
    expect(other.get_by_label(CRITIQUE)).to_have_value("with reasons")
    expect(other.get_by_role("button", name="Both are bad")).to_have_attribute("aria-pressed", "true")
    other.get_by_role("button", name="Correct it").click()
    shown(other, 1)
    (label,) = labels(server.store)
    assert (label.value, label.critique, label.supersedes is None) == ({"outcome": "both_bad"}, "with reasons", False)


def test_the_second_window_goes_on_where_it_says_the_same_or_skips(open_page: OpenPage, server: Server) -> None:
    make(server.store, 3)
    page, other = _two_windows(open_page)
    for each in (page, other):
        each.keyboard.press("1")
        each.keyboard.press("Control+Enter")
        shown(each, 1)
    expect(other.get_by_text("You judged this one already, in another window")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    shown(page, 2)
    other.keyboard.press("s")
    other.get_by_role("button", name="Not my subject").click()
    other.keyboard.press("Enter")
    expect(other.locator("#mode")).to_contain_text("You judged this one in another window meanwhile")
    other.keyboard.press("Escape")
    shown(other, 2)
    assert num_labels(server.store) == 2


# --- meanwhile --------------------------------------------------------------------------------------------------------


def _run_out(store: Store) -> None:
    with store.write() as connection:
        connection.execute(update(schema.assignments).values(expires_ms=1))


def _judged_by(store: Store, project: Project) -> None:
    with store.write() as connection:
        task = queue.next_item(connection, DEE, project)
        assert task is not None
        submit.submit(connection, DEE, task.assignment_id, "dee", {"outcome": "tie"})


def test_what_was_begun_before_the_time_ran_out_can_be_finished(open_page: OpenPage, server: Server) -> None:
    project = make(server.store, 2)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.get_by_label(CRITIQUE).fill("much work")
    _run_out(server.store)
    _judged_by(server.store, project)  # dee has the item now, and all its places
    page.reload()
    shown(page, 1)
    expect(page.locator("#begun")).to_contain_text("You had begun another one and did not submit it")
    assert serious(page) == []
    page.get_by_role("button", name="Finish it").click()
    shown(page, 0)
    expect(page.get_by_label(CRITIQUE)).to_have_value("much work")
    expect(page.locator("#over")).to_contain_text("Go on all the same: what you submit is kept")
    page.locator("#question").click()
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    shown(page, 1)
    expect(page.locator("#begun")).to_be_hidden()
    assert [each.critique for each in labels(server.store) if each.person_id == CY.id] == ["much work"]


def test_what_was_begun_can_be_dropped(open_page: OpenPage, server: Server) -> None:
    project = make(server.store, 2)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.keyboard.press("1")
    _run_out(server.store)
    _judged_by(server.store, project)
    page.reload()
    shown(page, 1)
    page.get_by_role("button", name="Drop it").click()
    expect(page.locator("#begun")).to_be_hidden()
    page.reload()
    shown(page, 1)
    expect(page.locator("#begun")).to_be_hidden()


def test_a_project_that_is_paused_or_closed_meanwhile_takes_what_was_begun(open_page: OpenPage, server: Server) -> None:
    project = make(server.store, 3)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    _set_state(server.store, project, "paused")
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="This project is paused")).to_be_visible()
    _set_state(server.store, project, "open")
    page.get_by_role("button", name="Look again").click()
    shown(page, 1)
    page.keyboard.press("2")
    _set_state(server.store, project, "closed")
    page.reload()
    expect(page.get_by_role("heading", name="This project is closed")).to_be_visible()
    page.get_by_role("button", name="Finish it").click()
    shown(page, 1)
    expect(page.get_by_role("button", name="A is better", exact=True)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="This project is closed")).to_be_visible()
    assert num_labels(server.store) == 2


def _set_state(store: Store, project: Project, state: str) -> None:
    with store.write() as connection:
        projects.set_state(connection, BO, project, state)


# --- guidelines on a phone --------------------------------------------------------------------------------------------


def test_on_a_phone_the_task_comes_first_once_the_guidelines_are_known(open_page: OpenPage, server: Server) -> None:
    project = make(server.store, 4, overlap=2, guideline="Be strict.")
    page = open_page(CY, "/judge/helpful", viewport=NARROW)
    shown(page, 0)
    expect(page.locator("#guide")).to_contain_text("Be strict.")  # new to them
    _say(page, 1)
    expect(page.locator("#guide")).to_be_hidden()
    page.reload()
    shown(page, 1)
    expect(page.get_by_role("button", name="Guidelines v1")).to_be_visible()
    expect(page.locator("#guide")).to_be_hidden()
    page.get_by_role("button", name="Guidelines v1").click()
    expect(page.locator("#guide")).to_be_visible()
    _say(page, 2)
    expect(page.locator("#guide")).to_be_hidden()
    with server.store.write() as connection:
        projects.add_guideline(connection, BO, project, "Be kind.")
    _say(page, 3)
    expect(page.locator("#guide")).to_contain_text("They have changed since you last looked")
    labelled = open_page(CY, "/judge/helpful", viewport=NARROW)  # another phone: they judged by version 1 before
    shown(labelled, 3)
    expect(labelled.locator("#guide")).to_contain_text("They have changed since you last looked")
    new = open_page(DEE, "/judge/helpful", viewport=NARROW)
    expect(new.locator("#guide")).to_contain_text("Be kind.")
    assert "changed" not in new.locator("#guide").inner_text()


def _say(page: Page, following: int) -> None:
    page.locator("#question").click()
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    shown(page, following)


def test_another_device_shows_known_guidelines_folded(open_page: OpenPage, server: Server) -> None:
    make(server.store, 2, guideline="Be strict.")
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    _say(page, 1)
    phone = open_page(CY, "/judge/helpful", viewport=NARROW)
    shown(phone, 1)
    expect(phone.get_by_role("button", name="Guidelines v1")).to_be_visible()
    expect(phone.locator("#guide")).to_be_hidden()


# --- answers ----------------------------------------------------------------------------------------------------------

CODE = "```python\nprint('" + "a very long line " * 20 + "')\n```\n\n"
TABLE = "| step | minutes | " + " | ".join(f"column{n}" for n in range(12)) + " |\n" + "|---" * 14 + "|\n"
LONG = ("Words and words. " * 30 + "\n\n" + CODE + TABLE + "| soak " * 14 + "|\n\n") * 7


def test_long_answers_with_code_and_tables_stay_in_their_place(open_page: OpenPage, server: Server) -> None:
    assert len(LONG) > 8_000
    make(server.store, 1, answers=(LONG, "y" * 8_000))
    page = open_page(CY, "/judge/helpful", viewport=NARROW)
    shown(page, 0)
    assert not is_too_wide(page)
    assert serious(page) == []
    word = page.locator("th", has_text="minutes").first.bounding_box()
    assert word is not None
    assert word["height"] < 48, "a word of a table is broken"
    expect(page.get_by_role("button", name="Submit")).to_be_in_viewport()
    page.set_viewport_size({"width": 1600, "height": 900})
    assert not is_too_wide(page)
    expect(page.get_by_role("button", name="A is much better")).to_be_in_viewport()


def test_empty_answers_say_so_and_each_script_has_its_direction(open_page: OpenPage, server: Server) -> None:
    project = make(server.store, 1, answers=("اغسلها بالماء.\n\n- اولا: الماء", "x"))
    table = schema.answers
    with server.store.write() as connection:
        connection.execute(update(table).where(table.c.text.like("x%")).values(text=""))
        assert connection.execute(select(func.count()).where(schema.items.c.project_id == project.id)).scalar_one() == 1
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    expect(page.get_by_text("The answer is empty.")).to_be_visible()
    direction = "each => getComputedStyle(each).direction"
    assert [page.locator(f".answer {tag}").first.evaluate(direction) for tag in ("ul", ".prose p")] == ["rtl", "rtl"]
    assert page.locator("#prompt p").first.evaluate(direction) == "ltr"
    expect(page.get_by_label(CRITIQUE)).to_have_attribute("dir", "auto")


def test_answers_of_the_same_words_say_so(open_page: OpenPage, server: Server) -> None:
    make(server.store, 1, answers=("Rinse it.", "Rinse  it."))
    table = schema.answers
    with server.store.write() as connection:
        connection.execute(update(table).where(table.c.text.like("Rinse it%")).values(text="Rinse it."))
        connection.execute(update(table).where(table.c.text.like("Rinse  it%")).values(text="Rinse  it."))
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    expect(page.get_by_text("Both answers say the same, word for word")).to_be_visible()
    page.keyboard.press("=")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name=ALL_DONE)).to_be_visible()


# --- the list ---------------------------------------------------------------------------------------------------------


def test_the_list_says_why_nothing_waits_and_offers_what_makes_sense(open_page: OpenPage, server: Server) -> None:
    project = make(server.store, 1)
    with server.store.write() as connection:
        task = queue.next_item(connection, DEE, project)
        assert task is not None
    page = open_page(CY, "/judge")
    card = page.locator("article", has_text="helpful")
    expect(card).to_contain_text("Others are at work on what is left")
    expect(card.get_by_role("link", name="Begin")).to_have_count(0)
    card.get_by_role("link", name="Wait for the next one").click()
    expect(page.locator("#wait")).to_contain_text("Others are at work on what is left")
    with server.store.write() as connection:
        submit.submit(connection, DEE, task.assignment_id, "k", {"outcome": "tie"})
    page = open_page(DEE, "/judge")
    card = page.locator("article", has_text="helpful")
    expect(card).to_contain_text("Every item has all the verdicts it needs.")
    assert card.get_by_role("link").all_inner_texts() == ["My labels"]
