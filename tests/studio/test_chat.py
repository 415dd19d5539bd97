"""The chat in the browser: tiny real models for what streams, stops and crashes, and told answers for the rest."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from browsing import NARROW, OpenPage, Server, is_too_wide, serious
from playwright.sync_api import Locator, Page, Route, expect
from record import ADA, CY
from sqlalchemy import select
from talking import add_model

from tutelage.serve.pool import Pool
from tutelage.store import pairs, schema
from tutelage.store.database import Store
from tutelage.store.people import Person

PATIENCE_MS = 120_000
TYPED = "(node, value) => { node.value = value; node.dispatchEvent(new Event('input', { bubbles: true })); }"
HOSTILE = "<img src=x onerror=alert(1)> <script>alert(2)</script> **bold** [link](javascript:alert(3))"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """Two tiny models, `sft` made from `base`; their processes take seconds to start, so the tests share them."""
    folder = tmp_path_factory.mktemp("models")
    add_model(folder, "base", num_hidden_layers=24, max_position_embeddings=4096)
    add_model(folder, "sft", seed=1, origin={"kind": "trained", "method": "sft", "base": "base"})
    pool = Pool(folder)
    yield pool
    pool.close()


@pytest.fixture
def talking(server: Server, models: Pool) -> Pool:
    """The server's models."""
    (server.store.workspace / "models").symlink_to(models.workspace / "models")
    server.lend(models)
    return models


def chat(open_page: OpenPage, person: Person = CY, *, setup: dict[str, Any] | None = None, **options: Any) -> Page:
    """The chat, with its settings."""
    page = open_page(person, "/sign-in", **options)
    kept = json.dumps({"maxTokens": 24, "temperature": 0} | (setup or {}))
    page.evaluate("([key, kept]) => localStorage.setItem(key, kept)", [f"tutelage.chat-setup.{person.id}", kept])
    page.goto(page.url.replace("/sign-in", "/chat"))
    return page


