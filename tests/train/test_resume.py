"""Killed at any moment and resumed = never killed: the same bytes in the model folder, the same metrics and samples."""

import ctypes
import errno
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import tiny_folder

import tutelage
from tutelage.errors import CheckpointError, ConfigError, ModelError, TrainingError
from tutelage.models import folder as model_folder
from tutelage.models import save
from tutelage.train import api, checkpoint, run_folder, space
from tutelage.train.config import build_config
from tutelage.train.run_folder import RunFolder

pytestmark = pytest.mark.slow  # every test kills real processes

TIMING = ("step_seconds", "tokens_per_second", "seconds")
QUESTIONS = ("What is it?", "Write a list of three things.", "How do you clean a pan?", "Is it cold and dry?")
PAIRS = [
    {"prompt": f"{number}. {QUESTIONS[number % 4]}", "completion": "It is " + "dry and " * (number % 5) + f"{number}."}
    for number in range(16)
]
# 16 records, 4 of them for validation: 12 / 3 = 4 steps an epoch. Rows of 60 tokens: two or three a step.
SHARED: dict[str, Any] = {
    "batch_size": 3, "epochs": 3, "row_tokens": 60, "val_frac": 0.25, "eval_every": 2, "patience": 2, "num_samples": 1,
    "sample_tokens": 4,
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    # Dropout draws random numbers at every step.
    "lora": {"learning_rate": 0.01, "precision": "fp32", "save_every": 2, "lora.rank": 4, "lora.dropout": 0.3},
    # The learning rate is too high: the loss gets worse, the run stops early and goes back to its best weights.
    "full": {"learning_rate": 0.03, "precision": "bf16", "save_every": 3},
}

# Children are forked from a server that has imported everything already, which saves seconds each.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    ["tutelage.train.loop", "tutelage.train.prepare", "transformers.models.llama.modeling_llama", "peft"]
)


