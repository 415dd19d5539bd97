"""Datasets of the workspace as the data of a run: `--data curated@3`, `--data labels:helpful`.

Names are made definite once, before anything is read: `curated` becomes `curated@3`, and that is what the run's
config.json and the model's origin say. A run that is resumed keeps the snapshots it was started with. What is read is
the snapshot's file (`tutelage.store.sources`).

Leaves out: files, which stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tutelage.store.dataset_names import split_name
from tutelage.store.sources import resolve
from tutelage.train.config import TrainConfig
from tutelage.train.run_folder import RunFolder

OF_CONFIG = ("data", "val_data")
OF_METHOD = ("prompts", "ptx_data")


def with_snapshots(
    config: TrainConfig, method: Any, say: Callable[[str], None], *, skip: tuple[str, ...] = ()
) -> tuple[TrainConfig, Any]:
    """The options with every dataset's name made definite; those in `skip` are no names.

    Raises `StoreError` when the record cannot be used, `NotFoundError` for a name that nothing has.
    """
    saved = _saved(config)

    def definite(options: Any, names: tuple[str, ...]) -> Any:
        given = {name: getattr(options, name, None) for name in names if name not in skip}
        new = {name: _definite(config.workspace, text, saved.get(name), say) for name, text in given.items() if text}
        return replace(options, **new) if new else options

    return definite(config, OF_CONFIG), definite(method, OF_METHOD)


def _saved(config: TrainConfig) -> Mapping[str, Any]:
    """What the run to go on with was started with."""
    path = config.workspace / "runs" / config.out
    return RunFolder(path).read_config() if config.resume and (path / "config.json").is_file() else {}


def _definite(workspace: Path, text: str, saved: Any, say: Callable[[str], None]) -> str:
    if isinstance(saved, str) and split_name(saved)[0] == text:
        text = saved
    source = resolve(workspace, text)
    if source is None:
        return text
    say(f"{source.name}: {source.num_records:,} records, {source.path}")
    return source.name
