"""GRPO: Tutelage and TRL with the same prompts, reward and sizes, in turn, each in a process of its own.

    .venv/bin/python benchmarks/rl.py --model starter-chat                    # 2 prompts × 8 answers × 128 tokens
    .venv/bin/python benchmarks/rl.py --model starter-chat --kl-coef 0.04     # with a reference beside the policy

1. Prepare prompts and reward once. 2. Each round: run the contestants one after the other. 3. Check that they did the
same work. 4. Print the table and write benchmarks/results/<name>.json. Exits with 1 when the numbers are not
comparable. Leaves out what the contestants do (`rl_contestants`).
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

from common import ROOT, machine, markdown_table, run_part, run_rounds, write_result
from rl_contestants import CONTESTANTS, PHASES

LINE_UP = ("ours", "trl-default", "trl-bf16")
SHARED = (
    "model", "steps", "warmup_steps", "rounds", "prompts_per_step", "group_size", "new_tokens", "learning_rate",
    "kl_coef", "gradient_checkpointing", "seed",
)  # fmt: skip
TOLERANCE = 0.25
"""How far the mean entropy of a contestant's answers may be from ours, as a share: everyone draws their own."""

Report = dict[str, Any]


# 2. The rounds -------------------------------------------------------------------------------------------------------
# 3. Did they do the same? --------------------------------------------------------------------------------------------
def disagreements(runs: dict[str, list[Report]], data: Report, num_steps: int) -> list[str]:
    """What keeps the numbers from being comparable: other tokens sampled, learned from or read, or other answers."""
    sampled = [data["num_sampled_tokens_by_step"]] * num_steps
    wanted = {
        "num_sampled_tokens": sampled, "num_trained_tokens": sampled,
        "num_prompt_tokens": data["num_prompt_tokens_by_step"],
    }  # fmt: skip
    entropy = mean_of(next(iter(runs.values())), "entropies")
    found = []
    for name, reports in runs.items():
        for report in reports:
            found += [
                f"{name}: {key} are {report[key]}, not {value}" for key, value in wanted.items() if report[key] != value
            ]
        if not abs(mean_of(reports, "entropies") / entropy - 1) <= TOLERANCE:
            found.append(f"{name}: the entropy is {mean_of(reports, 'entropies'):.3f} nats a token, not {entropy:.3f}")
    return found


def mean_of(reports: Sequence[Report], key: str) -> float:
    """The mean over all steps of all rounds."""
    return statistics.fmean(value for report in reports for value in report[key])


# 4. The results ------------------------------------------------------------------------------------------------------
def summarise(reports: Sequence[Report], warmup: int) -> Report:
    """Seconds of the timed steps of all rounds, whole and by phase; the highest peak; what the answers were like."""
    seconds = [value for report in reports for value in report["step_seconds"][warmup:]]
    return {
        "step_seconds_min": min(seconds),
        "step_seconds_median": statistics.median(seconds),
        "step_seconds_max": max(seconds),
        "round_medians": [statistics.median(report["step_seconds"][warmup:]) for report in reports],
        **{
            f"{phase}_seconds_median": statistics.median(
                value for report in reports for value in report[f"{phase}_seconds"][warmup:]
            )
            for phase in PHASES
        },
        "peak_rss_gb": max(report["peak_rss_gb"] for report in reports),
        "reward": mean_of(reports, "rewards"),
        "entropy": mean_of(reports, "entropies"),
    }


def compare(summaries: dict[str, Report]) -> None:
    """Add to each summary how ours relates to it, round by round, since a machine drifts between rounds."""
    if (ours := summaries.get("ours")) is None:
        return
    for row in summaries.values():
        ratios = [theirs / own for theirs, own in zip(row["round_medians"], ours["round_medians"], strict=True)]
        row["our_speed_ratio"] = statistics.median(ratios)
        row["our_speed_ratio_range"] = [min(ratios), max(ratios)]
        row["our_memory_ratio"] = ours["peak_rss_gb"] / row["peak_rss_gb"]


def best_trl(summaries: dict[str, Report]) -> str | None:
    """The TRL contestant in the line-up with the shortest step."""
    trl = [name for name in summaries if name.startswith("trl-")]
    return min(trl, key=lambda name: summaries[name]["step_seconds_median"], default=None)


