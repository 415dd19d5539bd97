"""Rankings, ratings and thumbs by keys; what reviewers do; every page of judging on a phone, in light and dark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from browsing import NARROW, OpenPage, Server, is_too_wide, serious
from judging import judge_all, labels, make, num_labels, shown
from playwright.sync_api import Page, expect
from record import ADA, BO, CY

from tutelage.feedback import projects
from tutelage.store import datasets

# --- ranking and rating -------------------------------------------------------------------------------------------


def test_ranking_by_keys_with_ties(open_page: OpenPage, server: Server) -> None:
    make(server.store, 1, kind="ranking", answers=("one", "two", "three", "four"))
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.keyboard.press("4")
    page.keyboard.press("k")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#live")).to_have_text("Answer D, now 1st of 4")
    page.keyboard.press("2")
    page.keyboard.press("j")
    page.keyboard.press("=")
    expect(page.locator("#live")).to_have_text("Answer B, now 3rd of 4, tied with C")
    page.reload()  # a half-made ranking is kept
    shown(page, 0)
    order = (
        "Array.from(document.querySelectorAll('.rank-card'), (each) => each.getAttribute('aria-label').at(-1)).join('')"
    )
    assert page.evaluate(order) == "DACB"
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="That is all for now")).to_be_visible()
    (label,) = labels(server.store)
    ranks = dict(zip(label.answer_ids, label.value["ranks"], strict=True))
    assert [ranks[each] for each in label.displayed] == [1, 2, 2, 0]


def test_ranking_by_dragging(open_page: OpenPage, server: Server) -> None:
    make(server.store, 1, kind="ranking", answers=("one", "two", "three"))
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    cards = page.locator(".rank-card")
    page.locator(".handle").nth(0).hover()
    page.mouse.down()
    box = cards.nth(2).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 30, box["y"] + box["height"] - 4, steps=8)
    page.mouse.up()
    expect(cards.nth(2)).to_have_attribute("aria-label", "Answer A")
    expect(cards.nth(0)).to_have_attribute("aria-label", "Answer B")
    expect(page.locator("#live")).to_have_text("Answer A, now 3rd of 3")


def test_an_untouched_ranking_is_asked_about_once(open_page: OpenPage, server: Server) -> None:
    make(server.store, 1, kind="ranking", answers=("one", "two", "three"))
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("You have not moved anything")
    assert num_labels(server.store) == 0
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="That is all for now")).to_be_visible()
    (label,) = labels(server.store)
    assert sorted(label.value["ranks"]) == [0, 1, 2]


def test_rating_by_keys_goes_from_one_quality_to_the_next(open_page: OpenPage, server: Server) -> None:
    qualities = [
        {"name": "helpful", "low": 0, "high": 4, "help": "does what was asked"},
        {"name": "tone", "low": -2, "high": 2, "help": ""},
        {"name": "percent", "low": 0, "high": 100, "help": ""},
    ]
    make(server.store, 1, kind="rating", answers=("one",), attributes=qualities)
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    expect(page.get_by_text("does what was asked")).to_be_visible()
    page.keyboard.press("3")
    page.keyboard.press("5")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("Still without a number: percent")
    page.get_by_label("percent").fill("62.5")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="That is all for now")).to_be_visible()
    assert labels(server.store)[0].value == {"scores": {"helpful": 3, "tone": 2, "percent": 62.5}}


def test_thumbs(open_page: OpenPage, server: Server) -> None:
    make(server.store, 2, kind="thumbs", answers=("one",))
    page = open_page(CY, "/judge/helpful")
    shown(page, 0)
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    shown(page, 1)
    page.get_by_role("button", name="Good", exact=True).click()
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name="That is all for now")).to_be_visible()
    assert [each.value for each in labels(server.store)] == [{"good": False}, {"good": True}]


# --- reviewers ----------------------------------------------------------------------------------------------------


def test_a_reviewer_makes_a_project_and_fills_it(open_page: OpenPage, server: Server) -> None:
    page = open_page(BO, "/judge")
    expect(page.get_by_role("heading", name="There is nothing to judge yet")).to_be_visible()
    page.get_by_role("button", name="New project").click()
    page.get_by_label("What raters do").select_option("rating")
    page.locator("input[name=name]").fill("no good name")
    page.get_by_label("Name of quality 1").fill("helpful")
    page.get_by_label("Reasons to choose from").fill("true\n\n clear ")
    page.get_by_role("button", name="Make the project").click()
    expect(page.locator(".field", has=page.locator("input[name=name]")).get_by_role("alert")).to_be_visible()
    page.locator("input[name=name]").fill("quality")
    page.get_by_role("button", name="Make the project").click()
    page.wait_for_url(server.url + "/judge/quality/project")
    page.get_by_text("Or take answers from a file").click()
    page.get_by_label("Answers from a file").set_input_files(
        {"name": "wrong.jsonl", "mimeType": "application/json", "buffer": b'{"prompt": "Why?"}\n'}
    )
    page.get_by_role("button", name="Add them").click()
    expect(page.locator("#items-file .error")).to_contain_text("there are no answers")
    lines = b'{"prompt": "Why?", "answers": ["So.", "Because."]}\n'
    page.get_by_label("Answers from a file").set_input_files(
        {"name": "items.jsonl", "mimeType": "application/json", "buffer": lines}
    )
    page.get_by_role("button", name="Add them").click()
    expect(page.get_by_text("2 items to judge")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("paused", exact=True)).to_be_visible()
    with server.store.read() as connection:
        project = projects.get(connection, "quality")
    assert (project.state, project.reasons, project.attributes[0]["name"]) == ("paused", ("true", "clear"), "helpful")


def test_a_reviewer_decides_where_raters_disagree(open_page: OpenPage, server: Server) -> None:
    project = make(server.store, 3, overlap=2)
    judge_all(server.store, project, 3)
    page = open_page(BO, "/judge/helpful/decide")
    shown(page, 0)
    expect(page.locator(".opinion")).to_have_count(2)
    expect(page.locator("#opinions")).to_contain_text("the first has a mistake")
    page.get_by_text("How far this project is").click()
    expect(page.get_by_role("table", name="By rater")).to_contain_text("dee")
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    shown(page, 2)
    page.keyboard.press("s")
    expect(page.get_by_text("Nothing is left to decide")).to_be_visible()
    (decision,) = [each for each in labels(server.store) if "adjudicates" in each.meta]
    assert decision.value == {"outcome": "first", "strength": 4}
    assert len(decision.meta["adjudicates"]) == 2


def test_a_rater_is_told_that_reviewers_decide(open_page: OpenPage, server: Server) -> None:
    make(server.store, 1)
    page = open_page(CY, "/judge/helpful/decide")
    expect(page.get_by_role("heading", name="Reviewers decide here")).to_be_visible()
    page.goto(server.url + "/judge/nothing")
    expect(page.get_by_role("heading", name="There is no project “nothing”")).to_be_visible()


def test_a_rater_sees_what_their_labels_became(open_page: OpenPage, server: Server) -> None:
    project = make(server.store, 3, overlap=2)
    judge_all(server.store, project, 3)
    with server.store.write() as connection:
        datasets.make_snapshot(connection, ADA, "labels:helpful")
    page = open_page(CY, "/judge")
    expect(page.locator("#uses")).to_contain_text(
        "3 of your labels are in labels:helpful@1. No model has learned from them"
    )


# --- everybody ----------------------------------------------------------------------------------------------------


def test_a_phone_can_do_a_whole_comparison(open_page: OpenPage, server: Server) -> None:
    make(server.store, 2, guideline="Be kind.", answers=("word " * 200, "x" * 300))
    page = open_page(CY, "/judge/helpful", viewport=NARROW, has_touch=True)
    shown(page, 0)
    assert not is_too_wide(page)
    page.get_by_role("button", name="Close").tap()
    page.get_by_role("button", name="Only B").tap()
    expect(page.get_by_role("article", name="Answer A")).to_be_hidden()
    page.get_by_role("button", name="Both", exact=True).tap()
    page.get_by_role("button", name="B is slightly better").tap()
    page.get_by_role("button", name="clear").tap()
    page.get_by_role("button", name="Submit").tap()
    shown(page, 1)
    (label,) = labels(server.store)
    assert (label.value["strength"], label.reasons) == (2, ["clear"])
    assert label.displayed.index(label.answer_ids[label.value["outcome"] == "second"]) == 1


Act = Callable[[Page], None]
PAGES: dict[str, tuple[Any, str, str, Act]] = {
    "projects": (BO, "/judge", "comparison", lambda page: page.get_by_role("button", name="New project").click()),
    "comparison": (CY, "/judge/helpful", "comparison", lambda page: page.keyboard.press("1")),
    "ranking": (CY, "/judge/helpful", "ranking", lambda page: page.keyboard.press("2")),
    "rating": (CY, "/judge/helpful", "rating", lambda page: page.keyboard.press("1")),
    "mine": (CY, "/judge/helpful/mine", "comparison", lambda page: None),
    "decide": (BO, "/judge/helpful/decide", "comparison", lambda page: page.keyboard.press("8")),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_the_pages_are_accessible_and_fit_a_phone(open_page: OpenPage, server: Server, name: str, scheme: str) -> None:
    person, path, kind, act = PAGES[name]
    attributes = [{"name": "helpful", "low": 0, "high": 4, "help": "does what was asked"}] if kind == "rating" else ()
    answers = {"ranking": ("one", "two", "three"), "rating": ("one",)}.get(kind, ("one", "two"))
    project = make(server.store, 4, kind=kind, overlap=2, answers=answers, attributes=attributes, guideline="Be kind.")
    if name in ("mine", "decide"):
        judge_all(server.store, project, 3)
    page = open_page(person, path, viewport=NARROW, color_scheme=scheme)
    expect(page.locator("article, .rank-card").first).to_be_visible()
    act(page)
    assert serious(page) == []
    assert not is_too_wide(page)
