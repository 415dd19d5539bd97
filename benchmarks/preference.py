"""DPO: Tutelage and TRL on the same pairs, in turn, each in a process of its own.

    .venv/bin/python benchmarks/preference.py --model starter-chat --data comparisons.jsonl

1. Prepare the pairs once, as token ids. 2. Each round: run the contestants one after the other. 3. Check that they
computed the same thing. 4. Print the table and write benchmarks/results/<name>.json. Exits with 1 when the numbers are
not comparable. Leaves out what the contestants do (`preference_contestants`).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import ROOT, machine, markdown_table, run_part, run_rounds, write_result
from preference_contestants import CONTESTANTS, MAX_TOKENS

LINE_UP = ("ours", "trl-default", "trl-bf16", "trl-bf16-once")
SHARED = ("model", "data", "steps", "warmup_steps", "rounds", "batch_size", "learning_rate", "beta", "seed")
TOLERANCE = 0.01
"""How far the loss of the first step may be from ln 2, as a share."""

Report = dict[str, Any]


def disagreements(runs: dict[str, list[Report]], data: Report) -> list[str]:
    """What keeps the numbers from being comparable: other tokens, or a first loss that is not ln 2."""
    found = []
    for name, report in ((name, report) for name, reports in runs.items() for report in reports):
        if report["num_trained_tokens"] != data["num_trained_tokens_by_step"]:
            wanted = data["num_trained_tokens_by_step"]
            found.append(f"{name} trained {report['num_trained_tokens']} tokens by step, not {wanted}")
        if not abs(report["losses"][0] / math.log(2) - 1) <= TOLERANCE:
            found.append(f"the first loss of {name} is {report['losses'][0]:.4f}, not ln 2")
    return found


def summarise(reports: Sequence[Report], options: argparse.Namespace) -> Report:
    """Pairs a second over the timed steps, without and with the reference's share, and the highest peak.

    A reference that is computed once covers all steps, so the timed ones bear their part of it; over more epochs than
    one it would be less.
    """
    timed = options.steps - options.warmup_steps
    steps = sum(sum(report["step_seconds"][options.warmup_steps :]) for report in reports)
    reference = sum(report["reference_seconds"] for report in reports) * timed / options.steps
    num_pairs = len(reports) * timed * options.batch_size
    return {
        "pairs_per_second": num_pairs / (steps + reference),
        "pairs_per_second_without_reference": num_pairs / steps,
        "peak_rss_gb": max(report["peak_rss_gb"] for report in reports),
        "first_loss": reports[0]["losses"][0],
        "last_loss": reports[0]["losses"][-1],
    }


def table(summaries: dict[str, Report]) -> str:
    """A row a contestant."""
    header = ("contestant", "pairs/s", "steps alone", "peak GB", "first loss", "last loss", "our speed", "our memory")
    ours = summaries.get("ours")
    rows = []
    for name, row in summaries.items():
        speed = f"× {ours['pairs_per_second'] / row['pairs_per_second']:.2f}" if ours else "–"
        memory = f"× {ours['peak_rss_gb'] / row['peak_rss_gb']:.2f}" if ours else "–"
        rows.append([
            name, f"{row['pairs_per_second']:.2f}", f"{row['pairs_per_second_without_reference']:.2f}",
            f"{row['peak_rss_gb']:.2f}", f"{row['first_loss']:.4f}", f"{row['last_loss']:.4f}", speed, memory,
        ])  # fmt: skip
    return markdown_table(header, rows)


def benchmark(options: argparse.Namespace) -> int:
    """The four phases."""
    settings = {name: getattr(options, name) for name in SHARED} | {"max_tokens": MAX_TOKENS}
    settings["contestants"] = {name: vars(CONTESTANTS[name]) for name in options.contestants}
    result: Report = {"machine": machine(), "settings": settings | {"data": Path(options.data).name}}
    with tempfile.TemporaryDirectory(prefix="preference-benchmark-") as name:
        folder = Path(name)
        (folder / "settings.json").write_text(json.dumps(settings | {"data": str(Path(options.data).resolve())}))
        data = run_part("preference_contestants.py", "prepare", folder, 0, options.peers)
        data.pop("model_folder")
        saved = 1 - data["num_tokens_shared"] / data["num_tokens_separate"]
        print(f"{data['num_pairs']} pairs; sharing prompts saves {saved:.0%} of the tokens", flush=True)
        runs = run_rounds(
            options, lambda name, number: run_part("preference_contestants.py", name, folder, number, options.peers)
        )
    summaries = {name: summarise(reports, options) for name, reports in runs.items()}
    print(f"\n{table(summaries)}\n")
    found = disagreements(runs, data)
    result |= {"data": data, "summary": summaries, "disagreements": found, "runs": runs}
    write_result(options.name or f"preference-{options.model}", result)
    for line in found:
        print(f"not comparable: {line}", file=sys.stderr)
    return 1 if found else 0


def parse() -> argparse.Namespace:
    """The options, checked before anything runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("starter-chat", "starter-base"), default="starter-chat")
    parser.add_argument("--data", required=True, help="comparisons in any form that Tutelage reads, e.g. hh-rlhf's")
    parser.add_argument("--steps", type=int, default=6, help="steps, warm-up included (default: 6)")
    parser.add_argument("--warmup-steps", type=int, default=2, help="first steps that are not timed (default: 2)")
    parser.add_argument("--rounds", type=int, default=2, help="times each contestant runs, in turn (default: 2)")
    parser.add_argument("--batch-size", type=int, default=8, help="pairs a step (default: 8)")
    parser.add_argument("--learning-rate", type=float, default=1e-6)
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--contestants", help=f"with commas between, of: {', '.join(CONTESTANTS)}")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers/bin/python", help="the Python that has TRL")
    parser.add_argument("--name", help="name of the result file (default: preference-MODEL)")
    options = parser.parse_args()
    default = ["ours"] if options.model == "starter-base" else list(LINE_UP)
    options.contestants = options.contestants.split(",") if options.contestants else default
    if unknown := [name for name in options.contestants if name not in CONTESTANTS]:
        parser.error(f"unknown contestant '{unknown[0]}'; there are: {', '.join(CONTESTANTS)}")
    if not 0 <= options.warmup_steps < options.steps:
        parser.error(f"--warmup-steps is {options.warmup_steps}; it must be at least 0 and below --steps")
    if options.contestants != ["ours"] and not options.peers.exists():
        parser.error(f"there is no {options.peers}; `make bench` makes it, or give --contestants ours")
    return options


if __name__ == "__main__":
    sys.exit(benchmark(parse()))
