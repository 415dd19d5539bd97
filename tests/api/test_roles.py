"""Who may ask what: every route of the application has its line here, and a new one without a line fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from api_clients import As
from fastapi import FastAPI
from record import ADA, BO, CY, DEE

from tutelage.feedback import items, projects, queue, submit
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.store import pairs
from tutelage.store.database import Store
from tutelage.types import Message

pytestmark = pytest.mark.slow  # every call as everybody

ROLE_OF = {
    "GET /api/health": "anyone",
    "GET /api/openapi.json": "anyone",
    "GET /docs": "anyone",
    "POST /api/session": "anyone",
    "POST /api/render": "rater",
    "POST /api/invitations/accept": "anyone",
    "GET /api/session": "rater",
    "DELETE /api/session": "rater",
    "PUT /api/session/password": "rater",
    "GET /api/people": "rater",
    "GET /api/people/{person_id}": "rater",
    "PATCH /api/people/{person_id}": "admin",
    "POST /api/people/{person_id}/invitation": "admin",
    "POST /api/people/{person_id}/remove-work": "admin",
    "GET /api/invitations": "admin",
    "POST /api/invitations": "admin",
    "DELETE /api/invitations/{invitation_id}": "admin",
    "GET /api/tokens": "rater",
    "POST /api/tokens": "rater",
    "DELETE /api/tokens/{token_id}": "rater",
    "GET /api/audit": "admin",
    "GET /api/pairs": "rater",
    "POST /api/pairs": "rater",
    "GET /api/pairs/counts": "rater",
    "POST /api/pairs/near": "rater",
    "POST /api/pairs/check": "rater",
    "GET /api/pairs/tags": "rater",
    "GET /api/pairs/{pair_id}": "rater",
    "PATCH /api/pairs/{pair_id}": "rater",
    "GET /api/pairs/{pair_id}/history": "rater",
    "GET /api/pairs/{pair_id}/diff": "rater",
    "PUT /api/pairs/{pair_id}/messages": "rater",
    "POST /api/pairs/{pair_id}/tags": "rater",
    "POST /api/pairs/{pair_id}/submit": "rater",
    "POST /api/pairs/{pair_id}/withdraw": "rater",
    "POST /api/pairs/{pair_id}/accept": "reviewer",
    "POST /api/pairs/{pair_id}/return": "reviewer",
    "POST /api/pairs/{pair_id}/reject": "reviewer",
    "POST /api/pairs/{pair_id}/reopen": "reviewer",
    "GET /api/pairs/{pair_id}/uses": "reviewer",
    "GET /api/datasets": "reviewer",
    "GET /api/snapshots": "reviewer",
    "POST /api/snapshots": "reviewer",
    "GET /api/snapshots/one": "reviewer",
    "GET /api/snapshots/file": "reviewer",
    "GET /api/snapshots/diff": "reviewer",
    "GET /api/guidelines/writing": "rater",
    "PUT /api/guidelines/writing": "reviewer",
    "GET /api/guidelines/writing/{version}": "rater",
    "POST /api/diff": "rater",
    "GET /api/projects": "rater",
    "POST /api/projects": "reviewer",
    "GET /api/projects/{project}": "rater",
    "PUT /api/projects/{project}/state": "reviewer",
    "GET /api/projects/{project}/guidelines": "rater",
    "POST /api/projects/{project}/guidelines": "reviewer",
    "GET /api/projects/{project}/guidelines/{version}": "rater",
    "GET /api/projects/{project}/items": "reviewer",
    "POST /api/projects/{project}/items": "reviewer",
    "GET /api/projects/{project}/items/counts": "reviewer",
    "PUT /api/projects/{project}/items/{item_id}/gold": "reviewer",
    "POST /api/projects/{project}/items/{item_id}/withdraw": "reviewer",
    "POST /api/projects/{project}/next": "rater",
    "GET /api/projects/{project}/progress": "rater",
    "GET /api/projects/{project}/look": "reviewer",
    "POST /api/projects/{project}/choose": "reviewer",
    "GET /api/projects/{project}/sampling": "reviewer",
    "POST /api/projects/{project}/samplings": "reviewer",
    "POST /api/projects/{project}/choices": "reviewer",
    "GET /api/projects/{project}/jobs": "reviewer",
    "GET /api/projects/{project}/jobs/{job}": "reviewer",
    "GET /api/projects/{project}/jobs/{job}/log": "reviewer",
    "POST /api/projects/{project}/jobs/{job}/stop": "reviewer",
    "POST /api/projects/{project}/jobs/{job}/resume": "reviewer",
    "POST /api/prompt-files": "reviewer",
    "GET /api/tasks/{task_id}": "rater",
    "POST /api/tasks/{task_id}/submit": "rater",
    "POST /api/tasks/{task_id}/submit-next": "rater",
    "POST /api/tasks/{task_id}/skip": "rater",
    "POST /api/tasks/{task_id}/renew": "rater",
    "PUT /api/tasks/{task_id}/draft": "rater",
    "GET /api/labels": "rater",
    "POST /api/labels": "rater",
    "GET /api/items/{item_id}/labels": "rater",
    "POST /api/items/{item_id}/decision": "reviewer",
    "POST /api/labels/{label_id}/correct": "rater",
    "GET /api/labels/{label_id}/uses": "reviewer",
    "GET /api/labels/{label_id}": "rater",
    "POST /api/labels/{label_id}/reveal": "rater",
    "GET /api/work": "rater",
    "GET /api/projects/{project}/work": "rater",
    "GET /api/projects/{project}/mine": "rater",
    "GET /api/projects/{project}/disagreements": "reviewer",
    "GET /api/projects/{project}/disagreements/count": "reviewer",
    "GET /api/uses": "rater",
    "GET /api/home": "rater",
    "GET /api/team": "rater",
    "DELETE /api/sessions": "rater",
    "POST /api/items": "reviewer",
    "GET /api/models": "rater",
    "GET /api/models/{model}": "rater",
    "GET /api/models/{model}/files": "reviewer",
    "GET /api/models/{model}/file": "reviewer",
    "GET /api/models/{model}/download": "reviewer",
    "GET /api/leaderboard": "rater",
    "GET /api/evaluations": "rater",
    "POST /api/evaluations": "reviewer",
    "GET /api/evaluation-prompts": "reviewer",
    "GET /api/evaluations/{evaluation}": "rater",
    "POST /api/evaluations/{evaluation}/stop": "reviewer",
    "POST /api/models/rescan": "admin",
    "GET /api/models/{model}/lineage": "reviewer",
    "POST /api/imports": "reviewer",
    "GET /api/imports": "reviewer",
    "GET /api/imports/{import_id}": "reviewer",
    "GET /api/exports": "reviewer",
    "GET /api/methods": "reviewer",
    "GET /api/methods/{method}": "reviewer",
    "GET /api/runs": "reviewer",
    "POST /api/runs": "reviewer",
    "POST /api/runs/check": "reviewer",
    "GET /api/runs/{run}": "reviewer",
    "GET /api/runs/{run}/metrics": "reviewer",
    "GET /api/runs/{run}/samples": "reviewer",
    "GET /api/runs/{run}/log": "reviewer",
    "GET /api/runs/{run}/events": "reviewer",
    "POST /api/runs/{run}/stop": "reviewer",
    "POST /api/runs/{run}/resume": "reviewer",
    "GET /api/chat/models": "rater",
    "POST /api/chat": "rater",
    "POST /api/chat/feedback": "rater",
    "POST /api/chat/vote": "rater",
}
NEEDS_MORE = {"anyone": [], "rater": [], "reviewer": [CY], "admin": [CY, BO]}
"""For each role, those who have less."""


def routes_of(routes: Iterable[Any]) -> Iterator[str]:
    """Every method and path that the application answers, those outside the OpenAPI document too."""
    for route in routes:
        inner = getattr(route, "original_router", None)  # newer FastAPI keeps an included router whole
        if inner is not None:
            yield from routes_of(inner.routes)
            continue
        yield from (f"{method} {route.path}" for method in route.methods if method != "HEAD")


def address(route: str) -> tuple[str, str]:
    method, path = route.split(" ")
    ids = ("person_id", "invitation_id", "token_id", "pair_id", "item_id", "task_id", "label_id", "import_id", "job")
    for name in ids:
        path = path.replace(f"{{{name}}}", "f" * 32)
    for name in ("project", "evaluation", "model", "run", "method"):
        path = path.replace(f"{{{name}}}", "nothing")
    return method, path.replace("{version}", "1")


def test_every_route_has_its_line(app: FastAPI) -> None:
    documented = {f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods}
    assert documented <= set(ROLE_OF)
    assert set(routes_of(app.routes)) == set(ROLE_OF)


@pytest.mark.parametrize("route", [route for route, role in ROLE_OF.items() if role != "anyone"])
def test_a_stranger_is_turned_away(acting: As, route: str) -> None:
    answer = acting(None).request(*address(route))
    assert answer.status_code == 401
    assert "sign in" in answer.json()["error"]


@pytest.mark.parametrize("route", [route for route, role in ROLE_OF.items() if NEEDS_MORE[role]])
def test_a_lower_role_is_turned_away(acting: As, route: str) -> None:
    for person in NEEDS_MORE[ROLE_OF[route]]:
        answer = acting(person).request(*address(route))
        assert answer.status_code in (403, 404), f"{person.name} got {answer.status_code} at {route}"


@pytest.mark.parametrize("route", ROLE_OF)
def test_the_role_itself_is_let_in(acting: As, route: str) -> None:
    person = {"anyone": None, "rater": CY, "reviewer": BO, "admin": ADA}[ROLE_OF[route]]
    status = acting(person).request(*address(route)).status_code
    assert status < 500
    assert status not in (401, 403) or route == "DELETE /api/session"  # an API token is no session


OTHERS = {
    "GET /api/people/{person_id}": 404,
    "GET /api/pairs/{pair_id}": 404,
    "GET /api/pairs/{pair_id}/history": 404,
    "GET /api/pairs/{pair_id}/diff": 404,
    "GET /api/pairs/{pair_id}/uses": 403,
    "GET /api/projects/{project}/items": 403,
    "GET /api/projects/{project}/items/counts": 403,
    "GET /api/projects/{project}/look": 403,
    "GET /api/projects/{project}/sampling": 403,
    "GET /api/projects/{project}/jobs": 403,
    "GET /api/projects/{project}/jobs/{job}": 403,
    "GET /api/projects/{project}/jobs/{job}/log": 403,
    "GET /api/tasks/{task_id}": 404,
    "GET /api/items/{item_id}/labels": 404,
    "GET /api/labels/{label_id}/uses": 403,
    "GET /api/labels/{label_id}": 404,
    "GET /api/projects/{project}/disagreements": 403,
    "GET /api/projects/{project}/disagreements/count": 403,
    "GET /api/models/{model}/lineage": 403,
    "GET /api/models/{model}/files": 403,
    "GET /api/models/{model}/file": 403,
    "GET /api/models/{model}/download": 403,
    "GET /api/imports/{import_id}": 403,
    "GET /api/methods/{method}": 403,
    "GET /api/runs/{run}": 403,
    "GET /api/runs/{run}/metrics": 403,
    "GET /api/runs/{run}/samples": 403,
    "GET /api/runs/{run}/log": 403,
    "GET /api/runs/{run}/events": 403,
}
"""What a rater gets who asks for another's record by its id."""
SHARED = {
    "GET /api/projects/{project}", "GET /api/projects/{project}/guidelines", "GET /api/projects/{project}/progress",
    "GET /api/projects/{project}/guidelines/{version}", "GET /api/projects/{project}/work",
    "GET /api/projects/{project}/mine", "GET /api/guidelines/writing/{version}",
    "GET /api/models/{model}", "GET /api/evaluations/{evaluation}",
}  # fmt: skip
"""What raters see of a project, each the same but for their own numbers."""


