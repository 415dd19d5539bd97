"""Several reward models with seeds one apart, saved as one ensemble: what they disagree about, none of them knows.

Members are ordinary runs and models named NAME-seed0, NAME-seed1 …; NAME itself names them. They differ in their heads
and in the order of their data; what is held out is the same for all. Leaves out training them at the same time.
Source: Coste et al. 2023, https://arxiv.org/abs/2310.02743.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tutelage.errors import ConfigError
from tutelage.models.ensemble import read_ensemble, save_ensemble
from tutelage.models.save import check_output_name
from tutelage.stats.preferences import Judged, preference_report
from tutelage.train.api import Run, enter_into_record, train
from tutelage.train.config import TrainConfig, flatten
from tutelage.train.held_out import LINES_FILE, read_judged, write_judged
from tutelage.train.inputs import options_of_run
from tutelage.train.run_folder import RunFolder


def train_ensemble(
    method_name: str, config: TrainConfig, method: Any, *, source: Any, say: Callable[[str], None], quiet: bool
) -> Run:
    """Train every member that is not there yet, then write the ensemble; stops where a member was interrupted."""
    target = config.workspace / "models" / config.out
    if config.resume and read_ensemble(target):
        say(f"ensemble '{config.out}' is there already: {target}")
        return Run(config.out, config.workspace / "runs" / config.out, target, finished=True)
    check_output_name(config.workspace, config.out)
    split_seed = config.seed if config.split_seed is None else config.split_seed
    folder = _open_folder(method_name, config, method)
    runs: list[Run] = []
    for seed in range(config.seed, config.seed + method.ensemble):
        name = f"{config.out}-seed{seed}"
        begun = (config.workspace / "runs" / name).exists()
        if begun and not config.resume:
            raise ConfigError(f"run '{name}' of the ensemble is there already; give --resume, or choose another --out")
        say(f"member {len(runs) + 1} of {method.ensemble}: {name}")
        member = replace(config, out=name, seed=seed, split_seed=split_seed, resume=begun)
        run = train(method_name, member, replace(method, ensemble=1), source=source, say=say, quiet=quiet)
        if not run.finished:
            say(f"the ensemble goes on with: tutelage train {method_name} … --out {config.out} --resume")
            return replace(run, name=config.out, path=folder)
        runs.append(run)
    save_ensemble(target, [run.name for run in runs], _origin(method_name, config, method, runs))
    enter_into_record(config, say)
    _judge_together(runs, folder, say)
    return Run(config.out, folder, target, finished=True)


def _origin(method_name: str, config: TrainConfig, method: Any, runs: list[Run]) -> dict[str, Any]:
    members = [{"role": "member", "name": run.name} for run in runs]
    return {
        "kind": "ensemble", "method": method_name, "base": config.model, "data": config.data,
        "inputs": members, "options": options_of_run(config, method),
    }  # fmt: skip


def _open_folder(method_name: str, config: TrainConfig, method: Any) -> Path:
    """The ensemble's own run folder, which holds its options and what its members say together."""
    path = config.workspace / "runs" / config.out
    if not config.resume:
        RunFolder.create(path, {"method": method_name, **flatten(config), **flatten(method)}).close()
    return path


def _judge_together(runs: list[Run], folder: Path, say: Callable[[str], None]) -> None:
    """Held-out accuracy of the mean score, beside those of the members."""
    if not all((run.path / LINES_FILE).is_file() for run in runs):
        return
    members = [list(read_judged(run.path)) for run in runs]
    together = [_mean(judged) for judged in zip(*members, strict=True)]
    report = preference_report(together)
    write_judged(folder, together, report)
    alone = [preference_report(judged).accuracy.estimate for judged in members]
    say(
        f"held-out accuracy of the mean score: {report.accuracy.estimate:.1%} "
        f"[{report.accuracy.low:.1%}, {report.accuracy.high:.1%}]; members: {', '.join(f'{one:.1%}' for one in alone)}"
    )


def _mean(judged: tuple[Judged, ...]) -> Judged:
    scores = tuple(statistics.fmean(answer) for answer in zip(*(one.scores for one in judged), strict=True))
    return judged[0]._replace(scores=scores)
