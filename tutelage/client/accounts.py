"""People, invitations, API tokens, the audit log, files and lineage, over HTTP.

Leaves out: the rules, which are the server's (`tutelage.store`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tutelage.client.http import Http
from tutelage.client.types import (
    ApiToken,
    Entry,
    Import,
    ImportListed,
    Invitation,
    Made,
    Model,
    Person,
    Removed,
    build,
)


class People:
    """`client.people`"""

    def __init__(self, http: Http) -> None:
        self._http = http

    def me(self) -> Person:
        """Whoever is asking."""
        return build(Person, self._http.get(dict[str, Any], "/api/session")["person"])

    def list(self, *, page_size: int = 100) -> Iterator[Person]:
        """People by id; a rater sees only themselves."""
        return self._http.pages(Person, "/api/people", page_size=page_size)

    def get(self, person_id: str) -> Person:
        """One person."""
        return self._http.get(Person, f"/api/people/{person_id}")

    def set_role(self, person_id: str, role: str) -> Person:
        """Give somebody another role."""
        return self._http.send("PATCH", Person, f"/api/people/{person_id}", {"role": role})

    def set_active(self, person_id: str, active: bool) -> Person:
        """Take somebody's account out of use, or back into it."""
        return self._http.send("PATCH", Person, f"/api/people/{person_id}", {"active": active})

    def remove_work(self, person_id: str, *, dry_run: bool = True) -> Removed:
        """Take all work of somebody out, and list the models to train again; by default only list."""
        return self._http.send("POST", Removed, f"/api/people/{person_id}/remove-work", {"dry_run": dry_run})

    def invite(self, role: str = "rater", *, note: str = "", days: int = 7) -> tuple[Invitation, str]:
        """A new invitation and its token, which is told only now."""
        body = {"role": role, "note": note, "days": days}
        return _shown(self._http.send("POST", dict[str, Any], "/api/invitations", body, again=False))

    def invite_to_set_password(self, person_id: str) -> tuple[Invitation, str]:
        """An invitation for somebody who is here already to set a new password."""
        return _shown(
            self._http.send("POST", dict[str, Any], f"/api/people/{person_id}/invitation", again=False)
        )  # fmt: skip

    def invitations(self, *, page_size: int = 100) -> Iterator[Invitation]:
        """Invitations, the oldest first."""
        return self._http.pages(Invitation, "/api/invitations", page_size=page_size)

    def revoke_invitation(self, invitation_id: str) -> None:
        """An invitation can be accepted no more."""
        self._http.send("DELETE", dict[str, Any], f"/api/invitations/{invitation_id}", again=False)

    def tokens(self) -> tuple[ApiToken, ...]:
        """One's own API tokens."""
        return self._http.get(tuple[ApiToken, ...], "/api/tokens")

    def make_token(self, name: str, *, days: int | None = None) -> tuple[ApiToken, str]:
        """A new API token of one's own, and its text, which is told only now."""
        told = self._http.send("POST", dict[str, Any], "/api/tokens", {"name": name, "days": days}, again=False)
        return build(ApiToken, told["info"]), str(told["token"])

    def revoke_token(self, token_id: str) -> None:
        """An API token of one's own opens nothing any more."""
        self._http.send("DELETE", dict[str, Any], f"/api/tokens/{token_id}", again=False)

    def audit(self, *, page_size: int = 100) -> Iterator[Entry]:
        """The audit log, the newest first."""
        return self._http.pages(Entry, "/api/audit", page_size=page_size)


def _shown(told: dict[str, Any]) -> tuple[Invitation, str]:
    return build(Invitation, told["invitation"]), str(told["token"])


class Files:
    """`client.files`"""

    def __init__(self, http: Http) -> None:
        self._http = http

    def import_file(self, file: Path, *, name: str | None = None, **options: Any) -> Import:
        """Send a file to import; `options` are kind, project, state, source, licence, tag, format, strict, dry_run."""
        return self._http.upload(Import, "/api/imports", file, filename=name or file.name, **options)

    def imports(self, *, page_size: int = 50) -> Iterator[ImportListed]:
        """Imports, the newest first."""
        return self._http.pages(ImportListed, "/api/imports", page_size=page_size)

    def get_import(self, import_id: str) -> ImportListed:
        """One import with all that it left out."""
        return self._http.get(ImportListed, f"/api/imports/{import_id}")

    def export(self, what: str, out: Path, *, format: str = "tutelage", **filters: Any) -> int:
        """Write `pairs`, `prompts`, `labels:PROJECT` or `DATASET@N` to a new file; gives how many bytes."""
        return self._http.download("/api/exports", out, what=what, format=format, **filters)


class Models:
    """`client.models`"""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self, *, page_size: int = 100) -> Iterator[Model]:
        """The models of the workspace, the newest first, and those that only the record remembers."""
        return self._http.pages(Model, "/api/models", page_size=page_size)

    def lineage(self, model: str) -> Made:
        """What a model was made from, as a tree."""
        return self._http.get(Made, f"/api/models/{model}/lineage")

    def rescan(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Read every model folder again; gives their names, and what could not be read."""
        told = self._http.send("POST", dict[str, Any], "/api/models/rescan")
        return tuple(told["models"]), tuple(told["unreadable"])
