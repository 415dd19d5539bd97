"""`train`: from a method's name and a config to a finished run, the same from Python and from the command line.

Everything a user can get wrong is looked at before anything is written or loaded, cheapest first. Leaves out the loop itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.errors import ConfigError
from tutelage.train.config import TrainConfig, flatten
from tutelage.train.run_folder import RunFolder

MAY_CHANGE_ON_RESUME = {"resume", "save_every", "keep_last", "tracker", "workspace", "num_samples", "sample_tokens"}


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


def _check_resume(config: TrainConfig, saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key, value in wanted.items():
        old = saved.get(key)
        if key not in MAY_CHANGE_ON_RESUME and old != (list(value) if isinstance(value, tuple) else value):
            raise ConfigError(
                f"--resume: '{key}' was {old!r} when run '{config.out}' was started and is {value!r} now; "
                "leave it out, or start a new run under another --out"
            )


def _open_folder(config: TrainConfig, method_name: str, learning_rate: float) -> tuple[RunFolder, bool]:
    """The run's folder, locked, and whether it is resumed."""
    path = config.workspace / "runs" / config.out
    wanted = {"method": method_name, **flatten(config), "learning_rate": learning_rate}
    if not config.resume:
        return RunFolder.create(path, wanted), False
    folder = RunFolder.resume(path)
    try:
        _check_resume(config, folder.read_config(), wanted)
    except ConfigError:
        folder.close()
        raise
    return folder, True


def _finished_run(config: TrainConfig, path: Path, model_path: Path) -> Run | None:
    """The run itself when it is asked to go on but has ended already."""
    from tutelage.models.folder import read_origin

    if config.resume and model_path.is_dir() and read_origin(model_path).get("run") == config.out:
        return Run(config.out, path, model_path, finished=True)
    return None


def train(
    method_name: str,
    config: TrainConfig,
    *,
    source: Any = None,
    say: Callable[[str], None] = _say,
    quiet: bool = False,
) -> Run:
    """Train and save a model; returns the run. Raises a TutelageError for anything a user can mend.

    `source` is data that stands in no file (a list of dicts); `config.data` then only names it.
    """
    from tutelage.methods.registry import find_method
    from tutelage.models.save import check_output_name

    method = find_method(method_name)()
    path, model_path = config.workspace / "runs" / config.out, config.workspace / "models" / config.out
    if (done := _finished_run(config, path, model_path)) is not None:
        say(f"run '{config.out}' has ended already; its model is {model_path}")
        return done
    check_output_name(config.workspace, config.out)
    rate = config.learning_rate or method.learning_rate * (10 if config.lora.rank else 1)
    records = method.read(config.data if source is None else source)  # bad data is found before a model is loaded
    loaded, tokenizer = _load(config, say)
    from tutelage.train.dataset import make_dataset, token_limit

    dataset = make_dataset(config, method, tokenizer, token_limit(config, loaded.model), records, say)
    folder, resumed = _open_folder(config, method_name, rate)
    with folder:
        loop = _make_loop(config, method, loaded, tokenizer, dataset, folder, rate, say, quiet)
        if resumed:
            loop.restore()
        finished = _run(loop, config, folder)
        if not finished:
            say(
                f"stopped after step {loop.state.step}; go on with: tutelage train {method_name} --out {config.out} --resume"
            )
            return Run(config.out, path, model_path, finished=False)
        _save(loop, config, method_name, tokenizer, model_path)
    say(f"saved {model_path}")
    return Run(config.out, path, model_path, finished=True)


def _load(config: TrainConfig, say: Callable[[str], None]) -> tuple[Any, Any]:
    from tutelage.models.load import load_model
    from tutelage.models.template import ensure_chat_template, ensure_pad_token

    dtype = "bfloat16" if config.precision == "bf16" else "float32"
    loaded = load_model(
        config.model, workspace=config.workspace, dtype=dtype, trust_remote_code=config.trust_remote_code, progress=say
    )
    if ensure_chat_template(loaded.tokenizer):
        say(f"{config.model} has no chat template; it gets ours")
    ensure_pad_token(loaded.tokenizer)
    return loaded, loaded.tokenizer


