"""Models in a browser: the list, the leaderboard, a lineage by keyboard, an evaluation and its report, downloads."""

from __future__ import annotations

import os
import re
import signal
import tarfile
from collections.abc import Iterator

import pytest
from browsing import NARROW, OpenPage, Server, is_too_wide, serious
from made_models import REWARD, evaluated, held_out, made, of
from playwright.sync_api import Browser, Locator, Page, expect
from tiny import tiny_folder

from tutelage.api.caller import COOKIE
from tutelage.evaluate.report import ModelResult, render_report
from tutelage.runs import evaluations
from tutelage.store import datasets, pairs, sessions
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.types import Answer, Message, Prompt

HOSTILE = "<img src=x onerror=alert(1)><b>'bold'&amp;"
SLOWLY = 120_000


@pytest.fixture
def told(store: Store, bo: Person, cy: Person) -> Store:
    """Pairs of cy's → sft → judge → ppo, evaluations of them, and a held-out accuracy."""
    workspace = store.workspace
    with store.write() as connection:
        for number in range(3):
            talk = [Message("user", f"What is {number}?"), Message("assistant", "It is a number.")]
            pair_id = pairs.draft(connection, cy, talk, licence="CC0")
            pairs.submit(connection, cy, pair_id)
            pairs.accept(connection, bo, pair_id)
        snapshot = datasets.make_snapshot(connection, bo, "curated")
    made(workspace, "sft", "sft", of("base", "starter-base"), of("data", "curated@1", snapshot.id), at=1,
         options={"epochs": 2, "lora.rank": 8})  # fmt: skip
    made(workspace, "judge", "reward", of("base", "sft"), of("data", "verdicts.jsonl"), at=2, config=REWARD)
    made(workspace, "ppo", "ppo", of("base", "sft"), of("reward", "judge"), of("critic", "judge"), at=3)
    held_out(workspace, "judge", 73, 100)
    wins = {("sft", "starter-base"): (85, 2), ("ppo", "starter-base"): (88, 2), ("ppo", "sft"): (48, 10)}
    evaluated(workspace, "all-three", ["starter-base", "sft", "ppo"], wins)
    evaluated(workspace, "dpo-too", ["starter-base", "dpo"], {("dpo", "starter-base"): (30, 0)})
    return store


# The list ------------------------------------------------------------------------------------------------------------


def test_an_empty_workspace_teaches_what_to_do(open_page: OpenPage, bo: Person, cy: Person) -> None:
    page = open_page(bo, "/models")
    expect(page.get_by_role("heading", name="No model has been made here yet")).to_be_visible()
    expect(page.get_by_role("link", name="Teach by examples")).to_have_attribute("href", "/runs/new?method=sft")
    expect(page.get_by_role("link", name="starter-base")).to_be_visible()
    expect(page.get_by_role("button", name="Compare two models")).to_be_visible()
    rater = open_page(cy, "/models")
    expect(rater.get_by_role("heading", name="No model has been made here yet")).to_be_visible()
    expect(rater.get_by_role("button", name="Evaluate")).to_have_count(0)


def test_models_are_listed_newest_first_with_what_they_came_from(open_page: OpenPage, told: Store, bo: Person) -> None:
    page = open_page(bo, "/models")
    rows = page.locator("#list li")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("ppo")
    expect(rows.nth(2)).to_contain_text("by sft from starter-base on curated@1")
    expect(page.locator("#judge-list")).to_contain_text("73 % [64, 81]")
    expect(page.locator("#judge-list")).to_contain_text("on 100 comparisons held out")


def test_the_leaderboard_ranks_nothing_that_overlaps(open_page: OpenPage, told: Store, bo: Person) -> None:
    page = open_page(bo, "/models")
    rows = page.locator("#board tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("89 % [81, 94]")  # 88 wins and 2 ties of 100
    expect(rows.nth(0)).to_contain_text("no difference shown to sft")
    expect(rows.nth(1)).to_contain_text("no difference shown to ppo")
    expect(rows.nth(2)).to_contain_text("place 3")
    expect(rows.nth(2)).to_contain_text("worse")
    expect(page.locator("#board h3")).to_contain_text("sealed, 100 prompts")
    expect(page.locator("#board h3")).to_contain_text("scripted rater, a script")
    page.get_by_label("Held against").select_option("sft")
    expect(page.locator("#board tbody tr").nth(0)).to_contain_text("53 % [43, 62]")
    expect(page.locator("#board tbody tr").nth(0)).to_contain_text("no difference shown")
    page.reload()
    expect(page.get_by_label("Held against")).to_have_value("sft")


# One model -----------------------------------------------------------------------------------------------------------


def test_the_graph_can_be_walked_by_keyboard(open_page: OpenPage, told: Store, bo: Person) -> None:
    page = open_page(bo, "/models/ppo")
    graph = page.get_by_role("group", name="What ppo was made from")
    nodes = graph.get_by_role("link")
    expect(nodes).to_have_count(6)  # starter-base, curated@1, sft, verdicts, judge, ppo
    expect(graph.get_by_role("link", name="sft")).to_contain_text("120 steps")
    expect(graph.get_by_role("link", name="curated@1")).to_contain_text("by cy 3")
    page.locator(".node.here").focus()
    page.keyboard.press("ArrowLeft")
    expect(graph.get_by_role("link", name="judge")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".node.here")).to_be_focused()
    graph.get_by_role("link", name="curated@1").focus()
    page.keyboard.press("Enter")
    expect(page.locator(":focus")).to_contain_text("learned from curated@1")
    expect(page.locator("#lineage-list")).to_contain_text("3 pairs, taken")
    expect(page.locator("#lineage-list")).to_contain_text("CC0 3")
    graph.get_by_role("link", name="judge").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/models/judge")


