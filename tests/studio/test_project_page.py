"""The page of a project: answers sampled from it, watched, stopped, gone on with; what comes first; mistakes told."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest
from browsing import NARROW, OpenPage, Server, is_too_wide, serious
from judging import make, num_labels
from made_models import REWARD, made
from playwright.sync_api import Page, expect
from record import ADA, BO, CY
from sampling_process import start_light
from sqlalchemy import select
from tiny import tiny_folder

from tutelage.feedback import projects
from tutelage.feedback.projects import Project
from tutelage.runs import jobs
from tutelage.runs.files import read_json
from tutelage.store import schema
from tutelage.store.database import Store

HOSTILE = "<img src=x onerror=alert(1)>"
SLOWLY = 180_000


@pytest.fixture(autouse=True)
def _no_process_left(store: Store) -> Iterator[None]:
    yield
    for record in (store.workspace / "jobs").glob("*/*/asked.json"):
        process = read_json(record).get("process")
        if jobs.is_locked(record.with_name("lock")) and isinstance(process, int):
            os.kill(process, signal.SIGKILL)


@pytest.fixture
def project(store: Store, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without items, two models and a reward model, and processes that only count."""
    monkeypatch.setattr(jobs, "spawn", start_light)
    made(store.workspace, "sft", "sft", at=1)
    made(store.workspace, "ppo", "ppo", at=2)
    made(store.workspace, "judge", "reward", config=REWARD)
    with store.write() as connection:
        return projects.create(connection, BO, "helpful", "comparison")


def write(page: Page, prompts: str) -> None:
    page.locator("select[name=prompts]").select_option("typed:")
    page.locator("textarea[name=typed]").fill(prompts)


def sample(page: Page) -> None:
    page.get_by_role("button", name="Sample answers").click()


# From the first project to the first verdict --------------------------------------------------------------------------


@pytest.mark.slow
def test_a_project_is_made_sampled_and_judged_from_the_pages(open_page: OpenPage, server: Server, store: Store) -> None:
    tiny_folder(store.workspace / "models", name="tiny")
    page = open_page(BO, "/judge")
    page.get_by_role("button", name="New project").click()
    page.locator("input[name=name]").fill("helpful")
    page.get_by_label("Verdicts for each item").fill("1")
    page.get_by_role("button", name="Make the project").click()
    page.wait_for_url(server.url + "/judge/helpful/project")
    expect(page.locator("#counts")).to_contain_text("no answers to judge yet")
    expect(page.get_by_role("checkbox", name="tiny")).to_be_checked()
    write(page, "What is tea?\nWhat is rain?\n\nWhat is snow?")
    page.get_by_text("More options").click()
    page.get_by_label("Longest answer").fill("8")
    expect(page.locator("#how-many")).to_contain_text("3 prompts, 6 answers")
    sample(page)
    expect(page.locator("#now progress")).to_be_visible()
    expect(page.locator("#now")).to_contain_text("6 answers sampled, 3 items added.", timeout=SLOWLY)
    expect(page.locator("#counts")).to_contain_text("3 items to judge")
    page.get_by_role("link", name="Judge them").click()
    expect(page.locator("#prompt")).to_contain_text(re.compile("What is (tea|rain|snow)"))
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator("#last")).not_to_be_empty()
    assert num_labels(store) == 1
    with store.read() as connection:
        found = connection.execute(select(schema.answers.c.model, schema.answers.c.sampling)).all()
    assert {(model, sampling["max_new_tokens"]) for model, sampling in found} == {("tiny", 8)}


# Watching -------------------------------------------------------------------------------------------------------------


def test_a_job_is_watched_stopped_gone_on_with_and_found_again(
    open_page: OpenPage, server: Server, project: Project
) -> None:
    page = open_page(BO, "/judge/helpful/project")
    write(page, "What is tea?")
    page.keyboard.press("Control+Enter")
    far = page.locator("#now .far")
    expect(far).to_contain_text(re.compile(r"\d+ of 1,000 answers · about 2 min left"))
    expect(far).to_contain_text("items to judge already")
    page.wait_for_function("() => document.querySelector('#now progress')?.value > 5")
    server.stop()
    expect(page.locator("#problem")).to_contain_text("cannot be reached")
    server.start()
    expect(page.locator("#problem")).to_be_hidden()
    page.reload()
    expect(far).to_contain_text("of 1,000 answers")
    page.get_by_role("heading", level=1).click()
    page.keyboard.press("s")
    expect(page.locator("#now .caution")).to_contain_text("Stopped by bo. What was sampled is kept")
    (job,) = jobs.see_all(server.store.workspace, project)
    page.keyboard.press("r")
    expect(page.locator("#now .badge")).to_have_text("running")
    page.wait_for_function("done => document.querySelector('#now progress')?.value > done", arg=job.done)
    (again,) = jobs.see_all(server.store.workspace, project)
    assert again.id == job.id


