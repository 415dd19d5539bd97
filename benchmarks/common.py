"""What every benchmark shares: the facts of the machine, children that measure themselves, tables and result files.

Standard library only (a child that reports imports torch), so that the process that starts the contestants stays small:
Linux counts the memory of the parent at the fork into a child's peak. Leaves out what is measured.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import resource
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results"
Work = Callable[..., dict[str, Any]]
QUIET_CPU = {
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}
"""Every child computes on the CPU and stays off the network."""


def machine() -> dict[str, Any]:
    """The facts that a reader needs to place a timing; the load tells whether the machine was quiet."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": names[0] if names else platform.processor(),
        "bf16_instructions": [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def versions(*packages: str) -> dict[str, str]:
    """Installed versions in the environment of this process."""
    return {package: metadata.version(package) for package in packages}


def peak_rss_gb() -> float:
    """The most memory this process has held so far, in units of 10^9 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def run_child(
    python: Path | str, arguments: Sequence[str | Path], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a script in a process of its own and return the JSON of its last line; stops with its output on failure."""
    command = [str(python), *map(str, arguments)]
    variables = os.environ | QUIET_CPU | dict(environment or {})
    result = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout[-2000:]}{result.stderr[-4000:]}")
    return json.loads(result.stdout.strip().splitlines()[-1])


def run_part(script: str, name: str, folder: Path, number: int, peers: Path, **variables: str) -> dict[str, Any]:
    """One part of a round as a child; only what is not ours runs in the peers' environment."""
    python = sys.executable if name in ("prepare", "ours") else peers
    return run_child(python, [HERE / script, name, folder, f"round-{number}"], variables)


def run_rounds(
    options: Any, part: Callable[[str, int], dict[str, Any]], begin: Callable[[], None] = lambda: None
) -> dict[str, list[dict[str, Any]]]:
    """Reports of each contestant, a round each, in turn; `part` runs one in a round, `begin` goes before each round."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in options.contestants}
    for number in range(1, options.rounds + 1):
        begin()
        for name in options.contestants:
            report = part(name, number)
            runs[name].append(report)
            steps = " ".join(f"{seconds:.1f}" for seconds in report["step_seconds"])
            reference = f"reference {report['reference_seconds']:.1f} s, " if report.get("reference_seconds") else ""
            print(f"round {number}: {name}: {reference}steps of {steps} s, {report['peak_rss_gb']:.2f} GB", flush=True)
    return runs


def serve_part(prepare: Work, run_ours: Work, run_trl: Work, contestants: Mapping[str, Any]) -> None:
    """The child's side: run the part that the command line names, and print its report as the last line."""
    part, folder, round_name = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    settings = json.loads((folder / "settings.json").read_text())
    if part == "prepare":
        print(json.dumps(prepare(settings, folder)))
        return
    own = contestants[part].settings
    report = run_ours(settings, folder, round_name) if part == "ours" else run_trl(settings, folder, own)
    import torch

    print(json.dumps(report | {"peak_rss_gb": peak_rss_gb(), "threads": torch.get_num_threads()}))


def parameter_counts(folder: Path) -> dict[str, int]:
    """Parameters of the body and of the head, from the header of the weights; a tied embedding is the head."""
    with (folder / "model.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    counts = {name: math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    outside = {name: count for name, count in counts.items() if "embed_tokens" in name or "lm_head" in name}
    head = next((count for name, count in outside.items() if "lm_head" in name), max(outside.values()))
    return {"body": sum(counts.values()) - sum(outside.values()), "head": head}


def write_result(name: str, result: Mapping[str, Any]) -> Path:
    """Write benchmarks/results/<name>.json and say where."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(f"wrote {path.relative_to(ROOT)}")
    return path


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that reads well in a terminal and in README.md."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (header, *rows)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
