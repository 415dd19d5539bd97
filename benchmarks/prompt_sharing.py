"""What computing a shared prompt once gives, everything else being equal: a curve over prompt length ÷ answer length.

    .venv/bin/python benchmarks/prompt_sharing.py

The same engine runs forward and backward of DPO on the same pairs twice: as trees of two branches, and with each side
as a tree of its own. Both give the same gradients, which is checked on a small case first. Token ids are random. Leaves
out the optimiser and the reference, which are the same for both.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from common import machine, markdown_table, write_result
from torch.nn.functional import logsigmoid

from tutelage.engine.forward import TreeEngine
from tutelage.engine.memory import keep_freed_memory
from tutelage.engine.rows import ROW_MULTIPLE, pack
from tutelage.engine.tree import Tokens, Tree
from tutelage.models.load import load_model

RATIOS = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 8.0)


def make_pairs(num: int, prompt: int, answer: int, vocab: int, seed: int) -> list[Tree]:
    """Pairs of random ids."""
    draw = random.Random(seed)
    lengths = (prompt, answer, answer)
    parts = [[[draw.randrange(5, vocab) for _ in range(length)] for length in lengths] for _ in range(num)]
    return [
        Tree(Tokens.prompt(trunk), (Tokens.completion(chosen), Tokens.completion(rejected)))
        for trunk, chosen, rejected in parts
    ]


def separate(pairs: Sequence[Tree]) -> list[Tree]:
    """Each side of each pair as a tree of its own."""
    return [Tree(pair.trunk, (branch,)) for pair in pairs for branch in pair.branches]


def run(engine: TreeEngine, trees: Sequence[Tree]) -> float:
    """Forward and backward of some pairs in one row; the loss."""
    batch = pack(trees, multiple=ROW_MULTIPLE)
    logprobs = engine.logprobs(batch).logprobs
    sums = logprobs.new_zeros(batch.num_sequences).index_add(0, batch.sequence_index, logprobs)
    loss = -logsigmoid(0.1 * (sums[0::2] - sums[1::2])).sum()
    loss.backward()
    return float(loss.detach())


def gradients(engine: TreeEngine) -> list[torch.Tensor]:
    """The gradients of all weights, which are then forgotten."""
    found = [parameter.grad.clone() for parameter in engine.model.parameters() if parameter.grad is not None]
    engine.model.zero_grad()
    return found


def check(name: str) -> None:
    """Both ways must give the same loss and gradients, in fp32."""
    engine = TreeEngine(load_model(name, dtype="float32", device="cpu").model)
    pairs = make_pairs(2, 24, 8, 1000, 1)
    losses, grads = [], []
    for trees in (pairs, separate(pairs)):
        losses.append(run(engine, trees))
        grads.append(gradients(engine))
    gap = max(float((a - b).norm() / b.norm()) for a, b in zip(*grads, strict=True))
    if abs(losses[0] - losses[1]) > 1e-3 or gap > 1e-3:
        raise SystemExit(f"the two ways differ: losses {losses}, gradients by {gap:.2g}")
    print(f"same gradients: they differ by {gap:.1e} of their norm at most")


def seconds(engine: TreeEngine, pairs: Sequence[Tree], shared: bool) -> float:
    """Time of one step over all pairs, two pairs a row."""
    begun = time.perf_counter()
    for start in range(0, len(pairs), 2):
        row = pairs[start : start + 2]
        run(engine, row if shared else separate(row))
    spent = time.perf_counter() - begun
    engine.model.zero_grad(set_to_none=False)
    return spent


def measure(engine: TreeEngine, options: argparse.Namespace, ratio: float) -> dict[str, Any]:
    """Both ways in turn, several rounds after one that does not count."""
    pairs = make_pairs(options.pairs, round(ratio * options.answer_tokens), options.answer_tokens, 40_000, 0)
    rounds = [
        (seconds(engine, pairs, True), seconds(engine, pairs, False)) for _ in range(options.rounds + 1)
    ][1:]  # fmt: skip
    return {
        "ratio": ratio,
        "shared_seconds": [one for one, _ in rounds],
        "separate_seconds": [other for _, other in rounds],
        "speedup": statistics.median(other / one for one, other in rounds),
        "tokens_ratio": sum(t.num_tokens for t in separate(pairs)) / sum(t.num_tokens for t in pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter-chat")
    parser.add_argument("--answer-tokens", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    keep_freed_memory()
    check(options.model)
    engine = TreeEngine(load_model(options.model, device="cpu").model.train())
    curve = [measure(engine, options, ratio) for ratio in RATIOS]
    rows = [
        [f"{one['ratio']:g}", f"{one['tokens_ratio']:.2f}", f"× {one['speedup']:.2f}"] for one in curve
    ]  # fmt: skip
    print(markdown_table(("prompt ÷ answer", "tokens, separate ÷ shared", "speed"), rows))
    write_result("prompt-sharing", {"machine": machine(), "settings": vars(options), "curve": curve})


if __name__ == "__main__":
    main()
