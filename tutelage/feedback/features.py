"""What a model sees in an answer: the hidden state that a reward model's head reads, kept in a file of the workspace.

The states are computed as scores are, in packed trees, so the answers to a prompt share its computation. A language
model serves as well as a reward model, before there is one. An ensemble gives the states of its members side by side.

A workspace keeps them in `features/KEY.npz`, where the key stands for the model's files and the way of pooling: a model
that was trained again under its old name has another key. An answer never changes, so its id is enough.

Leaves out: what is chosen by them (`tutelage.feedback.selection`).
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.data.render import render_answers
from tutelage.engine.forward import TreeEngine
from tutelage.engine.rows import ROW_MULTIPLE, pack, split_by_budget
from tutelage.engine.tree import Tokens, Tree, TreeBatch
from tutelage.errors import DataError, ModelError
from tutelage.models.find import resolve_model
from tutelage.models.load import Loaded, to_standard_error
from tutelage.models.reward import load_reward_model
from tutelage.models.template import end_of_turn_id
from tutelage.rewards.models import member_names
from tutelage.train.progress import counting
from tutelage.train.run_folder import write_durably
from tutelage.types import Message

Pooling = Literal["last", "mean"]
"""The state at the token that ends the answer, or the mean of the states that predict the answer's tokens."""
States = NDArray[np.float32]
FOLDER = "features"


class Asked(NamedTuple):
    """A prompt and the answers to it by id; each begins and ends with the assistant."""

    messages: tuple[Message, ...]
    answers: Mapping[str, tuple[Message, ...]]


def answer_states(
    model: str, asked: Sequence[Asked], *, workspace: Path, pooling: Pooling = "last", max_tokens: int = 2048,
    quiet: bool = False,
) -> dict[str, States]:  # fmt: skip
    """The state `(dim,)` of each answer, by its id; from the workspace's file where it holds them.

    Left out is what the model cannot read: an answer longer with its prompt than `max_tokens` or the model's context,
    one with a control token in it. Raises `ModelError` for what is no model.
    """
    columns: list[dict[str, States]] = []
    for member in member_names(model, workspace):
        file, loaded = _file(member, workspace, pooling, quiet)
        known = _read(file) if file.exists() else {}
        missing = [lacking for one in asked if (lacking := _lacking(one, known)).answers]
        if missing:
            known |= compute_states(
                loaded or _load(member, workspace, quiet), missing, pooling=pooling, max_tokens=max_tokens, quiet=quiet
            )
            _write(file, known)
        columns.append(known)
    readable = {name for one in asked for name in one.answers}.intersection(*columns)
    return {name: np.concatenate([column[name] for column in columns]) for name in sorted(readable)}


def _load(member: str, workspace: Path, quiet: bool) -> Loaded:
    return load_reward_model(member, workspace=workspace, progress=_say_nothing if quiet else to_standard_error)


def _say_nothing(_: str) -> None:
    return


@torch.no_grad()
def compute_states(
    loaded: Loaded, asked: Sequence[Asked], *, pooling: Pooling = "last", max_tokens: int = 2048, quiet: bool = True
) -> dict[str, States]:
    """The same by a model in memory, nothing kept."""
    engine = TreeEngine(loaded.model.requires_grad_(False).eval())
    context = getattr(loaded.model.config, "max_position_embeddings", None) or max_tokens
    trees: list[Tree] = []
    names: dict[int, list[list[str]]] = {}
    for one in asked:
        tree, readable = _tree(loaded, one, min(max_tokens, context))
        if tree is not None:
            trees.append(tree)
            names[id(tree)] = readable
    found: dict[str, States] = {}
    with counting(f"reading answers with {loaded.name}", len(trees), quiet) as advance:
        for row in split_by_budget(trees, engine.row_tokens):
            batch = pack(row, multiple=ROW_MULTIPLE).to(next(engine.model.parameters()).device)
            states = _pooled(engine, batch, pooling).float().cpu().numpy()
            branches = (same for tree in row for same in names[id(tree)])
            found |= {name: state for same, state in zip(branches, states, strict=True) for name in same}
            advance(len(row))
    return found


def _pooled(engine: TreeEngine, batch: TreeBatch, pooling: Pooling) -> torch.Tensor:
    """`(num_sequences, dim)`."""
    if pooling == "last":
        return engine.ends(batch)
    states, index = engine.states(batch).float(), batch.sequence_index
    sums = states.new_zeros(batch.num_sequences, states.shape[1]).index_add_(0, index, states)
    return sums / torch.bincount(index, minlength=batch.num_sequences)[:, None]


def _tree(loaded: Loaded, one: Asked, limit: int) -> tuple[Tree | None, list[list[str]]]:
    """The readable answers of a prompt as one tree, and the ids behind each branch: equal answers are read once."""
    same: dict[tuple[Message, ...], list[str]] = {}
    for name, answer in one.answers.items():
        same.setdefault(answer, []).append(name)
    names: list[list[str]] = []
    branches: list[Tokens] = []
    trunk: tuple[int, ...] = ()
    for answer, ids in same.items():
        try:
            trunk, (rendered,) = render_answers(
                loaded.tokenizer, one.messages, (answer,), end_of_turn_id(loaded.tokenizer)
            )
        except DataError:  # a control token: no reward model can be trained on it either
            continue
        if len(trunk) + len(rendered.ids) <= limit:
            names.append(ids)
            branches.append(Tokens.completion(rendered.ids))
    return (Tree(Tokens.prompt(trunk), tuple(branches)), names) if branches else (None, [])


def _lacking(one: Asked, known: Iterable[str]) -> Asked:
    return Asked(one.messages, {name: answer for name, answer in one.answers.items() if name not in known})


# --- the file ---------------------------------------------------------------------------------------------------------


def _file(member: str, workspace: Path, pooling: Pooling, quiet: bool) -> tuple[Path, Loaded | None]:
    """Where the states by this model are kept; a model that has no folder yet is loaded to find out."""
    path = resolve_model(member, workspace).path
    if path is not None and path.is_dir():
        return _file_of(path, workspace, pooling), None
    loaded = _load(member, workspace, quiet)
    return _file_of(loaded.path, workspace, pooling), loaded


def _file_of(path: Path, workspace: Path, pooling: Pooling) -> Path:
    return workspace / FOLDER / f"{_key(path, pooling)}.npz"


def _key(path: Path, pooling: Pooling) -> str:
    """A name for the model's files: their names, sizes and times, not their gigabytes."""
    files = sorted(file for file in path.iterdir() if file.suffix in (".json", ".safetensors", ".jinja"))
    facts: list[Any] = [str(path.resolve()), pooling]
    facts += [(file.name, (status := file.stat()).st_size, status.st_mtime_ns) for file in files]
    return hashlib.blake2b(repr(facts).encode(), digest_size=12).hexdigest()


def _read(file: Path) -> dict[str, States]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            return dict(zip(stored["ids"].tolist(), stored["states"], strict=True))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{file} cannot be read ({error}); remove it, and it is computed again") from error


def _write(file: Path, states: Mapping[str, States]) -> None:
    if not states:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, ids=np.array(list(states)), states=np.stack(list(states.values())))
    write_durably(file, buffer.getvalue())
