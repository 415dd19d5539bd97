"""Signing in and out, accepting an invitation, and who one is.

The session's cookie is HttpOnly and SameSite=Lax, and Secure where the request came over HTTPS. Signing in always makes
a new session.

Leaves out: passwords and sessions themselves (`tutelage.store.accounts`, `tutelage.store.sessions`).
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from tutelage.api.caller import COOKIE, Asking, Record, key_of
from tutelage.api.wire import Done
from tutelage.api.wire_people import AcceptInvitation, ChangePassword, Me, SignIn
from tutelage.errors import NotAllowedError
from tutelage.store import accounts, audit, sessions
from tutelage.store.people import Person
from tutelage.store.sessions import SESSION_DAYS, Opened

router = APIRouter(prefix="/api", tags=["session"])


@router.post("/session")
def sign_in(body: SignIn, store: Record, request: Request, response: Response) -> Me:
    """Sign in; the answer sets the session's cookie and tells its CSRF token."""
    person, opened = accounts.sign_in(store, body.name, body.password)
    return _entered(person, opened, request, response)


@router.post("/invitations/accept")
def accept_invitation(body: AcceptInvitation, store: Record, request: Request, response: Response) -> Me:
    """Make the account that an invitation offers, and sign in."""
    person, opened = accounts.accept(store, body.token, body.name, body.password)
    return _entered(person, opened, request, response)


def _entered(person: Person, opened: Opened, request: Request, response: Response) -> Me:
    response.set_cookie(
        COOKIE, opened.token, max_age=SESSION_DAYS * 86_400, path="/", httponly=True, samesite="lax",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return Me(person=person, csrf=opened.csrf, expires_ms=opened.expires_ms)


@router.get("/session")
def who_am_i(caller: Asking, request: Request) -> Me:
    """Who is asking; for a session also its CSRF token."""
    token = request.cookies.get(COOKIE, "")
    csrf = sessions.csrf_of(key_of(request), token) if caller.session_id else None
    return Me(person=caller.person, csrf=csrf)


@router.delete("/session")
def sign_out(caller: Asking, store: Record, response: Response) -> Done:
    """End this session."""
    if caller.session_id is None:
        raise NotAllowedError("an API token is not signed out; revoke it with DELETE /api/tokens/ID")
    with store.write() as connection:
        sessions.end_session(connection, caller.session_id)
        audit.note(connection, caller.person, "session.ended")
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
    return Done()


@router.delete("/sessions")
def sign_out_everywhere(caller: Asking, store: Record, response: Response) -> Done:
    """End every session of one's own, this one too. API tokens stay in force."""
    with store.write() as connection:
        sessions.end_sessions(connection, caller.person.id)
        audit.note(connection, caller.person, "session.all_ended")
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
    return Done()


@router.put("/session/password")
def change_password(body: ChangePassword, caller: Asking, store: Record) -> Done:
    """Change one's password; every other session of one's own ends."""
    accounts.change_password(store, caller.person, body.old, body.new, session_id=caller.session_id)
    return Done()