def test_a_model_shows_its_options_uses_and_commands(open_page: OpenPage, told: Store, bo: Person) -> None:
    page = open_page(bo, "/models/sft")
    expect(page.locator("#option-list")).to_contain_text("lora.rank")
    expect(page.locator("#uses li")).to_have_count(2)
    expect(page.locator("#commands")).to_contain_text("tutelage serve sft")
    expect(page.locator("#commands")).to_contain_text(f"vllm serve {told.workspace.absolute()}/models/sft")
    expect(page.locator("#evaluations")).to_contain_text("ppo against sft")
    judge = open_page(bo, "/models/judge")
    expect(judge.locator("#held-out")).to_contain_text("73 %")
    expect(judge.get_by_role("button", name="Evaluate")).to_have_count(0)
    expect(judge.locator("#commands")).to_contain_text("tutelage score --model judge")


def test_raters_see_how_models_did_and_no_files(open_page: OpenPage, told: Store, cy: Person, server: Server) -> None:
    page = open_page(cy, "/models/ppo")
    expect(page.locator("#evaluations")).to_contain_text("ppo against sft")
    for hidden in ("#lineage", "#file-list", "#commands"):
        expect(page.locator(hidden)).to_have_count(0)
    expect(page.get_by_role("link", name=re.compile("Read all answers"))).to_have_count(0)
    assert page.request.get(server.url + "/reports/all-three").status == 403


def test_a_models_page_leads_to_a_talk_with_it(open_page: OpenPage, told: Store, bo: Person) -> None:
    page = open_page(bo, "/models/sft")
    page.get_by_role("link", name="Talk with it").click()
    expect(page.locator("#model-a")).to_have_value("sft")


def test_a_model_that_is_not_there_says_so(open_page: OpenPage, bo: Person) -> None:
    page = open_page(bo, "/models/nothing")
    expect(page.get_by_role("heading", name="There is no model called")).to_be_visible()


def test_a_download_is_the_model(open_page: OpenPage, store: Store, bo: Person) -> None:
    folder = tiny_folder(store.workspace / "models", name="tiny")
    page = open_page(bo, "/models/tiny")
    with page.expect_download() as started:
        page.get_by_role("link", name="Download all").click()
    with tarfile.open(started.value.path()) as tar:
        files = {name: reader.read() for name in tar.getnames() if (reader := tar.extractfile(name))}
    assert files == {f"tiny/{path.name}": path.read_bytes() for path in folder.iterdir()}
    with page.expect_download() as one:
        page.get_by_role("link", name="config.json", exact=True).click()
    assert one.value.path().read_bytes() == (folder / "config.json").read_bytes()
    assert one.value.suggested_filename == "config.json"


# Evaluating ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def real(store: Store) -> Iterator[Store]:
    """Two tiny models, and two prompts of the workspace."""
    tiny_folder(store.workspace / "models", name="before")
    tiny_folder(store.workspace / "models", name="after", seed=1)
    (store.workspace / "prompts").mkdir()
    (store.workspace / "prompts" / "two.txt").write_text("What is tea?\nWhat is rain?\n")
    yield store
    for each in evaluations.see_all(store.workspace):
        files = evaluations.find(store.workspace, each.name)
        process = evaluations.read_json(files.record).get("process")
        if each.state == "running" and isinstance(process, int):
            os.kill(process, signal.SIGKILL)


def box(page: Page, name: str) -> Locator:
    return page.get_by_role("combobox", name=name, exact=True)


def ask(page: Page, before: str = "before", after: str = "after") -> None:
    page.keyboard.press("e")
    box(page, "Before").select_option(before)
    box(page, "After").select_option(after)


@pytest.mark.slow
def test_an_evaluation_is_started_from_the_page_and_its_report_read(
    open_page: OpenPage, real: Store, bo: Person
) -> None:
    page = open_page(bo, "/models/after")
    expect(page.get_by_text("Not compared with anything yet")).to_be_visible()
    ask(page)
    page.get_by_label("Prompts").select_option("two.txt")
    page.get_by_label("Longest answer").fill("6")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#evaluations")).to_contain_text("before → after")
    link = page.get_by_role("link", name="Read all answers")
    expect(link).to_be_visible(timeout=SLOWLY)
    expect(page.locator("#evaluations")).to_contain_text("after against before")
    with page.expect_popup() as opened:
        link.click()
    report = opened.value
    expect(report.get_by_role("heading", name="Every prompt, every answer")).to_be_visible()
    report.get_by_label("Search").fill("rain")  # its script runs, and nothing but its script
    expect(report.locator("#count")).to_have_text("1 of 2 prompts")
    assert report.evaluate("self.origin") == "null"