def table(summaries: dict[str, Report]) -> str:
    """A row a contestant."""
    header = (
        "contestant", "s a step: median", "min – max", *PHASES, "peak GB", "entropy", "our speed (by round)",
        "our memory",
    )  # fmt: skip
    best = best_trl(summaries)
    rows = []
    for name, row in summaries.items():
        speed = memory = "–"
        if "our_speed_ratio" in row:
            low, high = row["our_speed_ratio_range"]
            speed = f"× {row['our_speed_ratio']:.2f} ({low:.2f} – {high:.2f})"
            memory = f"× {row['our_memory_ratio']:.2f}"
        rows.append([
            f"{name} (TRL best)" if name == best else name, f"{row['step_seconds_median']:.2f}",
            f"{row['step_seconds_min']:.2f} – {row['step_seconds_max']:.2f}",
            *(f"{row[f'{phase}_seconds_median']:.2f}" for phase in PHASES), f"{row['peak_rss_gb']:.2f}",
            f"{row['entropy']:.3f}", speed, memory,
        ])  # fmt: skip
    return markdown_table(header, rows)


def benchmark(options: argparse.Namespace) -> int:
    """The four phases."""
    settings = {name: getattr(options, name) for name in SHARED}
    settings["contestants"] = {name: vars(CONTESTANTS[name]) for name in options.contestants}
    result: Report = {"machine": machine(), "settings": settings}
    with tempfile.TemporaryDirectory(prefix="rl-benchmark-") as name:
        folder = Path(name)
        (folder / "settings.json").write_text(json.dumps(settings))
        data = run_part("rl_contestants.py", "prepare", folder, 0, options.peers)
        print(f"{data['num_prompts']} prompts; {data['num_sampled_tokens_by_step']} tokens sampled a step", flush=True)
        runs = run_rounds(
            options, lambda name, number: run_part("rl_contestants.py", name, folder, number, options.peers)
        )
    summaries = {name: summarise(reports, options.warmup_steps) for name, reports in runs.items()}
    compare(summaries)
    print(f"\n{table(summaries)}\n")
    found = disagreements(runs, data, options.steps)
    result |= {"data": data, "summary": summaries, "disagreements": found, "runs": runs}
    write_result(options.name or f"rl-{options.model}{'-kl' if options.kl_coef else ''}", result)
    for line in found:
        print(f"not comparable: {line}", file=sys.stderr)
    return 1 if found else 0


def parse() -> argparse.Namespace:
    """The options, checked before anything runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("starter-chat", "starter-base"), default="starter-chat")
    parser.add_argument("--steps", type=int, default=4, help="steps, warm-up included (default: 4)")
    parser.add_argument("--warmup-steps", type=int, default=1, help="first steps that are not timed (default: 1)")
    parser.add_argument("--rounds", type=int, default=3, help="times each contestant runs, in turn (default: 3)")
    parser.add_argument("--prompts-per-step", type=int, default=2, help="prompts a step (default: 2)")
    parser.add_argument("--group-size", type=int, default=8, help="answers to each prompt (default: 8)")
    parser.add_argument("--new-tokens", type=int, default=128, help="tokens of every answer (default: 128)")
    parser.add_argument("--learning-rate", type=float, default=1e-6)
    parser.add_argument("--kl-coef", type=float, default=0.0, help="above 0 adds a reference for everyone (default: 0)")
    parser.add_argument(
        "--gradient-checkpointing", action="store_true", help="for everyone, not only where it is default"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--contestants", help=f"with commas between, of: {', '.join(CONTESTANTS)}")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers/bin/python", help="the Python that has TRL")
    parser.add_argument("--name", help="name of the result file (default: rl-MODEL, and -kl with --kl-coef)")
    options = parser.parse_args()
    options.contestants = options.contestants.split(",") if options.contestants else list(LINE_UP)
    if unknown := [name for name in options.contestants if name not in CONTESTANTS]:
        parser.error(f"unknown contestant '{unknown[0]}'; there are: {', '.join(CONTESTANTS)}")
    if not 0 <= options.warmup_steps < options.steps:
        parser.error(f"--warmup-steps is {options.warmup_steps}; it must be at least 0 and below --steps")
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; it must be at least 1")
    if options.contestants != ["ours"] and not options.peers.exists():
        parser.error(f"there is no {options.peers}; `make bench` makes it, or give --contestants ours")
    return options


if __name__ == "__main__":
    sys.exit(benchmark(parse()))