def _make_loop(
    config: TrainConfig, method: Any, loaded: Any, tokenizer: Any, dataset: Any, folder: RunFolder, rate: float,
    say: Callable[[str], None], quiet: bool,
) -> Any:  # fmt: skip
    import torch

    from tutelage.engine.forward import TreeEngine
    from tutelage.engine.memory import keep_freed_memory
    from tutelage.train.loop import Loop
    from tutelage.train.optimizer import AdamWSettings, MasterAdamW

    keep_freed_memory()
    torch.manual_seed(config.seed)
    model = _adapted(loaded.model, config)
    engine = TreeEngine(model)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if config.lora.rank:
            model.enable_input_require_grads()
    settings = AdamWSettings(config.beta1, config.beta2, config.adam_eps, config.weight_decay)
    optimizer = MasterAdamW(model, settings, compute_dtype=loaded.model.dtype)
    samples = _sampler(config, model, tokenizer) if config.num_samples else None
    return Loop(config, method, engine, optimizer, dataset, folder, rate, take_samples=samples, say=say, quiet=quiet)


def _adapted(model: Any, config: TrainConfig) -> Any:
    """The model with every weight trainable, or with fresh adapters, or with the adapter it was loaded with."""
    from tutelage.models.adapt import add_lora

    if config.lora.rank:
        return add_lora(model, config.lora)
    if hasattr(model, "peft_config"):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in name)
        return model
    return model.requires_grad_(True)


def _run(loop: Any, config: TrainConfig, folder: RunFolder) -> bool:
    from tutelage.train.trackers import open_trackers

    trackers = open_trackers(config.tracker, folder.path, config.out, folder.read_config(), start_step=loop.state.step)
    try:
        loop.trackers = trackers
        return loop.run()
    finally:
        for tracker in trackers:
            tracker.close()


def _sampler(config: TrainConfig, model: Any, tokenizer: Any) -> Callable[[], list[Mapping[str, Any]]]:
    from tutelage.data.load import load_prompts
    from tutelage.engine.answer import answer_prompts
    from tutelage.engine.generate import Sampling

    prompts = load_prompts("sealed")[: config.num_samples]

    def take() -> list[Mapping[str, Any]]:
        answers = answer_prompts(model, tokenizer, prompts, Sampling(max_new_tokens=config.sample_tokens))
        return [
            {"prompt": prompt.messages[-1].content, "answer": answer.text, "stopped": answer.stopped}
            for prompt, answer in zip(prompts, answers, strict=True)
        ]

    return take


def _save(loop: Any, config: TrainConfig, method_name: str, tokenizer: Any, model_path: Path) -> None:
    from tutelage.models.save import save_model

    origin = {
        "kind": "trained", "run": config.out, "method": method_name, "base": config.model, "data": config.data,
        "steps": loop.state.step, "tokens": loop.state.num_tokens, "data_sha256": loop.dataset.fingerprint,
    }  # fmt: skip
    dtype = "bfloat16" if config.precision == "bf16" else "float32"
    merge = config.merge_lora and hasattr(loop.engine.model, "peft_config")
    save_model(loop.engine.model, tokenizer, model_path, origin=origin, dtype=dtype, merge=merge)


def train_from_python(
    method: str, *, model: str | Path, data: Any, out: str | None = None, quiet: bool = False, **options: Any
) -> Run:
    """Train a model: `tutelage.train("sft", model="starter-base", data="pairs.jsonl", out="mine", epochs=2)`.

    Options are those of `tutelage train`, nested ones as mappings (`lora={"rank": 16}`); `data` is a file or a list of
    dicts. Raises ConfigError for an unknown option (naming the nearest), DataError, ModelError, TrainingError.
    """
    from tutelage.train.config import build_config

    in_memory = not isinstance(data, (str, Path))
    name = out or f"{Path(str(model)).name}-{Path(method).stem}"
    values = {"model": str(model), "data": "in memory" if in_memory else str(data), "out": name, **options}
    config = build_config(values, where=f'train("{method}")')
    return train(method, config, source=data if in_memory else None, quiet=quiet)
