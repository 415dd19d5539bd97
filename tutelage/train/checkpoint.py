"""Checkpoints that survive SIGKILL, a full disk and damaged files: written aside, synced, renamed, and hashed.

A checkpoint is a folder `step-00000100` with the tensors in safetensors, everything else in `state.json`, and
`manifest.json` with the size and sha256 of each file. There is no pickle in it, neither written nor read.

Leaves out what belongs into a checkpoint (the loop decides), the model folder that others read (`tutelage.models`),
several writers at once (`RunFolder` holds the lock), and Windows (a folder cannot be synced there).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import random
import re
import shutil
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file

from tutelage.errors import CheckpointError, ConfigError
from tutelage.train.run_folder import sync_folder

FORMAT = 1
_SHARD_BYTES = 2_000_000_000
_WRITE_BYTES = 16_000_000
# What is written beside tensor data and state: headers, manifest, and the file system's own bookkeeping.
_OVERHEAD_BYTES = 64_000
_NAME = re.compile(r"step-(\d{8,})(\.old)?")
_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
}
_DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class Checkpoint(NamedTuple):
    """A verified checkpoint. `tensors` are memory-mapped: read when touched, private to this process when changed."""

    step: int
    path: Path
    state: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any], *, keep_last: int = 2
) -> Path:
    """Write `folder/step-…` so that whatever happens on the way, the newest whole checkpoint stays loadable.

    `state` is JSON: floats and integers come back exactly, NaN and infinities too; tuples come back as lists. Tensors
    that share memory are written once for each name. After the new checkpoint is whole, only `keep_last` remain, and
    none of a later step: those were left by a continuation that has been given up.

    Raises CheckpointError when it cannot be written (then nothing of it remains), ConfigError for `keep_last` < 1.
    """
    if keep_last < 1:
        raise ConfigError(f"keep_last is {keep_last}; at least 1 checkpoint has to be kept")
    state_json = _state_json(state)
    needed_bytes = sum(tensor.nbytes for tensor in tensors.values()) + len(state_json) + _OVERHEAD_BYTES
    final = folder / f"step-{step:08d}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_temporaries(folder)
        if shutil.disk_usage(folder).free < needed_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        _write_aside_then_rename(final, step, tensors, state_json)
        _remove_superseded(folder, step, keep_last)
    except OSError as error:
        raise _write_error(final, needed_bytes, error) from error
    return final


def load_checkpoint(folder: Path, *, log: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint in `folder`, or None when there are none at all.

    Every file is checked against the manifest first; a damaged checkpoint is reported by `log` in one line and the one
    before is used. Raises CheckpointError when all are damaged.
    """
    found = _checkpoints(folder)
    damaged = []
    for step, path in found:
        damage = _damage(path, step)
        if damage is None:
            return _read(path, step)
        damaged.append(f"{path.name}: {damage}")
        log(f"checkpoint {path} is damaged ({damage}); going back to the one before")
    if not found:
        return None
    raise CheckpointError(
        f"no checkpoint in {folder} is whole ({'; '.join(damaged)}); restore one from a copy, or start a new run"
    )


def glance(folder: Path) -> tuple[int, dict[str, Any]]:
    """How many checkpoints are in `folder`, and the newest state that can be read; nothing is verified."""
    found = _checkpoints(folder)
    for _, path in found:
        with contextlib.suppress(OSError, ValueError):
            return len(found), json.loads((path / "state.json").read_bytes(), object_hook=_restored)
    return len(found), {}


