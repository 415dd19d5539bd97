"""Trackers: TensorBoard for real, the others by the calls that their libraries receive."""

import importlib.metadata
import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tutelage.errors import ConfigError
from tutelage.train import trackers
from tutelage.train.trackers import TRACKERS, TrackedRun, open_trackers

CONFIG = {"seed": 1, "lora": {"rank": 16, "alpha": None}}
DOCS = Path(__file__).parents[2] / "docs" / "trackers.md"
SETTINGS = ("WANDB_MODE", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_ERROR_REPORTING", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "set by the test")  # so that what a tracker sets is put back afterwards
        del os.environ[name]


def open_one(name: str, run_path: Path, start_step: int = 0) -> Any:
    (opened,) = open_trackers([name], run_path, "my-run", CONFIG, start_step=start_step)
    return opened


# TensorBoard


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), purge_orphaned_data=True).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_event_files_read_back(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = open_one("tensorboard", tmp_path)
    board.log(1, {"loss": 2.5, "learning_rate": 0.5})
    board.log(2, {"loss": 1.25})
    board.close()
    assert scalars(tmp_path / "tensorboard") == {"loss": [(1, 2.5), (2, 1.25)], "learning_rate": [(1, 0.5)]}
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (text,) = events.Tensors("config/text_summary")
    assert '"rank": 16' in text.tensor_proto.string_val[0].decode()


def test_tensorboard_after_a_resume_shows_each_step_once(tmp_path: Path) -> None:
    first = open_one("tensorboard", tmp_path)
    for step in (1, 2, 3):
        first.log(step, {"loss": 1.0})
    first.close()
    again = open_one("tensorboard", tmp_path, start_step=1)
    for step in (2, 3):
        again.log(step, {"loss": 2.0})
    again.close()
    assert scalars(tmp_path / "tensorboard")["loss"] == [(1, 1.0), (2, 2.0), (3, 2.0)]


# The others, with a stand-in for the library that writes down what it is told


class Recorder:
    """Every method call on it, and on what those calls return, in order."""

    def __init__(self, calls: list[tuple[Any, ...]] | None = None, **answers: Any) -> None:
        self.calls = [] if calls is None else calls
        self.answers = answers

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((method, *args, kwargs))
            return self.answers.get(method, self)

        return call


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    module = ModuleType(name)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)


def test_wandb_is_offline_and_keeps_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Recorder()
    stand_in(monkeypatch, "wandb", init=library.init)
    first = open_one("wandb", tmp_path)
    first.log(1, {"loss": 2.5})
    first.close()
    ((_, options), *rest) = library.calls
    assert options == {
        "project": "tutelage",
        "name": "my-run",
        "id": (tmp_path / "wandb-id.txt").read_text().strip(),
        "resume": "allow",
        "dir": str(tmp_path),
        "config": CONFIG,
        "mode": "offline",
    }
    assert rest == [("log", {"loss": 2.5}, {"step": 1}), ("finish", {})]
    open_one("wandb", tmp_path, start_step=1)
    assert library.calls[-1][1]["id"] == options["id"]
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"


def test_wandb_does_what_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Recorder()
    stand_in(monkeypatch, "wandb", init=library.init)
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    open_one("wandb", tmp_path)
    assert (library.calls[0][1]["mode"], library.calls[0][1]["project"]) == ("online", "mine")