def event(kind: str, **data: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


def done(text: str, side: int = 0, model: str = "sft") -> str:
    """An answer that has come whole."""
    more = {"num_tokens": 7, "num_prompt_tokens": 5, "stopped": True, "seconds": 0.4}
    return event("text", side=side, text=text) + event(
        "done", side=side, model=model, text=text, sampling={"temperature": 0.0, "seed": 1}, **more
    )


def answering(page: Page, *bodies: str) -> list[dict[str, Any]]:
    """Answer the next asks with these texts; gives what is asked, as it is asked."""
    asked: list[dict[str, Any]] = []

    def answer(route: Route) -> None:
        asked.append(route.request.post_data_json)
        body = bodies[min(len(asked), len(bodies)) - 1] + event("end")
        route.fulfill(body=body, content_type="text/event-stream")

    page.route("**/api/chat", answer)
    return asked


def ask(page: Page, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.keyboard.press("Enter")


def label_rows(store: Store) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(select(schema.labels).order_by(schema.labels.c.id)).all())


def answers_of(page: Page) -> Any:
    return page.locator("#thread .answer")


# --- real models ------------------------------------------------------------------------------------------------------


def test_an_answer_streams_and_is_there_after_a_reload(open_page: OpenPage, talking: Pool) -> None:
    page = chat(open_page)
    expect(page.get_by_role("heading", name="Ask a model something")).to_be_visible()
    page.get_by_role("button", name=re.compile("burnt milk")).click()
    expect(page.get_by_label("Your message")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Loading the model")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_role("button", name="Not good")).to_be_visible(timeout=PATIENCE_MS)
    expect(answers_of(page).get_by_text("24 tokens in")).to_contain_text("cut off at the limit")
    text = answers_of(page).locator(".reply-text.prose").inner_text()
    assert text
    page.reload()
    expect(page.get_by_text("How do I get burnt milk").last).to_be_visible()
    expect(answers_of(page).locator(".reply-text.prose")).to_have_text(text, use_inner_text=True)
    ask(page, "Once more")  # it is loaded by now
    expect(page.get_by_role("button", name="Not good")).to_have_count(2, timeout=PATIENCE_MS)
    assert talking.loaded() == ["sft"]


def test_esc_stops_the_model_and_what_there_is_can_be_judged(open_page: OpenPage, talking: Pool) -> None:
    page = chat(open_page, setup={"a": "base", "maxTokens": 2048})
    ask(page, "Go on and on")
    expect(answers_of(page).locator(".reply-text")).to_contain_text(re.compile(r"\S{8}"), timeout=PATIENCE_MS)
    page.keyboard.press("Escape")
    expect(answers_of(page).get_by_text("stopped", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    page.get_by_role("button", name="Not good").click()
    expect(page.get_by_text("saved", exact=True)).to_be_visible()
    assert not any(each.is_busy for each in talking._processes.values())


def test_a_crash_is_told_and_the_next_try_works(open_page: OpenPage, talking: Pool) -> None:
    page = chat(open_page, setup={"a": "base", "maxTokens": 2048})
    ask(page, "Go on and on")
    expect(answers_of(page).locator(".reply-text")).to_contain_text(re.compile(r"\S{8}"), timeout=PATIENCE_MS)
    (process,) = [each for each in talking._processes.values() if each.model == "base"]
    psutil.Process(process.process_id).send_signal(signal.SIGKILL)
    expect(answers_of(page).get_by_text("'base' stopped in the middle")).to_be_visible()
    page.locator("#max-tokens").evaluate(TYPED, "8")
    page.get_by_role("button", name="Ask again").click()
    expect(page.get_by_role("button", name="Not good")).to_be_visible(timeout=PATIENCE_MS)


def test_two_models_blind_a_vote_and_the_names(open_page: OpenPage, server: Server, talking: Pool) -> None:
    page = chat(open_page, setup={"maxTokens": 8})
    page.get_by_label("Two at once").check()
    page.get_by_label("Hide the names").check()
    assert page.locator("#model-a").input_value() == "base"
    assert page.locator("#model-b").input_value() == "sft"
    ask(page, "Hello?")
    expect(page.get_by_role("group", name="A is better")).to_be_visible(timeout=PATIENCE_MS)
    assert not re.search("base|sft", page.locator("#thread").inner_html())
    ask(page, "And now?")
    expect(page.get_by_role("alert")).to_have_text(
        "Say first which answer is better, or choose which one to go on from."
    )
    page.keyboard.press("Escape")
    page.keyboard.press("7")
    expect(page.get_by_text("saved", exact=True)).to_be_visible()
    names = page.locator("#thread .answer-name").all_inner_texts()
    assert sorted(re.findall("base|sft", " ".join(names))) == ["base", "sft"]
    (label,) = label_rows(server.store)
    assert (label.kind, label.value, label.meta) == (
        "comparison",
        {"outcome": "second", "strength": 3},
        {"blind": True},
    )
    with page.expect_response("**/api/chat/vote"):
        page.keyboard.press("6")
    before, after = label_rows(server.store)
    assert (before.id, after.supersedes) == (label.id, label.id)
    assert (after.value, after.meta) == ({"outcome": "second", "strength": 2}, {"blind": True, "after_reveal": True})
    with server.store.read() as connection:
        made = {row.id: row.model for row in connection.execute(select(schema.answers))}
    assert [made[each] for each in label.answer_ids] == [re.findall("base|sft", name)[0] for name in names]


# --- what people say --------------------------------------------------------------------------------------------------


def bottom(part: Locator) -> float:
    """Where the lower edge of something is on the screen."""
    return float(part.evaluate("e => e.getBoundingClientRect().bottom"))


def test_thumbs_tags_and_better_words_land_in_the_record(open_page: OpenPage, server: Server, talking: Pool) -> None:
    page = chat(open_page, setup={"system": "Be brief."})
    answering(page, done("A leap year has 365 days."))
    ask(page, "What is a leap year?")
    expect(answers_of(page)).to_contain_text("365 days")
    page.keyboard.press("Escape")
    page.keyboard.press("0")
    page.get_by_role("button", name="wrong").click()
    expect(page.get_by_text("saved", exact=True)).to_be_visible()
    page.keyboard.press("w")
    box = page.get_by_label("What it should have said")
    expect(box).to_have_value("A leap year has 365 days.")
    save = page.get_by_role("button", name="Save as a draft pair")
    assert bottom(save) < page.locator("#composer, .composer").first.evaluate("e => e.getBoundingClientRect().top")
    box.fill("A leap year has 366 days.")
    expect(page.locator("#thread del")).to_have_text("365 ")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("link", name="your draft")).to_be_visible()
    expect(page.get_by_role("button", name="Change what it should have said")).to_be_focused()
    rows = label_rows(server.store)
    newest = rows[-1]
    assert [row.superseded_ms is None for row in rows] == [False] * (len(rows) - 1) + [True]
    assert (newest.value, newest.reasons, newest.rewrite) == ({"good": False}, ["wrong"], "A leap year has 366 days.")
    with server.store.read() as connection:
        (pair,) = pairs.listing(connection, CY)
    assert (pair.state, pair.source) == ("draft", "chat with sft")
    assert [each.role for each in pair.messages] == ["system", "user", "assistant"]
    page.get_by_role("button", name="Good", exact=True).click()
    expect(page.get_by_role("button", name="Good", exact=True)).to_have_attribute("aria-pressed", "true")
    page.wait_for_function("() => document.querySelector('.state').textContent.startsWith('saved')")
    assert label_rows(server.store)[-1].value == {"good": True}
    page.get_by_role("link", name="your draft").click()
    page.wait_for_url(f"**/write/{pair.id}")


def test_better_words_alone_say_that_it_was_not_good(open_page: OpenPage, server: Server, talking: Pool) -> None:
    page = chat(open_page)
    answering(page, done("Wrong."))
    ask(page, "Q?")
    page.get_by_role("button", name="Write what it should have said").click()
    page.get_by_label("What it should have said").fill("Right.")
    page.get_by_role("button", name="Save as a draft pair").click()
    expect(page.get_by_role("link", name="your draft")).to_be_visible()
    expect(page.get_by_role("button", name="Not good")).to_have_attribute("aria-pressed", "true")
    (label,) = label_rows(server.store)
    assert (label.value, label.rewrite) == ({"good": False}, "Right.")


def test_one_goes_on_from_either_of_two(open_page: OpenPage, server: Server, talking: Pool) -> None:
    page = chat(open_page, setup={"two": True, "a": "base", "b": "sft"})
    asked = answering(page, done("Left.", 0, "base") + done("Right.", 1))
    ask(page, "Q?")
    page.get_by_role("button", name="Go on from B").click()
    ask(page, "More?")
    expect(answers_of(page)).to_have_count(4)
    assert [each["content"] for each in asked[1]["messages"]] == ["Q?", "Right.", "More?"]
    assert label_rows(server.store) == []
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    expect(page.get_by_text("saved", exact=True)).to_be_visible()
    page.keyboard.press("b")
    ask(page, "And?")
    expect(answers_of(page)).to_have_count(6)
    assert asked[2]["messages"][-2]["content"] == "Right."
    (label,) = label_rows(server.store)
    assert label.value == {"outcome": "first", "strength": 4}
    assert label.meta == {"blind": False}


def test_what_is_said_without_a_network_is_sent_later(open_page: OpenPage, server: Server, talking: Pool) -> None:
    page = chat(open_page)
    answering(page, done("An answer."))
    ask(page, "Q?")
    expect(page.get_by_role("button", name="Not good")).to_be_visible()
    server.stop()
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    expect(page.locator("#net")).to_have_text("1 not sent yet")
    expect(page.locator(".state")).to_have_text("not sent yet")
    server.start()
    expect(page.get_by_text("saved", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    assert [row.value for row in label_rows(server.store)] == [{"good": True}]


def test_what_was_said_just_before_the_page_was_left_is_not_lost(
    open_page: OpenPage, server: Server, talking: Pool
) -> None:
    page = chat(open_page)
    answering(page, done("An answer."))
    ask(page, "Q?")
    page.get_by_role("button", name="Not good").click()
    page.reload()
    expect(page.get_by_text("saved", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Not good")).to_have_attribute("aria-pressed", "true")
    assert [row.value for row in label_rows(server.store)] == [{"good": False}]


def test_a_refusal_stands_beside_the_answer(open_page: OpenPage, server: Server, talking: Pool) -> None:
    page = chat(open_page)
    answering(page, done("An answer."))
    told = {"error": "no such thing", "field": "reasons"}
    page.route("**/api/chat/feedback", lambda route: route.fulfill(status=422, json=told))
    ask(page, "Q?")
    page.get_by_role("button", name="Not good").click()
    expect(page.get_by_text("Not kept: no such thing")).to_be_visible()
    page.unroute("**/api/chat/feedback")
    page.get_by_role("button", name="Good", exact=True).click()
    expect(page.get_by_text("saved", exact=True)).to_be_visible()
    assert [row.value for row in label_rows(server.store)] == [{"good": True}]


def test_a_refusal_after_a_reload_stands_beside_the_answer_too(
    open_page: OpenPage, server: Server, talking: Pool
) -> None:
    page = chat(open_page)
    answering(page, done("An answer."))
    page.route("**/api/chat/feedback", lambda route: route.abort())
    ask(page, "Q?")
    page.get_by_role("button", name="Not good").click()
    expect(page.locator("#net")).to_have_text("1 not sent yet")
    page.reload()
    expect(page.locator(".state")).to_have_text("not sent yet")
    page.unroute("**/api/chat/feedback")
    page.route("**/api/chat/feedback", lambda route: route.fulfill(status=422, json={"error": "no such thing"}))
    expect(page.get_by_text("Not kept: no such thing")).to_be_visible()
    expect(page.locator("#net")).to_have_text("")


# --- conversations ----------------------------------------------------------------------------------------------------


def test_nothing_typed_is_lost_on_reload(open_page: OpenPage, talking: Pool) -> None:
    page = chat(open_page)
    answering(page, done("An answer."))
    ask(page, "Q?")
    page.get_by_role("button", name="Write what it should have said").click()
    page.get_by_label("What it should have said").fill("Half of a better")
    page.get_by_label("Your message").fill("Half of a question")
    page.reload()
    expect(page.get_by_label("Your message")).to_have_value("Half of a question")
    expect(page.get_by_label("What it should have said")).to_have_value("Half of a better")
    page.keyboard.press("n")
    expect(page.get_by_label("Your message")).to_have_value("")
    expect(page.get_by_role("heading", name="Ask a model something")).to_be_visible()
    page.get_by_label("Your message").fill("A new one, not sent")
    page.reload()
    expect(page.get_by_label("Your message")).to_have_value("A new one, not sent")
    expect(page.get_by_role("complementary").get_by_role("link")).to_have_count(2)


def test_chats_are_listed_opened_and_deleted(open_page: OpenPage, talking: Pool) -> None:
    page = chat(open_page)
    answering(page, done("An answer."))
    for text in ("The first question", "The second question"):
        ask(page, text)
        expect(answers_of(page)).to_have_count(1)
        page.get_by_role("button", name="New chat").click()
    links = page.get_by_role("complementary").get_by_role("link")
    expect(links).to_have_count(2)
    links.filter(has_text="first").click()
    expect(page.locator(".bubble")).to_have_text("The first question")
    page.go_back()
    expect(page.get_by_role("heading", name="Ask a model something")).to_be_visible()
    page.get_by_role("button", name="Delete the chat: The first question").click()
    expect(page.get_by_role("button", name="Delete", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(links).to_have_count(1)
    page.reload()
    expect(links).to_have_count(1)


def test_a_message_is_edited_and_sent_again_and_the_old_way_stays(open_page: OpenPage, talking: Pool) -> None:
    page = chat(open_page)
    asked = answering(page, done("First answer."), done("Second answer."))
    ask(page, "Helo?")
    expect(answers_of(page)).to_contain_text("First answer.")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    page.get_by_label("Change your message").fill("Hello?")
    page.keyboard.press("Enter")
    expect(answers_of(page)).to_contain_text("Second answer.")
    assert [each["messages"][-1]["content"] for each in asked] == ["Helo?", "Hello?"]
    page.get_by_role("button", name="Go back to the earlier version").click()
    expect(page.locator(".bubble")).to_have_text("Helo?")
    expect(answers_of(page)).to_contain_text("First answer.")


def test_settings_are_sent_and_kept(open_page: OpenPage, talking: Pool) -> None:
    page = chat(open_page)
    asked = answering(page, done("An answer."))
    page.get_by_text("Settings", exact=True).click()
    page.get_by_label("What the model is told first").fill("Be brief.")
    page.locator("#temperature").evaluate(TYPED, "1.2")
    page.get_by_label("Longest answer").fill("99999")
    page.keyboard.press("Escape")
    expect(page.get_by_label("Longest answer")).to_be_hidden()
    page.reload()
    ask(page, "Q?")
    expect(answers_of(page)).to_have_count(1)
    assert asked[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert asked[0]["sampling"] == {"temperature": 1.2, "max_new_tokens": 2048}


# --- keys, hostile text, errors, looks --------------------------------------------------------------------------------


def test_keys_are_off_while_typing_and_lead_everywhere_else(open_page: OpenPage, server: Server, talking: Pool) -> None:
    page = chat(open_page)
    answering(page, done("An answer."))
    expect(page.get_by_role("heading", name="Ask a model something")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_label("Your message")).to_be_focused()
    page.keyboard.type("1 n w e r 0")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second line")
    page.keyboard.press("Enter")
    expect(page.locator(".bubble")).to_have_text("1 n w e r 0\nsecond line", use_inner_text=True)
    expect(answers_of(page)).to_have_count(1)
    expect(page.get_by_role("button", name="Not good")).to_be_visible()
    assert label_rows(server.store) == []
    page.keyboard.press("Escape")
    expect(answers_of(page)).to_be_focused()
    page.keyboard.press("r")
    expect(page.get_by_role("button", name="Go back to the earlier version")).to_be_visible()


def test_hostile_texts_are_shown_as_texts(open_page: OpenPage, server: Server, talking: Pool) -> None:
    page = chat(open_page, setup={"two": True, "a": "base", "b": "sft"})
    answering(
        page,
        event("loading", side=0, seconds=1, text=HOSTILE, usual_seconds=None)
        + done(HOSTILE, 0, HOSTILE)
        + event("error", side=1, error=HOSTILE),
    )
    ask(page, HOSTILE)
    expect(page.locator(".bubble")).to_have_text(HOSTILE)
    expect(answers_of(page).first).to_contain_text("<script>alert(2)</script>")
    expect(answers_of(page).first.locator("strong")).to_have_text("bold")
    expect(answers_of(page).last).to_contain_text(HOSTILE)
    page.keyboard.press("Escape")
    page.reload()
    expect(answers_of(page).first.locator("strong")).to_have_text("bold")
    assert page.locator("#chat img, #chat script, #chat a[href^=javascript]").count() == 0
    expect(page.get_by_role("complementary").get_by_role("link")).to_contain_text("<img src=x")


@pytest.mark.parametrize(
    ("status", "told"),
    [(429, "an answer to you is still being written"), (404, "no model 'sft' to talk to"), (422, "the user last")],
)
def test_an_error_is_told_in_the_servers_words(open_page: OpenPage, talking: Pool, status: int, told: str) -> None:
    page = chat(open_page)
    page.route("**/api/chat", lambda route: route.fulfill(status=status, json={"error": told}))
    ask(page, "Q?")
    expect(answers_of(page)).to_contain_text(told)
    ask(page, "Once more")
    expect(page.get_by_role("alert")).to_have_text("There is no answer to go on from. Ask again, or edit your message.")
    page.unroute("**/api/chat")
    answering(page, done("Now."))
    page.get_by_role("button", name="Ask again").click()
    expect(answers_of(page)).to_contain_text("Now.")


def test_a_connection_that_breaks_keeps_what_there_is(open_page: OpenPage, talking: Pool) -> None:
    page = chat(open_page)
    body = event("text", side=0, text="Half an ans")
    page.route("**/api/chat", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
    ask(page, "Q?")
    expect(answers_of(page)).to_contain_text("Half an ans")
    expect(answers_of(page)).to_contain_text("The connection broke off. Try again.")


@pytest.mark.parametrize(
    ("person", "words"), [(CY, "Whoever looks after this workspace"), (ADA, "tutelage models --path")]
)
def test_without_a_model_the_page_says_what_to_do(open_page: OpenPage, person: Person, words: str) -> None:
    page = open_page(person, "/chat")
    expect(page.get_by_role("heading", name="There is no model to talk to yet")).to_be_visible()
    expect(page.locator("#thread")).to_contain_text(words)
    expect(page.get_by_label("Your message")).to_be_hidden()
    assert serious(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_and_fits_a_phone(open_page: OpenPage, talking: Pool, scheme: str) -> None:
    page = chat(open_page, viewport=NARROW, color_scheme=scheme)
    expect(page.get_by_role("heading", name="Ask a model something")).to_be_visible()
    assert serious(page) == []
    assert not is_too_wide(page)
    long = "averyveryverylongword" * 30 + "\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\n" + "code " * 60 + "\n```"
    answering(page, done(long), done("Left.", 0, "base") + done(long, 1))
    ask(page, long)
    page.get_by_role("button", name="Not good").click()
    page.get_by_role("button", name="Write what it should have said").click()
    page.get_by_label("Two at once").check()
    page.get_by_text("Settings", exact=True).click()
    assert serious(page) == []
    assert not is_too_wide(page)
    page.keyboard.press("Escape")
    ask(page, "Q?")
    expect(page.get_by_role("group", name="A is better")).to_be_visible()
    page.get_by_role("button", name="B is much better").click()
    expect(page.get_by_text("saved", exact=True).last).to_be_visible()
    page.get_by_text("Your chats").click()
    assert serious(page) == []
    assert not is_too_wide(page)
