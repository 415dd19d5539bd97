"""Where the numbers of a run go besides its own folder: TensorBoard, W&B, MLflow, trackio, or a tracker of your own.

A tracker is an object with `log` and `close`; a factory in `TRACKERS` (or in the entry point group `tutelage.trackers`)
makes one for a run. Nothing here talks to another machine unless an environment variable of that library says so.

Leaves out samples, images and model registries: they are in the run folder and the workspace.
"""

from __future__ import annotations

import difflib
import importlib
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol

from tutelage.errors import ConfigError

PROJECT = "tutelage"


class Tracker(Protocol):
    """Receives the metrics of each step; `close` is called once, however the run ends short of SIGKILL."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of `step`, counted from 1."""

    def close(self) -> None:
        """Hand over whatever is still held back."""


class TrackedRun(NamedTuple):
    """What a tracker may know about the run. `start_step` > 0: a resumed run, whose later steps are logged anew."""

    path: Path
    name: str
    config: Mapping[str, Any]
    start_step: int = 0


Factory = Callable[[TrackedRun], Tracker]
TRACKERS: dict[str, Factory] = {}


def tracker(name: str) -> Callable[[Factory], Factory]:
    """Register a factory under `name`."""

    def register(factory: Factory) -> Factory:
        TRACKERS[name] = factory
        return factory

    return register


def open_trackers(
    names: Sequence[str], run_path: Path, run_name: str, config: Mapping[str, Any], *, start_step: int = 0
) -> list[Tracker]:
    """A tracker for each name; none stays open when one of them cannot be had.

    Raises ConfigError for an unknown name (with the nearest known one) or a missing package (with the pip command).
    """
    factories = [_factory(name) for name in dict.fromkeys(names)]
    run = TrackedRun(run_path, run_name, config, start_step)
    opened: list[Tracker] = []
    with ExitStack() as stack:
        for factory in factories:
            opened.append(factory(run))
            stack.callback(opened[-1].close)
        stack.pop_all()  # all are open: leave them so
    return opened


def _factory(name: str) -> Factory:
    own = {point.name: point for point in entry_points(group="tutelage.trackers")}
    if name in own:
        factory: Factory = own[name].load()
        return factory
    if name not in TRACKERS:
        known = sorted({*TRACKERS, *own})
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise ConfigError(f"unknown tracker '{name}'; did you mean '{nearest}'? There are: {', '.join(known)}")
    return TRACKERS[name]


@tracker("tensorboard")
class TensorBoard:
    """Event files in the run folder; look at them with `tensorboard --logdir RUNS`."""

    def __init__(self, run: TrackedRun) -> None:
        _require("tensorboard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        # Events of steps that the resumed run will write again are hidden from view.
        purge_step = run.start_step + 1 if run.start_step else None
        self._writer: Any = SummaryWriter(log_dir=str(run.path / "tensorboard"), purge_step=purge_step)
        self._writer.add_text("config", _indented_json(run.config), run.start_step)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One scalar a metric."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


@tracker("wandb")
class WeightsAndBiases:
    """Weights & Biases, offline unless WANDB_MODE says otherwise; `wandb sync RUN/wandb/*` uploads later."""

    def __init__(self, run: TrackedRun) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else crash reports leave the machine even offline
        wandb = _require("wandb", "wandb")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.name,
            id=_remembered(run.path / "wandb-id.txt", lambda: uuid.uuid4().hex[:12]),
            resume="allow",
            dir=str(run.path),
            config=dict(run.config),
            mode=os.environ.get("WANDB_MODE", "offline"),
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One history row a step."""
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


@tracker("mlflow")
class MLflow:
    """MLflow, into a SQLite file in the run folder unless MLFLOW_TRACKING_URI names a place."""

    def __init__(self, run: TrackedRun) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        mlflow = _require("mlflow", "mlflow")
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            for package in ("sqlalchemy", "alembic"):  # mlflow-skinny comes without what its database needs
                _require(package, "mlflow")
            uri = f"sqlite:///{(run.path / 'mlflow.db').resolve()}"
        self._metric = mlflow.entities.Metric
        self._client = mlflow.MlflowClient(tracking_uri=uri)
        self._run_id = _remembered(run.path / "mlflow-id.txt", lambda: self._new_run(mlflow, run))

    def _new_run(self, mlflow: ModuleType, run: TrackedRun) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(name)
        run_id: str = self._client.create_run(experiment_id, run_name=run.name).info.run_id
        # MLflow takes 100 parameters a call, texts of up to 6000 characters, and no second value for any of them.
        params = [mlflow.entities.Param(key, str(value)[:6000]) for key, value in _flat(run.config)]
        for start in range(0, len(params), 100):
            self._client.log_batch(run_id, params=params[start : start + 100])
        return run_id

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One batch of metrics a step."""
        now = int(time.time() * 1000)
        self._client.log_batch(
            self._run_id, metrics=[self._metric(name, value, now, step) for name, value in metrics.items()]
        )

    def close(self) -> None:
        """Mark the run as finished."""
        self._client.set_terminated(self._run_id)


@tracker("trackio")
class Trackio:
    """trackio's local database (TRACKIO_DIR), unless TRACKIO_SPACE_ID or TRACKIO_SERVER_URL names a place."""

    def __init__(self, run: TrackedRun) -> None:
        trackio = _require("trackio", "trackio")
        self._run = trackio.init(
            project=PROJECT,
            name=run.name,
            config=dict(run.config),
            resume="allow" if run.start_step else "never",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One row a step."""
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Write what is still queued."""
        self._run.finish()


def _require(module: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the tracker '{extra}' needs the package '{error.name}', which is not installed; "
            f"run: pip install 'tutelage[{extra}]'"
        ) from error


def _remembered(path: Path, make: Callable[[], str]) -> str:
    """The id that this run has at the tracker, the same after a resume."""
    if not path.exists():
        path.write_text(make() + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """`{"lora": {"rank": 16}}` as `[("lora.rank", 16)]`."""
    pairs: list[tuple[str, Any]] = []
    for key, value in config.items():
        pairs += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return pairs


def _indented_json(config: Mapping[str, Any]) -> str:
    """JSON as a Markdown code block, the form in which TensorBoard shows text."""
    return "\n".join("    " + line for line in json.dumps(config, indent=2, default=str).splitlines())