@pytest.fixture
def ids(store: Store) -> dict[str, str]:
    """Ids of what dee wrote, was given and judged."""
    question = (Message("user", "What is a leap year?"),)
    with store.write() as connection:
        pair_id = pairs.draft(connection, DEE, [*question, Message("assistant", "A year of 366 days.")])
        project = projects.create(connection, BO, "helpful", "comparison", models=["secret-model"], gold_frac=0.1)
        items.add_items(connection, BO, project, [NewItem(question, [NewAnswer("a", "one"), NewAnswer("b", "two")])])
        task = queue.next_item(connection, DEE, project)
        assert task is not None
        label_id = submit.submit(connection, DEE, task.assignment_id, "k", {"winner": 0, "strength": 2})
    return {
        "person_id": DEE.id, "pair_id": pair_id, "project": "helpful", "item_id": task.item_id, "label_id": label_id,
        "task_id": task.assignment_id, "model": "m", "import_id": "f" * 32, "version": "1",
        "run": "m", "method": "sft", "job": "f" * 32,
    }  # fmt: skip


def test_every_get_by_id_has_its_line() -> None:
    by_id = {route for route in ROLE_OF if route.startswith("GET ") and "{" in route}
    assert by_id == set(OTHERS) | SHARED


@pytest.mark.parametrize("route", OTHERS)
def test_another_raters_record_is_not_there(acting: As, ids: dict[str, str], route: str) -> None:
    path = route.split(" ")[1].format(**ids)
    query = {"old": 1, "new": 1} if path.endswith("diff") else {}
    assert acting(CY).get(path, params=query).status_code == OTHERS[route]
    if OTHERS[route] == 404:  # whose it is finds it, so that the refusal above means something
        assert acting(DEE).get(path, params=query).status_code == 200


