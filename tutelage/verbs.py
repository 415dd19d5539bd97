"""What the smaller verbs of the command line do: generate, report, models.

Leaves out parsing (`cli`) and the demo (`demo`).
"""

from __future__ import annotations

import datetime
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tutelage import __version__
from tutelage.data import load_general_texts, load_prompts
from tutelage.engine.generate import Engine, Sampling
from tutelage.errors import ConfigError, ModelError
from tutelage.evaluate.contest import Standings, hold_contests
from tutelage.evaluate.numbers import numbers_file, numbers_of
from tutelage.evaluate.rater import ScriptedRater
from tutelage.evaluate.report import ModelResult, RunCurve, report_table, summarise, write_report
from tutelage.evaluate.run import answer_record, evaluate_model, load_for_answers
from tutelage.evaluate.terminal import standings_table
from tutelage.models.find import list_models, resolve_model
from tutelage.models.load import Loaded
from tutelage.models.weights import has_tokenizer
from tutelage.train.progress import counting
from tutelage.train.run_folder import RunFolder, strict_json, write_durably
from tutelage.types import Answer, Prompt

CURVES: tuple[str, ...] = ("loss", "val_loss", "learning_rate", "tokens_per_second")
CURVES_BY_KIND: tuple[tuple[str, tuple[str, ...]], ...] = (("reward", ("reward", "kl")), ("accuracy", ("accuracy",)))
"""What is drawn of runs whose loss says little; a run is of a kind when its metrics have the first name."""


def check_writable(out: Path, overwrite: bool) -> None:
    """Raises ConfigError, before any work, when the file cannot be written."""
    if out.is_dir():
        raise ConfigError(f"{out} is a folder; give --out the name of a file")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} already exists; choose another --out, or give --overwrite")
    if not out.parent.is_dir():
        raise ConfigError(f"the folder {out.parent} of --out does not exist; make it first")
    if not os.access(out.parent, os.W_OK):
        raise ConfigError(f"the folder {out.parent} of --out cannot be written to; choose another")


def check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ConfigError(f"--batch-size is {batch_size}; it must be at least 1")


def write_file(out: Path, data: bytes) -> None:
    """Write a file in one instant. Raises ConfigError when it cannot be."""
    try:
        write_durably(out, data)
    except OSError as error:
        raise ConfigError(
            f"{out} cannot be written: {error.strerror}; free some space or choose another --out"
        ) from error


def generate_file(
    model: str, prompts: str, out: Path, sampling: Sampling, *, num_samples: int, batch_size: int, overwrite: bool,
    workspace: Path, sampler: str = "own",
) -> int:  # fmt: skip
    """Answer every prompt and write one JSON line each, all at once at the end."""
    if sampler == "vllm":
        from tutelage.engine.vllm import require_vllm

        require_vllm()
    check_writable(out, overwrite)
    check_batch_size(batch_size)
    check_num_samples(num_samples, sampling)
    asked = load_prompts(prompts)
    loaded = load_for_answers(model, workspace)
    engine = _vllm(loaded, asked, sampling, batch_size) if sampler == "vllm" else None
    answers, line = sample_answers(
        loaded, asked, sampling, num_samples=num_samples, batch_size=batch_size, engine=engine
    )  # fmt: skip
    write_file(out, b"".join(strict_json(answer_record(answer)) for answer in answers))
    stopped = sum(answer.stopped for answer in answers)
    print(f"wrote {out}: {len(answers)} answers, {stopped} ended by themselves")
    print(line)
    return 0


def _vllm(loaded: Loaded, asked: Sequence[Prompt], sampling: Sampling, batch_size: int) -> Engine:
    from tutelage.data.render import render_prompt
    from tutelage.engine.vllm import start_vllm
    from tutelage.models.template import end_of_turn_id

    tokenizer = loaded.tokenizer
    rendered = [render_prompt(tokenizer, prompt.messages, end_of_turn_id(tokenizer)) for prompt in asked]
    return start_vllm(loaded.model, tokenizer, rendered, sampling, batch_size=batch_size)