# A process that kills itself


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def write_half_then_die(file: int | Path, data: Any) -> None:
    if isinstance(file, Path):
        file.write_bytes(b"half a file")
    else:
        os.write(file, data[: len(data) // 2])
    die()


MOMENTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "before a metrics line": (RunFolder, "append_metrics", die),
    "inside a line": (run_folder, "_write_all", write_half_then_die),
    "before a sample": (RunFolder, "append_sample", die),
    "before a checkpoint": (checkpoint, "_write_aside_then_rename", die),
    "inside a checkpoint's file": (checkpoint, "_write_file", write_half_then_die),
    "before a rename": (Path, "rename", die),
    "before a clean-up": (checkpoint, "_remove_superseded", die),
    "before the model's weights": (save, "_save_whole", die),
    "before the model's tokenizer": (save, "save_tokenizer", die),
    "before the model is synced": (model_folder, "sync_tree", die),
    "after the model": (RunFolder, "close", die),
}


def at_call(count: int, function: Callable[..., Any], instead: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, but its `count`-th call goes to `instead`."""
    calls = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return (instead if calls == count else function)(*args, **kwargs)

    return counted


def no_sync(_: int) -> None:
    """Stands in for fsync, which guards against power cuts: what a killed process has written stays written."""


@pytest.fixture(autouse=True)
def _do_not_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", no_sync)


def train_until(options: dict[str, Any], moment: str, count: int) -> None:
    os.fsync = no_sync
    torch.set_num_threads(1)
    if moment != "never":
        owner, name, instead = MOMENTS[moment]
        setattr(owner, name, at_call(count, getattr(owner, name), instead))
    tutelage.train("sft", quiet=True, **options)


def start_process(options: dict[str, Any], moment: str = "never", count: int = 1) -> Any:
    process = processes.Process(target=train_until, args=(options, moment, count))
    process.start()
    return process


def exit_code(options: dict[str, Any], moment: str = "never", count: int = 1) -> int | None:
    process = start_process(options, moment, count)
    process.join(300)
    return process.exitcode


# Runs to compare


@dataclass
class Ground:
    """The options of a run and its workspace, with what the run comes to when nobody kills it."""

    options: dict[str, Any]
    workspace: Path
    expected: dict[str, Any] = field(default_factory=dict)

    @property
    def run_path(self) -> Path:
        return self.workspace / "runs" / "mine"

    @property
    def model_path(self) -> Path:
        return self.workspace / "models" / "mine"

    def outcome(self) -> dict[str, Any]:
        """Every byte of the model folder and the samples, and the metrics without times."""
        files: dict[str, Any] = {path.name: path.read_bytes() for path in self.model_path.iterdir()}
        if adapter := json.loads(files.get("adapter_config.json", "{}")):
            # peft keeps this list as a set, whose order is another one in each process.
            files["adapter_config.json"] = adapter | {"target_modules": sorted(adapter["target_modules"])}
        lines = RunFolder(self.run_path).read_metrics()
        metrics = [{key: value for key, value in line.items() if key not in TIMING} for line in lines]
        return files | {"metrics": metrics, "samples": (self.run_path / "samples.jsonl").read_bytes()}

    def train(self, **changes: Any) -> tuple[api.Run, list[str]]:
        """Train here, in this process; the run and what was said."""
        said: list[str] = []
        values = self.options | changes
        if values.get("resume"):
            values = api.saved_options(self.workspace, "mine") | values
        return api.train("sft", build_config(values), say=said.append), said

    def checkpoints(self) -> list[str]:
        return sorted(path.name for path in (self.run_path / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ground]:
    """A run of each variant that nobody disturbed."""
    base = tmp_path_factory.mktemp("resume")
    data = base / "pairs.jsonl"
    data.write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    shared = SHARED | {"model": str(tiny_folder(base, "llama")), "data": str(data), "out": "mine"}
    grounds = {
        name: Ground(shared | own | {"workspace": str(base / name)}, base / name) for name, own in VARIANTS.items()
    }
    for ground in grounds.values():
        assert exit_code(ground.options) == 0
        ground.expected = ground.outcome()
    return grounds


@pytest.fixture
def ground(request: pytest.FixtureRequest, never_killed: dict[str, Ground], tmp_path: Path) -> Ground:
    """The options of a variant ("lora" unless the test names another) in an empty workspace."""
    original = never_killed[getattr(request, "param", "lora")]
    workspace = tmp_path / "workspace"
    return Ground(original.options | {"workspace": str(workspace)}, workspace, original.expected)


def test_the_runs_have_what_these_tests_need(never_killed: dict[str, Ground]) -> None:
    lora, full = never_killed["lora"].expected, never_killed["full"].expected
    assert "adapter_model.safetensors" in lora
    assert "model.safetensors" in full
    assert [line["step"] for line in lora["metrics"]] == list(range(1, 13))
    # Step 6 is the best, 8 and 10 are worse: two validations without a better loss are the patience.
    assert [line["step"] for line in full["metrics"]] == list(range(1, 11))
    val_losses = {line["step"]: line["val_loss"] for line in full["metrics"] if "val_loss" in line}
    assert list(val_losses) == [2, 4, 6, 8, 10]
    assert min(val_losses, key=val_losses.__getitem__) == 6


# Killed

# "lora" saves after steps 2, 4 … 12 and each time its best weights before that, three files each; "full" after 3, 6, 9
# and at its end, and its best weights after 2, 4 and 6. Renames are of checkpoints, of their removal and of the model.
KILLED = [
    ("lora", "before a metrics line", 4),
    ("full", "before a metrics line", 8),
    ("full", "inside a line", 1),
    ("lora", "inside a line", 9),
    ("full", "before a sample", 2),
    ("full", "before a sample", 5),
    ("lora", "inside a checkpoint's file", 1),
    ("lora", "inside a checkpoint's file", 8),
    ("full", "inside a checkpoint's file", 15),
    ("full", "before a rename", 6),
    ("lora", "before a rename", 7),
    ("lora", "before a clean-up", 3),
    ("full", "before a clean-up", 6),
    ("full", "before the model's weights", 1),
    ("lora", "before the model's tokenizer", 1),
    ("full", "before the model is synced", 1),
]


@pytest.mark.parametrize(("ground", "moment", "count"), KILLED, indirect=["ground"])
def test_killed_and_resumed(ground: Ground, moment: str, count: int) -> None:
    assert exit_code(ground.options, moment, count) == -signal.SIGKILL
    assert not ground.model_path.exists()
    run, _ = ground.train(resume=True)
    assert run.finished
    assert ground.outcome() == ground.expected
    assert [path.name for path in ground.model_path.parent.iterdir()] == ["mine"]  # no half model beside it


@pytest.mark.parametrize("ground", VARIANTS, indirect=True)
def test_killed_again_and_again(ground: Ground) -> None:
    assert exit_code(ground.options, "before a metrics line", 3) == -signal.SIGKILL
    again = ground.options | {"resume": True}
    assert exit_code(again, "inside a line", 3) == -signal.SIGKILL
    assert exit_code(again, "inside a checkpoint's file", 5) == -signal.SIGKILL
    assert exit_code(again, "before the model's tokenizer") == -signal.SIGKILL
    assert exit_code(again, "before the model is synced") == -signal.SIGKILL
    ground.train(resume=True)
    assert ground.outcome() == ground.expected


@pytest.mark.parametrize("ground", VARIANTS, indirect=True)
def test_killed_whatever_it_is_doing(ground: Ground) -> None:
    for num_lines in (2, 1, 5, 6):
        resume = {"resume": (ground.run_path / "config.json").exists()}
        process = start_process(ground.options | resume)
        metrics = ground.run_path / "metrics.jsonl"
        while process.is_alive() and not (metrics.exists() and metrics.read_bytes().count(b"\n") >= num_lines):
            time.sleep(0.01)
        time.sleep(random.random() * 0.1)
        process.kill()
        process.join()
    ground.train(resume=True)
    assert ground.outcome() == ground.expected


def test_killed_after_the_model_was_saved(ground: Ground) -> None:
    assert exit_code(ground.options, "after the model") == -signal.SIGKILL
    run, said = ground.train(resume=True)
    assert said == [f"run 'mine' has ended already; its model is {ground.model_path}"]
    assert run == api.Run("mine", ground.run_path, ground.model_path, finished=True)
    assert ground.outcome() == ground.expected


def test_without_a_checkpoint_it_starts_from_the_first_step(ground: Ground) -> None:
    assert exit_code(ground.options, "before a checkpoint", 1) == -signal.SIGKILL
    assert len(RunFolder(ground.run_path).read_metrics()) == 1
    _, said = ground.train(resume=True)
    assert "no checkpoint yet; starting from the first step" in said
    assert ground.outcome() == ground.expected


def test_without_checkpoints_at_all_it_can_still_be_repeated(ground: Ground) -> None:
    ground.options["save_every"] = 0
    assert exit_code(ground.options, "before a metrics line", 9) == -signal.SIGKILL
    ground.train(resume=True)
    assert ground.outcome() == ground.expected
    assert not (ground.run_path / "checkpoints").exists()


# Damaged


def test_a_damaged_newest_checkpoint(ground: Ground) -> None:
    assert exit_code(ground.options, "before a metrics line", 9) == -signal.SIGKILL
    assert ground.checkpoints() == ["step-00000006", "step-00000008"]
    newest = ground.run_path / "checkpoints" / "step-00000008"
    content = bytearray((newest / "tensors.safetensors").read_bytes())
    content[-1] ^= 1
    (newest / "tensors.safetensors").write_bytes(content)
    _, said = ground.train(resume=True)
    assert said[1:3] == [
        f"checkpoint {newest} is damaged (tensors.safetensors does not match its sha256); going back to the one before",
        "resuming after step 6 of 12",
    ]
    assert ground.outcome() == ground.expected


def test_when_no_checkpoint_is_whole_it_does_not_quietly_start_over(ground: Ground) -> None:
    assert exit_code(ground.options, "before a metrics line", 4) == -signal.SIGKILL
    folder = ground.run_path / "checkpoints"
    (folder / "step-00000002" / "state.json").unlink()
    with pytest.raises(CheckpointError) as caught:
        ground.train(resume=True)
    assert str(caught.value) == (
        f"no checkpoint in {folder} is whole (step-00000002: state.json is missing); restore one from a copy, or start "
        "a new run"
    )
    assert len(RunFolder(ground.run_path).read_metrics()) == 3  # and nothing is thrown away


@pytest.mark.parametrize("ground", ["full"], indirect=True)
def test_the_best_weights_are_gone(ground: Ground) -> None:
    assert exit_code(ground.options, "before a sample", 5) == -signal.SIGKILL
    shutil.rmtree(ground.run_path / "best")
    with pytest.raises(TrainingError) as caught:
        ground.train(resume=True)
    assert str(caught.value) == f"the best weights are no longer in {ground.run_path}/best; restore that folder"


# Refused


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(ground: Ground, **changes: Any) -> str:
    """What a resume with other options says; it must touch nothing."""
    before = folder_bytes(ground.workspace)
    with pytest.raises(ConfigError) as caught:
        ground.train(resume=True, **changes)
    after = folder_bytes(ground.workspace)
    lock = "runs/mine/.lock"  # it keeps the number of the last process
    assert before | {lock: b""} == after | {lock: b""}
    return str(caught.value)


@pytest.fixture
def killed(ground: Ground) -> Ground:
    """A run killed after step 5, with the checkpoint of step 4."""
    assert exit_code(ground.options, "before a metrics line", 6) == -signal.SIGKILL
    return ground


def test_other_data(killed: Ground, tmp_path: Path) -> None:
    data = tmp_path / "changed.jsonl"
    data.write_text(Path(killed.options["data"]).read_text().replace("It is dry", "It was dry"))
    saved = json.loads((killed.run_path / "config.json").read_bytes())
    (killed.run_path / "config.json").write_text(json.dumps(saved | {"data": str(data)}))
    assert refusal(killed, data=str(data)) == (
        "--resume: the data or the tokenizer is not what run 'mine' was started with; put back what it was, or start a "
        "new run under another --out"
    )


def test_other_data_before_the_first_checkpoint(ground: Ground, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    shutil.copyfile(ground.options["data"], data)
    ground.options["data"] = str(data)
    assert exit_code(ground.options, "before a metrics line", 1) == -signal.SIGKILL
    data.write_text(data.read_text().replace("dry", "wet"))
    assert "the data or the tokenizer is not what run 'mine' was started with" in refusal(ground)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"epochs": 4}, "'epochs' was 3 when run 'mine' was started and is 4 now"),
        ({"learning_rate": 1e-3}, "'learning_rate' was 0.01 when run 'mine' was started and is 0.001 now"),
        ({"lora.rank": 0}, "'lora.rank' was 4 when run 'mine' was started and is 0 now"),
        ({"seed": 1}, "'seed' was 0 when run 'mine' was started and is 1 now"),
    ],
)
def test_another_option(killed: Ground, changes: dict[str, Any], what: str) -> None:
    assert refusal(killed, **changes) == f"--resume: {what}; leave it out, or start a new run under another --out"


def test_options_that_may_change(killed: Ground) -> None:
    killed.train(resume=True, save_every=5, keep_last=3, num_samples=0, sample_tokens=9)
    outcome = killed.outcome()
    same = [name for name in killed.expected if name != "samples"]
    assert {name: outcome[name] for name in same} == {name: killed.expected[name] for name in same}
    assert killed.checkpoints() == ["step-00000005", "step-00000010", "step-00000012"]


def test_nothing_to_resume(ground: Ground) -> None:
    config = build_config(ground.options | {"resume": True})
    with pytest.raises(ConfigError) as caught:
        api.train("sft", config)
    remedy = "check --out, or leave out --resume"
    assert str(caught.value) == f"{ground.run_path} holds no run to resume (no config.json); {remedy}"
    assert not ground.workspace.exists()


# Interrupted


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Press Ctrl-C while step `step` is being written down."""
    append = RunFolder.append_metrics

    def press(self: RunFolder, line: dict[str, Any]) -> None:
        if line["step"] == step:
            signal.raise_signal(signal.SIGINT)
        append(self, line)

    monkeypatch.setattr(RunFolder, "append_metrics", press)


@pytest.mark.parametrize("save_every", [2, 0])
def test_interrupted(ground: Ground, monkeypatch: pytest.MonkeyPatch, save_every: int) -> None:
    ground.options["save_every"] = save_every
    interrupt_at(monkeypatch, 5)
    run, said = ground.train()
    assert run == api.Run("mine", ground.run_path, ground.model_path, finished=False)
    command = f"tutelage train sft --out mine --workspace {ground.workspace} --resume"
    assert said[-1] == f"stopped after step 5; go on with: {command}"
    assert ground.checkpoints()[-1] == "step-00000005"
    assert not ground.model_path.exists()
    monkeypatch.undo()
    run, said = ground.train(resume=True)
    assert run.finished
    assert said[1] == "resuming after step 5 of 12"
    assert ground.outcome() == ground.expected


def test_interrupted_in_its_last_step_it_ends(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_at(monkeypatch, 12)
    run, _ = ground.train()
    assert run.finished
    assert ground.outcome() == ground.expected


# No room


@pytest.fixture(params=["really", "pretended"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of 1 MB where this machine lets us mount one; and a folder that says so of itself."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    really = request.param == "really" and sys.platform == "linux"
    if really and not libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, b"size=1m"):
        yield folder
        assert libc.umount2(bytes(folder), 2) == 0
        return

    def disk_usage(_: Path) -> SimpleNamespace:
        used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return SimpleNamespace(free=max(0, 2**20 - used))

    monkeypatch.setattr(checkpoint.shutil, "disk_usage", disk_usage)
    yield folder


@pytest.mark.parametrize("ground", ["full"], indirect=True)
def test_a_full_disk(ground: Ground, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A checkpoint is 0.45 MB, the best weights 0.15 MB: that of step 3 has room, that of step 6 has none.
    monkeypatch.setattr(
        space, "check_disk", lambda *_, **__: None
    )  # as if others had filled the disk after the first look
    with pytest.raises(CheckpointError) as caught:
        ground.train(workspace=str(small_disk))
    checkpoints = small_disk / "runs" / "mine" / "checkpoints"
    message = re.sub(r"[0-9.]+ [kM]B needed, [0-9.]+ [kM]B available", "… needed, … available", str(caught.value))
    assert message == (
        f"no room for checkpoint {checkpoints}/step-00000006: … needed, … available (No space left on device); free "
        "some space and go on with --resume; step-00000003 is still whole"
    )
    assert [path.name for path in checkpoints.iterdir()] == ["step-00000003"]
    assert not (small_disk / "models").exists()
    shutil.copytree(small_disk, ground.workspace)  # a larger disk
    monkeypatch.undo()
    ground.train(resume=True)
    assert ground.outcome() == ground.expected


def test_a_full_disk_at_the_very_end(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(model_folder, "sync_tree", full)
        with pytest.raises(ModelError, match=f"^{ground.model_path}: the disk is full, .* nothing was left behind$"):
            ground.train()
    assert list(ground.model_path.parent.iterdir()) == []
    _, said = ground.train(resume=True)
    assert said[1:] == ["resuming after step 12 of 12", f"saved {ground.model_path}"]
    assert ground.outcome() == ground.expected
