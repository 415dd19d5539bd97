"""Runs in a browser: started, watched, stopped, resumed, compared; by keyboard, on a phone, with hostile text."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from browsing import NARROW, OpenPage, Server, is_too_wide, serious
from made_runs import append, make_model, make_run, step
from playwright.sync_api import Page, Route, expect
from tiny import tiny_folder
from training_process import start_light

from tutelage.runs import launch, look, tail
from tutelage.runs.files import RunFiles
from tutelage.store import datasets, pairs
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.train.alarms import RULES
from tutelage.types import Message

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
SLOWLY = 90_000


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch, store: Store) -> Iterator[None]:
    monkeypatch.setattr(tail, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(tail, "IDLE_SECONDS", 0.1)
    yield
    for name in look.living(store.workspace):
        process = RunFiles(store.workspace, name).record.get("process")
        if isinstance(process, int):
            os.kill(process, signal.SIGKILL)


@pytest.fixture
def light(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A workspace with a model, in which training is light."""
    make_model(store.workspace, "tiny")
    monkeypatch.setattr(launch, "spawn", start_light)
    return store


def fill_in(page: Page, method: str = "sft", model: str = "tiny", data: str = "starter", name: str = "mine") -> None:
    page.get_by_role("radio", name=re.compile(f"^{method}")).check(timeout=SLOWLY)
    page.get_by_label("Model to start from").select_option(model)
    page.get_by_label("What to learn from").fill(data)
    page.get_by_label("Name of the new model").fill(name)


def more(page: Page) -> None:
    page.get_by_text("More options").click()


@pytest.mark.slow
def test_a_run_is_started_watched_and_finished_from_the_page(
    open_page: OpenPage, server: Server, store: Store, bo: Person
) -> None:
    tiny_folder(store.workspace / "models", "llama", name="tiny")
    with store.write() as connection:
        for number in range(12):
            pairs.draft(connection, bo, (Message("user", f"{number}?"), Message("assistant", f"It is {number}.")))
        datasets.make_snapshot(connection, bo, "curated", states=["draft"])
    page = open_page(bo, "/runs")
    page.get_by_role("link", name="Teach by examples").click()
    fill_in(page, data="curated")
    page.get_by_label("Stop after").fill("6")
    page.get_by_label("Looked at before each correction").fill("4")
    more(page)
    page.get_by_label("Precision").select_option("fp32")
    page.get_by_label("Sample tokens").fill("4")
    expect(page.locator("#command")).to_contain_text("--max-steps=6")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(server.url + "/runs/mine")
    expect(page.get_by_text("getting ready")).to_be_visible()
    expect(page.locator("[data-chart=loss] path.curve").first).to_be_visible(timeout=SLOWLY)
    expect(page.locator("#state")).to_have_text("finished", timeout=SLOWLY)
    expect(page.locator("#progress")).to_contain_text("step 6 of 6")
    expect(page.locator("[data-chart=loss] .readout")).to_contain_text("step 6:")
    expect(page.locator("#sample")).to_contain_text("after step 6")
    assert page.get_by_role("link", name="Open the model").get_attribute("href") == "/models/mine"
    assert "mine" in [each["name"] for each in page.request.get(server.url + "/api/models").json()["records"]]
    page.get_by_text("What it said (log)").click()
    expect(page.locator("#lines")).to_contain_text("$ tutelage train sft")


def test_a_run_is_stopped_and_found_again_by_another_studio_and_resumed(
    open_page: OpenPage, server: Server, light: Store, bo: Person
) -> None:
    page = open_page(bo, "/runs/new?method=sft")
    fill_in(page)
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(server.url + "/runs/mine")
    expect(page.locator("#state")).to_have_text("training", timeout=60_000)
    server.stop()
    expect(page.locator("#connection")).to_be_visible(timeout=60_000)
    before = look.see(light.workspace, "mine").step
    server.start()
    expect(page.locator("#connection")).to_be_hidden(timeout=60_000)
    page.wait_for_function("before => Number(document.querySelector('#bar').value) > before", arg=before)
    page.reload()
    expect(page.locator("#state")).to_have_text("training", timeout=60_000)
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    expect(page.locator("#state")).to_have_text("interrupted", timeout=60_000)  # a process takes its time to end
    expect(page.locator("#trouble")).to_contain_text("bo stopped it")
    stopped_at = int(page.locator("#bar").evaluate("bar => bar.value"))
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#state")).to_have_text("training", timeout=60_000)
    page.wait_for_function("before => Number(document.querySelector('#bar').value) > before", arg=stopped_at)


