"""The pictures of the studio in docs/images: a workspace that looks real, served here, each page photographed.

    python docs/make_pictures.py            # docs/images/studio-*.png, 1280 wide, light
    python docs/make_pictures.py home write # some of them

Needs the development extra (Playwright and a Chromium, Pillow) and no network. Nothing outlives it: the workspace lies
in a temporary folder. Each picture stays under 150 kB.

Leaves out: what the workspace holds (`picture_workspace.py`).
"""

from __future__ import annotations

import json
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import uvicorn
from picture_workspace import fill
from PIL import Image
from playwright.sync_api import Browser, Page, TimeoutError, sync_playwright

from tutelage.api.caller import COOKIE
from tutelage.store import pairs, sessions
from tutelage.store.database import Store, open_store
from tutelage.store.founding import found
from tutelage.store.people import Person
from tutelage.studio.app import create_studio

IMAGES = Path(__file__).with_name("images")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, HEIGHT, TALLEST = 1280, 860, 1500
LARGEST_BYTES = 150_000
ASKED = "How do I get burnt milk off the bottom of a pan?"
SAID = (
    "Fill the pan with hot water and a little dish soap, then let it stand.",
    "1. Cover the bottom with **hot water** and two spoons of **baking soda**.\n2. Let it simmer for ten minutes.\n"
    "3. Scrub with a wooden spoon, pour it off, and rinse.\n\nIf something is left, do it once more.",
)


class Picture(NamedTuple):
    """One page as one person sees it."""

    name: str
    person: str
    path: str
    press: tuple[str, ...] = ()
    """Keys that are pressed first."""
    whole: bool = True
    """Whether all of it is shown, down to `TALLEST`, or what fits the screen."""


PICTURES = (
    Picture("home", "mira", "/"),
    Picture("write", "aylin", "/write/{returned}"),
    Picture("review", "jonas", "/review", whole=False),
    Picture("judge", "jonas", "/judge/helpful", ("1",), whole=False),
    Picture("project", "jonas", "/judge/helpful/project"),
    Picture("rank", "jonas", "/judge/order", whole=False),
    Picture("rate", "jonas", "/judge/qualities", whole=False),
    Picture("chat", "jonas", "/chat#said"),
    Picture("runs", "jonas", "/runs"),
    Picture("run", "jonas", "/runs/assistant-2"),
    Picture("models", "jonas", "/models"),
    Picture("model", "jonas", "/models/assistant-2", whole=False),
    Picture("people", "mira", "/people"),
    Picture("people-mine", "aylin", "/people/mine"),
    Picture("people-progress", "jonas", "/people/progress", whole=False),
)
"""In a path, `{returned}` is a pair that was sent back to the person."""


@contextmanager
def serving(store: Store) -> Iterator[str]:
    """The studio over the store, at an address of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(create_studio(store), port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = server.force_exit = True
    thread.join(30)


def photograph(browser: Browser, url: str, picture: Picture, person: Person, token: str) -> Image.Image:
    """The page once it is quiet."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light", reduced_motion="reduce", locale="en-GB"
    )
    context.add_cookies([{"name": COOKIE, "value": token, "url": url}])
    page = context.new_page()
    page.add_init_script(f"Object.entries({json.dumps(conversation(person))}).forEach(([key, kept]) => {{"
                         " if (!localStorage.getItem(key)) localStorage.setItem(key, kept); });")  # fmt: skip
    page.goto(url + picture.path)
    be_quiet(page)
    for key in picture.press:
        page.keyboard.press(key)
        be_quiet(page)
    taken = Image.open(BytesIO(page.screenshot(full_page=picture.whole)))
    context.close()
    return taken.crop((0, 0, taken.width, min(taken.height, TALLEST)))


def conversation(person: Person) -> dict[str, str]:
    """What the browser of somebody keeps who has asked two models and voted; no model runs while pictures are made."""
    setup = {"a": "assistant-1", "b": "assistant-2", "two": True, "blind": True}
    opinion = {"verdict": {"winner": 1, "strength": 3}, "reasons": [], "rewrite": "", "draft": None, "key": "said",
               "dirty": False, "pair": None, "error": "", "afterReveal": False}  # fmt: skip
    sampling = {"temperature": 0.7, "max_new_tokens": 512, "seed": 1}
    replies = [
        {"model": model, "text": text, "state": "done", "error": "", "sampling": sampling, "ended": True,
         "numTokens": len(text) // 4, "seconds": len(text) / 200}
        for model, text in zip((setup["a"], setup["b"]), SAID, strict=True)
    ]  # fmt: skip
    answer = {"role": "assistant", "system": "", "replies": replies, "chosen": None, "blind": True, "opinion": opinion}
    turns = [{"role": "user", "text": ASKED}, answer]
    chat = {"id": "said", "at": int(time.time() * 1000), "turns": turns, "aside": None, "typed": ""}
    return {
        f"tutelage.chat-setup.{person.id}": json.dumps(setup), f"tutelage.chat.{person.id}.said": json.dumps(chat)
    }  # fmt: skip


def be_quiet(page: Page) -> None:
    """Wait until nothing is loading; a page that listens to a stream never is."""
    with suppress(TimeoutError):
        page.wait_for_load_state("networkidle", timeout=15_000)
    page.wait_for_timeout(500)


def keep(picture: Image.Image, path: Path) -> int:
    """Write it with as many colours as fit the size; gives the bytes."""
    for colours in (256, 128, 64, 32):
        reduced = picture.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
        reduced.save(path, optimize=True)
        if path.stat().st_size <= LARGEST_BYTES:
            break
    return path.stat().st_size


def main(wanted: list[str]) -> None:
    """Make them all, or those that are named."""
    chosen = [each for each in PICTURES if not wanted or each.name in wanted]
    browser_path = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "workspace"
        found(workspace, None, "mira")
        with open_store(workspace) as store, sync_playwright() as playwright:
            crew = fill(store)
            with store.write() as connection:
                tokens = {name: sessions.open_session(connection, who).token for name, who in crew.items()}
            browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
            with store.read() as connection:
                (returned,) = pairs.listing(connection, crew["aylin"], state="returned", author="aylin", limit=1)
            with serving(store) as url:
                for each in (each._replace(path=each.path.format(returned=returned.id)) for each in chosen):
                    taken = photograph(browser, url, each, crew[each.person], tokens[each.person])
                    size = keep(taken, IMAGES / f"studio-{each.name}.png")
                    print(f"studio-{each.name}.png: {size / 1000:.0f} kB")
            browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
