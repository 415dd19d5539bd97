"""`Client`: one server, one person, and what may be asked by part.

Leaves out: the parts (the modules beside this one).
"""

from __future__ import annotations

from typing import Any

from tutelage.client.accounts import Files, Models, People
from tutelage.client.http import Http
from tutelage.client.labelling import Labels, Projects, Queue
from tutelage.client.pairs import Datasets, Pairs
from tutelage.client.sampling import Sampling

URL = "http://127.0.0.1:8300"
TIMEOUT_SECONDS = 60.0
ATTEMPTS = 8
"""How often a request is sent before it is given up; the waits between grow to `LONGEST_WAIT_SECONDS`."""


class Client:
    """The API of one workspace, asked with one person's API token. Threads may share it."""

    def __init__(
        self, url: str = URL, token: str | None = None, *, timeout_seconds: float = TIMEOUT_SECONDS,
        attempts: int = ATTEMPTS, transport: Any = None,
    ) -> None:  # fmt: skip
        self._http = Http(url, token, timeout_seconds, attempts, transport)
        self.pairs = Pairs(self._http)
        self.datasets = Datasets(self._http)
        self.projects = Projects(self._http)
        self.queue = Queue(self._http)
        self.labels = Labels(self._http)
        self.sampling = Sampling(self._http)
        self.people = People(self._http)
        self.files = Files(self._http)
        self.models = Models(self._http)

    def health(self) -> dict[str, str]:
        """Whether the server and its database answer, and its version."""
        return self._http.get(dict[str, str], "/api/health")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def accept_invitation(url: str, invitation: str, name: str, password: str, token_name: str = "client") -> str:
    """Make the account that an invitation offers, and an API token for it; gives the token, which is told only now.

    `name` is empty for an invitation to set a password. Raises as `tutelage.store.invitations.accept_invitation`.
    """
    http = Http(url, None, TIMEOUT_SECONDS, ATTEMPTS)
    try:
        body = {"token": invitation, "name": name, "password": password}
        told = http.send("POST", dict[str, Any], "/api/invitations/accept", body, again=False)
        http.use_session(str(told["csrf"]))
        made = http.send("POST", dict[str, Any], "/api/tokens", {"name": token_name}, again=False)
        http.send("DELETE", dict[str, Any], "/api/session", again=False)
        return str(made["token"])
    finally:
        http.close()