def test_a_late_answer_does_not_undo_what_the_stream_has_said(
    open_page: OpenPage, server: Server, light: Store, bo: Person
) -> None:
    launch.start(light, bo, "sft", {"model": "tiny", "data": "starter", "out": "mine"})
    page = open_page(bo, "/runs/mine")
    expect(page.locator("#state")).to_have_text("training", timeout=SLOWLY)
    held: list[tuple[Route, dict[str, Any]]] = []
    page.route(re.compile("/api/runs/mine$"), lambda route: held.append((route, route.fetch().json())))
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    expect(page.locator("#state")).to_have_text("interrupted", timeout=SLOWLY)
    for route, told in held:
        route.fulfill(json=told | {"run": told["run"] | {"state": "running", "stopping": True}})
    page.wait_for_timeout(200)
    expect(page.locator("#state")).to_have_text("interrupted")
    expect(page.get_by_role("button", name="Resume")).to_be_visible()


def test_curves_samples_and_warnings_appear_as_they_come(open_page: OpenPage, store: Store, bo: Person) -> None:
    folder = make_run(store.workspace, "one", steps=2)
    page = open_page(bo, "/runs/one")
    expect(page.locator("[data-chart=loss] .readout")).to_contain_text("step 2: 1.5")
    append(
        folder / "metrics.jsonl", [step(3, kl=2.0, kl_low=1.0, kl_high=3.0), step(4, kl=3.0, kl_low=2.0, kl_high=4.0)]
    )
    answers = [
        {"step": s, "prompt": p, "answer": f"{p} after {s}", "stopped": s > 3} for s in (3, 4) for p in ("a", "b")
    ]
    append(folder / "samples.jsonl", [*answers, {"step": 4, "warning": "kl-runaway", "message": "KL is 3"}])
    expect(page.locator("[data-chart=loss] .readout")).to_contain_text("step 4: 0.75")
    expect(page.locator("[data-chart=kl] path.band")).to_be_visible()
    expect(page.get_by_text("The answers are drifting fast")).to_be_visible()
    expect(page.locator("#sample .answer").first).to_have_text("a after 3")
    expect(page.locator("#sample .answer").last).to_have_text("a after 4")
    page.get_by_label("Later: step").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#sample .answer").last).to_have_text("a after 3")
    page.get_by_role("button", name="Next prompt").click()
    expect(page.locator("#sample .answer").first).to_have_text("b after 3")
    page.get_by_role("link", name="What this means").click()
    expect(page.locator("#kl-runaway")).to_be_visible()


def test_every_warning_is_explained(open_page: OpenPage, bo: Person) -> None:
    page = open_page(bo, "/runs/warnings")
    assert {each.get_attribute("id") for each in page.locator("main section").all()} == set(RULES)


def test_mistakes_are_told_beside_their_fields(open_page: OpenPage, light: Store, bo: Person) -> None:
    make_run(light.workspace, "taken")
    page = open_page(bo, "/runs/new")
    page.get_by_role("radio", name=re.compile("^sft")).check(timeout=SLOWLY)
    page.get_by_role("button", name="Start training").click()
    expect(page.locator("#error-model")).to_have_text("is needed; fill it in")
    expect(page.get_by_label("Model to start from")).to_be_focused()
    fill_in(page, data="./secret.jsonl")
    expect(page.locator("#error-data")).to_contain_text("is no dataset")
    expect(page.locator("#error-model")).to_be_hidden()
    page.get_by_label("What to learn from").fill("starter")
    page.get_by_label("Size of each correction").fill("-1")
    expect(page.locator("#error-learning_rate")).to_contain_text("must be a number above 0")
    page.get_by_label("Size of each correction").fill("1e-4")
    expect(page.locator("#command")).to_contain_text("--learning-rate=0.0001")
    page.get_by_label("Name of the new model").fill("taken")
    page.get_by_role("button", name="Start training").click()
    expect(page.locator("#problem")).to_contain_text("called 'taken' already")


def test_a_reward_is_put_together_from_parts_and_code_is_not_offered(
    open_page: OpenPage, light: Store, bo: Person
) -> None:
    make_model(light.workspace, "taste", kind="LlamaForSequenceClassification")
    page = open_page(bo, "/runs/new?method=grpo")
    page.get_by_label("Model to start from").select_option("tiny", timeout=SLOWLY)
    page.get_by_label("Prompts to practise on").fill("compare")
    page.get_by_label("Reward", exact=True).select_option("taste")
    page.get_by_role("button", name="Add another").click()
    page.get_by_label("Reward", exact=True).last.select_option("length")
    page.get_by_label("With", exact=True).last.fill("120")
    page.get_by_label("Weight", exact=True).last.fill("0.2")
    expect(page.locator("#command")).to_contain_text("--reward=taste '--reward=0.2*length:120'")
    page.get_by_role("button", name="Remove this reward").last.click()
    expect(page.locator("#command")).not_to_contain_text("length")
    assert page.locator("[name=trust_remote_code], [name=tracker], [name=workspace]").count() == 0


