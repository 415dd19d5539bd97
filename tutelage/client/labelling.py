"""Labelling projects, their items, the queue and labels, over HTTP.

Leaves out: the rules, which are the server's (`tutelage.feedback`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.client.http import Http, new_key
from tutelage.client.pairs import as_json
from tutelage.client.types import (
    Choice,
    Disputed,
    GivenLabel,
    Guideline,
    Item,
    ItemsAdded,
    ListedLabel,
    Look,
    Message,
    NewItem,
    Progress,
    Project,
    SeenLabel,
    Submitted,
    Task,
    Uses,
    Work,
)

ITEMS_AT_ONCE = 500


class Projects:
    """`client.projects`"""

    def __init__(self, http: Http) -> None:
        self._http = http

    def create(self, name: str, kind: str, question: str = "", *, key: str | None = None, **facts: Any) -> Project:
        """A new labelling project; `facts` are those of `tutelage.feedback.projects.create`."""
        body = {"name": name, "kind": kind, "question": question, **facts}
        return self._http.send("POST", Project, "/api/projects", body, key=key)

    def list(self, *, page_size: int = 100) -> Iterator[Project]:
        """Projects by name."""
        return self._http.pages(Project, "/api/projects", page_size=page_size)

    def get(self, project: str) -> Project:
        """One project, by name or id."""
        return self._http.get(Project, f"/api/projects/{project}")

    def set_state(self, project: str, state: str) -> Project:
        """Open, pause or close a project."""
        return self._http.send("PUT", Project, f"/api/projects/{project}/state", {"state": state})

    def guidelines(self, project: str) -> tuple[Guideline, ...]:
        """Every version of the guidelines, the newest first."""
        return self._http.get(tuple[Guideline, ...], f"/api/projects/{project}/guidelines")

    def guideline(self, project: str, version: int) -> Guideline:
        """One version of the guidelines."""
        return self._http.get(Guideline, f"/api/projects/{project}/guidelines/{version}")

    def add_guideline(self, project: str, text: str, *, note: str = "") -> Guideline:
        """A new version of the guidelines; the newest one's text again is that one. `note` says what is new."""
        asked = {"text": text, "note": note}
        return self._http.send("POST", Guideline, f"/api/projects/{project}/guidelines", asked)

    def items(self, project: str, *, state: str | None = None, page_size: int = 100) -> Iterator[Item]:
        """Items by id, with their models and gold verdicts."""
        return self._http.pages(Item, f"/api/projects/{project}/items", page_size=page_size, state=state)

    def count_items(self, project: str) -> dict[str, int]:
        """How many items are open, done, withdrawn and gold."""
        return self._http.get(dict[str, int], f"/api/projects/{project}/items/counts")

    def add_items(self, project: str, items: Sequence[NewItem]) -> ItemsAdded:
        """Add items, 500 to a request; what is there already stays as it is."""
        ids, num_there, num_equal = list[str](), 0, 0
        for start in range(0, len(items), ITEMS_AT_ONCE):
            body = {"items": [_item(each) for each in items[start : start + ITEMS_AT_ONCE]]}
            added = self._http.send("POST", ItemsAdded, f"/api/projects/{project}/items", body)
            ids += added.ids
            num_there, num_equal = num_there + added.num_there, num_equal + added.num_equal
        return ItemsAdded(tuple(ids), num_there, num_equal)

    def add_items_of_file(self, project: str, file: Path) -> ItemsAdded:
        """Add the items of a file; all of them or none."""
        return self._http.upload(ItemsAdded, "/api/items", file, project=project, filename=file.name)

    def make_gold(self, project: str, item_id: str, value: Mapping[str, Any]) -> None:
        """Make an item that nobody was given yet a gold item."""
        self._http.send("PUT", dict[str, Any], f"/api/projects/{project}/items/{item_id}/gold", {"value": dict(value)})

    def withdraw_item(self, project: str, item_id: str) -> None:
        """Hand an item out no more; its labels stay."""
        self._http.send("POST", dict[str, Any], f"/api/projects/{project}/items/{item_id}/withdraw")

    def progress(self, project: str) -> Progress:
        """Totals, agreement, gold accuracy and time; by rater for reviewers, one's own for a rater."""
        return self._http.get(Progress, f"/api/projects/{project}/progress")

    def work(self, project: str, *, since_ms: int = 0) -> Work:
        """What waits in a project for oneself, and how much one has done, in all and since a time."""
        return self._http.get(Work, f"/api/projects/{project}/work", since_ms=since_ms)

    def disagreements(self, project: str, *, page_size: int = 20) -> Iterator[Disputed]:
        """Items on which raters disagree and nobody has decided yet."""
        return self._http.pages(Disputed, f"/api/projects/{project}/disagreements", page_size=page_size)

    def look(self, project: str, *, look_at: int = 200, seed: int = 0) -> Look:
        """Items to choose from, and the answers whose features a choice needs."""
        return self._http.get(Look, f"/api/projects/{project}/look", look_at=look_at, seed=seed)

    def choose(
        self,
        project: str,
        number: int,
        rule: str = "random",
        *,
        features: Mapping[str, Sequence[float]] | None = None,
        looked_at: Sequence[str] | None = None,
        random_frac: float = 0.25,
        seed: int = 0,
        num_clusters: int = 8,
        key: str | None = None,
    ) -> Choice:
        """Choose items and put them first in the queue; each keeps by which rule and with what probability."""
        body = {
            "rule": rule, "number": number, "random_frac": random_frac, "seed": seed, "num_clusters": num_clusters,
            "looked_at": None if looked_at is None else list(looked_at),
            "features": None if features is None else {id: list(each) for id, each in features.items()},
        }  # fmt: skip
        return self._http.send("POST", Choice, f"/api/projects/{project}/choose", body, key=key)


