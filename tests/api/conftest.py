"""The application over a workspace with four people, and clients that act for each of them by an API token."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from api_clients import HERE, PASSWORD, As
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient
from record import ADA, BO, CY, DEE

from tutelage.api.app import create_app
from tutelage.store import accounts, passwords, sessions
from tutelage.store.database import Store
from tutelage.store.people import Person


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same algorithm at its smallest, so that tests are quick."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    passwords._nobodys.cache_clear()
    yield
    passwords._nobodys.cache_clear()


@pytest.fixture
def app(store: Store) -> FastAPI:
    """The application, which answers to localhost."""
    return create_app(store)


@pytest.fixture
def tokens(store: Store) -> dict[str, str]:
    """An API token of each person, by name."""
    with store.write() as connection:
        return {each.name: sessions.add_token(connection, each, "test")[1] for each in (ADA, BO, CY, DEE)}


@pytest.fixture
def acting(app: FastAPI, tokens: dict[str, str]) -> As:
    """A client of a person by their API token, or of a stranger."""

    def make(person: Person | None) -> TestClient:
        headers = {"Authorization": f"Bearer {tokens[person.name]}"} if person else {}
        return TestClient(app, base_url=HERE, headers=headers, raise_server_exceptions=False)

    return make


@pytest.fixture
def browser(app: FastAPI, store: Store) -> Callable[[Person], TestClient]:
    """A client that signed in with a password and keeps the cookie; its CSRF token is in `headers`."""

    def sign_in(person: Person) -> TestClient:
        with store.write() as connection:
            accounts.set_password(connection, ADA, person, PASSWORD)
        client = TestClient(app, base_url=HERE, raise_server_exceptions=False)
        answer = client.post("/api/session", json={"name": person.name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        client.headers["X-CSRF-Token"] = answer.json()["csrf"]
        return client

    return sign_in
