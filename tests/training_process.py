"""A process that behaves as `tutelage train` does towards those who look, without a model: `start_light` as `spawn`.

It takes the run's lock, writes a line of metrics every few milliseconds and listens to signals as the loop does. A run
called `fails…` ends with an error before it begins, `breaks…` after its first step, `deaf…` never ends its step.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

CHILD = """
import os, sys, time
from pathlib import Path
from tutelage.train.interrupt import graceful_interrupt
from tutelage.train.run_folder import RunFolder

given = dict(token[2:].partition("=")[::2] for token in sys.argv[3:])
name, path = given["out"], Path(given["workspace"]) / "runs" / given["out"]
if name.startswith("fails"):
    sys.exit("tutelage: no model of that name")
resumes = given.pop("resume", None) is not None
config = {"method": sys.argv[2], **given, "num_steps": 10000}
with RunFolder.resume(path) if resumes else RunFolder.create(path, config) as run, graceful_interrupt() as asked:
    step = len(run.read_metrics())
    while not asked.requested or name.startswith("deaf"):
        step += 1
        run.append_metrics({"step": step, "loss": 1 / step, "seconds": step / 100, "tokens_per_second": 9.0})
        if name.startswith("breaks"):
            sys.exit(f"tutelage: step {step}: the loss is nan")
        time.sleep(0.01)
print(f"stopped after step {step}; go on with: …", file=sys.stderr)
sys.exit(130)
"""


def start_light(
    arguments: Sequence[str], log: int, lock: int, folder: Path, environment: Mapping[str, str]
) -> int:  # fmt: skip
    """As `tutelage.runs.process.spawn`."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(lock,),
        start_new_session=True, cwd=folder, env=dict(environment),
    )  # fmt: skip
    threading.Thread(target=process.wait, daemon=True).start()
    return process.pid