def test_a_rater_lists_only_what_they_may_see(acting: As, ids: dict[str, str]) -> None:
    client = acting(CY)
    assert client.get("/api/pairs").json()["records"] == []
    assert client.get("/api/labels").json()["records"] == []
    assert client.get("/api/labels", params={"rater": DEE.id}).status_code == 403
    assert [each["name"] for each in client.get("/api/people").json()["records"]] == ["cy"]
    assert client.get("/api/tokens").json()[0]["name"] == "test"
    assert [each["name"] for each in client.get("/api/projects/helpful/progress").json()["raters"]] in ([], ["cy"])
    assert [each["id"] for each in acting(BO).get("/api/labels").json()["records"]] == [ids["label_id"]]


def test_a_rater_learns_nothing_of_models_and_gold(acting: As, ids: dict[str, str]) -> None:
    told = acting(CY).get("/api/projects/helpful")
    assert "secret-model" not in told.text
    assert told.json()["gold_frac"] == 0
    assert acting(BO).get("/api/projects/helpful").json()["models"] == ["secret-model"]
    assert ids["project"] == "helpful"


def test_a_rater_does_nothing_with_anothers_work(acting: As, ids: dict[str, str]) -> None:
    client = acting(CY)
    verdict = {"request_key": "k", "verdict": {"winner": 0, "strength": 2}}
    for path in (f"/api/tasks/{ids['task_id']}/submit", f"/api/labels/{ids['label_id']}/correct"):
        assert client.post(path, json=verdict).status_code == 404
    assert client.post(f"/api/tasks/{ids['task_id']}/skip", json={"reason": "no"}).status_code == 404
    edit = {"messages": [{"role": "user", "content": "x"}], "base_revision": 1}
    assert client.put(f"/api/pairs/{ids['pair_id']}/messages", json=edit).status_code == 404
    assert client.post(f"/api/pairs/{ids['pair_id']}/withdraw", json={}).status_code == 404
