"""A process that behaves as `tutelage train` does towards those who look, without a model: `start_light` as `spawn`.

It takes the run's lock, writes a line of metrics every few milliseconds and listens to signals as the loop does. A run
called `fails…` ends with an error before it begins, `breaks…` after its first step, `deaf…` never ends its step.
"""

from __future__ import annotations

from functools import partial

from light_process import start

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


start_light = partial(start, CHILD)
"""As `tutelage.runs.process.spawn`."""
