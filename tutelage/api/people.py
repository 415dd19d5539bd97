"""People, invitations, API tokens and the audit log.

Leaves out: signing in (`tutelage.api.session`).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator
from sqlalchemy import Connection

from tutelage.api.caller import Admin, Rater, Record
from tutelage.api.paging import page_of
from tutelage.api.wire import After, Done, IdPath, Limit, Page, clean
from tutelage.api.wire_people import ChangePerson, Invite, Member, NewToken, ShownInvitation, ShownToken
from tutelage.errors import NotFoundError
from tutelage.store import accounts, audit, invitations, people, sessions
from tutelage.store.audit import Entry
from tutelage.store.invitations import Invitation
from tutelage.store.people import Person, person_by_id
from tutelage.store.sessions import ApiToken

router = APIRouter(prefix="/api", tags=["people"])
AfterPerson = Annotated[str, Query(max_length=200, description="Only names after it."), AfterValidator(clean)]


@router.get("/people")
def list_people(person: Rater, store: Record, after: After = "", limit: Limit = 100) -> Page[Person]:
    """People by id; a rater sees only themselves."""
    with store.read() as connection:
        return page_of(accounts.page(connection, person, after=after, limit=limit), limit)


@router.get("/team")
def list_team(_: Rater, store: Record, after: AfterPerson = "", limit: Limit = 100) -> Page[Member]:
    """Who works here, by name: names and roles of everybody whose account is in use."""
    with store.read() as connection:
        found = people.team(connection, after=after, limit=limit)
        return page_of([Member(name=each.name, role=each.role) for each in found], limit, key="name")


@router.get("/people/{person_id}")
def get_person(person_id: IdPath, person: Rater, store: Record) -> Person:
    """One person; a rater finds only themselves."""
    with store.read() as connection:
        return _seen(connection, person, person_id)


def _seen(connection: Connection, person: Person, person_id: str) -> Person:
    if person.role == "rater" and person.id != person_id:
        raise NotFoundError(f"no person {person_id}")
    return person_by_id(connection, person_id)


@router.patch("/people/{person_id}")
def change_person(person_id: IdPath, body: ChangePerson, person: Admin, store: Record) -> Person:
    """Change somebody's role, or take their account out of use or back into it."""
    return store.run(lambda connection: _changed(connection, person, person_id, body))


def _changed(connection: Connection, by: Person, person_id: str, body: ChangePerson) -> Person:
    changed = person_by_id(connection, person_id)
    if body.role is not None:
        changed = accounts.change_role(connection, by, changed, body.role)
    if body.active is not None:
        changed = accounts.set_active(connection, by, changed, body.active)
    return changed


@router.post("/people/{person_id}/invitation", status_code=201)
def invite_to_set_password(person_id: IdPath, person: Admin, store: Record) -> ShownInvitation:
    """An invitation for somebody who is here already to set a new password."""
    made, token = store.run(
        lambda connection: invitations.invite_to_set_password(connection, person, person_by_id(connection, person_id))
    )
    return ShownInvitation(invitation=made, token=token)


@router.get("/invitations")
def list_invitations(person: Admin, store: Record, after: After = "", limit: Limit = 100) -> Page[Invitation]:
    """Invitations, the oldest first."""
    with store.read() as connection:
        return page_of(invitations.listing(connection, person, after=after, limit=limit), limit)


@router.post("/invitations", status_code=201)
def invite(body: Invite, person: Admin, store: Record) -> ShownInvitation:
    """A new invitation; its token is told only now."""
    made, token = store.run(
        lambda connection: invitations.invite(connection, person, body.role, note=body.note, days=body.days)
    )
    return ShownInvitation(invitation=made, token=token)


@router.delete("/invitations/{invitation_id}")
def revoke_invitation(invitation_id: IdPath, person: Admin, store: Record) -> Done:
    """An invitation can be accepted no more."""
    store.run(lambda connection: invitations.revoke(connection, person, invitation_id))
    return Done()


@router.get("/tokens")
def list_tokens(person: Rater, store: Record) -> list[ApiToken]:
    """One's own API tokens."""
    with store.read() as connection:
        return sessions.tokens_of(connection, person)


@router.post("/tokens", status_code=201)
def make_token(body: NewToken, person: Rater, store: Record) -> ShownToken:
    """A new API token of one's own; its text is told only now."""
    made, text = store.run(lambda connection: sessions.add_token(connection, person, body.name, body.days))
    return ShownToken(info=made, token=text)


@router.delete("/tokens/{token_id}")
def revoke_token(token_id: IdPath, person: Rater, store: Record) -> Done:
    """An API token of one's own opens nothing any more; an admin may revoke anybody's."""
    store.run(lambda connection: sessions.revoke_token(connection, person, token_id))
    return Done()


@router.get("/audit")
def list_audit(person: Admin, store: Record, after: After = "", limit: Limit = 100) -> Page[Entry]:
    """The audit log, the newest first."""
    with store.read() as connection:
        return page_of(audit.listing(connection, person, after=after, limit=limit), limit)