def test_what_was_filled_in_outlives_a_reload_and_another_method(open_page: OpenPage, light: Store, bo: Person) -> None:
    page = open_page(bo, "/runs/new")
    fill_in(page, name="kept")
    page.get_by_label("How often to go").fill("2")
    expect(page.get_by_text("Kept in this browser")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Name of the new model")).to_have_value("kept", timeout=SLOWLY)
    expect(page.get_by_label("How often to go")).to_have_value("2")
    page.get_by_role("radio", name=re.compile("^dpo")).check()
    expect(page.locator("#about")).to_contain_text("dpo")
    expect(page.get_by_label("Model to start from")).to_have_value("tiny")


def test_runs_are_compared_by_laying_curves_over_each_other(open_page: OpenPage, store: Store, bo: Person) -> None:
    for name in ("one", "two", "three"):
        make_run(store.workspace, name, finished=name == "one")
    page = open_page(bo, "/runs")
    expect(page.get_by_role("button", name="Compare")).to_be_disabled()
    for name in ("one", "two"):
        page.get_by_label(f"Compare {name}").check()
    page.keyboard.press("c")
    expect(page.locator("#compare-charts figure").first).to_contain_text("step 3: one 1, two 1")
    expect(page.locator("#compare-charts figure").first.locator(".key")).to_have_text(["one", "two"])
    assert page.url.endswith("/runs?compare=one,two")
    page.reload()
    expect(page.locator("#compare-charts figure").first).to_be_visible()
    page.get_by_label("Smooth curves").check()
    expect(page.locator("#compare-charts path.faint").first).to_be_visible()


def test_a_chart_is_read_by_keyboard_and_as_a_table(open_page: OpenPage, store: Store, bo: Person) -> None:
    make_run(store.workspace, "one", steps=3)
    page = open_page(bo, "/runs/one")
    loss = page.locator("[data-chart=loss]")
    expect(loss.locator(".stage")).to_have_attribute("aria-label", re.compile("from 3 at step 1 to 1 at step 3"))
    loss.locator(".stage").focus()
    page.keyboard.press("ArrowLeft")
    expect(loss.locator(".readout")).to_have_text("step 2: 1.5")
    page.keyboard.press("Home")
    expect(loss.locator(".readout")).to_have_text("step 1: 3")
    loss.get_by_text("As a table").click()
    expect(loss.locator("tbody tr")).to_have_text(["13", "21.5", "31"])
    page.locator("h1").click()
    page.keyboard.press("l")
    expect(page.get_by_label("Logarithmic scale")).to_be_checked()


def test_a_run_is_started_and_stopped_by_keyboard_alone(
    open_page: OpenPage, server: Server, light: Store, bo: Person
) -> None:
    make_run(light.workspace, "old")
    page = open_page(bo, "/runs")
    expect(page.get_by_role("link", name="old")).to_be_visible()
    page.keyboard.press("n")
    page.wait_for_url(server.url + "/runs/new")
    page.get_by_role("radio", name=re.compile("^sft")).focus(timeout=SLOWLY)
    page.keyboard.press("Space")
    page.get_by_label("Model to start from").focus()
    page.keyboard.type("tiny")
    page.keyboard.press("Tab")
    page.keyboard.type("starter")
    expect(page.get_by_label("Name of the new model")).to_have_value("tiny-sft")
    page.keyboard.press("Control+Enter")
    page.wait_for_url(server.url + "/runs/tiny-sft")
    expect(page.locator("#state")).to_have_text("training")
    page.keyboard.press("s")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("dialog").get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_have_text("interrupted")
    page.keyboard.press("r")
    expect(page.locator("#state")).to_have_text("training")


def test_markup_in_prompts_answers_logs_and_errors_is_text(open_page: OpenPage, store: Store, bo: Person) -> None:
    sample = {"step": 1, "prompt": HOSTILE * 3, "answer": HOSTILE, "stopped": True}
    warning = {"step": 1, "warning": HOSTILE, "message": HOSTILE}
    log = f"$ tutelage train sft\ntutelage: {HOSTILE}\n"
    make_run(store.workspace, "one", samples=[sample, warning], log=log, data=HOSTILE, model=HOSTILE)
    page = open_page(bo, "/runs/one")
    expect(page.locator("#sample-text")).to_have_text(HOSTILE * 3)
    expect(page.locator("#sample .answer").first).to_contain_text("<img src=x")
    expect(page.locator("#trouble")).to_contain_text(HOSTILE)
    expect(page.locator("#warning-list")).to_contain_text(HOSTILE)
    page.get_by_text("What it said (log)").click()
    expect(page.locator("#lines")).to_contain_text(HOSTILE)
    page.get_by_text("Options", exact=True).click()
    expect(page.locator("#config")).to_contain_text(HOSTILE)
    assert page.locator("main img, main script").count() == 0
    page.goto(page.url.removesuffix("/one"))
    expect(page.locator("#runs")).to_contain_text(HOSTILE)
    assert page.locator("main img, main script").count() == 0


def test_a_rater_has_no_way_in(open_page: OpenPage, server: Server, store: Store, cy: Person) -> None:
    make_run(store.workspace, "one")
    page = open_page(cy, "/")
    assert page.get_by_role("link", name="Runs").count() == 0
    for path in ("/runs", "/runs/new", "/runs/one", "/runs/warnings"):
        assert page.request.get(server.url + path).status == 403


def test_data_of_a_file_is_called_by_its_name_and_the_place_is_told_on_demand(
    open_page: OpenPage, store: Store, bo: Person
) -> None:
    place = "/home/bo/answers of 2026/verdicts.jsonl"
    make_run(store.workspace, "one", data=place, model="/home/bo/a model")
    page = open_page(bo, "/runs/one")
    about = page.locator("#about")
    expect(about).to_contain_text("sft from a model, learning from verdicts.jsonl ·")
    about.get_by_role("button", name="verdicts.jsonl").click()
    expect(about.get_by_role("button", name=place)).to_be_focused()
    page.goto(page.url.removesuffix("/one"))
    expect(page.locator("[data-run=one]")).to_contain_text("sft · from a model")


def test_a_loss_of_practice_is_not_told_as_an_error(open_page: OpenPage, store: Store, bo: Person) -> None:
    make_run(store.workspace, "one")
    page = open_page(bo, "/runs/one")
    expect(page.locator("[data-chart=loss]")).to_contain_text("How wrong it still is")
    for name in ("two", "three"):
        practice = make_run(store.workspace, name, steps=0, method="ppo", finished=True, num_steps=None)
        append(practice / "metrics.jsonl", [step(number, reward=0.5) for number in (1, 2)])
    page.goto(page.url.replace("one", "two"))
    expect(page.locator("[data-chart=loss]")).to_contain_text("Need not fall")
    expect(page.locator("#progress")).to_have_text("took 4 s")
    page.goto(page.url.replace("/two", "?compare=two,three"))
    expect(page.get_by_role("heading", name="What each step works against")).to_be_visible()
    page.goto(page.url.replace("two,three", "one,two"))
    expect(page.get_by_role("heading", name="How wrong it still is")).to_be_visible()


def test_a_run_that_is_not_there_says_so(open_page: OpenPage, bo: Person) -> None:
    page = open_page(bo, "/runs/nope")
    expect(page.get_by_role("heading", name="There is no run called “nope”")).to_be_visible()
    assert page.request.get(page.url).status == 404
    page.get_by_role("link", name="All runs of this workspace").click()
    expect(page.get_by_role("heading", name="Training runs")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "path", ["/runs", "/runs?compare=one,better", "/runs/better", "/runs/new?method=ppo", "/runs/warnings"]
)
def test_the_pages_are_accessible_and_fit_a_phone(
    open_page: OpenPage, light: Store, bo: Person, path: str, scheme: str
) -> None:
    samples = [{"step": s, "prompt": "p" * 200, "answer": "w" * 300, "stopped": False} for s in (1, 2)]
    long = "a-very-long-name-" * 5
    make_run(light.workspace, "one", finished=True)
    make_run(light.workspace, "better", log="tutelage: " + "x" * 300, samples=samples)
    make_run(light.workspace, long, method="ppo", model="m" * 80)
    page = open_page(bo, path, viewport=NARROW, color_scheme=scheme)
    ready = {
        "/runs": "#runs li",
        "/runs/better": "#sample .answer",
        "/runs/new": "#field-model",
        "/runs/warnings": "h2",
    }
    wanted = ready[path.partition("?")[0]] if "compare" not in path else "#compare-charts figure"
    expect(page.locator(wanted).first).to_be_visible(timeout=SLOWLY)
    for details in page.locator("main details").all():
        details.evaluate("each => { each.open = true; }")
    assert serious(page) == []
    assert not is_too_wide(page)
