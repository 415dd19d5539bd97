"""Writing pairs in the browser: nothing typed is lost, near-duplicates are seen, and others' changes are told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from browsing import NARROW, OpenPage, Server, is_too_wide, serious
from pairs_written import GIRAFFE, HOSTILE, answer, is_saved, only_pair, question, stored, turns, written
from playwright.sync_api import Route, expect
from record import ADA, BO, CY, DEE

from tutelage.store import accounts, pair_views, pairs, writing_guide
from tutelage.store.database import Store


def test_write_autosave_reload_hand_in(open_page: OpenPage, store: Store) -> None:
    page = open_page(CY, "/write")
    expect(page.get_by_role("heading", name="Teach by example")).to_be_visible()
    page.keyboard.press("n")
    page.wait_for_url("**/write/new*")
    expect(question(page)).to_be_focused()
    question(page).fill(GIRAFFE)
    answer(page).fill("About **five** metres.")
    page.get_by_role("combobox", name="Tags").fill("animals")
    page.get_by_role("combobox", name="Tags").press("Enter")
    expect(page.locator("#beside strong")).to_have_text("five")
    expect(page.locator("#form")).to_contain_text("3 words · 22 characters")
    is_saved(page)
    expect(page.locator("#saved-ago")).to_have_text(re.compile("just now|s ago"))
    page.wait_for_url(re.compile("/write/[0-9a-f]{32}$"))
    page.reload()
    expect(question(page)).to_have_value(GIRAFFE)
    expect(answer(page)).to_have_value("About **five** metres.")
    answer(page).press("Control+Enter")
    expect(page.locator("#state")).to_have_text("waiting for review")
    pair = only_pair(store)
    assert (pair.state, pair.tags, pair.revision) == ("submitted", ("animals",), 1)
    expect(page.get_by_role("link", name="Write another")).to_be_focused()


def test_what_was_typed_survives_a_reload_without_a_server(open_page: OpenPage, server: Server, store: Store) -> None:
    page = open_page(CY, "/write/new")
    expect(question(page)).to_be_focused()
    server.stop()
    question(page).fill(GIRAFFE)
    expect(page.locator("#saved")).to_contain_text("kept in this browser; the server cannot be reached")
    server.start()
    page.reload()
    expect(question(page)).to_have_value(GIRAFFE)
    expect(page.locator("#notice")).to_have_text("Brought back what this browser had kept.")
    is_saved(page)
    assert only_pair(store).messages[0].content == GIRAFFE


def test_what_was_typed_after_the_session_ended_is_there_after_signing_in(open_page: OpenPage, store: Store) -> None:
    with store.write() as connection:
        accounts.set_password(connection, ADA, CY, "a long enough one")
    page = open_page(CY, "/write/new")
    expect(question(page)).to_be_focused()
    page.context.clear_cookies()
    question(page).fill(GIRAFFE)
    page.get_by_label("Name").fill("cy")
    page.get_by_label("Password").fill("a long enough one")
    page.get_by_role("button", name="Sign in").click()
    expect(question(page)).to_have_value(GIRAFFE)
    is_saved(page)
    assert only_pair(store).messages[0].content == GIRAFFE


def test_what_the_server_never_got_stands_in_the_list(open_page: OpenPage) -> None:
    page = open_page(CY, "/write/new")
    page.route("**/api/pairs", lambda route: route.abort())
    question(page).fill("A question that never arrived?")
    expect(page.locator("#saved[data-kind='away']")).to_be_visible()
    page.goto(page.url.split("/write")[0] + "/write")
    kept = page.get_by_role("region", name="Not on the server yet")
    expect(kept).to_contain_text("A question that never arrived?")
    kept.get_by_role("link").click()
    expect(question(page)).to_have_value("A question that never arrived?")


def test_a_lost_answer_makes_no_second_pair(open_page: OpenPage, store: Store) -> None:
    page = open_page(CY, "/write/new")
    lost: list[int] = []

    def swallow(route: Route) -> None:
        if route.request.method == "POST" and not lost:
            lost.append(route.fetch().status)
            route.abort()
        else:
            route.continue_()

    page.route("**/api/pairs", swallow)
    question(page).fill(GIRAFFE)
    expect(page.locator("#saved[data-kind='away']")).to_be_visible()
    question(page).fill(GIRAFFE + " And how heavy?")
    page.reload()
    is_saved(page)
    assert lost == [201]
    assert only_pair(store).messages[0].content == GIRAFFE + " And how heavy?"


def test_near_duplicates_appear_while_typing(open_page: OpenPage, store: Store) -> None:
    accepted = written(store, DEE, accept=True)
    written(store, DEE, messages=turns("What is the best way to clean a very dirty pan?"))
    page = open_page(CY, "/write/new")
    near = page.locator("#near")
    expect(near).to_be_hidden()
    question(page).press_sequentially("How tall is a giraffe when it is fully")
    expect(near).to_contain_text("asked already")
    link = near.get_by_role("link")
    expect(link).to_contain_text(GIRAFFE)
    assert (link.get_attribute("href") or "").endswith(accepted)
    question(page).fill("What is the best way to clean a very dirty pan?")
    expect(near).to_contain_text("1 pair of others that you may not read asks nearly the same")
    question(page).fill("Why is the sky blue?")
    expect(near).to_be_hidden()


def test_sent_back_is_seen_edited_and_accepted(open_page: OpenPage, store: Store) -> None:
    pair_id = written(store, submit=True)
    with store.write() as connection:
        pairs.send_back(connection, BO, pair_id, comment="Which giraffe? <b>Say it.</b>")
    written(store, messages=turns("A newer one?"))
    page = open_page(CY, "/write")
    first = page.locator(".pair").first
    expect(first).to_contain_text("bo: Which giraffe? <b>Say it.</b>")
    first.get_by_role("link").click()
    expect(page.locator("#said")).to_have_text("bo sent it back: Which giraffe? <b>Say it.</b>")
    answer(page).fill("A grown bull: 5.5 metres.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#state")).to_have_text("waiting for review")
    assert stored(store, pair_id).revision == 2
    with store.write() as connection:
        pairs.accept(connection, BO, pair_id)
    page.reload()
    expect(page.locator("#state")).to_have_text("accepted")
    history = page.locator(".history")
    expect(history.locator("li").first).to_contain_text("bo accepted it")
    history.get_by_text("What changed").click()
    expect(history.locator("ins").first).to_contain_text("A")
    expect(history).to_contain_text("Which giraffe? <b>Say it.</b>")


def test_two_editors_of_one_pair_are_shown_both_texts(open_page: OpenPage, store: Store) -> None:
    pair_id = written(store)
    page = open_page(CY, f"/write/{pair_id}")
    expect(answer(page)).to_have_value("About five metres.")
    with store.write() as connection:
        pairs.edit(connection, BO, pair_id, turns(answer="About six metres."), base_revision=1)
    answer(page).fill("About five metres, or more.")
    conflict = page.get_by_role("alertdialog")
    expect(conflict).to_contain_text("bo changed this pair while you were writing")
    expect(conflict).to_contain_text("About six metres.")
    expect(conflict).to_contain_text("About five metres, or more.")
    expect(conflict.locator("del")).to_contain_text(["six"])
    conflict.get_by_role("button", name="Put mine on top of theirs").click()
    is_saved(page)
    pair = stored(store, pair_id)
    assert (pair.revision, pair.messages[1].content) == (3, "About five metres, or more.")


def test_theirs_can_be_taken_and_mine_brought_back(open_page: OpenPage, store: Store) -> None:
    pair_id = written(store)
    page = open_page(CY, f"/write/{pair_id}")
    expect(answer(page)).to_have_value("About five metres.")
    with store.write() as connection:
        pairs.edit(connection, BO, pair_id, turns(answer="About six metres."), base_revision=1)
    answer(page).fill("Mine.")
    page.get_by_role("button", name="Take theirs").click()
    expect(answer(page)).to_have_value("About six metres.")
    page.get_by_role("button", name="Bring them back").click()
    expect(answer(page)).to_have_value("Mine.")
    is_saved(page)
    assert stored(store, pair_id).messages[1].content == "Mine."


def test_turns_are_added_moved_and_taken_away_by_keys(open_page: OpenPage, store: Store) -> None:
    page = open_page(CY, "/write/new")
    question(page).fill("First?")
    answer(page).fill("One.")
    answer(page).press("Alt+Enter")
    second = page.locator("[name='question-1']")
    expect(second).to_be_focused()
    second.fill("Second?")
    page.locator("[name='answer-1']").fill("Two.")
    page.locator("[name='answer-1']").press("Alt+ArrowUp")
    expect(answer(page)).to_have_value("Two.")
    expect(answer(page)).to_be_focused()
    page.get_by_role("button", name="Add a setting").click()
    page.get_by_label("Setting", exact=True).last.fill("You are brief.")
    is_saved(page)
    assert [each.content for each in only_pair(store).messages] == [
        "You are brief.",
        "Second?",
        "Two.",
        "First?",
        "One.",
    ]
    answer(page).press("Alt+Delete")
    expect(question(page)).to_have_value("First?")
    page.get_by_role("button", name="Bring them back").click()
    expect(question(page)).to_have_value("Second?")


def test_an_error_of_the_api_stands_beside_its_field(open_page: OpenPage) -> None:
    page = open_page(CY, "/write/new")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#question-0-error")).to_have_text("write a question first, then its answer")
    question(page).fill("And the answer?")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#answer-0-error")).to_contain_text("ends with the user")
    expect(answer(page)).to_be_focused()
    expect(answer(page)).to_have_attribute("aria-invalid", "true")


def test_hostile_text_is_shown_as_text(open_page: OpenPage, store: Store) -> None:
    pair_id = written(store, messages=turns(HOSTILE, HOSTILE), tags=["<i>tag</i>"], licence="<b>L</b>", submit=True)
    with store.write() as connection:
        pairs.send_back(connection, BO, pair_id, comment=HOSTILE)
    page = open_page(CY, "/write")
    row = page.locator(".pair")
    expect(row).to_contain_text("<script>alert(2)</script>")
    expect(row.locator(".tag")).to_have_text("<i>tag</i>")
    assert row.locator("img, script, i, b").count() == 0
    page.goto(page.url + f"/{pair_id}")
    expect(page.locator("#said")).to_contain_text("<img src=x")
    expect(page.locator("#beside")).to_contain_text("<script>alert(2)</script>")
    assert page.locator("main img, main script, main [onerror], main a[href^='javascript']").count() == 0
    page.get_by_role("button", name="History").click()
    expect(page.locator(".history")).to_contain_text("<img src=x")
    assert page.locator("main img, main script").count() == 0


def test_lists_by_state_tag_and_words(open_page: OpenPage, store: Store) -> None:
    written(store, tags=["animals"])
    written(store, messages=turns("Why is the sky blue?"), submit=True)
    written(store, DEE, messages=turns("What is rust?"), accept=True)
    page = open_page(CY, "/write")
    expect(page.locator(".pair")).to_have_count(2)
    page.get_by_role("button", name="waiting for review 1").click()
    expect(page.locator(".pair")).to_have_count(1)
    expect(page.locator(".pair")).to_contain_text("sky")
    assert page.url.endswith("/write?state=submitted")
    page.get_by_role("button", name="all 2").click()
    page.get_by_role("button", name="Only pairs tagged animals").click()
    expect(page.locator(".pair")).to_have_count(1)
    expect(page.locator(".pair")).to_contain_text("giraffe")
    page.get_by_label("Tag", exact=True).fill("")
    page.get_by_label("Words in it").fill("SKY")
    page.wait_for_url("**/write?text=SKY")
    expect(page.locator(".pair")).to_have_count(1)
    expect(page.locator(".pair")).to_contain_text("sky")
    page.get_by_label("Words in it").fill("")
    page.get_by_label("Whose").select_option("all")
    expect(page.locator(".pair")).to_have_count(3)
    page.reload()
    expect(page.locator(".pair")).to_have_count(3)


def test_a_long_list_goes_on_by_key(open_page: OpenPage, store: Store) -> None:
    with store.write() as connection:
        for number in range(25):
            pairs.draft(connection, CY, turns(f"Question {number}?"))
    page = open_page(CY, "/write")
    expect(page.locator(".pair")).to_have_count(20)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".pair")).to_have_count(25)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_a_search_goes_on_where_its_first_part_found_nothing(
    open_page: OpenPage, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_views, "MOST_SEARCHED", 10)
    with store.write() as connection:
        for number in range(25):
            pairs.draft(connection, CY, turns("Where is the zebra?" if number == 0 else f"Question {number}?"))
    page = open_page(CY, "/write?text=zebra")
    expect(page.locator(".pair")).to_have_count(1)
    expect(page.locator(".pair")).to_contain_text("zebra")
    page = open_page(CY, "/write?text=unicorn")
    expect(page.get_by_text("Nothing fits")).to_be_visible()


def test_the_guideline_is_beside_and_reviewers_change_it(open_page: OpenPage, store: Store) -> None:
    page = open_page(CY, "/write/new")
    page.get_by_role("button", name="Guideline").click()
    expect(page.locator("#beside")).to_contain_text("A good pair")
    expect(page.get_by_role("button", name="Change it")).to_have_count(0)
    page = open_page(BO, "/write/new")
    page.get_by_role("button", name="Guideline").click()
    page.get_by_role("button", name="Change it").click()
    page.locator("#guide-text").fill("Be **short**.")
    page.get_by_role("button", name="Save as a new version").click()
    expect(page.locator("#beside")).to_contain_text("Version 1, by bo")
    page.get_by_role("button", name="The built-in one").click()
    expect(page.locator("#beside")).to_contain_text("A good pair")
    with store.read() as connection:
        assert writing_guide.newest(connection).text == "Be **short**."


def test_a_pair_is_withdrawn_only_after_a_question(open_page: OpenPage, store: Store) -> None:
    pair_id = written(store)
    page = open_page(CY, f"/write/{pair_id}")
    page.get_by_role("button", name="Withdraw…").click()
    page.get_by_role("button", name="Keep it").click()
    assert stored(store, pair_id).withdrawn_ms is None
    page.get_by_role("button", name="Withdraw…").click()
    page.get_by_role("button", name="Withdraw", exact=True).click()
    page.wait_for_url("**/write")
    assert stored(store, pair_id).withdrawn_ms is not None


def test_a_reviewer_says_when_to_save_what_is_not_their_draft(open_page: OpenPage, store: Store) -> None:
    pair_id = written(store, accept=True)
    page = open_page(BO, f"/write/{pair_id}")
    expect(page.locator(".conversation").first).to_contain_text("About five metres.")
    page.keyboard.press("e")
    answer(page).fill("About 5.5 metres.")
    page.reload()
    assert stored(store, pair_id).revision == 1
    page.get_by_role("button", name="Go on with them").click()
    expect(answer(page)).to_have_value("About 5.5 metres.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#state")).to_have_text("waiting for review")
    assert stored(store, pair_id).revision == 2


def test_a_pair_that_is_not_there_says_so(open_page: OpenPage) -> None:
    page = open_page(CY, f"/write/{'f' * 32}")
    expect(page.locator("#problem")).to_contain_text("no pair")


def test_a_file_with_a_bad_row_is_tried_then_brought_in(open_page: OpenPage, store: Store, tmp_path: Path) -> None:
    rows = [
        {"prompt": "Why is grass green?", "completion": "Chlorophyll takes in red and blue light."},
        {"prompt": "<b>?</b>"},
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    page = open_page(BO, "/write/files")
    page.get_by_role("button", name="Try it first").click()
    expect(page.get_by_role("alert")).to_have_text("choose a file first")
    page.locator("[name=file]").set_input_files(file)
    page.get_by_role("button", name="Try it first").click()
    expect(page.locator("#outcome h3")).to_have_text("What would become of it")
    expect(page.locator("#outcome tbody tr")).to_have_count(1)
    expect(page.locator("#outcome tbody tr td").first).to_have_text("2")
    with store.read() as connection:
        assert pairs.count_by_state(connection, ADA)["submitted"] == 0
    page.get_by_role("button", name="Bring 1 record in").click()
    expect(page.locator("#outcome h3")).to_have_text("It is in")
    expect(page.locator("#imports")).to_contain_text("pairs.jsonl")
    with store.read() as connection:
        assert pairs.count_by_state(connection, ADA)["submitted"] == 1


def test_pairs_are_taken_out(open_page: OpenPage, store: Store) -> None:
    written(store, accept=True)
    page = open_page(BO, "/write/files")
    page.get_by_label("Format").select_option("trl")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["messages"][0]["content"] for line in lines] == [GIRAFFE]


def test_files_are_for_reviewers(open_page: OpenPage) -> None:
    page = open_page(CY, "/write")
    expect(page.get_by_role("heading", name="Pairs")).to_be_visible()
    assert page.get_by_role("link", name="Files in and out").count() == 0
    assert page.goto(page.url + "/files").status == 403  # type: ignore[union-attr]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_are_accessible_and_fit_a_phone(open_page: OpenPage, store: Store, scheme: str) -> None:
    long = "Donaudampfschifffahrtsgesellschaft" * 8
    pair_id = written(store, messages=turns(long, long), tags=[long[:90], "b"], submit=True)
    with store.write() as connection:
        pairs.send_back(connection, BO, pair_id, comment=long)
    written(store, DEE, messages=turns(long), accept=True)
    for path in ("/write", f"/write/{pair_id}", "/write/new"):
        page = open_page(CY, path, viewport=NARROW, color_scheme=scheme)
        expect(page.locator(".pair, .exchange, .empty").first).to_be_visible()
        assert serious(page) == []
        assert not is_too_wide(page)
    page = open_page(BO, "/write/files", viewport=NARROW, color_scheme=scheme)
    expect(page.locator("#imports")).to_have_text("Nothing yet.")
    assert serious(page) == []
    assert not is_too_wide(page)


def test_on_a_phone_one_looks_at_one_thing_at_a_time(open_page: OpenPage, store: Store) -> None:
    page = open_page(CY, f"/write/{written(store)}", viewport=NARROW)
    expect(answer(page)).to_be_visible()
    expect(page.locator("#beside")).to_be_hidden()
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#beside")).to_contain_text("About five metres.")
    expect(answer(page)).to_be_hidden()
    page.get_by_role("button", name="Write", exact=True).click()
    expect(answer(page)).to_be_visible()
