"""Checkpoints: bit-exact, every damage noticed, and never without a whole one, whatever kills the process."""

import ctypes
import errno
import itertools
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from tutelage.errors import CheckpointError, ConfigError
from tutelage.train import checkpoint
from tutelage.train.checkpoint import Checkpoint, load_checkpoint, pack_rng_state, restore_rng_state, save_checkpoint


def no_log(line: str) -> None:
    raise AssertionError(f"nothing should be reported, but: {line}")


def whole(folder: Path) -> Checkpoint:
    """The newest checkpoint, about which there is nothing to say."""
    loaded = load_checkpoint(folder, log=no_log)
    assert loaded is not None
    return loaded


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def assert_same(loaded: dict[str, torch.Tensor], saved: dict[str, torch.Tensor]) -> None:
    assert loaded.keys() == saved.keys()
    for name, tensor in saved.items():
        assert loaded[name].dtype == tensor.dtype, name
        assert loaded[name].shape == tensor.shape, name
        assert raw(loaded[name]) == raw(tensor), name


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Round trips


def awkward_tensors() -> dict[str, torch.Tensor]:
    payload_bits = torch.tensor([0x7F800001, 0x7FC12345, -0x00400001, -0x80000000, 1], dtype=torch.int32)
    return {
        "bf16 NaN payloads": torch.tensor([0x7F81, 0x7FC3, -1, 1], dtype=torch.int16).view(torch.bfloat16),
        "fp32 NaN payloads, -0, subnormal": payload_bits.view(torch.float32),
        "0-dim": torch.tensor(math.pi, dtype=torch.float64),
        "empty": torch.empty(0),
        "empty with a shape": torch.empty(3, 0, 2, dtype=torch.bfloat16),
        "odd number of bytes": torch.tensor([True, False, True]),
        "transposed": torch.arange(6, dtype=torch.float32).reshape(2, 3).T,
        "every second": torch.arange(10, dtype=torch.int64)[::2],
        "parameter": torch.nn.Parameter(torch.randn(4, 4)),
        'model.layers.0.ünïcode "quoted"': torch.randn(2),
    }


def test_every_bit_of_awkward_tensors_comes_back(tmp_path: Path) -> None:
    saved = awkward_tensors()
    path = save_checkpoint(tmp_path, 100, saved, {"seed": 1})
    assert path == tmp_path / "step-00000100"
    assert names(path) == ["manifest.json", "state.json", "tensors.safetensors"]
    assert whole(tmp_path)[:3] == (100, path, {"seed": 1})
    assert_same(whole(tmp_path).tensors, saved)


def test_every_dtype_comes_back(tmp_path: Path) -> None:
    zeros_and_ones = torch.arange(32, dtype=torch.uint8) % 2
    saved = {str(dtype): zeros_and_ones.view(dtype) for dtype in checkpoint._DTYPE_NAMES}
    save_checkpoint(tmp_path, 1, saved, {})
    assert_same(whole(tmp_path).tensors, saved)


def test_the_file_is_ordinary_safetensors_with_aligned_data(tmp_path: Path) -> None:
    saved = awkward_tensors()
    file = save_checkpoint(tmp_path, 1, saved, {}) / "tensors.safetensors"
    (header_bytes,) = struct.unpack("<Q", file.read_bytes()[:8])
    assert (8 + header_bytes) % 64 == 0
    with safe_open(file, framework="pt") as opened:
        for name in saved:
            tensor = opened.get_tensor(name)
            assert raw(tensor) == raw(saved[name])
            assert tensor.data_ptr() % tensor.element_size() == 0


def test_no_tensors_at_all(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, {}, {"only": "state"})
    assert whole(tmp_path)[2:] == ({"only": "state"}, {})


