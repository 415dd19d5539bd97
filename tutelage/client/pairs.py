"""Question/answer pairs, datasets and their snapshots, over HTTP.

Leaves out: the rules, which are the server's (`tutelage.store.pairs`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.client.http import Http
from tutelage.client.types import Change, Dataset, History, Message, Pair, Seen, Snapshot, Uses


def as_json(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Turns as they are sent."""
    return [{"role": each.role, "content": each.content} for each in messages]


class Pairs:
    """`client.pairs`"""

    def __init__(self, http: Http) -> None:
        self._http = http

    def draft(
        self,
        messages: Sequence[Message],
        *,
        source: str = "written here",
        licence: str = "",
        tags: Sequence[str] = (),
        meta: Mapping[str, Any] | None = None,
        submit: bool = False,
        key: str | None = None,
    ) -> Pair:
        """A new pair of one's own; with `submit` handed in for review at once."""
        body = {
            "messages": as_json(messages), "source": source, "licence": licence, "tags": list(tags),
            "meta": dict(meta or {}), "submit": submit,
        }  # fmt: skip
        return self._http.send("POST", Pair, "/api/pairs", body, key=key)

    def get(self, pair_id: str) -> Pair:
        """One pair with its newest words."""
        return self._http.get(Pair, f"/api/pairs/{pair_id}")

    def list(
        self,
        *,
        state: str | None = None,
        tag: str | None = None,
        author: str | None = None,
        text: str | None = None,
        oldest_first: bool = False,
        page_size: int = 100,
    ) -> Iterator[Pair]:
        """Pairs, the newest first."""
        return self._http.pages(
            Pair, "/api/pairs", page_size=page_size, state=state, tag=tag, author=author, text=text,
            oldest_first=oldest_first,
        )  # fmt: skip

    def counts(self) -> dict[str, int]:
        """How many pairs one may read in each state."""
        return self._http.get(dict[str, int], "/api/pairs/counts")

    def near(self, messages: Sequence[Message], *, limit: int = 5, except_pair: str | None = None) -> Seen:
        """Pairs that ask nearly the same as these turns."""
        body = {"messages": as_json(messages), "limit": limit, "except_pair": except_pair}
        return self._http.send("POST", Seen, "/api/pairs/near", body)

    def history(self, pair_id: str) -> History:
        """Every revision of a pair, and all that was done to it."""
        return self._http.get(History, f"/api/pairs/{pair_id}/history")

    def diff(self, pair_id: str, old: int, new: int) -> tuple[Change, ...]:
        """What changed between two revisions, word by word."""
        return self._http.get(tuple[Change, ...], f"/api/pairs/{pair_id}/diff", old=old, new=new)

    def edit(self, pair_id: str, messages: Sequence[Message], *, base_revision: int, note: str = "") -> Pair:
        """New words for a pair; `ConflictError` when somebody was quicker."""
        body = {"messages": as_json(messages), "note": note, "base_revision": base_revision}
        return self._http.send("PUT", Pair, f"/api/pairs/{pair_id}/messages", body)

    def describe(self, pair_id: str, *, source: str | None = None, licence: str | None = None) -> Pair:
        """Say where a pair comes from and under which licence it stands."""
        body = {"source": source, "licence": licence}
        return self._http.send("PATCH", Pair, f"/api/pairs/{pair_id}", body)

    def tag(self, pair_id: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Pair:
        """Put tags on a pair and take tags off it."""
        body = {"add": list(add), "remove": list(remove)}
        return self._http.send("POST", Pair, f"/api/pairs/{pair_id}/tags", body)

    def submit(self, pair_id: str, *, comment: str = "") -> Pair:
        """Hand a draft or returned pair in for review."""
        return self._http.send("POST", Pair, f"/api/pairs/{pair_id}/submit", {"comment": comment})

    def withdraw(self, pair_id: str, *, comment: str = "") -> Pair:
        """Take a pair out of every list and every later snapshot."""
        return self._http.send("POST", Pair, f"/api/pairs/{pair_id}/withdraw", {"comment": comment})

    def accept(
        self, pair_id: str, *, comment: str = "", base_revision: int | None = None, allow_own: bool = False
    ) -> Pair:
        """Accept a submitted pair."""
        body = {"comment": comment, "base_revision": base_revision, "allow_own": allow_own}
        return self._http.send("POST", Pair, f"/api/pairs/{pair_id}/accept", body)

    def send_back(self, pair_id: str, *, comment: str, base_revision: int | None = None) -> Pair:
        """Send a pair back to its author."""
        body = {"comment": comment, "base_revision": base_revision}
        return self._http.send("POST", Pair, f"/api/pairs/{pair_id}/return", body)

    def reject(self, pair_id: str, *, comment: str, base_revision: int | None = None) -> Pair:
        """Turn a pair down."""
        body = {"comment": comment, "base_revision": base_revision}
        return self._http.send("POST", Pair, f"/api/pairs/{pair_id}/reject", body)

    def reopen(self, pair_id: str, *, base_revision: int | None = None) -> Pair:
        """Take one's own decision about a pair back."""
        return self._http.send("POST", Pair, f"/api/pairs/{pair_id}/reopen", {"base_revision": base_revision})

    def uses(self, pair_id: str) -> Uses:
        """The snapshots and models that a pair went into."""
        return self._http.get(Uses, f"/api/pairs/{pair_id}/uses")


class Datasets:
    """`client.datasets`"""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self, *, page_size: int = 100) -> Iterator[Dataset]:
        """Datasets by name, each with its newest snapshot."""
        return self._http.pages(Dataset, "/api/datasets", page_size=page_size)

    def snapshots(self, dataset: str) -> Iterator[Snapshot]:
        """The snapshots of a dataset, the newest first."""
        before: int | None = None
        while True:
            found = self._http.get(tuple[Snapshot, ...], "/api/snapshots", dataset=dataset, before=before)
            if not found:
                return
            yield from found
            before = found[-1].number

    def take(
        self,
        name: str,
        *,
        states: Sequence[str] = ("accepted",),
        tags: Sequence[str] = (),
        sources: Sequence[str] = (),
        gold: bool = False,
        repeats: bool = False,
        why: str = "",
    ) -> Snapshot:
        """A new snapshot, or the newest one where that holds the same."""
        body = {
            "name": name, "states": list(states), "tags": list(tags), "sources": list(sources), "gold": gold,
            "repeats": repeats, "why": why,
        }  # fmt: skip
        return self._http.send("POST", Snapshot, "/api/snapshots", body)

    def get(self, name: str) -> Snapshot:
        """The snapshot that `curated@3` names, or the newest of `curated`."""
        return self._http.get(Snapshot, "/api/snapshots/one", name=name)

    def download(self, name: str, out: Path) -> int:
        """Write a snapshot's JSON lines to a new file; gives how many bytes."""
        return self._http.download("/api/snapshots/file", out, name=name)
