"""Save a model as an ordinary Hugging Face folder that transformers, vLLM, llama.cpp and the hub read.

Weights are safetensors; the tokenizer carries its chat template; the generation config stops at the end of a turn (a
reward model has none). The folder appears whole or not at all (`tutelage.models.folder`). Leaves out training state
(`tutelage.train.checkpoint`).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tutelage.errors import ModelError
from tutelage.models.adapt import is_reward_model, merge_lora
from tutelage.models.catalogue import STARTERS
from tutelage.models.folder import new_folder, read_origin, refuse_existing, write_origin
from tutelage.models.load import DTYPES, no_progress_bars
from tutelage.models.reward import set_score_position
from tutelage.models.template import set_generation_tokens

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HUB_SNAPSHOT = re.compile(r"models--([^/]+)--([^/]+)/snapshots/[^/]+$")
_LONGEST_NAME = 100
_LONG_LIST = 1000
_NOTICES = ("NOTICE*", "LICENSE*", "*TERMS*")


def check_output_name(workspace: Path, name: str) -> Path:
    """The folder that a model called `name` will get in `workspace`; `ModelError` for a name that cannot be used."""
    if not _NAME.fullmatch(name) or ".." in name or len(name) > _LONGEST_NAME:
        raise ModelError(
            f"'{name}' cannot name a model; use up to {_LONGEST_NAME} letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    if name in STARTERS:
        raise ModelError(f"'{name}' is the name of a starter model; choose another --out name")
    target = workspace / "models" / name
    refuse_existing(target)
    return target


def save_model(
    model: Any,
    tokenizer: Any,
    path: Path,
    *,
    origin: Mapping[str, Any],
    dtype: str = "bfloat16",
    merge: bool = False,
) -> None:
    """Write `model` and `tokenizer` to the new folder `path`, with floating weights as `dtype`.

    A model with adapters is saved as an adapter folder that names its base, in the adapters' own precision, or with
    `merge` as a whole model; merging changes `model` in place. Raises `ModelError` when `path` exists or the disk is
    full.
    """
    import peft

    refuse_existing(path)
    needed_bytes = saved_bytes(model, tokenizer, dtype=dtype, merge=merge)
    is_adapter = isinstance(model, peft.PeftModel)
    if is_adapter and merge:
        model, is_adapter = merge_lora(model), False
    base_name = str(model.config._name_or_path)
    with new_folder(path, needed_bytes=needed_bytes) as folder:
        if is_adapter:
            model.save_pretrained(folder, save_embedding_layers=False)
            origin = dict(origin) | {"base_model": _portable_name(base_name)}
        else:
            _save_whole(model, tokenizer, folder, dtype)
        save_tokenizer(tokenizer, folder)
        _copy_notices(base_name, folder)
        write_origin(folder, origin)


def saved_bytes(model: Any, tokenizer: Any, *, dtype: str = "bfloat16", merge: bool = False) -> int:
    """What `save_model` will write: the weights, and some 150 bytes a token for vocabulary and merges."""
    import peft

    is_adapter = isinstance(model, peft.PeftModel) and not merge
    saved = (p for name, p in model.named_parameters() if (p.requires_grad if is_adapter else "lora_" not in name))
    bytes_per_number = 4 if is_adapter else DTYPES[dtype].itemsize
    return sum(p.numel() for p in saved) * bytes_per_number + 150 * len(tokenizer) + 1_000_000


def _save_whole(model: Any, tokenizer: Any, folder: Path, dtype: str) -> None:
    if is_reward_model(model):
        set_score_position(model, tokenizer)
    else:
        _set_generation_config(model, tokenizer)
    with no_progress_bars():
        model.save_pretrained(folder, state_dict=_cast(model.state_dict(), DTYPES[dtype]))
    # save_pretrained notes the precision that the model has in memory, not that of the weights it was given.
    config_file = folder / "config.json"
    config_file.write_text(
        json.dumps(json.loads(config_file.read_text(encoding="utf-8")) | {"dtype": dtype}, indent=2) + "\n",
        encoding="utf-8",
    )


def _set_generation_config(model: Any, tokenizer: Any) -> None:
    set_generation_tokens(model, tokenizer)
    config = model.generation_config
    if not config.do_sample and (config.temperature, config.top_p, config.top_k) != (None, None, None):
        config.do_sample = True  # a temperature without sampling is refused on saving, and can only have meant this


def _cast(state: Mapping[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Floating tensors as `dtype`; tensors that share memory (tied embeddings) still share it afterwards."""
    cast: dict[tuple[int, torch.Size], torch.Tensor] = {}
    result = {}
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tensor.shape)
        if key not in cast:
            cast[key] = tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype)
        result[name] = cast[key]
    return result


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Save the tokenizer so that it also loads fast.

    transformers reads tokenizer.json a second time, in Python, for the list of added tokens unless the config has one,
    which takes seconds for Gemma's 262,144 tokens. The list must be complete: some classes (Qwen's) build their
    tokenizer from it and would take a token that is missing for ordinary text. Only where tokenizer.json is read as it
    is will a few of Gemma's 6,414 added tokens do.
    """
    from transformers import PreTrainedTokenizerFast

    tokenizer.save_pretrained(folder)
    config_file = folder / "tokenizer_config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    if "added_tokens_decoder" in config or not (folder / "tokenizer.json").is_file():
        return
    added = tokenizer.added_tokens_decoder
    shortened = type(tokenizer) is PreTrainedTokenizerFast and len(added) > _LONG_LIST
    listed = set(tokenizer.all_special_ids if shortened else added)
    config["added_tokens_decoder"] = {
        str(token_id): {
            "content": token.content,
            "lstrip": token.lstrip,
            "normalized": token.normalized,
            "rstrip": token.rstrip,
            "single_word": token.single_word,
            "special": token.special,
        }
        for token_id, token in sorted(added.items())
        if token_id in listed
    }
    config_file.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _portable_name(base_name: str) -> str:
    """How an adapter names its base: a starter or hub model by its name, which is good anywhere, else its folder."""
    if hub := _HUB_SNAPSHOT.search(Path(base_name).as_posix()):
        return f"{hub[1]}/{hub[2]}"
    if not _is_folder(base_name):
        return base_name
    origin = read_origin(Path(base_name))
    return str(origin["name"]) if origin.get("kind") == "starter" else str(Path(base_name).resolve())


def _is_folder(base_name: str) -> bool:
    return base_name != "" and Path(base_name).is_dir()  # Path("") is the current folder


def _copy_notices(base_name: str, folder: Path) -> None:
    """Licence and terms travel with what is made from a model."""
    for pattern in _NOTICES if _is_folder(base_name) else ():
        for notice in Path(base_name).glob(pattern):
            if notice.is_file():
                shutil.copyfile(notice, folder / notice.name)
