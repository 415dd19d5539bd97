"""What a run will write, counted out: 12 bytes a trained weight for a checkpoint, 4 for the best weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tutelage.errors import TrainingError
from tutelage.train import space
from tutelage.train.checkpoint import save_checkpoint
from tutelage.train.config import TrainConfig, build_config
from tutelage.train.optimizer import AdamWSettings, MasterAdamW
from tutelage.train.space import MARGIN_BYTES, bytes_of_checkpoints, check_disk

# Master and two moments of 100 weights, and the step of their one tensor.
CHECKPOINT, BEST = 3 * 4 * 100 + 4, 4 * 100


def config_of(**options: Any) -> TrainConfig:
    return build_config({"model": "m", "data": "d", "out": "mine", **options})


def bytes_to_come(path: Path, num_steps: int, **options: Any) -> int:
    optimizer = MasterAdamW(nn.Linear(100, 1, bias=False), AdamWSettings())
    return bytes_of_checkpoints(config_of(**options), path, [optimizer], num_steps)


def left_by_a_run(path: Path, *steps: int, ended: bool = False) -> None:
    for step in steps:
        state = {"loop": {"step": step, "ended": ended and step == steps[-1]}}
        save_checkpoint(path / "checkpoints", step, {"x": torch.zeros(1)}, state, keep_last=9)


@pytest.mark.parametrize(
    ("num_steps", "save_every", "keep_last", "num_at_once"),
    [
        (100, 0, 2, 0),
        (100, 200, 2, 1),  # at the end alone
        (100, 100, 2, 1),  # step 100 is the end
        (101, 100, 2, 2),  # steps 100 and 101
        (201, 100, 2, 3),  # steps 100, 200 and 201: the first goes when the third is whole
        (1000, 10, 2, 3),
        (1000, 10, 1, 2),
        (1000, 10, 5, 6),
    ],
)
def test_a_new_run(tmp_path: Path, num_steps: int, save_every: int, keep_last: int, num_at_once: int) -> None:
    needed = bytes_to_come(tmp_path, num_steps, save_every=save_every, keep_last=keep_last)
    assert needed == num_at_once * CHECKPOINT


def test_a_critic_is_in_every_checkpoint(tmp_path: Path) -> None:
    policy, critic = (MasterAdamW(nn.Linear(size, 1, bias=False), AdamWSettings()) for size in (100, 300))
    config = config_of(save_every=100)
    # Two checkpoints of 3 · 4 · (100 + 300) bytes and the steps of two tensors.
    assert bytes_of_checkpoints(config, tmp_path, [policy, critic], 101) == 2 * (3 * 4 * 400 + 2 * 4)


def test_early_stopping_keeps_the_best_weights_besides(tmp_path: Path) -> None:
    stopping = {"patience": 1, "val_frac": 0.1}
    assert bytes_to_come(tmp_path, 100, save_every=10, **stopping) == 3 * CHECKPOINT + 2 * BEST
    assert bytes_to_come(tmp_path, 100, save_every=0, **stopping) == 2 * BEST
    left_by_a_run(tmp_path, 40, 50)
    save_checkpoint(tmp_path / "best", 40, {"x": torch.zeros(1)}, {"val_loss": 1.0}, keep_last=1)
    assert bytes_to_come(tmp_path, 100, save_every=10, **stopping) == CHECKPOINT + BEST


@pytest.mark.parametrize(
    ("steps", "num_more"),
    [
        ((), 3),
        ((10,), 2),
        ((10, 20), 1),  # the third beside them
        ((10, 20, 30), 1),  # killed before it removed the first: the next is written beside all three
        ((10, 90), 1),  # only the end is to come
    ],
)
def test_a_resumed_run_counts_what_is_still_to_be_written(
    tmp_path: Path, steps: tuple[int, ...], num_more: int
) -> None:
    left_by_a_run(tmp_path, *steps)
    assert bytes_to_come(tmp_path, 100, save_every=10, keep_last=2) == num_more * CHECKPOINT


@pytest.mark.parametrize("last", [100, 60])  # to its end, or stopped early
def test_a_run_that_only_lacks_its_model_writes_no_more_checkpoints(tmp_path: Path, last: int) -> None:
    left_by_a_run(tmp_path, 50, last, ended=True)
    assert bytes_to_come(tmp_path, 100, save_every=10, patience=1, val_frac=0.1) == 0


def test_a_damaged_state_is_looked_past(tmp_path: Path) -> None:
    left_by_a_run(tmp_path, 80, 90)
    (tmp_path / "checkpoints" / "step-00000090" / "state.json").write_text("{")
    # From step 80 on: 90 again and the end, at most one beside the two that are there.
    assert bytes_to_come(tmp_path, 100, save_every=10, keep_last=2) == CHECKPOINT
    (tmp_path / "checkpoints" / "step-00000080" / "state.json").unlink()
    assert bytes_to_come(tmp_path, 100, save_every=10, keep_last=2) == CHECKPOINT


def room_of(free_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free_bytes))


ELSEWHERE = "or choose another --workspace"


@pytest.mark.parametrize(
    ("options", "gigabytes", "remedy"),
    [
        ({}, 3, f"or write fewer checkpoints (--keep-last 1 or --save-every 0), {ELSEWHERE}"),
        ({"keep_last": 1}, 3, f"or write fewer checkpoints (--save-every 0), {ELSEWHERE}"),
        ({"save_every": 0, "patience": 1, "val_frac": 0.1}, 3, ELSEWHERE),  # the best weights
        ({"save_every": 0}, 0, ELSEWHERE),
        ({"resume": True}, 3, "or write fewer checkpoints (--keep-last 1 or --save-every 0)"),  # it goes on where it is
    ],
)
def test_what_is_needed_and_what_can_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], gigabytes: int, remedy: str
) -> None:
    config = config_of(workspace=tmp_path / "w", **options)
    needed = {"checkpoint_bytes": gigabytes * 10**9, "model_bytes": 200_000_000}
    room_of(sum(needed.values()) + MARGIN_BYTES, monkeypatch)
    check_disk(config, **needed)
    room_of(110_000_000, monkeypatch)
    with pytest.raises(TrainingError) as caught:
        check_disk(config, **needed)
    # The checkpoints, 200 MB and the margin of 10 MB.
    about = "3,210 MB" if gigabytes else "210 MB"
    start = f"the run needs about {about} on the disk of {tmp_path}/w and 110 MB are free; free some space, "
    assert str(caught.value) == start + remedy
    assert list(tmp_path.iterdir()) == []


def test_models_on_a_disk_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(workspace=tmp_path)
    runs, models = tmp_path / "runs" / "mine", tmp_path / "models" / "mine"
    disks = {runs: SimpleNamespace(stat=lambda: SimpleNamespace(st_dev=-1)), models: tmp_path}
    free = {id(disks[runs]): 50_000_000, id(disks[models]): 30_000_000}
    monkeypatch.setattr(space, "_existing", disks.__getitem__)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free[id(place)]))
    # 60 MB and two margins of 10 MB: 80 MB in all are there, 50 MB here and 30 MB there.
    check_disk(config, checkpoint_bytes=40_000_000, model_bytes=20_000_000)
    with pytest.raises(TrainingError) as caught:
        check_disk(config, checkpoint_bytes=40_000_000, model_bytes=21_000_000)
    assert str(caught.value) == (
        f"the run needs about 31 MB on the disk of {models} and 30 MB are free; free some space, {ELSEWHERE}"
    )
