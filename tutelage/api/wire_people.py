"""The wire models of accounts: what is asked, and what is told of people, sessions, invitations and tokens.

Leaves out: any hash or secret but the ones that are shown once.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from tutelage.api.wire import Asked, Short, clean
from tutelage.store.invitations import Invitation
from tutelage.store.people import Person, Role
from tutelage.store.sessions import ApiToken

Password = Annotated[str, Field(max_length=1000), AfterValidator(clean)]
Token = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(clean)]
RoleName = Literal["rater", "reviewer", "admin"]


class SignIn(Asked):
    """A name and its password."""

    name: Annotated[Short, Field(min_length=1)]
    password: Password


class AcceptInvitation(Asked):
    """An invitation's token, and the account to make of it."""

    token: Token
    name: Short = ""
    """Empty for an invitation that is for somebody who is here already."""
    password: Password


class ChangePassword(Asked):
    """One's old password and a new one."""

    old: Password
    new: Password


class Invite(Asked):
    """An invitation to make: for somebody new, or for `person_id` to set a password."""

    role: RoleName = "rater"
    note: Short = ""
    days: Annotated[int, Field(ge=1, le=90)] = 7


class ChangePerson(Asked):
    """What an admin may change of an account."""

    role: RoleName | None = None
    active: bool | None = None


class NewToken(Asked):
    """An API token to make."""

    name: Annotated[Short, Field(min_length=1)]
    days: Annotated[int, Field(ge=1, le=3650)] | None = None


class Me(BaseModel):
    """Whoever is asking."""

    person: Person
    csrf: str | None = None
    """Of a session: what unsafe requests carry in the header X-CSRF-Token."""
    expires_ms: int | None = None


class Member(BaseModel):
    """Somebody who works here, as everybody may know them."""

    name: str
    role: RoleName


class ShownInvitation(BaseModel):
    """A new invitation with its token, which is told only now."""

    invitation: Invitation
    token: str


class ShownToken(BaseModel):
    """A new API token with its text, which is told only now."""

    info: ApiToken
    token: str


__all__ = [
    "AcceptInvitation", "ApiToken", "ChangePassword", "ChangePerson", "Invitation", "Invite", "Me", "Member",
    "NewToken", "Person", "Role", "ShownInvitation", "ShownToken", "SignIn",
]  # fmt: skip