def check_num_samples(num_samples: int, sampling: Sampling) -> None:
    """Raises ConfigError for a number of samples that makes no sense."""
    if num_samples < 1:
        raise ConfigError(f"--num-samples is {num_samples}; it must be at least 1")
    if num_samples > 1 and sampling.temperature == 0:
        raise ConfigError(
            f"--num-samples is {num_samples} and --temperature 0, which gives the same answer each time; "
            "give --temperature 1"
        )


def sample_answers(
    loaded: Loaded, asked: Sequence[Prompt], sampling: Sampling, *, num_samples: int, batch_size: int,
    engine: Engine | None = None,
) -> tuple[list[Answer], str]:  # fmt: skip
    """(answers, a line that says how fast they were sampled, prompts and first kernels included)."""
    from tutelage.engine.answer import answer_prompts

    begun = time.perf_counter()
    label, num_answers = f"answering with {loaded.name}", len(asked) * num_samples
    with counting(label, num_answers, at_once=batch_size) as progress:
        answers = answer_prompts(
            loaded.model, loaded.tokenizer, asked, sampling, name=loaded.name, num_samples=num_samples,
            batch_size=batch_size, progress=progress, engine=engine,
        )  # fmt: skip
    seconds = time.perf_counter() - begun
    num_tokens = sum(answer.num_tokens + answer.stopped for answer in answers)
    return answers, f"sampled {num_tokens} tokens in {seconds:.1f} s: {num_tokens / seconds:.0f} tokens/s"


def evaluate_models(
    names: Sequence[str], prompts: str, sampling: Sampling, *, batch_size: int, workspace: Path
) -> list[ModelResult]:
    """Put each model in turn to the prompts; never two in memory at once."""
    asked, texts = load_prompts(prompts), load_general_texts()
    results = []
    for name in names:
        loaded = load_for_answers(name, workspace)
        with counting(f"answering with {name}", len(asked), at_once=batch_size) as progress:
            results.append(evaluate_model(loaded, asked, texts, sampling, batch_size=batch_size, progress=progress))
        del loaded
    return results


def curves_of(names: Sequence[str], workspace: Path) -> list[RunCurve]:
    """The training curves of those models that were trained in this workspace."""
    curves = []
    for name in names:
        path = workspace / "runs" / name
        metrics = RunFolder(path).read_metrics() if (path / "metrics.jsonl").is_file() else []
        if metrics:
            known = _all_keys(metrics)
            wanted = next((keys for kind, keys in CURVES_BY_KIND if kind in known), CURVES)
            keys = [key for key in wanted if key in known]
            series = {key: [float(line.get(key, "nan")) for line in metrics] for key in keys}
            curves.append(RunCurve(name, [int(line["step"]) for line in metrics], series))
    return curves


def _all_keys(metrics: Sequence[dict[str, Any]]) -> set[str]:
    return {key for line in metrics for key in line}


def facts_of(prompts: str, num_prompts: int, sampling: Sampling) -> dict[str, str]:
    """What a reader needs to place the numbers."""
    drawn = "greedy" if sampling.temperature == 0 else f"temperature {sampling.temperature}, seed {sampling.seed}"
    return {
        "Prompts": f"{prompts}, {num_prompts}",
        "Sampling": f"{drawn}, at most {sampling.max_new_tokens} tokens",
        "Date": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        "Machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "Tutelage": __version__,
    }


def report_file(
    names: Sequence[str], prompts: str, out: Path, *, max_new_tokens: int, batch_size: int, workspace: Path,
    rater: str | None = None, json: bool = False,
) -> int:  # fmt: skip
    """Evaluate the models, print the tables and write the page; `rater` names who says which answers are better.

    With `json` the numbers are written beside the page.
    """
    check_writable(out, overwrite=True)
    if json and out.suffix == ".json":
        raise ConfigError(f"{out} is where --json puts the numbers; end the name of the page in .html")
    check_batch_size(batch_size)
    if not 1 <= len(names) <= 4:
        raise ConfigError(f"--models has {len(names)} names; give one to four")
    if len(set(names)) < len(names):
        raise ConfigError("--models names the same model twice; give each once")
    for name in names:
        resolve_model(name, workspace)
    if rater is not None and len(names) < 2:
        raise ConfigError("--rater compares answers of models, and --models has one name; give two or more")
    sampling = Sampling(max_new_tokens=max_new_tokens)
    results = evaluate_models(names, prompts, sampling, batch_size=batch_size, workspace=workspace)
    standings = None if rater is None else hold_contests(results, ScriptedRater())
    finish_report(
        results, names, prompts, sampling, out, workspace, title=" → ".join(names), standings=standings,
        numbers=numbers_file(out) if json else None,
    )  # fmt: skip
    return 0


