"""A process that behaves as `tutelage project sample` does towards those who look, without a model: `start_light`.

It tells how far it is every few milliseconds until it is ended; asked a prompt that begins with "fails" it ends with an
error, with "ends" it finishes after some answers.
"""

from __future__ import annotations

from functools import partial

from light_process import start

CHILD = """
import json, signal, sys, time
from pathlib import Path

given = dict(token[2:].partition("=")[::2] for token in sys.argv[1:] if token.startswith("--"))
progress, asked = Path(given["progress"]), Path(given["prompts"]).read_text()
kept = progress.with_name("kept")
done = int(kept.read_text()) if kept.exists() else 0

def tell(told):
    new = progress.with_name("new")
    new.write_text(json.dumps(told))
    new.replace(progress)

def end(*_):
    sys.exit(130)

signal.signal(signal.SIGTERM, end)
if "fails" in asked:
    sys.exit("tutelage: the <b>disk</b> is full; remove something")
while not ("ends" in asked and done > 8):
    done += 1
    kept.write_text(str(done))
    tell({"done": done, "total": 1000, "num_items": done // 4, "model": given["model"], "seconds_left": 95.0})
    time.sleep(0.02)
tell({"result": {"num_prompts": 9, "num_there": 0, "num_answers": 9, "num_items": 3, "num_equal": 1,
                 "num_unreadable": 0}})
"""


start_light = partial(start, CHILD)
"""As `tutelage.runs.process.spawn`."""
