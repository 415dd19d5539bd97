"""Who is asking: an API token in the Authorization header, or the session cookie of a browser with its CSRF token.

A handler says what it needs by the type of its argument: `Rater`, `Reviewer` or `Admin` (each may do all that those
before it may). It is found by one look in an index and before the request's body is judged, so that a stranger learns
nothing from it. A revoked token or session is refused at the very next request.

What does not wait is `async`, so that it needs no thread.

Leaves out: signing in (`tutelage.api.session`).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer

from tutelage.api.guards import SAFE_METHODS
from tutelage.errors import NotAllowedError, SignInError
from tutelage.store import people, sessions
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.store.sessions import Caller

COOKIE = "tutelage_session"
CSRF_HEADER = "X-CSRF-Token"
_MAX_TOKEN = 200

_bearer = HTTPBearer(auto_error=False, description="An API token, from `tutelage people token` or `POST /api/tokens`.")
_cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="The session that `POST /api/session` opens.")


def store_of(request: Request) -> Store:
    """The workspace's record."""
    store = request.app.state.store
    assert isinstance(store, Store)
    return store


def key_of(request: Request) -> bytes:
    """The workspace's secret, read when the server began."""
    key = request.app.state.key
    assert isinstance(key, bytes)
    return key


async def _store(request: Request) -> Store:
    return store_of(request)


Record = Annotated[Store, Depends(_store)]


def find_caller(request: Request) -> Caller:
    """Whoever shows a token that is in force; `SignInError` when nobody does."""
    store, key = store_of(request), key_of(request)
    authorization = request.headers.get("authorization")
    if authorization is not None:
        return _by_token(store, key, authorization)
    token = request.cookies.get(COOKIE, "")
    if not token or len(token) > _MAX_TOKEN:
        raise SignInError("nobody is signed in; sign in, or send an API token as `Authorization: Bearer tut_…`")
    with store.read() as connection:
        caller = sessions.find_session(connection, key, token)
    if caller is None:
        raise SignInError("this session has ended; sign in again")
    csrf = request.headers.get(CSRF_HEADER, "")
    if request.method not in SAFE_METHODS and not sessions.csrf_fits(key, caller, csrf):
        raise NotAllowedError(f"the header {CSRF_HEADER} is missing or wrong; GET /api/session tells the right one")
    return caller


def _by_token(store: Store, key: bytes, authorization: str) -> Caller:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer" and len(token) <= _MAX_TOKEN:
        with store.read() as connection:
            caller = sessions.find_token(connection, key, token.strip())
        if caller is not None:
            _note_use(store, caller)
            return caller
    raise SignInError("this API token is not known, was revoked or has run out; make a new one")


def _note_use(store: Store, caller: Caller) -> None:
    if caller.token_stale and caller.token_id is not None:
        with store.write() as connection:
            sessions.note_use(connection, caller.token_id)


def signed_in(
    request: Request,
    _token: Annotated[object, Security(_bearer)] = None,
    _session: Annotated[object, Security(_cookie)] = None,
) -> Caller:
    """As `find_caller`; the other arguments only tell the OpenAPI document of both ways."""
    return find_caller(request)


Asking = Annotated[Caller, Depends(signed_in)]


async def _rater(caller: Asking) -> Person:
    return caller.person


async def _reviewer(caller: Asking) -> Person:
    people.require(caller.person, "reviewer")
    return caller.person


async def _admin(caller: Asking) -> Person:
    people.require(caller.person, "admin")
    return caller.person


Rater = Annotated[Person, Depends(_rater)]
Reviewer = Annotated[Person, Depends(_reviewer)]
Admin = Annotated[Person, Depends(_admin)]