def test_what_the_api_refuses_stands_at_its_field(open_page: OpenPage, real: Store, bo: Person) -> None:
    page = open_page(bo, "/models")
    expect(page.locator("#list li")).to_have_count(2)
    ask(page, "after", "after")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("[data-error=models]")).to_contain_text("named twice")
    box(page, "Before").select_option("before")
    page.get_by_label("Longest answer").fill("99999")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("[data-error=max_new_tokens]")).to_be_visible()
    expect(page.locator("[data-error=models]")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_an_evaluation_can_be_stopped(open_page: OpenPage, real: Store, bo: Person) -> None:
    page = open_page(bo, "/models/after")
    expect(page.get_by_text("Not compared with anything yet")).to_be_visible()
    ask(page)
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Stop after-vs-before").click()
    expect(page.locator("#evaluations")).to_contain_text("stopped by bo")


# Hostile text --------------------------------------------------------------------------------------------------------


def test_names_and_notes_are_text(open_page: OpenPage, store: Store, bo: Person) -> None:
    made(store.workspace, HOSTILE, HOSTILE, of("base", HOSTILE + "2"), of("data", HOSTILE), options={HOSTILE: HOSTILE})
    evaluated(store.workspace, "r", ["base", HOSTILE], {(HOSTILE, "base"): (9, 0)}, number=10, prompts=HOSTILE)
    page = open_page(bo, "/models")
    expect(page.locator("#list li")).to_contain_text(HOSTILE)
    expect(page.locator("#board tbody")).to_contain_text(HOSTILE)
    page.locator("#list").get_by_role("link", name=HOSTILE).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    expect(page.locator(".node.here")).to_contain_text(HOSTILE)
    expect(page.locator("#option-list")).to_contain_text(HOSTILE)
    expect(page.locator("#evaluations")).to_contain_text(HOSTILE)
    assert page.locator("main img, main b").count() == 0


def as_bo(browser: Browser, server: Server, bo: Person) -> Page:
    """A page of bo's in which a stopped script fails no test."""
    context = browser.new_context()
    with server.store.write() as connection:
        token = sessions.open_session(connection, bo).token
    context.add_cookies([{"name": COOKIE, "value": token, "url": server.url, "httpOnly": True, "sameSite": "Lax"}])
    return context.new_page()


SCRIPT = "<script>document.title = 'run'; fetch('/api/session').then(() => { document.title = 'reached'; })</script>"


def test_a_page_that_is_not_ours_runs_nothing(browser: Browser, server: Server, store: Store, bo: Person) -> None:
    evaluated(store.workspace, "r", ["base", "a"], {}, page=f"<!doctype html><title>still</title>{SCRIPT}")
    page = as_bo(browser, server, bo)
    answer = page.goto(server.url + "/reports/r")
    assert answer is not None
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none';")
    assert page.title() == "still"
    page.context.close()


def test_a_script_put_into_a_report_does_not_run(browser: Browser, server: Server, store: Store, bo: Person) -> None:
    answers = [Answer(Prompt((Message("user", "What?"),)), "That.", 1, True, "a")]
    text = render_report(title="t", models=[ModelResult("a", "", answers)], curves=(), facts={}, first_prompts=())
    evaluated(store.workspace, "r", ["a"], {}, page=text.replace("</body>", SCRIPT + "</body>"))
    page = as_bo(browser, server, bo)
    page.goto(server.url + "/reports/r")
    assert page.title() == "t"
    assert page.evaluate("document.querySelector('.filters').hidden") is False  # the report's own script did run
    page.context.close()


# Looks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/models", "/models/ppo", "/models/judge"])
def test_the_pages_are_accessible_and_fit_a_phone(
    open_page: OpenPage, told: Store, bo: Person, path: str, scheme: str
) -> None:
    page = open_page(bo, path, viewport=NARROW, color_scheme=scheme)
    expect(page.locator("#list li, .node").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert serious(page) == []
    assert not is_too_wide(page)


def test_the_dialog_is_accessible_and_fits_a_phone(open_page: OpenPage, told: Store, bo: Person) -> None:
    page = open_page(bo, "/models", viewport=NARROW)
    expect(page.locator("#list li")).to_have_count(3)
    page.get_by_role("button", name="Evaluate").click()
    expect(page.get_by_label("Prompts")).to_have_value("sealed")
    expect(box(page, "After")).to_have_value("ppo")
    expect(box(page, "Before")).to_have_value("sft")
    assert serious(page) == []
    assert not is_too_wide(page)
