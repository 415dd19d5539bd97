"""What tests of the API call the clients that act for people; the fixtures are in `tests/api/conftest.py`."""

from __future__ import annotations

from collections.abc import Callable

from fastapi.testclient import TestClient

from tutelage.store.people import Person

HERE = "http://localhost:8300"
PASSWORD = "correct horse"
As = Callable[[Person | None], TestClient]
