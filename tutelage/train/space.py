"""Whether the disk has room for all that a run will write, asked before its first step and not after its last.

Counted are the model and the checkpoints that are still to come. Leaves out quotas and what others write meanwhile
(saving looks again); metrics, samples and what trackers write are small and stand in the margin.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tutelage.errors import TrainingError
from tutelage.models.folder import megabytes
from tutelage.train.checkpoint import glance
from tutelage.train.config import TrainConfig
from tutelage.train.optimizer import MasterAdamW

MARGIN_BYTES = 10_000_000


def bytes_of_checkpoints(config: TrainConfig, path: Path, optimizers: Sequence[MasterAdamW], num_steps: int) -> int:
    """What the checkpoints of the run in `path` will take beyond those that are there, at the worst moment.

    `optimizers` are the policy's and, where there is one, the critic's, which the best weights leave out.
    """
    num_there, state = glance(path / "checkpoints")
    num_best, _ = glance(path / "best")
    done = state.get("loop", {})
    step = num_steps if done.get("ended") else done.get("step", 0)
    to_come = _saves_to_come(config.checkpoint_every, step, num_steps)
    validations_to_come = num_steps - step if config.patience else 0
    whole = sum(tensor.nbytes for optimizer in optimizers for tensor in optimizer.tensors().values())
    best = sum(master.nbytes for master in optimizers[0].masters.values())
    return whole * _num_more(num_there, to_come, config.keep_last) + best * _num_more(num_best, validations_to_come, 1)


def _saves_to_come(save_every: int, step: int, num_steps: int) -> int:
    """Checkpoints after `step`: at each multiple of `save_every` before the last step, and at the end."""
    return (num_steps - 1) // save_every - step // save_every + 1 if save_every and step < num_steps else 0


def _num_more(num_there: int, to_come: int, keep_last: int) -> int:
    """How many more there will be at once: an old one goes only when the new one is whole."""
    return max(min(num_there + to_come, keep_last + 1) - num_there, 1) if to_come else 0


def check_disk(config: TrainConfig, *, checkpoint_bytes: int, model_bytes: int) -> None:
    """Raise TrainingError when the disk of the workspace has too little room for these bytes.

    `runs` and `models` may be links to other disks; then each is looked at by itself.
    """
    runs, models = config.workspace / "runs" / config.out, config.workspace / "models" / config.out
    needed = {runs: checkpoint_bytes, models: model_bytes}
    disks: dict[int, list[Path]] = {}
    for folder in needed:
        disks.setdefault(_existing(folder).stat().st_dev, []).append(folder)
    for folders in disks.values():
        needed_bytes = sum(needed[folder] for folder in folders) + MARGIN_BYTES
        free_bytes = shutil.disk_usage(_existing(folders[0])).free
        if free_bytes < needed_bytes:
            remedy = _remedy(config, has_checkpoints=runs in folders and checkpoint_bytes > 0)
            raise TrainingError(
                f"the run needs about {megabytes(needed_bytes)} on the disk of {Path(os.path.commonpath(folders))} "
                f"and {megabytes(free_bytes)} are free; {remedy}"
            )


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _remedy(config: TrainConfig, *, has_checkpoints: bool) -> str:
    remedies = ["free some space"]
    if has_checkpoints and config.checkpoint_every:
        how = "--keep-last 1 or --save-every 0" if config.keep_last > 1 else "--save-every 0"
        remedies.append(f"write fewer checkpoints ({how})")
    if not config.resume:  # a run goes on where it is
        remedies.append("choose another --workspace")
    return ", or ".join(remedies)