def fake_mlflow(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> Recorder:
    run = SimpleNamespace(info=SimpleNamespace(run_id="run-7"))
    client = Recorder(**{"get_experiment_by_name": None, "create_experiment": "exp-3", "create_run": run} | answers)
    library = Recorder(client.calls, MlflowClient=client)
    entities = SimpleNamespace(
        Metric=lambda key, value, timestamp, step: (key, value, step), Param=lambda key, value: (key, value)
    )
    stand_in(monkeypatch, "mlflow", MlflowClient=library.MlflowClient, entities=entities)
    for package in ("sqlalchemy", "alembic"):
        stand_in(monkeypatch, package)
    return client


def test_mlflow_writes_into_the_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = fake_mlflow(monkeypatch)
    first = open_one("mlflow", tmp_path)
    first.log(1, {"loss": 2.5, "learning_rate": 0.5})
    first.close()
    assert client.calls == [
        ("MlflowClient", {"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"}),
        ("get_experiment_by_name", "tutelage", {}),
        ("create_experiment", "tutelage", {}),
        ("create_run", "exp-3", {"run_name": "my-run"}),
        ("log_batch", "run-7", {"params": [("seed", "1"), ("lora.rank", "16"), ("lora.alpha", "None")]}),
        ("log_batch", "run-7", {"metrics": [("loss", 2.5, 1), ("learning_rate", 0.5, 1)]}),
        ("set_terminated", "run-7", {}),
    ]
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    client.calls.clear()
    open_one("mlflow", tmp_path, start_step=1).log(2, {"loss": 2.0})
    assert [call[0] for call in client.calls] == ["MlflowClient", "log_batch"]  # the same run, its parameters untouched


def test_mlflow_goes_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = fake_mlflow(monkeypatch, get_experiment_by_name=SimpleNamespace(experiment_id="exp-9"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    open_one("mlflow", tmp_path)
    assert client.calls[:3] == [
        ("MlflowClient", {"tracking_uri": "http://localhost:5000"}),
        ("get_experiment_by_name", "mine", {}),
        ("create_run", "exp-9", {"run_name": "my-run"}),
    ]


def test_mlflow_takes_parameters_by_the_hundred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = fake_mlflow(monkeypatch)
    config = {f"p{i}": i for i in range(250)} | {"long": "x" * 10_000}
    open_trackers(["mlflow"], tmp_path, "my-run", config)
    batches = [call[2]["params"] for call in client.calls if call[0] == "log_batch"]
    assert [len(batch) for batch in batches] == [100, 100, 51]
    assert batches[-1][-1] == ("long", "x" * 6000)


def test_trackio_stays_local_and_adds_nothing_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Recorder()
    stand_in(monkeypatch, "trackio", init=library.init)
    first = open_one("trackio", tmp_path)
    first.log(1, {"loss": math.pi})
    first.close()
    options = {"project": "tutelage", "name": "my-run", "config": CONFIG, "resume": "never"}
    local = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
    assert library.calls == [
        ("init", options | local),
        ("log", {"loss": math.pi}, {"step": 1}),
        ("finish", {}),
    ]
    open_one("trackio", tmp_path, start_step=1)
    assert library.calls[-1] == ("init", options | local | {"resume": "allow"})


# Names


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_a_missing_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # what Python itself puts there for "cannot be imported"
    with pytest.raises(ConfigError) as caught:
        open_trackers([name], tmp_path, "my-run", CONFIG)
    assert str(caught.value) == (
        f"the tracker '{name}' needs the package '{name}', which is not installed; run: pip install 'tutelage[{name}]'"
    )


def test_an_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        open_trackers(["tensorbord"], tmp_path, "my-run", CONFIG)
    assert str(caught.value) == (
        "unknown tracker 'tensorbord'; did you mean 'tensorboard'? There are: mlflow, tensorboard, trackio, wandb"
    )


def test_nothing_stays_open_when_one_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Recorder()
    stand_in(monkeypatch, "wandb", init=library.init)
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(ConfigError):
        open_trackers(["wandb", "trackio"], tmp_path, "my-run", CONFIG)
    assert [call[0] for call in library.calls] == ["init", "finish"]
    library.calls.clear()
    with pytest.raises(ConfigError):
        open_trackers(["wandb", "unheard-of"], tmp_path, "my-run", CONFIG)
    assert library.calls == []


def test_no_names_and_names_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_trackers([], tmp_path, "my-run", CONFIG) == []
    stand_in(monkeypatch, "wandb", init=Recorder().init)
    assert len(open_trackers(["wandb", "wandb"], tmp_path, "my-run", CONFIG)) == 1


def test_importing_the_room_loads_no_library() -> None:
    assert not {"wandb", "mlflow", "trackio", "torch"} & set(vars(trackers))


# A tracker of one's own, exactly as docs/trackers.md shows it


@pytest.fixture
def installed_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (code,) = re.findall(r"```python\n# csv_tracker\.py\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    (entry,) = re.findall(r'\[project\.entry-points\."tutelage\.trackers"\]\n(\w+) = "(.*)"', DOCS.read_text())
    site = tmp_path / "site"
    info = site / "csv_tracker-0.1.dist-info"
    info.mkdir(parents=True)
    (site / "csv_tracker.py").write_text(code)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: csv-tracker\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[tutelage.trackers]\n{entry[0]} = {entry[1]}\n")
    monkeypatch.syspath_prepend(site)
    yield code
    sys.modules.pop("csv_tracker", None)


def test_the_example_of_the_documentation_works(tmp_path: Path, installed_example: str) -> None:
    assert len(installed_example.strip().splitlines()) <= 20
    assert importlib.metadata.version("csv-tracker") == "0.1"
    own = open_one("csv", tmp_path)
    own.log(1, {"loss": 2.5, "grad_norm": 1.0})
    own.log(2, {"loss": 2.25, "grad_norm": 0.5})
    own.close()
    assert (tmp_path / "metrics.csv").read_text() == "step,loss,grad_norm\n1,2.5,1.0\n2,2.25,0.5\n"
    with pytest.raises(ConfigError, match="There are: csv, mlflow, tensorboard, trackio, wandb"):
        open_trackers(["cvs-file"], tmp_path, "my-run", CONFIG)


def test_a_factory_sees_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TrackedRun] = []
    monkeypatch.setitem(TRACKERS, "mine", lambda run: seen.append(run) or Recorder())
    open_one("mine", tmp_path, start_step=4)
    assert seen == [TrackedRun(tmp_path, "my-run", CONFIG, 4)]
