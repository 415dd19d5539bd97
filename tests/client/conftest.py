"""A real server in a thread of this process, and clients of it for each of the four people."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from record import ADA, BO, CY, DEE

from tutelage.api.app import create_app
from tutelage.client import Client
from tutelage.store import sessions
from tutelage.store.database import Store
from tutelage.store.people import Person


@pytest.fixture
def address(store: Store) -> Iterator[str]:
    """Where the server listens."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(store), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=30)
    listening.close()


@pytest.fixture
def acting(address: str, store: Store) -> Iterator[Callable[[Person], Client]]:
    """A client of a person."""
    with store.write() as connection:
        tokens = {each.id: sessions.add_token(connection, each, "test")[1] for each in (ADA, BO, CY, DEE)}
    made: list[Client] = []

    def make(person: Person) -> Client:
        made.append(Client(address, tokens[person.id]))
        return made[-1]

    yield make
    for client in made:
        client.close()