def test_large_sets_are_split_into_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Shards of at most 100 bytes; 40 bytes a tensor: two fit, the third begins the next. 120 bytes stand alone.
    monkeypatch.setattr(checkpoint, "_SHARD_BYTES", 100)
    saved = {f"t{i}": torch.full((10,), float(i)) for i in range(3)} | {"big": torch.ones(30)}
    path = save_checkpoint(tmp_path, 1, saved, {})
    assert names(path)[2:] == [f"tensors-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    assert_same(whole(tmp_path).tensors, saved)


def test_loaded_tensors_can_be_changed_without_touching_the_file(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, {"x": torch.zeros(4)}, {})
    whole(tmp_path).tensors["x"].add_(1)
    assert whole(tmp_path).tensors["x"].tolist() == [0, 0, 0, 0]


def test_a_dtype_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        save_checkpoint(tmp_path, 1, {"z": torch.zeros(1, dtype=torch.complex128)}, {})
    assert str(caught.value) == "tensor 'z' is torch.complex128, which safetensors cannot hold; convert it first"
    assert names(tmp_path) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(state=st.dictionaries(st.text(), json_values, max_size=3))
def test_state_comes_back_exactly(state: dict[str, Any]) -> None:
    text = checkpoint._state_json(state)
    back = json.loads(text, object_hook=checkpoint._restored, parse_constant=no_log)
    assert repr(back) == repr(state)  # repr tells -0.0 from 0.0, 1 from 1.0, and NaN equal to NaN


def test_state_that_would_change_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a state's keys are texts, but 3 would come back as a text"):
        save_checkpoint(tmp_path, 1, {}, {"counts": {3: 1}})
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_checkpoint(tmp_path, 1, {}, {"tensor": torch.ones(1)})
    assert names(tmp_path) == []


# Which are kept


def test_only_the_last_ones_are_kept(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        save_checkpoint(tmp_path, step, {}, {})
    assert names(tmp_path) == ["step-00000020", "step-00000030"]
    save_checkpoint(tmp_path, 40, {}, {}, keep_last=1)
    assert names(tmp_path) == ["step-00000040"]
    with pytest.raises(ConfigError, match=r"^keep_last is 0; at least 1 checkpoint has to be kept$"):
        save_checkpoint(tmp_path, 50, {}, {}, keep_last=0)


def test_later_steps_of_an_abandoned_continuation_are_removed(tmp_path: Path) -> None:
    # Resumed from step 20 because step 30 was damaged: once step 25 is whole, step 30 must not come back as the newest.
    for step in (20, 30, 25):
        save_checkpoint(tmp_path, step, {}, {})
    assert names(tmp_path) == ["step-00000020", "step-00000025"]


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 10, {"x": torch.zeros(1)}, {})
    save_checkpoint(tmp_path, 10, {"x": torch.ones(1)}, {})
    assert names(tmp_path) == ["step-00000010"]
    assert whole(tmp_path).tensors["x"].item() == 1


def test_step_numbers_sort_as_numbers(tmp_path: Path) -> None:
    for step in (99_999_999, 100_000_000):
        save_checkpoint(tmp_path, step, {}, {})
    assert whole(tmp_path).step == 100_000_000


# Damage


@pytest.fixture
def two_checkpoints(tmp_path: Path) -> Path:
    for step in (1, 2):
        save_checkpoint(tmp_path, step, {"x": torch.full((5,), float(step)), "y": torch.tensor(step)}, {"step": step})
    return tmp_path


def load_and_hear(folder: Path) -> tuple[int, list[str]]:
    heard: list[str] = []
    loaded = load_checkpoint(folder, log=heard.append)
    assert loaded is not None
    assert loaded.state == {"step": loaded.step}
    return loaded.step, heard


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "manifest.json"])
def test_a_flipped_bit_anywhere_sends_back_to_the_one_before(two_checkpoints: Path, name: str) -> None:
    file = two_checkpoints / "step-00000002" / name
    intact = file.read_bytes()

    @settings(max_examples=150, deadline=None)
    @given(position=st.integers(0, len(intact) - 1), flip=st.integers(1, 255))
    def flip_one(position: int, flip: int) -> None:
        file.write_bytes(intact[:position] + bytes([intact[position] ^ flip]) + intact[position + 1 :])
        step, (line,) = load_and_hear(two_checkpoints)
        assert step == 1
        assert name in line
        assert "\n" not in line

    flip_one()
    file.write_bytes(intact)
    assert load_and_hear(two_checkpoints) == (2, [])


def test_what_is_said_about_each_damage(two_checkpoints: Path) -> None:
    folder, intact = two_checkpoints, two_checkpoints / "intact"
    newest = folder / "step-00000002"
    shutil.copytree(newest, intact)
    size = (newest / "tensors.safetensors").stat().st_size

    def said(damage: Callable[[Path], object]) -> str:
        damage(newest)
        step, (line,) = load_and_hear(folder)
        shutil.rmtree(newest)
        shutil.copytree(intact, newest)
        assert step == 1
        prefix, suffix = f"checkpoint {newest} is damaged (", "); going back to the one before"
        assert line.startswith(prefix)
        assert line.endswith(suffix)
        return line.removeprefix(prefix).removesuffix(suffix)

    expected = f"tensors.safetensors has 30 bytes, its manifest says {size}"
    assert said(lambda path: os.truncate(path / "tensors.safetensors", 30)) == expected
    assert said(lambda path: (path / "state.json").unlink()) == "state.json is missing"
    assert said(lambda path: (path / "manifest.json").unlink()) == "manifest.json is missing"
    assert said(lambda path: (path / "manifest.json").write_text("")) == "manifest.json is not JSON"
    assert said(lambda path: (path / "manifest.json").write_text("[1]")) == "manifest.json is not of format 1"
    altered = '{\n "step": 3\n}\n'
    assert said(lambda path: (path / "state.json").write_text(altered)) == "state.json does not match its sha256"
    other = folder / "step-00000001" / "manifest.json"
    assert said(lambda path: shutil.copy(other, path)) == "manifest.json belongs to step 1"
    assert said(lambda path: [(path / "state.json").unlink(), (path / "state.json").mkdir()])  # some words, no crash


