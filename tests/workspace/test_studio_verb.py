"""The verb `studio`: Ctrl-C ends it at once, whatever pages follow something live."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time

import httpx
import pytest
from made_runs import make_run
from record import BO

from tutelage.store import sessions
from tutelage.store.database import Store
from tutelage.workspace.server import STOP_SECONDS

pytestmark = pytest.mark.slow  # real servers

PATIENCE_SECONDS = 120


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_open_streams_and_the_studio(store: Store, workers: int) -> None:
    make_run(store.workspace, "one")
    with store.write() as connection:
        headers = {"Authorization": f"Bearer {sessions.add_token(connection, BO, 'test')[1]}"}
    command = [sys.executable, "-m", "tutelage", "studio", "--workspace", str(store.workspace)]
    command += ["--port", "0", "--workers", str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        (address,) = re.findall(r" is at (http\S+);", process.stdout.readline())
        with httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS, headers=headers, base_url=address) as client:
            _wait_until_it_answers(client)
            with client.stream("GET", "/api/runs/one/events") as answer:
                parts = answer.iter_text()
                assert next(parts).startswith("retry: ")
                process.send_signal(signal.SIGINT)
                told = time.monotonic()
                "".join(parts)  # raises if the answer breaks off instead of ending
        assert process.wait(PATIENCE_SECONDS) in (0, 130)
        assert time.monotonic() - told < STOP_SECONDS * 0.7


def _wait_until_it_answers(client: httpx.Client) -> None:
    for _ in range(PATIENCE_SECONDS * 10):
        try:
            client.get("/api/health")
            return
        except httpx.ConnectError:
            time.sleep(0.1)
    raise AssertionError("the studio did not start")
