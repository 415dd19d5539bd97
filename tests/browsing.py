"""A real Chromium before a real server: `open_page(person)` gives a page of somebody who is signed in.

Every request to another host is blocked and counted; a test fails at its end when one was tried, when a script threw,
or when the content security policy stopped something. The browser is the Chromium of the system or Playwright's own.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright

from tutelage.api.caller import COOKIE
from tutelage.serve.pool import Pool
from tutelage.store import sessions
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.studio.app import create_studio

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a file: while it runs, its thread has an event loop that others cannot have."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


class Server:
    """The studio over a store, in a thread; `stop` and `start` again at the same port as often as a test wants."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.pool: Pool | None = None
        """Models that are there already and outlast the server; else it starts its own."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Serve, and come back once it answers."""
        self.app = create_studio(self.store)
        if self.pool is not None:
            self.lend(self.pool)
        config = uvicorn.Config(self.app, port=self.port, log_level="warning", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        for _ in range(600):
            if self._server.started:
                return
            time.sleep(0.05)
        raise RuntimeError("the server did not start")

    def lend(self, pool: Pool) -> None:
        """Answer with these models, whose processes take seconds to start."""
        self.pool = self.app.state.pool = pool

    def stop(self) -> None:
        """Stop at once, whatever is open; models that somebody talked to end with it."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(30)
        if (pool := getattr(self.app.state, "pool", None)) is not self.pool:
            pool.close()


@pytest.fixture
def server(store: Store) -> Iterator[Server]:
    """The studio over the test's workspace."""
    served = Server(store)
    yield served
    served.stop()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(server: Server, browser: Browser) -> Iterator[OpenPage]:
    """`open_page(person, "/judge", viewport=NARROW)`; without a person nobody is signed in."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def opened(person: Person | None, path: str = "/", **options: Any) -> Page:
        context = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce"} | options)
        context.set_default_timeout(20_000)
        contexts.append(context)
        if person is not None:
            with server.store.write() as connection:
                token = sessions.open_session(connection, person).token
            context.add_cookies(
                [{"name": COOKIE, "value": token, "url": server.url, "httpOnly": True, "sameSite": "Lax"}]
            )
        context.route("**/*", lambda route: _only_here(route, server.url, wrong))
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"a script threw: {error}"))
        page.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
        page.goto(server.url + path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def _only_here(route: Route, url: str, wrong: list[str]) -> None:
    if urlsplit(route.request.url).netloc == urlsplit(url).netloc or route.request.url.startswith(("data:", "blob:")):
        route.continue_()
    else:
        wrong.append(f"a request to {route.request.url}")
        route.abort()


def serious(page: Page) -> list[str]:
    """What axe finds on the page that is serious or critical, a line each."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['help']} ({each['nodes'][0]['html'][:200]})"
        for each in found if each["impact"] in ("serious", "critical")
    ]  # fmt: skip


def is_too_wide(page: Page) -> bool:
    """Whether the page can be scrolled sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1"))


def shoot(page: Page, folder: Path, name: str) -> Path:
    """A picture of the whole page."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    return path
