"""The reference policy's logprobs: all of them computed once before training, or each step with the adapter off.

Computed once, they are kept in the run's folder, so that a resumed run has the very same. Leaves out references that
follow the policy (exponential averages, resets).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tutelage.engine.forward import TreeEngine
from tutelage.engine.rows import ROW_MULTIPLE, pack, split_by_budget
from tutelage.engine.tree import Tree, TreeBatch
from tutelage.errors import ConfigError
from tutelage.train.config import TrainConfig
from tutelage.train.progress import counting
from tutelage.train.run_folder import strict_json, write_durably

LOGPROBS_FILE = "reference.safetensors"
FACTS_FILE = "reference.json"


class References(Protocol):
    """Where a batch's reference logprobs come from."""

    def of(self, batch: TreeBatch, engine: TreeEngine) -> Tensor:
        """`(num_targets,)` fp32, in the order of the batch's targets, without gradient."""


class Precomputed:
    """Logprobs by tree; the trees must be those they were computed for, since they are found by identity."""

    def __init__(self, trees: Sequence[Tree], logprobs: Tensor) -> None:
        parts = logprobs.split([tree.num_trained_tokens for tree in trees])
        self._by_tree = {id(tree): part for tree, part in zip(trees, parts, strict=True)}
        self._trees = trees  # held, so that no id is used again

    def of(self, batch: TreeBatch, engine: TreeEngine) -> Tensor:
        return torch.cat([self._by_tree[id(tree)] for tree in batch.trees]).to(batch.input_ids.device)


class AdapterOff:
    """The model itself with its adapter switched off: one more forward pass a step, nothing to store."""

    @torch.no_grad()
    def of(self, batch: TreeBatch, engine: TreeEngine) -> Tensor:
        adapted: Any = engine.model
        with adapted.disable_adapter():
            return engine.logprobs(batch).logprobs


@torch.no_grad()
def compute_logprobs(engine: TreeEngine, trees: Sequence[Tree], row_tokens: int, quiet: bool = False) -> Tensor:
    """Logprobs of every trained token of the trees, one after the other, fp32 on the CPU."""
    was_training = engine.model.training
    engine.model.eval()
    device = next(engine.model.parameters()).device
    found: dict[int, Tensor] = {}
    with counting("reference", len(trees), quiet) as advance:
        for row in split_by_budget(trees, row_tokens):
            batch = pack(row, multiple=ROW_MULTIPLE).to(device)
            logprobs = engine.logprobs(batch).logprobs.cpu()
            parts = logprobs.split([tree.num_trained_tokens for tree in row])
            found |= {id(tree): part for tree, part in zip(row, parts, strict=True)}
            advance(len(row))
    engine.model.train(was_training)
    return torch.cat([found[id(tree)] for tree in trees])


def make_references(
    config: TrainConfig,
    method: Any,
    engine: TreeEngine,
    trees: Sequence[Tree],
    fingerprint: str,
    folder: Path,
    load_other: Callable[[str], TreeEngine],
    quiet: bool = False,
) -> References | None:
    """What the method's options ask for; the engine's model must still be the one that training starts from.

    `load_other` gives the engine of another model by name. Raises ConfigError for an adapter that is not there.
    """  # fmt: skip
    if not method.needs_reference:
        return None
    if getattr(method, "reference", "precompute") == "adapter-off":
        if not config.lora.rank:
            raise ConfigError("--reference adapter-off needs fresh adapters; give --lora.rank 16, or leave it out")
        return AdapterOff()
    facts = {"model": getattr(method, "ref_model", None) or config.model, "data_sha256": fingerprint}
    kept = _read(folder, facts)
    if kept is None:
        kept = _compute(method, engine, trees, folder, facts, load_other, config.row_tokens, quiet)
    return Precomputed(trees, kept)


def _compute(
    method: Any, engine: TreeEngine, trees: Sequence[Tree], folder: Path, facts: dict[str, Any],
    load_other: Callable[[str], TreeEngine], row_tokens: int, quiet: bool,
) -> Tensor:  # fmt: skip
    begun = time.perf_counter()
    other = getattr(method, "ref_model", None)
    source = engine if other is None else load_other(other)
    logprobs = compute_logprobs(source, trees, row_tokens or source.row_tokens, quiet)
    facts = facts | {"seconds": time.perf_counter() - begun, "num_trees": len(trees), "num_logprobs": len(logprobs)}
    write_durably(folder / LOGPROBS_FILE, save({"logprobs": logprobs}))
    write_durably(folder / FACTS_FILE, strict_json(facts, indent=2))
    return logprobs


def _read(folder: Path, wanted: dict[str, Any]) -> Tensor | None:
    """What an earlier start of the same run computed, or None where there is nothing whole of the same data."""
    try:
        facts = json.loads((folder / FACTS_FILE).read_bytes())
        logprobs = load((folder / LOGPROBS_FILE).read_bytes())["logprobs"]
    except (OSError, ValueError, KeyError, SafetensorError):
        return None
    is_same = all(facts.get(key) == value for key, value in wanted.items())
    return logprobs if is_same and len(logprobs) == facts.get("num_logprobs") else None
