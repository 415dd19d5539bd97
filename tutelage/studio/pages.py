"""What every page shares: who is looking, the shell around it, and the way to the sign-in page.

A page's handler takes `Viewer` and gives `page(viewer, "home.html", …)`. Whoever is not signed in is sent to sign in
and comes back to the page they asked for.

Leaves out: scripts and styles (`static/`), and everything that a page asks of the API once it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tutelage import __version__
from tutelage.api.caller import COOKIE, find_caller, key_of, store_of
from tutelage.errors import NotAllowedError, SignInError
from tutelage.store import sessions
from tutelage.store.database import Store
from tutelage.store.people import ROLES, Person

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip


class Entry(NamedTuple):
    """A line of the navigation."""

    path: str
    title: str
    role: str
    """Who sees it: this role and those above it."""


NAVIGATION = (
    Entry("/", "Home", "rater"),
    Entry("/write", "Write", "rater"),
    Entry("/review", "Review", "reviewer"),
    Entry("/judge", "Judge", "rater"),
    Entry("/chat", "Chat", "rater"),
    Entry("/runs", "Runs", "reviewer"),
    Entry("/models", "Models", "rater"),
    Entry("/people", "People", "rater"),
)


@dataclass(frozen=True)
class View:
    """Somebody who is signed in, looking at a page."""

    request: Request
    person: Person
    csrf: str

    @property
    def store(self) -> Store:
        return store_of(self.request)

    @property
    def navigation(self) -> list[Entry]:
        rank = ROLES.index(self.person.role)
        return [entry for entry in NAVIGATION if ROLES.index(entry.role) <= rank]


class SignInNeededError(Exception):
    """Nobody is signed in; carries where they wanted to go."""

    def __init__(self, wanted: str) -> None:
        super().__init__(wanted)
        self.wanted = wanted


async def to_sign_in(_: Request, error: Exception) -> RedirectResponse:
    """Send a visitor to the sign-in page, and back afterwards."""
    assert isinstance(error, SignInNeededError)
    return RedirectResponse(f"/sign-in?next={quote(error.wanted)}", status_code=303)


def viewer_of(request: Request) -> View:
    """Whoever asks; raises `SignInNeededError` when nobody is signed in."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    try:
        caller = find_caller(request)
    except (SignInError, NotAllowedError) as error:
        raise SignInNeededError(wanted) from error
    if caller.session_id is None:  # an API token opens no pages: their requests need a session's CSRF token
        raise SignInNeededError(wanted)
    token = request.cookies.get(COOKIE, "")
    return View(request, caller.person, sessions.csrf_of(key_of(request), token))


Viewer = Annotated[View, Depends(viewer_of)]


def page(viewer: View, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """A page in the shell. `context` is for the template; texts in it are escaped."""
    path = viewer.request.url.path
    here = next((e.path for e in viewer.navigation if path == e.path or path.startswith(f"{e.path}/")), "")
    return _html(
        template, status, person=viewer.person, csrf=viewer.csrf, navigation=viewer.navigation, here=here, **context
    )


def bare_page(template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """A page for a visitor who is not signed in."""
    return _html(template, status, person=None, csrf="", navigation=[], here="", **context)


def _html(template: str, status: int, **context: Any) -> HTMLResponse:
    text = TEMPLATES.get_template(template).render(version=__version__, **context)
    return HTMLResponse(text, status_code=status, headers={"Cache-Control": "no-store"})