def test_none_and_none_whole_are_told_apart(two_checkpoints: Path, tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "nowhere", log=no_log) is None
    for step in (1, 2):
        (two_checkpoints / f"step-0000000{step}" / "state.json").unlink()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(two_checkpoints, log=lambda line: None)
    assert str(caught.value) == (
        f"no checkpoint in {two_checkpoints} is whole (step-00000002: state.json is missing; "
        "step-00000001: state.json is missing); restore one from a copy, or start a new run"
    )


# Killed in the middle


def in_fork(action: Callable[[], object]) -> int:
    """Process id of a fork that runs `action` and leaves without pytest noticing."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except BaseException as error:  # a fork that fell through into pytest would run the tests twice
            sys.stderr.write(f"in the fork: {error!r}\n")
            os._exit(1)
    return pid


def step_tensors(step: int, size: int = 100) -> dict[str, torch.Tensor]:
    # Made by numpy: torch's thread pool, when an earlier test has started it, hangs in a fork.
    return {"weights": torch.from_numpy(np.full(size, step, dtype=np.float32)), "step": torch.tensor(step)}


def die_at_call(number: int) -> None:
    """SIGKILL this process at its `number`th open, mkdir, rename or removal."""
    calls = itertools.count(1)

    def hook(event: str, _args: object) -> None:
        if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir") and next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


@pytest.mark.parametrize(
    ("keep_last", "new_step"), [(1, 3), (2, 3), (1, 2)], ids=["the only one", "one of two", "the same step again"]
)
def test_killed_at_every_file_operation(tmp_path: Path, keep_last: int, new_step: int) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path / "before", step, step_tensors(step), {}, keep_last=keep_last)
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "before", folder)

        def save_and_die(number: int = number, folder: Path = folder) -> None:
            die_at_call(number)
            save_checkpoint(folder, new_step, step_tensors(new_step), {}, keep_last=keep_last)

        _, status = os.waitpid(in_fork(save_and_die), 0)
        loaded = whole(folder)
        assert loaded.step in (2, new_step)
        assert_same(loaded.tensors, step_tensors(loaded.step))
        assert all(checkpoint._damage(path, step) is None for step, path in checkpoint._checkpoints(folder))
        save_checkpoint(folder, 4, step_tensors(4), {}, keep_last=keep_last)
        kept = names(folder)
        assert kept[-1] == "step-00000004"
        assert len(kept) <= keep_last
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
    assert number > 10  # the loop has really been through a save's operations


def test_killed_at_random_moments(tmp_path: Path) -> None:
    rng = random.Random(0)

    def save_forever() -> None:
        loaded = load_checkpoint(tmp_path, log=no_log)
        for step in itertools.count(loaded.step + 1 if loaded else 1):
            save_checkpoint(tmp_path, step, step_tensors(step, 300_000), {"step": step})

    started = time.monotonic()
    save_checkpoint(tmp_path, 1, step_tensors(1, 300_000), {"step": 1})
    save_seconds = time.monotonic() - started
    last = 1
    for _ in range(20):
        pid = in_fork(save_forever)
        time.sleep(rng.uniform(0, 4 * save_seconds))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status)
        loaded = whole(tmp_path)
        assert loaded.step >= last
        assert loaded.state == {"step": loaded.step}
        assert_same(loaded.tensors, step_tensors(loaded.step, 300_000))
        last = loaded.step
    assert last > 1  # some of them had the time to save something


# Full disk


def error_in_fork(action: Callable[[], object]) -> str:
    """The message of the CheckpointError that `action` raises in a fork."""
    with tempfile.TemporaryFile() as answer:

        def report() -> None:
            with pytest.raises(CheckpointError) as caught:
                action()
            os.write(answer.fileno(), str(caught.value).encode())

        assert os.waitpid(in_fork(report), 0)[1] == 0
        answer.seek(0)
        return answer.read().decode()


def test_file_size_limit_while_writing(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, step_tensors(1), {})

    def save_with_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        save_checkpoint(tmp_path, 2, step_tensors(2, 1_000_000), {})

    message = error_in_fork(save_with_limit)
    # 4,000,000 bytes of weights, 8 of the step, 3 of the state "{}\n" and 64,000 around them: 4.1 MB.
    assert re.sub(r"[\d.]+ GB available", "N GB available", message) == (
        f"no room for checkpoint {tmp_path}/step-00000002: 4.1 MB needed, N GB available (File too large); "
        "raise the limit on file sizes (ulimit -f) and go on with --resume; step-00000001 is still whole"
    )
    assert names(tmp_path) == ["step-00000001"]
    assert whole(tmp_path).step == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB where this machine lets us mount one, else a folder under a file-size limit."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    mounted = sys.platform == "linux" and not libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, b"size=1m")
    yield folder
    if mounted:
        assert libc.umount2(bytes(folder), 2) == 0


@pytest.mark.parametrize("notice", ["before writing", "while writing"])
def test_full_disk(small_disk: Path, notice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(small_disk, 1, step_tensors(1), {})
    is_mounted = os.path.ismount(small_disk)
    if notice == "while writing":  # something else fills the disk after we looked
        answers, real = iter([SimpleNamespace(free=10**10)]), shutil.disk_usage
        monkeypatch.setattr(shutil, "disk_usage", lambda path: next(answers, None) or real(path))

    def save() -> None:
        if not is_mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        save_checkpoint(small_disk, 2, step_tensors(2, 1_000_000), {})

    message = error_in_fork(save)
    assert message.startswith(f"no room for checkpoint {small_disk}/step-00000002: 4.1 MB needed, ")
    assert message.endswith(" and go on with --resume; step-00000001 is still whole")
    if is_mounted:
        # 1 MB is 1,048,576 bytes = 256 pages of 4 kB; the three small files of step 1 take one page each.
        assert "4.1 MB needed, 1.0 MB available (No space left on device); free some space and go" in message
    assert names(small_disk) == ["step-00000001"]


def test_no_room_for_the_first_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=500))
    with pytest.raises(CheckpointError) as caught:
        save_checkpoint(tmp_path, 7, {"x": torch.zeros(1_500_000_000, device="meta")}, {})
    assert str(caught.value) == (
        f"no room for checkpoint {tmp_path}/step-00000007: 6.0 GB needed, 500 bytes available "
        "(No space left on device); free some space and go on with --resume; there is no earlier checkpoint"
    )


def test_quota_has_its_own_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def over_quota(fd: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", over_quota)  # network file systems tell only then
    with pytest.raises(CheckpointError, match=r"\(Disk quota exceeded\); free some of your quota and go on"):
        save_checkpoint(tmp_path, 1, {}, {})
    assert load_checkpoint(tmp_path, log=no_log) is None  # an empty folder


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError) as caught:
        save_checkpoint(tmp_path / "file" / "checkpoints", 1, {}, {})
    assert str(caught.value) == (
        f"cannot write checkpoint {tmp_path}/file/checkpoints/step-00000001: Not a directory; "
        "there is no earlier checkpoint"
    )


def test_interrupted_by_the_keyboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "sync_folder", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, 1, step_tensors(1), {})
    assert names(tmp_path) == []


# Random generators


def draws() -> list[Any]:
    return [random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(3).tolist()]


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), before=st.integers(0, 3))
def test_generators_go_on_where_they_were(seed: int, before: int) -> None:
    outer = pack_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    for _ in range(before):  # gauss and randn make two numbers at a time and keep the second: odd counts matter
        draws()
    packed = json.loads(json.dumps(pack_rng_state(), allow_nan=False))
    expected = [draws() for _ in range(3)]
    draws()
    restore_rng_state(packed)
    assert [draws() for _ in range(3)] == expected
    restore_rng_state(outer)


def test_gpu_generators_where_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    # Stand-ins for two GPUs, resumed on a machine with one: what matters here is which state goes where.
    states = [torch.tensor(state, dtype=torch.uint8) for state in ([1, 2, 255], [3])]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    packed = pack_rng_state()
    assert packed["cuda"] == ["0102ff", "03"]
    restored: dict[int, list[int]] = {}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: restored.update({device: state.tolist()}))
    restore_rng_state(packed)
    assert restored == {0: [1, 2, 255]}