def pack_rng_state() -> dict[str, Any]:
    """The state of every global random generator (python, numpy, torch, CUDA where in use) as JSON-able data."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached_gauss = np.random.get_state()
    return {
        "python": {"version": version, "words": np.array(words, dtype="<u4").tobytes().hex(), "gauss": gauss},
        "numpy": {
            "keys": np.asarray(keys, dtype="<u4").tobytes().hex(),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached_gauss": float(cached_gauss),
        },
        "torch": _hex(torch.get_rng_state()),
        "cuda": [_hex(state) for state in _cuda_states()],
    }


def restore_rng_state(packed: Mapping[str, Any]) -> None:
    """Put the generators back to where `pack_rng_state` saw them; GPUs that this machine lacks are left out."""
    python, legacy = packed["python"], packed["numpy"]
    words = np.frombuffer(bytes.fromhex(python["words"]), dtype="<u4")
    random.setstate((python["version"], tuple(words.tolist()), python["gauss"]))
    keys = np.frombuffer(bytes.fromhex(legacy["keys"]), dtype="<u4").astype(np.uint32)
    np.random.set_state(("MT19937", keys, legacy["position"], legacy["has_gauss"], legacy["cached_gauss"]))
    torch.set_rng_state(_from_hex(packed["torch"]))
    for device, state in enumerate(packed["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(_from_hex(state), device)


def _cuda_states() -> list[torch.Tensor]:
    # Asking on a machine with GPUs that this run does not use would allocate memory on each of them.
    in_use: bool = torch.cuda.is_initialized()
    return torch.cuda.get_rng_state_all() if in_use else []


def _hex(state: torch.Tensor) -> str:
    return state.numpy().tobytes().hex()


def _from_hex(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


# Writing


def _write_aside_then_rename(final: Path, step: int, tensors: Mapping[str, torch.Tensor], state_json: bytes) -> None:
    temporary = final.with_name(f".tmp-{final.name}")
    try:
        temporary.mkdir()
        files = {name: _write_safetensors(temporary / name, shard) for name, shard in _shards(tensors).items()}
        files["state.json"] = _write_file(temporary / "state.json", [state_json])
        _write_file(temporary / "manifest.json", [_manifest_json(step, files)])
        sync_folder(temporary)
        if final.exists():
            # A folder cannot be renamed onto a full one. The old one stays loadable under its second name meanwhile.
            _remove(final.with_name(f"{final.name}.old"))
            final.rename(final.with_name(f"{final.name}.old"))
        temporary.rename(final)
        sync_folder(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _shards(tensors: Mapping[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    # Wide dtypes first keeps every tensor aligned for memory-mapping without the holes that safetensors forbids.
    shards: list[dict[str, torch.Tensor]] = [{}]
    shard_bytes = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].element_size()):
        if shards[-1] and shard_bytes + tensor.nbytes > _SHARD_BYTES:
            shards.append({})
            shard_bytes = 0
        shards[-1][name] = tensor
        shard_bytes += tensor.nbytes
    if len(shards) == 1:
        return {"tensors.safetensors": shards[0]}
    return {f"tensors-{i:05d}-of-{len(shards):05d}.safetensors": shard for i, shard in enumerate(shards, start=1)}


def _write_safetensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    # The library's writer copies and hides the errno of a full disk; the format is a length, a JSON header and the
    # bytes (https://github.com/safetensors/safetensors#format).
    header, end = {}, 0
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPE_NAMES:
            raise CheckpointError(f"tensor '{name}' is {tensor.dtype}, which safetensors cannot hold; convert it first")
        start, end = end, end + tensor.nbytes
        shape = list(tensor.shape)
        header[name] = {"dtype": _DTYPE_NAMES[tensor.dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64 + 56)  # data starts at a multiple of 64 after the 8 bytes of the length
    return _write_file(path, [struct.pack("<Q", len(text)), text, *tensors.values()])


def _write_file(path: Path, parts: Sequence[bytes | torch.Tensor]) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in parts:
            _write_hashed(file, digest, part)
        file.flush()
        os.fsync(file.fileno())
        return {"sha256": digest.hexdigest(), "size_bytes": file.tell()}


def _write_hashed(file: BinaryIO, digest: hashlib._Hash, part: bytes | torch.Tensor) -> None:
    # One tensor at a time comes off its device; one that is already in memory and contiguous is not copied.
    view = memoryview(_raw_bytes(part) if isinstance(part, torch.Tensor) else part)
    for start in range(0, len(view), _WRITE_BYTES):
        digest.update(view[start : start + _WRITE_BYTES])
        file.write(view[start : start + _WRITE_BYTES])


def _raw_bytes(tensor: torch.Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _manifest_json(step: Any, files: Any) -> bytes:
    # The manifest is its own check: written again from what was read, it has to come out byte for byte.
    body = {"format": FORMAT, "step": step, "files": files}
    body["sha256"] = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps(body, indent=1, sort_keys=True).encode() + b"\n"


def _state_json(state: Mapping[str, Any]) -> bytes:
    return json.dumps(_jsonable(state), allow_nan=False, indent=1).encode() + b"\n"


def _jsonable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(float(value))}  # JSON has no NaN and no infinity
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"a state's keys are texts, but {odd[0]!r} would come back as a text")
        return {f"${key}" if key.startswith("$") else key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return value


def _write_error(final: Path, needed_bytes: int, error: OSError) -> CheckpointError:
    whole = next((path.name for step, path in _checkpoints(final.parent) if _damage(path, step) is None), None)
    left = f"{whole} is still whole" if whole else "there is no earlier checkpoint"
    if error.errno not in _REMEDIES:
        return CheckpointError(f"cannot write checkpoint {final}: {error.strerror}; {left}")
    existing = next(parent for parent in final.parents if parent.exists())
    available = _size(shutil.disk_usage(existing).free)
    return CheckpointError(
        f"no room for checkpoint {final}: {_size(needed_bytes)} needed, {available} available ({error.strerror}); "
        f"{_REMEDIES[error.errno]} and go on with --resume; {left}"
    )


def _size(num_bytes: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.1f} {unit}"
    return f"{num_bytes} bytes"


# Reading


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Step and path of each checkpoint, the newest first, and one that was being replaced after its successor."""
    if not folder.is_dir():
        return []
    named = [(match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted(
        ((int(match[1]), path) for match, path in named), key=lambda found: (-found[0], found[1].suffix == ".old")
    )


def _damage(path: Path, step: int) -> str | None:
    """What is wrong with the checkpoint at `path`, naming the file; None when it is whole."""
    try:
        manifest = _manifest(path)
        if isinstance(manifest, str):
            return manifest
        if manifest["step"] != step:
            return f"manifest.json belongs to step {manifest['step']}"
        damages = (_file_damage(path / name, expected) for name, expected in manifest["files"].items())
        return next((damage for damage in damages if damage), None)
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except OSError as error:
        return f"{Path(error.filename or path).name} cannot be read: {error.strerror}"


def _manifest(path: Path) -> dict[str, Any] | str:
    """The manifest, or what is wrong with it."""
    raw = (path / "manifest.json").read_bytes()
    try:
        manifest = json.loads(raw)
    except ValueError:
        return "manifest.json is not JSON"
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        return f"manifest.json is not of format {FORMAT}"
    if _manifest_json(manifest.get("step"), manifest.get("files")) != raw:
        return "manifest.json does not match its own sha256"
    return manifest


def _file_damage(path: Path, expected: Mapping[str, Any]) -> str | None:
    size_bytes = path.stat().st_size
    if size_bytes != expected["size_bytes"]:
        return f"{path.name} has {size_bytes} bytes, its manifest says {expected['size_bytes']}"
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != expected["sha256"]:
            return f"{path.name} does not match its sha256"
    return None


def _read(path: Path, step: int) -> Checkpoint:
    state = json.loads((path / "state.json").read_bytes(), object_hook=_restored)
    tensors = {}
    for name in json.loads((path / "manifest.json").read_bytes())["files"]:
        if name.endswith(".safetensors"):
            tensors.update(load_file(path / name))
    return Checkpoint(step, path, state, tensors)


def _restored(item: dict[str, Any]) -> Any:
    if item.keys() == {"$float"}:
        return float(item["$float"])
    return {key.removeprefix("$"): value for key, value in item.items()}  # a "$" of one's own was written as two


# Removing


def _remove_superseded(folder: Path, step: int, keep_last: int) -> None:
    found = _checkpoints(folder)
    kept = [path for other, path in found if other <= step and path.suffix != ".old"][:keep_last]
    for _, path in found:
        if path not in kept:
            _remove(path)


def _remove(path: Path) -> None:
    # Renamed first, so that a kill in the middle leaves a temporary and not half a checkpoint.
    if path.exists():
        doomed = path.with_name(f".tmp-{path.name}")
        path.rename(doomed)
        shutil.rmtree(doomed)


def _remove_temporaries(folder: Path) -> None:
    for path in folder.glob(".tmp-*"):
        shutil.rmtree(path)
