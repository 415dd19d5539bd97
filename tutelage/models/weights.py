"""A model folder seen from outside: whether it is complete and whole, and what its safetensors files hold.

Nothing is loaded; of the weights only headers are read. Format: 8 bytes of header length, a JSON header, then the data
(https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

from tutelage.errors import ModelError

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json")
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_PICKLES_THAT_ARE_NO_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth")


def check_folder(folder: Path) -> None:
    """Raise `ModelError` unless `folder` has a readable config, a tokenizer and whole safetensors weights."""
    refuse_pickles(folder)
    config = folder / "config.json"
    if not config.is_file():
        raise ModelError(f"{folder} has no config.json; it is not a Hugging Face model folder")
    try:
        model_type = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{config} is damaged ({error}); fetch or save the model again") from error
    if not model_type:
        raise ModelError(f"{config} names no model_type; fetch or save the model again")
    check_weights(folder)
    if not has_tokenizer(folder):
        raise ModelError(
            f"{folder} has no tokenizer; copy tokenizer.json and tokenizer_config.json from the base model"
        )


def has_tokenizer(folder: Path) -> bool:
    """Whether `folder` holds a tokenizer in any of the usual formats."""
    return any((folder / name).is_file() for name in _TOKENIZER_FILES)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the weights in `folder`: the shards its index names, or the one file."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{index} is damaged ({error}); fetch or save the model again") from error
        return sorted(folder / shard for shard in shards)
    usual = [folder / "model.safetensors", folder / "adapter_model.safetensors"]
    return [file for file in usual if file.is_file()][:1] or sorted(folder.glob("*.safetensors"))


def pickle_files(folder: Path) -> list[Path]:
    """Weights in formats that can run code when they are opened."""
    found = (path for path in folder.iterdir() if path.suffix in _PICKLES)
    return sorted(path for path in found if path.name not in _PICKLES_THAT_ARE_NO_WEIGHTS)


def read_header(path: Path) -> dict[str, tuple[int, ...]]:
    """Tensor names and shapes of a safetensors file; raises `ModelError` when the file is damaged or cut short."""
    try:
        with path.open("rb") as file:
            (header_bytes,) = struct.unpack("<Q", file.read(8))
            size_bytes = path.stat().st_size
            if header_bytes > size_bytes:
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(header_bytes))
        header.pop("__metadata__", None)
        expected_bytes = 8 + header_bytes + max((entry["data_offsets"][1] for entry in header.values()), default=0)
        shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(f"{path} is damaged ({error}); fetch or save the model again") from error
    if size_bytes != expected_bytes:
        raise ModelError(
            f"{path} is damaged: {size_bytes:,} bytes where its header says {expected_bytes:,}; "
            "fetch or save the model again"
        )
    return shapes


def refuse_pickles(folder: Path) -> None:
    """Raise `ModelError` when pickles are all the weights that `folder` has."""
    pickles = pickle_files(folder)
    if pickles and not weight_files(folder):
        raise ModelError(
            f"{folder} is pickle-only ({pickles[0].name}), and a pickle can run code when it is opened; "
            "convert the weights to safetensors"
        )


def check_weights(folder: Path) -> None:
    """Raise `ModelError` unless `folder` holds whole safetensors weights, every shard of them."""
    refuse_pickles(folder)
    files = weight_files(folder)
    if not files:
        raise ModelError(f"{folder} has no weights; a model folder needs model.safetensors")
    for file in files:
        if not file.is_file():
            raise ModelError(f"{folder} lacks {file.name}, which its index names; fetch or save the model again")
        read_header(file)
