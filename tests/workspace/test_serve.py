"""The verb `serve`: what it prints, how it is asked, and that it refuses what would let others in unasked."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest
from talking import add_model

from tutelage.errors import ConfigError
from tutelage.store.database import Store
from tutelage.workspace import serve as verb

pytestmark = pytest.mark.slow  # a real server and model

PATIENCE_SECONDS = 120


def test_a_model_is_served_until_ctrl_c(store: Store) -> None:
    add_model(store.workspace, "tiny")
    command = [sys.executable, "-m", "tutelage", "serve", "tiny", "--port", "0", "--workspace", str(store.workspace)]
    environment = {name: value for name, value in os.environ.items() if name != verb.KEY_VARIABLE}
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
        stack.callback(process.kill)  # a test that fails waits for nobody
        assert process.stdout is not None
        said = ""
        while "go into the record" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        (address,) = re.findall(r"serving tiny at (\S+);", said)
        (key,) = re.findall(r"API key: (\S+)", said)
        workers = psutil.Process(process.pid).children(recursive=True)
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as client:
            body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
            assert client.post(f"{address}/chat/completions", json=body).status_code == 401
            answer = client.post(f"{address}/chat/completions", json=body, headers=headers).json()
            verdict = {"response_id": answer["id"], "good": True}
            assert client.post(f"{address}/feedback", json=verdict, headers=headers).status_code == 201
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) in (0, 130)
    assert "loading tiny: " in said
    assert "by ada" in said
    psutil.wait_procs(workers, timeout=PATIENCE_SECONDS)
    assert not [each for each in workers if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(
    ("host", "names", "remote"), [("0.0.0.0", (), True), ("127.0.0.1", ("x.example",), False), ("10.0.0.1", (), False)]
)
def test_no_key_only_for_this_machine(host: str, names: tuple[str, ...], remote: bool) -> None:
    with pytest.raises(ConfigError, match="--no-key is for this machine alone"):
        verb._key(True, host, names, remote)
    assert verb._key(True, "127.0.0.1", (), False) is None


def test_keys_are_new_each_time_or_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(verb.KEY_VARIABLE, raising=False)
    one, other = (verb._key(False, "127.0.0.1", (), False) for _ in range(2))
    assert one != other
    assert one is not None
    assert len(one) > 40
    monkeypatch.setenv(verb.KEY_VARIABLE, "sixteen-or-more-x")
    assert verb._key(False, "127.0.0.1", (), False) == "sixteen-or-more-x"
    for bad in ("", "short", "has a blank in it, so"):
        monkeypatch.setenv(verb.KEY_VARIABLE, bad)
        with pytest.raises(ConfigError, match=verb.KEY_VARIABLE):
            verb._key(False, "127.0.0.1", (), False)


def test_whoever_is_named_must_be_there(tmp_path: Path) -> None:
    assert verb._record(tmp_path, None) == (None, None)
    with pytest.raises(ConfigError, match="has no record of people yet"):
        verb._record(tmp_path, "cy")
