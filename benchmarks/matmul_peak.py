"""The matrix-product peak of this machine in bf16 and fp32, in TFLOP/s: what a training step is held against.

Products have the form of a linear layer, `x @ weight.T`; the peak is the best of a few shapes, each run for half a
second. Takes about 3 seconds. Leaves out memory bandwidth.
"""

from __future__ import annotations

import json
import time

import torch

SHAPES = ((2048, 2048, 2048), (2048, 576, 4096), (4096, 1024, 4096))
"""(rows, inner, columns): a square, one as narrow as a small model's layers, and a large one."""
SECONDS_PER_SHAPE = 0.5


def measure_tflops(dtype: torch.dtype, rows: int, inner: int, columns: int) -> float:
    """The fastest of the products that fit into the time of one shape."""
    x, weight = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
    x @ weight.T
    fastest, end = float("inf"), time.perf_counter() + SECONDS_PER_SHAPE
    while time.perf_counter() < end:
        start = time.perf_counter()
        x @ weight.T
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * rows * inner * columns / fastest / 1e12


def main() -> None:
    report: dict[str, object] = {"threads": torch.get_num_threads()}
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        by_shape = {"x".join(map(str, shape)): round(measure_tflops(dtype, *shape), 3) for shape in SHAPES}
        report |= {f"{name}_tflops": max(by_shape.values()), f"{name}_by_shape": by_shape}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