def finish_report(
    results: Sequence[ModelResult], names: Sequence[str], prompts: str, sampling: Sampling, out: Path,
    workspace: Path, *, title: str, facts: dict[str, str] | None = None, first_prompts: Sequence[str] = (),
    standings: Standings | None = None, numbers: Path | None = None,
) -> None:  # fmt: skip
    """Write the page and, into `numbers`, what it says in numbers; print its tables and where it is.

    `names` are the runs whose curves it shows.
    """
    facts = facts_of(prompts, len(results[0].answers), sampling) | (facts or {})
    try:
        write_report(
            out, title=title, models=results, curves=curves_of(names, workspace), facts=facts,
            first_prompts=first_prompts, standings=standings,
        )  # fmt: skip
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}; choose another --out") from error
    if numbers is not None:  # after the page: whoever finds the numbers finds the page too
        found = numbers_of(results, prompts, sampling, workspace, title=title, standings=standings, facts=facts,
                           at_ms=time.time_ns() // 1_000_000)  # fmt: skip
        write_file(numbers, strict_json(found, indent=1))
    console = Console()
    console.print(report_table(summarise(results), console.width))
    if standings is not None:
        console.print(standings_table(standings))
    if numbers is not None:
        print(f"numbers: {numbers.resolve()}")
    print(f"report: {out.resolve()}")


def list_the_models(workspace: Path) -> int:
    """Print a table of the models of the workspace and the starters."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("model", "parameters", "size", "kind", "from", box=None, header_style="bold")
    for info in list_models(workspace):
        count = f"{info.num_parameters / 1e6:.0f}M" if info.num_parameters else "–"
        size = f"{info.size_bytes / 1e6:.0f} MB" if info.size_bytes else "–"
        table.add_row(escape(info.name), count, size, info.kind, escape(info.origin))
    Console().print(table)
    return 0


def list_the_methods() -> int:
    """Print a table of the training methods."""
    from tutelage.methods.describe import method_table
    from tutelage.methods.registry import all_methods

    Console().print(method_table(all_methods()))
    return 0


def tell_of_method(name: str) -> int:
    """Print what there is to know of one method: formula, paper, options, defaults."""
    from tutelage.methods.describe import describe_method
    from tutelage.methods.registry import find_method

    Console().print(describe_method(find_method(name)))
    return 0


def print_model_path(name: str, workspace: Path) -> int:
    """Print the folder of a model, fetching a starter model first where need be."""
    from tutelage.models.starter import ensure_starter

    found = resolve_model(name, workspace)
    if found.origin == "starter":
        print(ensure_starter(found.name, lambda line: print(line, file=sys.stderr)))
    elif found.path is not None:
        print(Path(found.path).resolve())
    else:
        raise ConfigError(f"'{name}' is a hub id and has no folder here; train or chat with it to fetch it")
    return 0


def load_tokenizer_of(name: str, workspace: Path) -> Any:
    """The tokenizer of a model, with a chat template."""
    from transformers import AutoTokenizer

    from tutelage.models.starter import ensure_starter
    from tutelage.models.template import ensure_chat_template

    found = resolve_model(name, workspace)
    path = ensure_starter(found.name) if found.origin == "starter" else found.path
    if path is not None and not has_tokenizer(path):
        raise ModelError(f"{path} has no tokenizer; copy tokenizer.json and tokenizer_config.json from the base model")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path or found.hub_id)
    except (OSError, ValueError) as error:
        raise ModelError(f"the tokenizer of '{name}' cannot be loaded: {' '.join(str(error).split())}") from error
    ensure_chat_template(tokenizer)
    return tokenizer