def test_one_that_was_killed_says_so_and_goes_on(open_page: OpenPage, server: Server, project: Project) -> None:
    page = open_page(BO, "/judge/helpful/project")
    write(page, "What is tea?")
    sample(page)
    page.wait_for_function("() => document.querySelector('#now progress')?.value > 2")
    (job,) = jobs.see_all(server.store.workspace, project)
    os.kill(read_json(jobs.JobFiles(server.store.workspace, project, job.id).record)["process"], signal.SIGKILL)
    expect(page.locator("#now [role=alert]")).to_contain_text("It failed: it ended without saying why")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#now .badge")).to_have_text("running")


def test_a_failure_is_told_in_its_own_words_with_the_log(open_page: OpenPage, project: Project) -> None:
    page = open_page(BO, "/judge/helpful/project")
    write(page, "fails")
    sample(page)
    alert = page.locator("#now [role=alert]")
    expect(alert).to_contain_text("It failed: the <b>disk</b> is full; remove something")
    assert page.locator("#now b").count() == 0
    page.locator("#now").get_by_text("What it said (log)").click()
    expect(page.locator("#now .log")).to_contain_text("$ tutelage project sample helpful --model=ppo")


def test_another_round_with_the_newest_model(open_page: OpenPage, server: Server, project: Project) -> None:
    page = open_page(BO, "/judge/helpful/project")
    page.get_by_role("checkbox", name="ppo").uncheck()
    page.get_by_role("checkbox", name="sft").check()
    write(page, "ends")
    sample(page)
    expect(page.locator("#now")).to_contain_text("9 answers sampled, 3 items added; 1 item left out")
    expect(page.locator("#newer")).to_contain_text("ppo is newer than what was sampled last")
    page.get_by_role("button", name="A new round with it").click()
    expect(page.get_by_role("checkbox", name="ppo")).to_be_checked()
    expect(page.get_by_role("checkbox", name="sft")).not_to_be_checked()
    write(page, "ends again")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#earlier")).to_contain_text("Answers of sft to 1 prompt")
    expect(page.locator("#now article")).to_have_attribute("aria-label", "Answers of ppo to 1 prompt")
    newest, _ = jobs.see_all(server.store.workspace, project)
    assert (newest.asked["models"], newest.asked["again"]) == (["ppo"], True)


# Mistakes -------------------------------------------------------------------------------------------------------------


def test_mistakes_are_told_beside_their_fields(open_page: OpenPage, server: Server, project: Project) -> None:
    page = open_page(BO, "/judge/helpful/project")
    page.get_by_role("checkbox", name="ppo").uncheck()
    sample(page)
    expect(page.locator("#sample [data-error=models]")).to_contain_text("choose a model")
    page.get_by_role("checkbox", name="ppo").check()
    write(page, "  \n ")
    sample(page)
    expect(page.locator("#sample [data-error=prompts]")).to_contain_text("choose prompts, or write some")
    expect(page.locator("#sample [data-error=models]")).to_be_hidden()
    write(page, "What is tea?")
    page.get_by_text("More options").click()
    page.get_by_label("Variety").fill("0")
    sample(page)
    expect(page.locator("#sample [data-error=temperature]")).to_contain_text("the same answer each time")
    page.get_by_label("Variety").fill("")
    (server.store.workspace / "models" / "ppo").rename(server.store.workspace / "gone")
    sample(page)
    expect(page.locator("#sample [data-error=models]")).to_contain_text("there is no model 'ppo'")
    assert jobs.see_all(server.store.workspace, project) == []
    page.reload()  # nothing that was typed is lost
    expect(page.locator("textarea[name=typed]")).to_have_value("What is tea?")


