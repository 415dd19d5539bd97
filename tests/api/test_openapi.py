"""The OpenAPI document: stable names, and no request made from it or against it breaks the server."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from api_clients import HERE
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings, strategies
from record import ADA, CY
from schemathesis.generation.modes import GenerationMode

from tutelage import __version__
from tutelage.api.listing import operations
from tutelage.feedback import items, projects, queue, submit
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.store import pairs
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.types import Message

pytestmark = pytest.mark.slow  # thousands of requests

EXAMPLES = int(os.environ.get("TUTELAGE_EXAMPLES", "5"))
KEEPS_ITS_CALLER = {("PATCH", "/api/people/{person_id}"), ("DELETE", "/api/tokens/{token_id}")}
"""Left out, for a lucky guess would end the session of the test; other tests are about them."""


def test_the_document_is_titled_and_its_names_are_unique(app: FastAPI) -> None:
    document = app.openapi()
    assert document["info"]["title"] == "Tutelage"
    assert document["info"]["version"] == __version__
    names = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(names) == len(set(names)) > 60
    assert {"submit_next", "next_task", "draft_pair", "import_upload"} <= set(names)


def test_every_operation_says_what_it_does_and_how_one_shows_who_one_is(app: FastAPI) -> None:
    document = app.openapi()
    assert all(help for _, _, help in operations(document))
    secured = document["paths"]["/api/pairs"]["get"]["security"]
    assert {next(iter(each)) for each in secured} == {"HTTPBearer", "APIKeyCookie"}


@pytest.fixture
def _quiet() -> Iterator[None]:
    logging.getLogger("tutelage.api").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("tutelage.api").setLevel(logging.NOTSET)


@pytest.fixture
def known(store: Store) -> dict[str, str]:
    """Ids of things that are there, by the name of the path parameter."""
    question = (Message("user", "What is a leap year?"),)
    with store.write() as connection:
        pair_id = pairs.draft(connection, CY, [*question, Message("assistant", "A year of 366 days.")])
        project = projects.create(connection, ADA, "helpful", "comparison", overlap=3, guideline="Be kind.")
        several = [NewItem((Message("user", f"{place}?"),), [NewAnswer("a"), NewAnswer("b")]) for place in range(9)]
        items.add_items(connection, ADA, project, several)
        done, task = (queue.next_item(connection, CY, project) for _ in range(2))
        assert done is not None
        label_id, task = submit.submit_next(connection, CY, done.assignment_id, "k", {"winner": 0, "strength": 2})
        assert task is not None
    return {
        "project": "helpful", "pair_id": pair_id, "item_id": done.item_id, "task_id": task.assignment_id,
        "label_id": label_id, "person_id": CY.id, "version": "1",
    }  # fmt: skip


@pytest.mark.parametrize("person", [ADA, CY], ids=lambda each: each.role)
@pytest.mark.usefixtures("_quiet")
def test_no_request_breaks_the_server(
    app: FastAPI, tokens: dict[str, str], known: dict[str, str], person: Person
) -> None:
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", app, headers={"Host": "localhost"})
    schema.config.generation.modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    headers = {"Host": "localhost", "Authorization": f"Bearer {tokens[person.name]}"}
    counts: Counter[int] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        if (operation.method.upper(), operation.path) not in KEEPS_ITS_CALLER:
            _try(operation, headers, known, counts)
    assert not [status for status in counts if status >= 500], counts
    assert counts[200] + counts[201] > 20  # the requests reach what they ask for, and are not all turned away


def _try(operation: Any, headers: dict[str, str], known: dict[str, str], counts: Counter[int]) -> None:
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(), is_there=strategies.booleans())
    def ask(case: schemathesis.Case, is_there: bool) -> None:
        if is_there and isinstance(case.path_parameters, dict):
            case.path_parameters |= {name: known[name] for name in case.path_parameters if name in known}
        answer = case.call(base_url=HERE, headers=headers)
        counts[answer.status_code] += 1
        assert answer.status_code < 500, case.as_curl_command()

    ask()
