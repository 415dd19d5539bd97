"""Supervised fine-tuning: Tutelage, TRL and a plain loop on the same tokens, in turn, each in a process of its own.

    .venv/bin/python benchmarks/sft.py --model starter-chat

1. Prepare the data once, as token ids and masks. 2. Each round: measure the machine's matmul peak, then run the
contestants one after the other. 3. Check that they computed the same thing. 4. Print the table and write
benchmarks/results/<name>.json. Exits with 1 when the numbers are not comparable.
Leaves out what the contestants do (`sft_contestants`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import HERE, ROOT, machine, markdown_table, parameter_counts, run_child, run_part, run_rounds, write_result
from sft_contestants import CONTESTANTS, MAX_TOKENS

LINE_UP = {
    "starter-chat": ("ours", "trl-default", "trl-bf16", "trl-bf16-flat"),
    "starter-base": ("ours", "trl-default", "trl-bf16", "naive"),
}
SHARED = ("model", "data", "steps", "warmup_steps", "rounds", "batch_size", "learning_rate", "seed")
"""The options that all contestants share and the result file keeps."""
TOLERANCE = 0.01
"""How far the loss of the first step, before any update, may be from ours."""

Report = dict[str, Any]


# 2. The rounds -------------------------------------------------------------------------------------------------------
def run_one(name: str, folder: Path, number: int, peers: Path) -> Report:
    """One child, with what the contestant wants in its environment."""
    variables = CONTESTANTS[name].environment if name in CONTESTANTS else {}
    return run_part("sft_contestants.py", name, folder, number, peers, **variables)


# 3. Did they compute the same? ---------------------------------------------------------------------------------------
def disagreements(runs: dict[str, list[Report]], data: Report) -> list[str]:
    """What keeps the numbers from being comparable: other tokens trained, or another loss before any update."""
    first = next(iter(runs.values()))[0]["losses"][0]
    wanted, found = data["num_trained_tokens_by_step"], []
    for name, report in ((name, report) for name, reports in runs.items() for report in reports):
        if report["num_trained_tokens"] != wanted:
            found.append(f"{name} trained {report['num_trained_tokens']} tokens by step, not {wanted}")
        if not abs(report["losses"][0] / first - 1) <= TOLERANCE:
            found.append(f"the first loss of {name} is {report['losses'][0]:.4f}, not {first:.4f}")
    return found


# 4. The results ------------------------------------------------------------------------------------------------------
def summarise(reports: Sequence[Report], data: Report, warmup: int) -> Report:
    """Rates over the timed steps of all rounds together, the highest peak, the mean loss of the timed steps."""
    seconds = sum(sum(report["step_seconds"][warmup:]) for report in reports)
    num_tokens = len(reports) * sum(data["num_tokens_by_step"][warmup:])
    num_trained = len(reports) * sum(data["num_trained_tokens_by_step"][warmup:])
    return {
        "trained_tokens_per_second": num_trained / seconds,
        "tokens_per_second": num_tokens / seconds,
        "peak_rss_gb": max(report["peak_rss_gb"] for report in reports),
        "first_loss": reports[0]["losses"][0],
        "mean_loss": statistics.mean(loss for report in reports for loss in report["losses"][warmup:]),
        "timed_seconds": seconds,
    }


def compare(summaries: dict[str, Report]) -> None:
    """Add to each summary how ours relates to it."""
    if (ours := summaries.get("ours")) is None:
        return
    for row in summaries.values():
        row["our_speed_ratio"] = ours["trained_tokens_per_second"] / row["trained_tokens_per_second"]
        row["our_memory_ratio"] = ours["peak_rss_gb"] / row["peak_rss_gb"]
        row["our_mean_loss_ratio"] = ours["mean_loss"] / row["mean_loss"]


def best_trl(summaries: dict[str, Report]) -> str | None:
    """The fastest TRL contestant in the line-up."""
    trl = [name for name in summaries if name.startswith("trl-")]
    return max(trl, key=lambda name: summaries[name]["trained_tokens_per_second"], default=None)


def table(summaries: dict[str, Report]) -> str:
    """A row a contestant."""
    header = (
        "contestant",
        "trained tok/s",
        "all tok/s",
        "peak GB",
        "first loss",
        "mean loss",
        "our speed",
        "our memory",
    )
    best = best_trl(summaries)
    rows = [
        [
            f"{name} (TRL best)" if name == best else name,
            f"{row['trained_tokens_per_second']:.0f}",
            f"{row['tokens_per_second']:.0f}",
            f"{row['peak_rss_gb']:.2f}",
            f"{row['first_loss']:.4f}",
            f"{row['mean_loss']:.4f}",
            f"× {row['our_speed_ratio']:.2f}" if "our_speed_ratio" in row else "–",
            f"× {row['our_memory_ratio']:.2f}" if "our_memory_ratio" in row else "–",
        ]
        for name, row in summaries.items()
    ]
    return markdown_table(header, rows)


def utilisation(ours: Report, counts: dict[str, int], peak_tflops: float) -> Report:
    """The share of the matmul peak that the model's own arithmetic reaches."""
    flops = 6 * (counts["body"] * ours["tokens_per_second"] + counts["head"] * ours["trained_tokens_per_second"])
    return {
        "formula": "(6 × body parameters × tokens + 6 × head parameters × trained tokens) / seconds / bf16 peak",
        "parameters": counts,
        "model_tflops": flops / 1e12,
        "peak_tflops": peak_tflops,
        "fraction": flops / 1e12 / peak_tflops,
    }


