"""What the model says of a batch, put together as a method's loss wants to see it.

Leaves out: where reference logprobs come from (`reference`).
"""

from __future__ import annotations

from typing import Any

from tutelage.engine.forward import TreeEngine
from tutelage.engine.tree import Tree, TreeBatch
from tutelage.methods.registry import LossBatch
from tutelage.train.reference import References


def is_context(tree: Tree) -> bool:
    """Whether a tree is there for the context of a step and not to be trained on."""
    return tree.values.get("context", (0.0,))[0] > 0


def observe(
    method: Any, engine: TreeEngine, batch: TreeBatch, references: References | None = None, context: float = 0.0
) -> LossBatch:
    """Logprobs or scores of the batch, whichever the method sees, with the reference's where there is one."""
    ref_logprobs = references.of(batch, engine) if references else None
    if method.sees == "scores":
        scores = engine.scores(batch)
        nothing = scores.new_empty(0)
        return LossBatch(
            nothing, batch.sequence_index[:0], batch.tree_index, None, scores, batch.values, context=context
        )
    logprobs = engine.logprobs(batch).logprobs
    return LossBatch(
        logprobs, batch.sequence_index, batch.tree_index, ref_logprobs, None, batch.values, batch.token_values, context
    )
