"""The chunked logprobs alone: seconds forward and backward, and how near that is to the machine's matmul peak.

    .venv/bin/python benchmarks/head.py                       # Gemma 3 270M: 262,144 rows of 640, 600 targets
    .venv/bin/python benchmarks/head.py --vocab 49152 --dim 576

Random bf16 weights and hidden states, an fp32 gradient buffer as in training; the best of some turns, once with nothing
kept between forward and backward pass and once with the default. The ideal counts four products (logits, and the two
gradients; the logits once more where nothing is kept) at the peak measured in the same process.
Leaves out the body of the model.
"""

from __future__ import annotations

import argparse
import time

import torch
from common import markdown_table
from matmul_peak import SHAPES, measure_tflops

from tutelage.engine import logprobs
from tutelage.engine.logprobs import Head, chunked_logprobs
from tutelage.engine.memory import keep_freed_memory

TURNS = 4


def best_seconds(hidden: torch.Tensor, head: Head, targets: torch.Tensor) -> tuple[float, float]:
    """(forward, backward), each the best of a few turns."""
    forwards, backwards = [], []
    for _ in range(TURNS):
        start = time.perf_counter()
        total = chunked_logprobs(hidden, head, targets).logprobs.sum()
        middle = time.perf_counter()
        total.backward()
        forwards.append(middle - start)
        backwards.append(time.perf_counter() - middle)
    return min(forwards), min(backwards)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=int, default=262_144)
    parser.add_argument("--dim", type=int, default=640)
    parser.add_argument("--targets", type=int, default=600)
    options = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    weight = (0.03 * torch.randn(options.vocab, options.dim)).bfloat16().requires_grad_()
    weight.main_grad = torch.zeros(weight.shape)  # type: ignore[attr-defined]
    hidden = (3 * torch.randn(options.targets, options.dim)).bfloat16().requires_grad_()
    targets = torch.randint(options.vocab, (options.targets,))
    peak = max(measure_tflops(torch.bfloat16, *shape) for shape in SHAPES)
    product = 2e-12 * options.targets * options.vocab * options.dim / peak
    rows = []
    for kept_bytes in (0, logprobs.KEPT_BYTES):
        logprobs.KEPT_BYTES = kept_bytes
        forward, backward = best_seconds(hidden, Head(weight), targets)
        kept_frac = min(1.0, kept_bytes / (2 * options.targets * options.vocab))
        ideal = (4 - kept_frac) * product
        seconds = [f"{value:.2f}" for value in (forward, backward, forward + backward, ideal)]
        rows.append([f"{kept_bytes / 2**20:.0f} MB", *seconds, f"{ideal / (forward + backward):.0%}"])
    print(markdown_table(["kept", "forward s", "backward s", "together s", "ideal s", "of the peak"], rows))
    print(f"bf16 peak {peak:.2f} TFLOP/s, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