def benchmark(options: argparse.Namespace) -> int:
    """The four phases."""
    settings = {name: getattr(options, name) for name in SHARED} | {"max_tokens": MAX_TOKENS}
    settings["contestants"] = {name: vars(CONTESTANTS[name]) for name in options.contestants}
    result: Report = {"machine": machine(), "settings": settings}
    with tempfile.TemporaryDirectory(prefix="sft-benchmark-") as name:
        folder = Path(name)
        (folder / "settings.json").write_text(json.dumps(settings))
        data = run_one("prepare", folder, 0, options.peers)
        counts = parameter_counts(Path(data.pop("model_folder")))
        peaks: list[Report] = []
        runs = run_rounds(
            options, lambda name, number: run_one(name, folder, number, options.peers),
            lambda: peaks.append(run_child(sys.executable, [HERE / "matmul_peak.py"])),
        )  # fmt: skip
    summaries = {name: summarise(reports, data, options.warmup_steps) for name, reports in runs.items()}
    compare(summaries)
    result |= {"data": data, "matmul_peak": peaks, "summary": summaries, "trl_best": best_trl(summaries)}
    print(f"\n{table(summaries)}\n")
    if "ours" in summaries:
        peak = max(report["bf16_tflops"] for report in peaks)
        result["utilisation"] = share = utilisation(summaries["ours"], counts, peak)
        print(f"ours: {share['model_tflops']:.3f} of {peak:.2f} TFLOP/s, {share['fraction']:.1%}; {share['formula']}")
    result["disagreements"] = found = disagreements(runs, data)
    write_result(options.name or f"sft-{options.model}", result | {"runs": runs})
    for line in found:
        print(f"not comparable: {line}", file=sys.stderr)
    return 1 if found else 0


def parse() -> argparse.Namespace:
    """The options, checked before anything runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=LINE_UP, default="starter-chat")
    parser.add_argument("--data", default="starter", help="pairs to build conversations from (default: starter)")
    parser.add_argument("--steps", type=int, default=8, help="steps, warm-up included (default: 8)")
    parser.add_argument("--warmup-steps", type=int, default=2, help="first steps that are not timed (default: 2)")
    parser.add_argument("--rounds", type=int, default=2, help="times each contestant runs, in turn (default: 2)")
    parser.add_argument("--batch-size", type=int, default=8, help="conversations a step (default: 8)")
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--contestants", help=f"with commas between, of: {', '.join(CONTESTANTS)}")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers/bin/python", help="the Python that has TRL")
    parser.add_argument("--name", help="name of the result file (default: sft-MODEL)")
    options = parser.parse_args()
    options.contestants = options.contestants.split(",") if options.contestants else list(LINE_UP[options.model])
    if unknown := [name for name in options.contestants if name not in CONTESTANTS]:
        parser.error(f"unknown contestant '{unknown[0]}'; there are: {', '.join(CONTESTANTS)}")
    if not 0 <= options.warmup_steps < options.steps:
        parser.error(
            f"--warmup-steps is {options.warmup_steps}; it must be below --steps, {options.steps}, and not negative"
        )
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; it must be at least 1")
    if options.contestants != ["ours"] and not options.peers.exists():
        parser.error(f"there is no {options.peers}; `make bench` makes it, or give --contestants ours")
    return options


if __name__ == "__main__":
    sys.exit(benchmark(parse()))
