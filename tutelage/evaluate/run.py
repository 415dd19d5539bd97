"""Put a model to the prompts: its answers, and what the reference answers and plain text cost it.

Leaves out judging and drawing (`summary`, `report`); this is the one file of the room that loads models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tutelage.engine.answer import AT_ONCE, answer_prompts, nll_of_references, nll_of_texts
from tutelage.engine.forward import TreeEngine
from tutelage.engine.generate import Sampling
from tutelage.engine.memory import keep_freed_memory
from tutelage.evaluate.summary import ModelResult
from tutelage.models.folder import read_origin
from tutelage.models.load import Loaded, load_model
from tutelage.models.template import ensure_bare_template, ensure_pad_token
from tutelage.types import Prompt


def load_for_answers(name: str, workspace: Path | None, *, trust_remote_code: bool = False) -> Loaded:
    """Load a model to ask it something; a base model without a chat template is asked in plain text."""
    keep_freed_memory()
    loaded = load_model(name, workspace=workspace, trust_remote_code=trust_remote_code)
    ensure_bare_template(loaded.tokenizer)
    ensure_pad_token(loaded.tokenizer)
    return loaded


def describe_origin(path: Path, name: str) -> str:
    """Where a model came from, in a few words."""
    origin = read_origin(path)
    if origin.get("kind") == "trained":
        return f"{origin['method']} of {origin['base']} on {origin['data']}, {origin['steps']} steps"
    return str(origin.get("model") or origin.get("name") or name)


def evaluate_model(
    loaded: Loaded,
    prompts: Sequence[Prompt],
    general_texts: Sequence[str],
    sampling: Sampling,
    *,
    batch_size: int = AT_ONCE,
    progress: Callable[[int], None] | None = None,
) -> ModelResult:
    """Answers to all prompts; likelihoods of references where every prompt has one, and of general texts if given."""
    model, tokenizer = loaded.model, loaded.tokenizer
    answers = answer_prompts(
        model, tokenizer, prompts, sampling, name=loaded.name, batch_size=batch_size, progress=progress
    )
    engine = TreeEngine(model)
    with_references = all(prompt.reference for prompt in prompts)
    return ModelResult(
        name=loaded.name,
        origin=describe_origin(loaded.path, loaded.name),
        answers=answers,
        nll_reference=nll_of_references(engine, tokenizer, prompts) if with_references else None,
        nll_general=nll_of_texts(engine, tokenizer, general_texts) if general_texts else None,
    )


def answer_record(answer: Any) -> dict[str, Any]:
    """An answer as a line of a JSONL file."""
    return {
        "id": answer.prompt.id,
        "messages": [{"role": m.role, "content": m.content} for m in answer.prompt.messages],
        "answer": answer.text,
        "num_tokens": answer.num_tokens,
        "stopped": answer.stopped,
        "model": answer.model,
    }
