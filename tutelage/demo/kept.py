"""Work of the demo that is kept, so that an interrupted one does nothing twice.

Each piece is a JSON file that names what it was made from: another model, other prompts or other settings, and it is
made anew. Models are known by size and time of their weights. Leaves out models and runs, which the workspace keeps.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.engine.generate import Sampling
from tutelage.evaluate.summary import ModelResult
from tutelage.models.find import resolve_model
from tutelage.train.run_folder import strict_json, write_durably
from tutelage.types import Answer, Prompt


def kept(path: Path, made_from: Mapping[str, Any], make: Callable[[], Any]) -> Any:
    """What the file holds if it was made from the very same, else what `make` gives, written there in one instant."""
    wanted = json.loads(strict_json(made_from))
    try:
        found = json.loads(path.read_bytes())
        if found["made_from"] == wanted:
            return found["value"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    value = json.loads(strict_json(make()))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, strict_json({"made_from": wanted, "value": value}))
    return value


def sources_of(models: Sequence[str], workspace: Path, prompts: Sequence[Prompt], sampling: Sampling) -> dict[str, Any]:
    """What answers depend on, as something that can be written down and compared."""
    return {
        "models": [[name, *_weights(name, workspace)] for name in models],
        "prompts": [[prompt.id, prompt.messages[-1].content] for prompt in prompts],
        "sampling": dataclasses.asdict(sampling),
    }


def _weights(name: str, workspace: Path) -> list[int]:
    """Size and time of the weights of a model of the workspace; nothing for a starter, which never changes."""
    path = resolve_model(name, workspace).path
    files = sorted(Path(path).glob("*.safetensors")) if path is not None else []
    return [number for file in files for number in (file.stat().st_size, file.stat().st_mtime_ns)]


def pack_answers(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Answers without their prompts, whose order they have."""
    return [{"text": one.text, "num_tokens": one.num_tokens, "stopped": one.stopped} for one in answers]


def unpack_answers(packed: Sequence[Mapping[str, Any]], prompts: Sequence[Prompt], model: str) -> list[Answer]:
    """The answers again; `prompts` has one for each."""
    return [Answer(prompt, **one, model=model) for prompt, one in zip(prompts, packed, strict=True)]


def pack_result(result: ModelResult) -> dict[str, Any]:
    """A result for a JSON file."""
    return {
        "origin": result.origin, "answers": pack_answers(result.answers),
        "nll_reference": result.nll_reference, "nll_general": result.nll_general,
    }  # fmt: skip


def unpack_result(packed: Mapping[str, Any], prompts: Sequence[Prompt], name: str) -> ModelResult:
    """The result again, as it was packed."""
    answers = unpack_answers(packed["answers"], prompts, name)
    costs = {
        key: None if packed[key] is None else [(float(nats), int(num)) for nats, num in packed[key]]
        for key in ("nll_reference", "nll_general")
    }
    return ModelResult(name, packed["origin"], answers, **costs)
