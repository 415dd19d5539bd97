"""Many raters at once, a server that is killed again and again, every request sent twice: nothing lost or doubled.

The server is the real one, two worker processes over one database. Now a worker is killed, now all of it at once. Each
rater goes on until nothing is left, as somebody at a page or a script would. What was acknowledged is then looked for
in the database. TUTELAGE_RATERS and TUTELAGE_ITEMS (items for each rater) make it larger; 50 and 200 is the full run.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from record import ADA
from sqlalchemy import func, select

from tutelage.client import Client
from tutelage.errors import StoreError
from tutelage.feedback import items, projects
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.store import people, schema, sessions
from tutelage.store.database import Store
from tutelage.types import Message

NUM_RATERS = int(os.environ.get("TUTELAGE_RATERS", "12"))
NUM_ITEMS = int(os.environ.get("TUTELAGE_ITEMS", "8"))
OVERLAP = 3
ATTEMPTS = 400
BETWEEN_KILLS_SECONDS = (1.0, 8.0)
VERDICTS: tuple[dict[str, Any], ...] = ({"winner": 0, "strength": 2}, {"winner": 1, "strength": 4}, {"outcome": "tie"})


class Server:
    """`tutelage server` with two workers, which somebody kills and somebody starts again."""

    def __init__(self, workspace: Path, log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.workspace, self.log = workspace, log
        self.num_killed: Counter[str] = Counter()
        self.process = self._start()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._trouble, daemon=True)

    def _start(self) -> subprocess.Popen[bytes]:
        words = ["server", "--workers", "2", "--port", str(self.port), "--workspace", str(self.workspace)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", "from tutelage.cli import main; main()", *words],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def make_trouble(self) -> None:
        """Begin killing."""
        self._thread.start()

    def _trouble(self) -> None:
        draw = random.Random(0)
        wait_seconds = 0.3
        while not self._over.wait(wait_seconds):
            wait_seconds = 0.3
            if not self._is_up():
                continue  # let it come up; what never runs loses nothing
            wait_seconds = draw.uniform(*BETWEEN_KILLS_SECONDS)
            if draw.random() < 0.6:
                self._kill_a_worker(draw)
            else:
                self._kill_all()
                self.process = self._start()

    def _is_up(self) -> bool:
        if self.process.poll() is not None:
            self.process = self._start()
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _kill_a_worker(self, draw: random.Random) -> None:
        workers = [each for each in psutil.Process(self.process.pid).children() if _is_worker(each)]
        if workers:
            draw.choice(workers).kill()
            self.num_killed["worker"] += 1

    def _kill_all(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.num_killed["server"] += 1

    def stop(self) -> None:
        """No more trouble, and no more server."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=60)
        if self.process.poll() is None:
            self._kill_all()


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in str(process.cmdline())
    except psutil.NoSuchProcess:  # it was killed a moment ago, and may wait to be reaped
        return False


def prepare(store: Store) -> list[str]:
    """A project with enough to do, and the API token of each rater."""
    num_items = -(-NUM_RATERS * NUM_ITEMS // OVERLAP)
    questions = (
        NewItem((Message("user", f"Question {place}?"),), [NewAnswer("yes"), NewAnswer("no")])
        for place in range(num_items)
    )
    with store.write() as connection:
        project = projects.create(connection, ADA, "helpful", "comparison", overlap=OVERLAP)
        items.add_items(connection, ADA, project, questions)
        raters = [people.add_person(connection, f"rater {number}", "rater") for number in range(NUM_RATERS)]
        return [sessions.add_token(connection, each, "test")[1] for each in raters]


def work(url: str, token: str, number: int, acknowledged: dict[str, str], trouble: list[BaseException]) -> None:
    """One rater: each verdict is sent twice, and what the server says about it is kept."""
    draw = random.Random(number)
    try:
        with Client(url, token, attempts=ATTEMPTS, timeout_seconds=60) as client:
            task = client.queue.next("helpful")
            while task is not None:
                key, verdict = f"{number}-{task.assignment_id}", draw.choice(VERDICTS)
                told = client.queue.submit_next(task.assignment_id, verdict, key=key)
                acknowledged[key] = told.label_id
                assert client.queue.submit(task.assignment_id, verdict, key=key) == told.label_id
                task = told.task or client.queue.next("helpful")
    except BaseException as error:
        trouble.append(error)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_each_acknowledged_label_is_there_once(any_store: Store, tmp_path: Path) -> None:
    tokens = prepare(any_store)
    server = Server(any_store.workspace, tmp_path / "server.log")
    acknowledged, trouble = dict[str, str](), list[BaseException]()
    url = f"http://127.0.0.1:{server.port}"
    try:
        with Client(url, attempts=ATTEMPTS) as client:
            client.health()
        server.make_trouble()
        raters = [
            threading.Thread(target=work, args=(url, token, number, acknowledged, trouble))
            for number, token in enumerate(tokens)
        ]
        for each in raters:
            each.start()
        for each in raters:
            each.join()
    finally:
        server.stop()
    log = (tmp_path / "server.log").read_text()
    assert trouble == [], log[-3000:]
    assert server.num_killed
    print(f"{len(acknowledged)} labels acknowledged; killed: {dict(server.num_killed)}")
    check(any_store, acknowledged)


def check(store: Store, acknowledged: dict[str, str]) -> None:
    """What the database says."""
    labels, work_items, assignments = schema.labels, schema.items, schema.assignments
    with store.read() as connection:
        kept = connection.execute(select(labels.c.request_key, labels.c.id, labels.c.person_id, labels.c.item_id)).all()
        done = {row.id: row for row in connection.execute(select(work_items))}
        states = dict(connection.execute(select(assignments.c.state, func.count()).group_by(assignments.c.state)).all())
    assert {row.request_key: row.id for row in kept} == acknowledged  # each is there, and nothing besides
    assert len(kept) == len(acknowledged)
    assert max(Counter((row.person_id, row.item_id) for row in kept).values()) == 1
    of_item = Counter(row.item_id for row in kept)
    assert {id: row.num_done for id, row in done.items()} == {id: of_item[id] for id in done}
    assert set(of_item.values()) == {OVERLAP}
    assert {row.state for row in done.values()} == {"done"}
    assert states == {"done": len(kept)}


def test_the_server_says_where_it_is_and_stops_when_asked(store: Store, tmp_path: Path) -> None:
    server = Server(store.workspace, tmp_path / "server.log")
    try:
        with Client(f"http://127.0.0.1:{server.port}", attempts=ATTEMPTS) as client:
            assert client.health()["status"] == "ok"
        os.kill(server.process.pid, signal.SIGINT)
        assert server.process.wait(timeout=60) in (0, 130)
        with Client(f"http://127.0.0.1:{server.port}", attempts=1) as client, pytest.raises(StoreError):
            client.health()
    finally:
        server.stop()
    said = (tmp_path / "server.log").read_text()
    assert f"serving {store.workspace} at http://127.0.0.1:{server.port}" in said
    assert "ada has no password yet" in said
    assert "inv_" in said
    assert "Traceback" not in said
