"""Requests with patience: sent again after a lost connection or a busy server, errors turned back into ours.

A request is repeated only where that does no harm: it reads, or the server does it once by its key.

Leaves out: which requests there are.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tutelage.client.types import build
from tutelage.errors import (
    ConflictError,
    DataError,
    NotAllowedError,
    NotFoundError,
    SignInError,
    StoreError,
    TooManyError,
    TutelageError,
)

T = TypeVar("T")
BUSY = {502, 503, 504}
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 3.0
PIECE_BYTES = 1 << 16
_ERRORS: Mapping[int, type[TutelageError]] = {
    401: SignInError, 403: NotAllowedError, 404: NotFoundError, 409: ConflictError, 429: TooManyError,
}  # fmt: skip


class Http:
    """One server, asked as one person."""

    def __init__(
        self, url: str, token: str | None, timeout_seconds: float, attempts: int,
        transport: httpx.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        limits = httpx.Limits(max_keepalive_connections=20, keepalive_expiry=20)
        self.url, self.attempts = url.rstrip("/"), attempts
        self._client = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout_seconds, limits=limits, transport=transport
        )

    def get(self, kind: type[T], path: str, **query: Any) -> T:
        """What is at `path`."""
        return build(kind, self._json("GET", path, query=query))

    def send(
        self, method: str, kind: type[T], path: str, body: Any = None, *, key: str | None = None, again: bool = True
    ) -> T:
        """What the server answers to a request that changes something, done once however often it is sent.

        `again` False is for requests that the server would do twice.
        """
        headers = {"Idempotency-Key": key or new_key()}
        return build(kind, self._json(method, path, body=body, headers=headers, again=again))

    def pages(
        self, kind: type[T], path: str, *, after: str | None = None, page_size: int = 100, **query: Any
    ) -> Iterator[T]:
        """Every record, a page at a time."""
        while True:
            told = self._json("GET", path, query={**query, "after": after, "limit": page_size})
            yield from (build(kind, each) for each in told["records"])
            if told["next"] is None:
                return
            after = told["next"]

    def upload(self, kind: type[T], path: str, file: Path, **query: Any) -> T:
        """Send a file as the body."""

        def ask() -> httpx.Response:
            with file.open("rb") as stream:
                pieces = iter(lambda: stream.read(PIECE_BYTES), b"")
                return self._client.post(path, params=_given(query), content=pieces)

        return build(kind, self._patiently(ask, again=True).json())

    def download(self, path: str, out: Path, **query: Any) -> int:
        """Write what is at `path` to a file; gives how many bytes. A file that is there is never written over."""
        with out.open("xb") as file, ExitStack() as undo:
            undo.callback(out.unlink)
            self._patiently(lambda: self._fetch(path, query, file), again=True)
            undo.pop_all()
            return file.tell()

    def _fetch(self, path: str, query: Mapping[str, Any], file: Any) -> httpx.Response:
        file.seek(0)
        file.truncate()
        with self._client.stream("GET", path, params=_given(query)) as answer:
            if answer.status_code != 200:
                answer.read()
                return answer
            for piece in answer.iter_bytes():
                file.write(piece)
        return answer

    def _json(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None,
        headers: Mapping[str, str] | None = None, again: bool = True,
    ) -> Any:  # fmt: skip
        asked = self._client.build_request(method, path, params=_given(query or {}), json=body, headers=headers)
        return self._patiently(lambda: self._client.send(asked), again=again).json()

    def _patiently(self, ask: Callable[[], httpx.Response], *, again: bool) -> httpx.Response:
        for attempt in range(1, self.attempts + 1):
            try:
                answer = ask()
            except httpx.TransportError as error:
                harmless = again or isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
                if not harmless or attempt == self.attempts:
                    raise StoreError(f"cannot reach {self.url}: {error or type(error).__name__}") from error
            else:
                if answer.status_code not in BUSY or not again or attempt == self.attempts:
                    return _checked(answer)
            _wait(attempt)
        raise AssertionError("unreachable")

    def use_session(self, csrf: str) -> None:
        """Go on in the session whose cookie was set just now."""
        self._client.headers["X-CSRF-Token"] = csrf

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def new_key() -> str:
    """A name for one request."""
    return secrets.token_hex(16)


def _given(query: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that have a value."""
    return {name: value for name, value in query.items() if value is not None and value != ""}


def _wait(attempt: int) -> None:
    seconds = min(FIRST_WAIT_SECONDS * 2 ** (attempt - 1), LONGEST_WAIT_SECONDS)
    time.sleep(seconds * random.uniform(0.5, 1.0))


def _checked(answer: httpx.Response) -> httpx.Response:
    """The answer, or the error that it tells of."""
    if answer.status_code < 400:
        return answer
    try:
        told = dict(answer.json())
    except (ValueError, TypeError):
        told = {}
    problem = str(told.get("error") or f"the server answered {answer.status_code}")
    if answer.status_code == 422:
        raise DataError(problem, file=told.get("file"), line=told.get("line"), field=told.get("field"))
    raise _ERRORS.get(answer.status_code, StoreError)(problem)
