"""How long a user waits before anything happens: `tutelage --help`, and loading a converted starter model.

Each measurement is a fresh process. Leaves out the first fetch and conversion of a starter model, which happen once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import machine, markdown_table, run_child, versions, write_result

STARTERS = ("starter-chat", "starter-base")
LIMITS = {"tutelage --help": 0.3, **{f"load {name}": 5.0 for name in STARTERS}}
"""Seconds that each may take."""


def help_seconds() -> float:
    """Wall time of one `tutelage --help`, the interpreter's start included."""
    command = [str(Path(sys.executable).parent / "tutelage"), "--help"]
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def load_starter(name: str) -> dict[str, float]:
    """Child: seconds to load the model and its tokenizer; importing torch and transformers apart."""
    start = time.perf_counter()
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401

    from tutelage.models.load import load_model

    imported = time.perf_counter()
    load_model(name)
    return {"import for": imported - start, "load": time.perf_counter() - imported}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", choices=STARTERS, help=argparse.SUPPRESS)
    parser.add_argument("--name", default="startup", help="name of the result file")
    options = parser.parse_args()
    if options.load:
        print(json.dumps(load_starter(options.load)))
        return
    report(options.name)


def report(result_name: str) -> None:
    """Measure everything, print the table and write the result file."""
    from tutelage.models.starter import ensure_starter

    facts = machine() | {"versions": versions("tutelage", "torch", "transformers")}
    seconds: dict[str, list[float]] = {"tutelage --help": [help_seconds() for _ in range(7)]}
    for name in STARTERS:
        ensure_starter(name)
        runs = [run_child(sys.executable, [__file__, "--load", name]) for _ in range(3)]
        seconds |= {f"{part} {name}": [run[part] for run in runs] for part in runs[0]}
    medians: dict[str, Any] = {what: round(statistics.median(values), 3) for what, values in seconds.items()}
    rows = [
        [what, f"{median:.2f}", str(len(seconds[what])), str(LIMITS.get(what, "–"))] for what, median in medians.items()
    ]
    print(markdown_table(("what", "median seconds", "runs", "limit"), rows))
    write_result(result_name, facts | {"median_seconds": medians, "seconds": seconds, "limit_seconds": LIMITS})


if __name__ == "__main__":
    main()
