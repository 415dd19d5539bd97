"""People: invited, given another role, their progress in private, and their work taken out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from browsing import NARROW, OpenPage, Server, is_too_wide, serious
from playwright.sync_api import Page, expect
from record import ADA, BO, CY, DEE
from sqlalchemy import insert, select

import tutelage
from tutelage.feedback import items, projects, queue, submit
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.runs import jobs
from tutelage.store import datasets, pairs, people, schema
from tutelage.store.database import Store
from tutelage.types import Message

PAIR = [Message("user", "What is a leap year?"), Message("assistant", "A year of 366 days.")]
PASSWORD = "a long enough one"


def judge_some(store: Store) -> None:
    """A project in which cy and dee agree on two items of three."""
    with store.write() as connection:
        project = projects.create(connection, BO, "helpful", "comparison", overlap=2, guideline="# Be fair")
        items.add_items(connection, BO, project, [
            NewItem((Message("user", f"question {number}"),), [NewAnswer(f"one {number}"), NewAnswer("two")])
            for number in range(3)
        ])  # fmt: skip
        for person in (CY, DEE):
            for number in range(3):
                task = queue.next_item(connection, person, project)
                assert task is not None
                texts = [text for _, text in task.answers]
                wanted = "two" if person is DEE and number == 2 else next(each for each in texts if each != "two")
                verdict = {"winner": texts.index(wanted), "strength": 3}
                submit.submit(connection, person, task.assignment_id, f"k{number}", verdict, seconds=30)


def train_on_it(store: Store) -> None:
    """A snapshot of cy's and dee's labels, a reward model of it, and a policy of that."""
    with store.write() as connection:
        snapshot = datasets.make_snapshot(connection, BO, "labels:helpful")
        for id, name, method in (("1" * 32, "taste-1", "reward"), ("2" * 32, "better-1", "ppo")):
            row = {"id": id, "name": name, "method": method, "run": name, "origin": {}, "created_ms": int(id[0])}
            connection.execute(insert(schema.models).values(**row))
        used = {"model_id": "1" * 32, "role": "data", "name": "labels:helpful@1", "snapshot_id": snapshot.id}
        connection.execute(insert(schema.model_inputs).values(**used))
        connection.execute(insert(schema.model_inputs).values(model_id="2" * 32, role="reward", name="taste-1"))


# Who is here ---------------------------------------------------------------------------------------------------------


def test_an_invitation_is_made_copied_and_accepted(open_page: OpenPage, server: Server, store: Store) -> None:
    page = open_page(ADA, "/people", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("combobox", name="As").select_option("reviewer")
    page.get_by_label("Whom it is for").fill("Ruth <i>next door</i>")
    page.get_by_role("button", name="Make the link").click()
    expect(page.locator("#link")).to_contain_text("Ruth <i>next door</i>")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{server.url}/join#inv_")
    expect(page.locator("#invitations")).to_contain_text("Ruth <i>next door</i> as reviewer")
    page.reload()
    expect(page.locator("#invitations")).to_contain_text("Ruth")
    assert link not in page.content()  # it was shown once

    joining = open_page(None, link.removeprefix(server.url))
    joining.get_by_label("Name").fill("ruth")
    joining.get_by_label("Password").fill(PASSWORD)
    joining.get_by_role("button", name="Begin").click()
    joining.wait_for_url(server.url + "/")
    joining.goto(server.url + "/people")
    expect(joining.locator("#here")).to_contain_text("ruth")
    page.reload()
    expect(page.locator("#here")).to_contain_text("ruth")
    expect(page.locator("#invitations")).to_contain_text("None is open")


def test_a_revoked_invitation_opens_nothing(open_page: OpenPage, server: Server) -> None:
    page = open_page(ADA, "/people")
    page.get_by_role("button", name="Make the link").click()
    link = page.locator("#link input").input_value()
    page.get_by_role("button", name="Revoke the invitation").click()
    expect(page.locator("#invitations")).to_contain_text("None is open")
    expect(page.locator("#link")).to_be_hidden()
    joining = open_page(None, link.removeprefix(server.url))
    joining.get_by_label("Name").fill("mallory")
    joining.get_by_label("Password").fill(PASSWORD)
    joining.get_by_role("button", name="Begin").click()
    expect(joining.get_by_role("alert")).to_contain_text("revoked")


def test_what_the_api_refuses_stands_beside_the_field(open_page: OpenPage) -> None:
    page = open_page(ADA, "/people")
    page.get_by_label("Days until it runs out").fill("365")
    page.get_by_role("button", name="Make the link").click()
    expect(page.locator("#invite-form .error")).to_contain_text("90")
    expect(page.get_by_label("Days until it runs out")).to_be_focused()


def test_a_rater_sees_who_is_here_and_no_accounts(open_page: OpenPage) -> None:
    page = open_page(CY, "/people")
    expect(page.locator("#here li")).to_have_count(4)
    expect(page.locator("#here")).to_contain_text("reviewer")
    assert page.get_by_role("link", name="Look after").count() == 0
    assert page.locator("#invite-form").count() == 0


def test_many_people_come_a_page_at_a_time(open_page: OpenPage, store: Store) -> None:
    with store.write() as connection:
        for number in range(120):
            people.add_person(connection, f"r{number:03d}", "rater")
    page = open_page(CY, "/people")
    expect(page.locator("#here li")).to_have_count(100)
    page.get_by_role("button", name="More people").click()
    expect(page.locator("#here li")).to_have_count(124)


# One account ---------------------------------------------------------------------------------------------------------


def test_another_role_holds_at_once(open_page: OpenPage, server: Server) -> None:
    rater = open_page(CY, "/people")
    page = open_page(ADA, f"/people/{CY.id}")
    page.get_by_role("combobox", name="Role").select_option("reviewer")
    expect(page.locator("#role-said")).to_contain_text("cy is reviewer")
    rater.goto(server.url + "/people/progress")
    expect(rater.get_by_text("There is no project yet")).to_be_visible()


def test_the_last_admin_stays_one(open_page: OpenPage) -> None:
    page = open_page(ADA, f"/people/{ADA.id}")
    page.get_by_role("combobox", name="Role").select_option("rater")
    expect(page.get_by_role("alert")).to_contain_text("last admin")
    expect(page.get_by_role("combobox", name="Role")).to_have_value("admin")


def test_an_account_out_of_use_is_signed_out_and_can_come_back(open_page: OpenPage, server: Server) -> None:
    rater = open_page(CY, "/people")
    page = open_page(ADA, f"/people/{CY.id}")
    page.get_by_role("button", name="Take out of use").click()
    expect(page.get_by_text("not in use")).to_be_visible()
    rater.goto(server.url + "/people")
    assert "/sign-in" in rater.url
    page.get_by_role("button", name="Back into use").click()
    expect(page.get_by_role("button", name="Take out of use")).to_be_visible()


def test_a_link_sets_a_new_password(open_page: OpenPage, server: Server) -> None:
    page = open_page(ADA, f"/people/{CY.id}")
    page.get_by_role("button", name="Make a link").click()
    link = page.locator("#link input").input_value()
    joining = open_page(None, link.removeprefix(server.url))
    joining.get_by_label("Password").fill(PASSWORD)
    joining.get_by_role("button", name="Begin").click()
    joining.wait_for_url(server.url + "/")
    expect(joining.get_by_role("heading", name="Hello, cy")).to_be_visible()


def test_taking_work_out_is_looked_at_first_and_confirmed_by_the_name(open_page: OpenPage, store: Store) -> None:
    judge_some(store)
    train_on_it(store)
    with store.write() as connection:
        pairs.draft(connection, DEE, PAIR)
    page = open_page(ADA, f"/people/{DEE.id}")
    page.get_by_role("button", name="Look what that would mean").click()
    meaning = page.locator("#meaning")
    for text in ("1 pair they wrote", "3 verdicts they gave", "labels:helpful@1", "taste-1", "better-1"):
        expect(meaning).to_contain_text(text)
    with store.read() as connection:
        assert (
            connection.execute(select(schema.labels.c.id).where(schema.labels.c.withdrawn_ms.is_not(None))).all() == []
        )
    button = page.get_by_role("button", name="Take the work out for good")
    expect(button).to_be_disabled()
    page.get_by_label("To confirm, type dee").fill("de")
    expect(button).to_be_disabled()
    page.get_by_label("To confirm, type dee").press_sequentially("e")
    page.get_by_label("To confirm, type dee").press("End")
    page.keyboard.press("Enter")
    expect(meaning).to_contain_text("Done")
    with store.read() as connection:
        gone = connection.execute(select(schema.labels.c.person_id).where(schema.labels.c.withdrawn_ms.is_not(None)))
        assert set(gone.scalars()) == {DEE.id}


# One's own work, and everybody's -------------------------------------------------------------------------------------


def test_a_rater_reads_what_their_labels_did(open_page: OpenPage, server: Server, store: Store) -> None:
    judge_some(store)
    train_on_it(store)
    write_report(server)
    page = open_page(CY, "/people/mine")
    did = page.locator("#did")
    expect(did).to_contain_text("3 verdicts of yours are in labels:helpful@1. Trained on that: taste-1.")
    expect(did).to_contain_text("Made with what those learned: better-1.")
    expect(did).to_contain_text("61 % [55, 67]")
    judged = page.locator("#judged")
    expect(judged).to_contain_text("67 % [")  # two of three as dee
    expect(judged).to_contain_text("of 3 items")
    expect(judged).to_contain_text("30 s")
    assert "dee" not in page.locator("#main").inner_text()


def write_report(server: Server) -> None:
    import json

    folder = server.store.workspace / "reports"
    folder.mkdir()
    contest: dict[str, Any] = {
        "model": "better-1", "against": "first", "wins": 60, "ties": 2, "number": 100, "verdict": "better",
        "rate": {"estimate": 0.61, "low": 0.55, "high": 0.67},
    }  # fmt: skip
    numbers = {
        "models": [{"name": "first"}, {"name": "better-1"}], "prompts": {"name": "sealed", "number": 100},
        "rater": "scripted rater", "at_ms": 1, "contests": [contest], "measures": [],
    }  # fmt: skip
    (folder / "r.json").write_text(json.dumps(numbers), encoding="utf-8")


def test_somebody_new_reads_what_will_stand_here(open_page: OpenPage) -> None:
    page = open_page(CY, "/people/mine")
    expect(page.get_by_text("Nothing has learned from your work yet")).to_be_visible()
    expect(page.get_by_role("link", name="Write the first")).to_be_visible()


def test_a_reviewer_sees_every_rater_and_no_verdict_on_them(open_page: OpenPage, store: Store) -> None:
    judge_some(store)
    page = open_page(BO, "/people/progress")
    table = page.get_by_role("region", name="Raters of helpful")
    expect(table.get_by_role("row")).to_have_count(3)
    expect(table.get_by_role("row", name="cy")).to_contain_text("67 %")
    expect(page.locator("#progress")).to_contain_text("A person decides about a rater, never a number")
    expect(page.locator("[data-project=helpful]")).to_contain_text("α")


# Guidelines and the log ----------------------------------------------------------------------------------------------


def test_a_new_version_says_what_changes_before_and_what_is_new_after(open_page: OpenPage, store: Store) -> None:
    judge_some(store)
    page = open_page(BO, "/people/guidelines?project=helpful")
    expect(page.get_by_role("heading", name="Be fair")).to_have_text("Be fair")
    page.get_by_role("button", name="New version").click()
    page.get_by_label("Guidelines", exact=False).last.fill("# Be kind <script>alert(1)</script>")
    expect(page.locator("#diff ins")).to_contain_text("kind")
    expect(page.locator("#diff del")).to_contain_text("fair")
    page.get_by_label("What is new").fill("Kindness <b>first</b>")
    page.reload()  # what was typed is there again
    expect(page.get_by_label("What is new")).to_have_value("Kindness <b>first</b>")
    page.get_by_role("button", name="Publish").click()
    expect(page.locator("#about")).to_contain_text("By bo, just now. What is new: Kindness <b>first</b>")
    expect(page.locator("#text")).to_contain_text("Be kind <script>alert(1)</script>")
    page.get_by_role("button", name="Version 1").click()
    expect(page.locator("#about")).to_contain_text("An earlier version.")
    expect(page.locator("#text")).to_contain_text("Be fair")

    rater = open_page(CY, "/people/guidelines?project=helpful")
    expect(rater.locator("#about")).to_contain_text("Kindness")
    assert rater.get_by_role("button", name="New version").count() == 0


def test_the_writing_guideline_has_versions_too(open_page: OpenPage) -> None:
    page = open_page(BO, "/people/guidelines")
    expect(page.locator("#about")).to_contain_text("comes with Tutelage")
    page.get_by_role("button", name="New version").click()
    page.locator("#form textarea").fill("Write short answers.")
    page.get_by_role("button", name="Publish").click()
    expect(page.locator("#versions")).to_contain_text("Version 1")
    expect(page.locator("#text")).to_have_text("Write short answers.")


def test_the_log_tells_who_did_what(open_page: OpenPage, store: Store) -> None:
    with store.write() as connection:
        projects.create(connection, BO, "helpful", "comparison")
    page = open_page(ADA, "/people/log", viewport=NARROW)
    assert not is_too_wide(page)
    expect(page.get_by_role("row", name="made a project")).to_contain_text("bo")


def test_the_log_has_words_for_whatever_is_noted() -> None:
    source = Path(tutelage.__file__).parent
    known = set(re.findall(r'"([a-z_]+\.[a-z_]+)": "', (source / "studio/static/js/people_log.js").read_text("utf-8")))
    code = "\n".join(path.read_text("utf-8") for path in source.rglob("*.py"))
    noted = {
        action for call in re.findall(r"audit\.note\((.{0,200})", code, re.DOTALL)
        for action in re.findall(r'(?<!f)"([a-z_]+\.[a-z_]+)"', call.split("\n\n")[0])
        if not action.endswith(".json")
    }  # fmt: skip
    noted |= {f"{kind}.{what}" for kind in get_args(jobs.Kind) for what in ("started", "resumed")}
    assert len(noted) > 30
    assert noted - known == set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_they_are_accessible_and_fit_a_phone(open_page: OpenPage, server: Server, store: Store, scheme: str) -> None:
    judge_some(store)
    train_on_it(store)
    page = open_page(ADA, "/people", viewport=NARROW, color_scheme=scheme)
    page.get_by_role("button", name="Make the link").click()
    expect(page.get_by_role("button", name="Copy")).to_be_visible()
    check(page, "/people")
    for path, text in (
        ("/people/mine", "Nothing has learned"), ("/people/progress", "raters, by name"),
        ("/people/guidelines?project=helpful", "Be fair"), ("/people/log", "made a project"),
    ):  # fmt: skip
        page.goto(server.url + path)
        expect(page.get_by_text(text).first).to_be_visible()
        check(page, path)
    page.goto(f"{server.url}/people/{DEE.id}")
    page.get_by_role("button", name="Look what that would mean").click()
    expect(page.locator("#meaning")).to_contain_text("taste-1")
    check(page, "one account")


def check(page: Page, where: str) -> None:
    assert serious(page) == [], where
    assert not is_too_wide(page), where
