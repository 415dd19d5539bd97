"""`train`: from a method's name and a config to a finished run, the same from Python and from the command line.

Everything a user can get wrong is looked at before anything is written or trained, cheapest first.
Leaves out the loop itself.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.errors import ConfigError, StoreError, TutelageError
from tutelage.train.config import TrainConfig, build_run, dotted, flatten, known_keys
from tutelage.train.run_folder import RunFolder

if TYPE_CHECKING:
    from tutelage.train.loop import Loop
    from tutelage.train.optimizer import MasterAdamW
    from tutelage.train.setting import Setting
    from tutelage.train.trackers import Tracker

IN_MEMORY = "in memory"
"""What stands for data that was given as Python records."""
MAY_CHANGE_ON_RESUME = {
    "resume", "save_every", "keep_last", "tracker", "workspace", "num_samples", "sample_tokens", "num_steps",
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A run on disk. `finished` is False when it was interrupted; go on with it by `resume`."""

    name: str
    path: Path
    model_path: Path
    finished: bool

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """A mapping a step: step, loss, learning_rate, grad_norm, tokens_per_second …"""
        return RunFolder(self.path).read_metrics()

    @property
    def config(self) -> dict[str, Any]:
        """Every option of the run."""
        return RunFolder(self.path).read_config()

    @property
    def final_loss(self) -> float:
        """The last step's training loss."""
        return float(self.metrics[-1]["loss"])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _check_resume(name: str, saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key, value in wanted.items():
        old, new = saved.get(key), list(value) if isinstance(value, tuple) else value
        if key in MAY_CHANGE_ON_RESUME or old == new or (key == "learning_rate" and new is None):
            continue
        if key == "data_sha256":
            raise ConfigError(
                f"--resume: the data or the tokenizer is not what run '{name}' was started with; put back what it was, "
                "or start a new run under another --out"
            )
        raise ConfigError(
            f"--resume: '{key}' was {old!r} when run '{name}' was started and is {new!r} now; "
            "leave it out, or start a new run under another --out"
        )


def _check_run_folder(config: TrainConfig, path: Path, wanted: Mapping[str, Any]) -> None:
    """Say now, before a model is loaded, what is wrong with the folder of the run."""
    if config.resume:
        with RunFolder.resume(path) as folder:
            _check_resume(config.out, folder.read_config(), wanted)
    elif (path / "config.json").exists():
        raise ConfigError(f"{path} already holds a run; go on with it by --resume, or choose another --out")


def _open_folder(config: TrainConfig, path: Path, wanted: Mapping[str, Any]) -> RunFolder:
    """The run's folder, locked: a new one, or the one to go on with."""
    if not config.resume:
        return RunFolder.create(path, wanted)
    folder = RunFolder.resume(path)
    try:
        _check_resume(config.out, folder.read_config(), wanted)
    except ConfigError:
        folder.close()
        raise
    return folder


def _finished_run(config: TrainConfig, path: Path, model_path: Path) -> Run | None:
    """The run itself when it is asked to go on but has ended already."""
    from tutelage.models.folder import read_origin

    if config.resume and model_path.is_dir() and read_origin(model_path).get("run") == config.out:
        return Run(config.out, path, model_path, finished=True)
    return None


def train(
    method_name: str,
    config: TrainConfig,
    options: Any = None,
    *,
    source: Any = None,
    say: Callable[[str], None] = _say,
    quiet: bool = False,
) -> Run:
    """Train and save a model; returns the run. Raises a TutelageError for anything a user can mend.

    `options` is the method with its options, its defaults if not given. `source` is data that stands in no file (a list
    of dicts); `config.data` then only names it. `say` takes the lines about what happens; `quiet` leaves them and the
    progress out.
    """
    from tutelage.methods.registry import find_method

    say = _say_nothing if quiet else say
    method = find_method(method_name)() if options is None else options
    config, method = _with_snapshots(_with_defaults(config, method), method, source, say)
    if getattr(method, "ensemble", 1) > 1:
        from tutelage.train.ensemble import train_ensemble

        return train_ensemble(method_name, config, method, source=source, say=say, quiet=quiet)
    return _train_one(method_name, config, method, source, say, quiet)


def _with_snapshots(
    config: TrainConfig, method: Any, source: Any, say: Callable[[str], None]
) -> tuple[TrainConfig, Any]:  # fmt: skip
    """The options with definite names of datasets; data given as Python records has none."""
    from tutelage.train.named import with_snapshots

    return with_snapshots(config, method, say, skip=() if source is None else ("data", "prompts"))


def _train_one(
    method_name: str, config: TrainConfig, method: Any, source: Any, say: Callable[[str], None], quiet: bool
) -> Run:
    from tutelage.methods.registry import Reading
    from tutelage.models.save import check_output_name
    from tutelage.store.sources import readable

    path, model_path = config.workspace / "runs" / config.out, config.workspace / "models" / config.out
    if (done := _finished_run(config, path, model_path)) is not None:
        say(f"run '{config.out}' has ended already; its model is {model_path}")
        return done
    check_output_name(config.workspace, config.out)
    wanted = {"method": method_name, **flatten(config), **flatten(method)}
    _check_run_folder(config, path, wanted)
    # Bad data is found before a model is loaded.
    data = readable(config.workspace, str(config.data)) if source is None else source
    records = method.read(data, Reading(config.bad_records, say))
    if method.online:
        from tutelage.train.practice import check_online_options

        check_online_options(method, config.workspace)
    from tutelage.train.dataset import make_dataset, token_limit
    from tutelage.train.inputs import inputs_of
    from tutelage.train.prepare import load_for_training, prepare
    from tutelage.train.rollouts import make_prompts
    from tutelage.train.setting import Setting

    inputs = inputs_of(config, method, in_memory=source is not None)  # now: a file may change meanwhile
    model, tokenizer = load_for_training(config, method.sees, say)
    limit = token_limit(config, model)
    if method.online:
        dataset: Any = make_prompts(config, method, tokenizer, limit, records, say)
    else:
        dataset = make_dataset(config, method, tokenizer, limit, records, say)
    engine, optimizer = prepare(model, config)
    rate = config.learning_rate or method.learning_rate * (10 if hasattr(engine.model, "peft_config") else 1)
    setting = Setting(config, method, engine, optimizer, dataset, rate, tokenizer, say, quiet)
    _check_disk(setting, path)
    found = {"learning_rate": rate, "data_sha256": dataset.fingerprint, "num_steps": _num_steps(setting)}
    with _open_folder(config, path, wanted | found) as folder:
        with _unbegun(config, folder):
            loop = _make_loop(setting, folder)
            if (critic := getattr(loop, "critic", None)) is not None:  # how large it is, is known only now
                _check_disk(setting, path, critic.optimizer)
        if config.resume:
            loop.restore()
        if not _run(loop, config):
            say(f"stopped after step {loop.state.step}; go on with: {_resume_command(method_name, config)}")
            return Run(config.out, path, model_path, finished=False)
        _judge_held_out(loop, records)
        _save(loop, config, method_name, tokenizer, model_path, inputs)
    say(f"saved {model_path}")
    enter_into_record(config, say)
    return Run(config.out, path, model_path, finished=True)


def _check_disk(setting: Setting, path: Path, *more: MasterAdamW) -> None:
    """Raise TrainingError unless all that the run in `path` will write has room; `more` is trained besides."""
    from tutelage.models.save import saved_bytes
    from tutelage.train.space import bytes_of_checkpoints, check_disk

    config, model = setting.config, setting.engine.model
    num_steps = _num_steps(setting)
    check_disk(
        config,
        checkpoint_bytes=bytes_of_checkpoints(config, path, [setting.optimizer, *more], num_steps),
        model_bytes=saved_bytes(model, setting.tokenizer, **_saved_as(config, model)),
    )


def _num_steps(setting: Setting) -> int:
    """How many steps the run will take, unless something ends it earlier."""
    from tutelage.train.dataset import StepPlan

    return StepPlan(len(setting.dataset.train), setting.config).num_steps


def _judge_held_out(loop: Loop, records: Sequence[Any]) -> None:
    """For a method that can judge answers: how often it agrees with the held-out comparisons, written and said."""
    if not (hasattr(loop.method, "judge") and loop.dataset.val):
        return
    from tutelage.train.held_out import judge_held_out

    report = judge_held_out(loop, records)
    if not loop.quiet:
        from rich.console import Console

        from tutelage.stats.preference_table import preference_table

        Console(stderr=True).print(preference_table(report))


def _say_nothing(_: str) -> None:
    pass


def _resume_command(method_name: str, config: TrainConfig) -> str:
    elsewhere = "" if config.workspace == TrainConfig.workspace else f" --workspace {config.workspace}"
    return f"tutelage train {method_name} --out {config.out}{elsewhere} --resume"


def _make_loop(setting: Setting, folder: RunFolder) -> Loop:
    from tutelage.train.loop import Loop
    from tutelage.train.prepare import other_engine, sampler
    from tutelage.train.reference import make_references

    config, method, engine, dataset = setting.config, setting.method, setting.engine, setting.dataset
    if method.online:
        from tutelage.train.practice import make_online_loop

        return make_online_loop(setting, folder)
    other = other_engine(config, setting.tokenizer, setting.say)
    references = make_references(
        config, method, engine, dataset.trees, dataset.fingerprint, folder.path, other, setting.quiet
    )  # fmt: skip
    with_samples = config.num_samples and method.sees == "logprobs"
    return Loop(
        config, method, engine, setting.optimizer, dataset, folder, setting.learning_rate, references=references,
        take_samples=sampler(config, engine.model, setting.tokenizer) if with_samples else None, say=setting.say,
        quiet=setting.quiet,
    )  # fmt: skip


def _with_defaults(config: TrainConfig, method: Any) -> TrainConfig:
    """The options with the method's own defaults, and with the prompts of a method that samples as its data."""
    epochs = method.epochs if config.epochs is None else config.epochs
    save_every = method.save_every if config.save_every is None else config.save_every
    config = replace(config, epochs=epochs, save_every=save_every)
    if not method.online:
        if config.data is None:
            raise ConfigError("--data is missing; give a data file, or `starter`")
        return config
    if config.data not in (None, method.prompts):
        raise ConfigError(f"--data is {config.data}; {method.name} answers prompts: give them by --prompts")
    if not method.prompts:
        raise ConfigError("--prompts is missing; give a file with the prompts to practise on")
    if config.batch_size not in (TrainConfig.batch_size, method.prompts_per_step):
        raise ConfigError(f"--batch-size is {config.batch_size}; {method.name} has --prompts-per-step instead")
    return replace(config, data=method.prompts, batch_size=method.prompts_per_step)


def _run(loop: Loop, config: TrainConfig) -> bool:
    trackers = _open_trackers(loop, config)
    try:
        loop.trackers = trackers
        return loop.run()
    finally:
        for tracker in trackers:
            tracker.close()


def _open_trackers(loop: Loop, config: TrainConfig) -> Sequence[Tracker]:
    from tutelage.train.trackers import open_trackers

    folder = loop.folder
    with _unbegun(config, folder):
        return open_trackers(
            config.tracker, folder.path, config.out, folder.read_config(), start_step=loop.state.step
        )  # fmt: skip


@contextlib.contextmanager
def _unbegun(config: TrainConfig, folder: RunFolder) -> Iterator[None]:
    """A run that fails here never began, so it does not take up its name."""
    try:
        yield
    except TutelageError:
        if not config.resume:
            shutil.rmtree(folder.path)
            with contextlib.suppress(OSError):
                folder.path.parent.rmdir()
        raise


def _saved_as(config: TrainConfig, model: Any) -> dict[str, Any]:
    dtype = "bfloat16" if config.precision == "bf16" else "float32"
    return {"dtype": dtype, "merge": config.merge_lora and hasattr(model, "peft_config")}


def _save(
    loop: Loop, config: TrainConfig, method_name: str, tokenizer: Any, model_path: Path, inputs: list[dict[str, Any]]
) -> None:
    from tutelage.models.save import save_model
    from tutelage.train.inputs import options_of_run

    origin = {
        "kind": "trained", "run": config.out, "method": method_name, "base": config.model, "data": config.data,
        "steps": loop.state.step, "tokens": loop.state.num_tokens, "data_sha256": loop.dataset.fingerprint,
        "inputs": inputs, "options": options_of_run(config, loop.method),
    }  # fmt: skip
    model = loop.engine.model
    save_model(model, tokenizer, model_path, origin=origin, **_saved_as(config, model))


def enter_into_record(config: TrainConfig, say: Callable[[str], None]) -> None:
    """Tell the workspace's record, where there is one, of the new model; the model is whole if that fails."""
    from tutelage.store.address import has_store

    if not has_store(config.workspace):
        return
    from tutelage.store.database import open_store
    from tutelage.store.lineage import register

    try:
        with open_store(config.workspace) as store:
            store.run(lambda connection: register(connection, config.workspace, config.out))
    except StoreError as error:
        say(f"the record does not know of the model yet ({error}); later: tutelage lineage --rescan")


def saved_options(workspace: Path, out: str, method: type[Any] | None = None) -> dict[str, Any]:
    """The options that run `out` was started with, for `--resume`; those of `method` too, where it is given.

    Raises ConfigError when there is no such run.
    """
    with RunFolder.resume(workspace / "runs" / out) as folder:
        saved = folder.read_config()
    known = known_keys(TrainConfig) | (known_keys(method) if method else {})
    return {key: value for key, value in saved.items() if key in known and key != "resume"}


def train_from_python(
    method: str,
    *,
    model: str | Path | None = None,
    data: Any = None,
    out: str | None = None,
    quiet: bool = False,
    **options: Any,
) -> Run:
    """Train a model: `tutelage.train("sft", model="starter-base", data="pairs.jsonl", out="mine", epochs=2)`.

    Options are those of `tutelage train METHOD`, nested ones as mappings (`lora={"rank": 16}`); `data` is a file or a
    list of dicts. With `resume=True` whatever is not given is what the run was started with; data that stood in no file
    must be given again. Raises ConfigError for an unknown option (naming the nearest), DataError, ModelError,
    TrainingError.
    """
    where = f'train("{method}")'
    source = None if data is None or isinstance(data, (str, Path)) else list(data)
    from tutelage.methods.registry import find_method

    cls = find_method(method)
    name = out or (f"{Path(str(model)).name}-{Path(method).stem}" if model else None)
    named = {"model": model, "data": data if source is None else IN_MEMORY, "out": name}
    values = {key: str(value) for key, value in named.items() if value is not None} | dotted(options)
    if values.get("resume") is True and name is not None:
        values = saved_options(Path(values.get("workspace", TrainConfig.workspace)), name, cls) | values
        if values.get("data") == IN_MEMORY and source is None:
            raise ConfigError(f"{where}: the data of run '{name}' stood in no file; give the same data again")
    config, options = build_run(cls, values, where=where)
    return train(method, config, options, source=source, quiet=quiet)