def test_too_many_prompts_say_what_to_do(
    open_page: OpenPage, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tutelage.runs import prompts

    monkeypatch.setattr(prompts, "MOST_PROMPTS", 9)
    page = open_page(BO, "/judge/helpful/project")
    expect(page.get_by_label("Of them at most")).to_have_value("25")
    page.get_by_label("Of them at most").fill("")
    sample(page)
    expect(page.locator("#sample [data-error=number]")).to_contain_text("at most 9 are asked at once; say how many")


def test_a_file_of_prompts_is_sent_and_kept(open_page: OpenPage, server: Server, project: Project) -> None:
    page = open_page(BO, "/judge/helpful/project")
    page.locator("select[name=prompts]").select_option("file:")
    file = page.get_by_label("File a prompt a line")
    file.set_input_files({"name": "bad.jsonl", "mimeType": "text/plain", "buffer": b'{"prompt": 3}\n'})
    expect(page.locator("#sample [data-error=prompts]")).to_contain_text("Line 1: ")
    file.set_input_files({"name": "ends.txt", "mimeType": "text/plain", "buffer": b"ends?\nWhy?\n"})
    expect(page.locator("select[name=prompts]")).to_have_value("ends.jsonl")
    expect(page.locator("#how-many")).to_contain_text("2 prompts")
    page.get_by_label("Of them at most").fill("")
    sample(page)
    expect(page.locator("#now")).to_contain_text("3 items added")
    (job,) = jobs.see_all(server.store.workspace, project)
    assert (job.asked["prompts"], job.asked["num_prompts"]) == ("ends.jsonl", 2)


def test_without_a_model_the_page_says_where_one_comes_from(
    open_page: OpenPage, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tutelage.models import talkers

    monkeypatch.setattr(talkers, "STARTERS", {})
    make(store, 1)
    page = open_page(BO, "/judge/helpful/project")
    expect(page.get_by_role("heading", name="There is no model yet that could answer")).to_be_visible()
    expect(page.get_by_role("button", name="Sample answers")).to_be_hidden()


# What comes first -----------------------------------------------------------------------------------------------------


def test_items_are_put_first_by_chance_or_by_a_model(open_page: OpenPage, project: Project, store: Store) -> None:
    with store.write() as connection:
        connection.execute(schema.projects.delete())
    make(store, 5)
    page = open_page(BO, "/judge/helpful/project")
    expect(page.locator("#free")).to_contain_text("5 items can be chosen")
    page.get_by_label("How many").fill("2")
    page.get_by_role("button", name="Put them first").click()
    expect(page.locator("#toasts")).to_contain_text("2 items of 5 come first now, drawn by chance")
    expect(page.locator("#free")).to_contain_text("3 items can be chosen")
    page.get_by_role("radio", name=re.compile("What teaches most")).check()
    page.get_by_label("By whose eyes").select_option("judge")
    page.get_by_role("button", name="Put them first").click()
    expect(page.locator("#now article")).to_have_attribute("aria-label", "Choosing 2 items by the eyes of judge")
    with store.read() as connection:
        rules = connection.execute(select(schema.items.c.selection_rule)).scalars().all()
    assert sorted(rules) == ["all"] * 3 + ["random"] * 2


# Care, roles, looks ---------------------------------------------------------------------------------------------------


def test_guidelines_and_state(open_page: OpenPage, project: Project, store: Store) -> None:
    page = open_page(ADA, "/judge/helpful/project")
    page.get_by_text("there are none yet").click()
    page.get_by_label("What good means here").fill("Be kind.")
    page.reload()  # nothing that was typed is lost
    page.get_by_text("there are none yet").click()
    expect(page.get_by_label("What good means here")).to_have_value("Be kind.")
    page.get_by_role("button", name="Save as a new version").click()
    expect(page.locator("#care")).to_contain_text("version 1")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state")).to_have_text("paused")
    with store.read() as connection:
        assert projects.get(connection, "helpful").state == "paused"


def test_raters_are_told_who_looks_after_it(open_page: OpenPage, server: Server, project: Project) -> None:
    page = open_page(CY, "/judge/helpful/project")
    expect(page.get_by_role("heading", name="Reviewers look after a project here")).to_be_visible()
    assert page.request.get(server.url + "/judge/helpful/project").status == 403
    page.goto(server.url + "/judge/nothing/project")
    expect(page.get_by_role("heading", name="There is no project “nothing”")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_and_fits_a_phone(
    open_page: OpenPage, project: Project, store: Store, scheme: str
) -> None:
    made(store.workspace, "a-model-with-a-name-that-is-so-long-that-no-phone-has-room-for-it-on-one-line", "sft")
    page = open_page(BO, "/judge/helpful/project", viewport=NARROW, color_scheme=scheme)
    page.get_by_text("More options").click()
    write(page, f"{HOSTILE}\nWhat?")
    assert serious(page) == []
    sample(page)
    expect(page.locator("#now .far")).to_contain_text("answers")
    assert serious(page) == []
    assert not is_too_wide(page)