def _item(item: NewItem) -> dict[str, Any]:
    models = [*item.models, *[""] * (len(item.answers) - len(item.models))]
    return {
        "messages": as_json(item.messages), "reference": item.reference, "meta": dict(item.meta or {}),
        "answers": [{"text": text, "model": model} for text, model in zip(item.answers, models, strict=True)],
        "priority": item.priority, "gold": None if item.gold is None else dict(item.gold),
    }  # fmt: skip


class Queue:
    """`client.queue`"""

    def __init__(self, http: Http) -> None:
        self._http = http

    def next(self, project: str) -> Task | None:
        """The task one holds, or a new one under a lease; None where there is nothing for one now."""
        return self._http.send("POST", dict[str, Task | None], f"/api/projects/{project}/next")["task"]

    def task(self, assignment_id: str) -> Task:
        """A task of one's own as it was shown, with its draft."""
        return self._http.get(Task, f"/api/tasks/{assignment_id}")

    def submit(self, assignment_id: str, verdict: Mapping[str, Any], *, key: str | None = None, **said: Any) -> str:
        """Write down a verdict; gives the label's id. `said`: reasons, critique, rewrite, seconds."""
        return self._verdict(f"/api/tasks/{assignment_id}/submit", verdict, key, said).label_id

    def submit_next(
        self, assignment_id: str, verdict: Mapping[str, Any], *, key: str | None = None, **said: Any
    ) -> Submitted:
        """Write down a verdict and get the next task of the project, both or neither."""
        return self._verdict(f"/api/tasks/{assignment_id}/submit-next", verdict, key, said)

    def skip(self, assignment_id: str, reason: str) -> None:
        """Give a task back: others get it, one oneself does not any more."""
        self._http.send("POST", dict[str, Any], f"/api/tasks/{assignment_id}/skip", {"reason": reason})

    def renew(self, assignment_id: str) -> int:
        """Begin the lease anew; gives when it ends, in milliseconds since 1970."""
        return self._http.send("POST", dict[str, int], f"/api/tasks/{assignment_id}/renew")["expires_ms"]

    def save_draft(self, assignment_id: str, draft: Any) -> None:
        """Keep what was entered so far."""
        self._http.send("PUT", dict[str, Any], f"/api/tasks/{assignment_id}/draft", {"draft": draft})

    def _verdict(self, path: str, verdict: Mapping[str, Any], key: str | None, said: Mapping[str, Any]) -> Submitted:
        body = {"request_key": key or new_key(), "verdict": dict(verdict), **said}
        return self._http.send("POST", Submitted, path, body)


class Labels:
    """`client.labels`"""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(
        self, project: str | None = None, *, rater: str | None = None, page_size: int = 100
    ) -> Iterator[ListedLabel]:
        """Labels by id: a rater's own, everybody's for reviewers. `rater` is a person's id."""
        return self._http.pages(ListedLabel, "/api/labels", page_size=page_size, project=project, rater=rater)

    def get(self, label_id: str) -> GivenLabel:
        """A label of one's own with what was shown."""
        return self._http.get(GivenLabel, f"/api/labels/{label_id}")

    def mine(self, project: str, *, page_size: int = 50) -> Iterator[GivenLabel]:
        """One's own labels of a project, the newest first, with what was shown."""
        return self._http.pages(GivenLabel, f"/api/projects/{project}/mine", page_size=page_size)

    def reveal(self, label_id: str) -> dict[str, str]:
        """Which model wrote each answer that one has judged, by the answer's id; a correction says that one knew."""
        found = self._http.send("POST", tuple[dict[str, Any], ...], f"/api/labels/{label_id}/reveal")
        return {each["answer_id"]: each["model"] for each in found}

    def of_item(self, item_id: str) -> tuple[SeenLabel, ...]:
        """The labels of an item."""
        return self._http.get(tuple[SeenLabel, ...], f"/api/items/{item_id}/labels")

    def give(
        self,
        kind: str,
        messages: Sequence[Message],
        answers: Sequence[str],
        verdict: Mapping[str, Any],
        *,
        models: Sequence[str] = (),
        key: str | None = None,
        **said: Any,
    ) -> str:
        """A verdict outside the queue, naming answers by their place; gives the label's id."""
        item = _item(NewItem(messages, answers, models))
        body = {
            "request_key": key or new_key(), "kind": kind, "messages": item["messages"], "answers": item["answers"],
            "verdict": dict(verdict), **said,
        }  # fmt: skip
        return self._http.send("POST", Submitted, "/api/labels", body).label_id

    def correct(self, label_id: str, verdict: Mapping[str, Any], *, key: str | None = None, **said: Any) -> str:
        """A new label in the place of one's own; gives its id."""
        body = {"request_key": key or new_key(), "verdict": dict(verdict), **said}
        return self._http.send("POST", Submitted, f"/api/labels/{label_id}/correct", body).label_id

    def decide(self, item_id: str, verdict: Mapping[str, Any], *, key: str | None = None, **said: Any) -> str:
        """A reviewer's decision on an item that raters have judged; gives the label's id."""
        body = {"request_key": key or new_key(), "verdict": dict(verdict), **said}
        return self._http.send("POST", Submitted, f"/api/items/{item_id}/decision", body).label_id

    def uses(self, label_id: str) -> Uses:
        """The snapshots and models that a label went into."""
        return self._http.get(Uses, f"/api/labels/{label_id}/uses")
