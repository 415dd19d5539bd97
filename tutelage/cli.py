"""The command line: every verb, thin. Heavy imports happen inside the verbs, so `tutelage --help` is immediate.

A user's mistake is one line on standard error and exit code 2. Leaves out everything that a verb does.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter

from tutelage import __version__
from tutelage import workspace as workspace_verbs
from tutelage.engine.memory import bound_kernel_cache
from tutelage.errors import TutelageError, told_of_system
from tutelage.train.config import TrainConfig

app = App(
    name="tutelage",
    help="Post-train language models under human tutelage.",
    version=__version__,
    help_format="plaintext",
    default_parameter=Parameter(negative_iterable=(), show_env_var=False),
    suppress_keyboard_interrupt=False,
)

WORKSPACE = Path("workspace")


@app.command
def train(
    method: str,
    /,
    *,
    config: Annotated[TrainConfig, Parameter(name="*")],
    recipe: Path | None = None,
) -> int:
    """Train a model: `tutelage train sft --model starter-base --data pairs.jsonl --out mine`.

    `tutelage methods` lists the methods; `tutelage train METHOD --help` shows those options too that only it has.

    Parameters
    ----------
    method
        A method's name, or a file ./my_method.py that registers one.
    recipe
        YAML file with any of these options; options on the command line win.
    """
    from tutelage.train.api import train as run_training

    del recipe  # its options were put among the others by `main`
    return _report_run(run_training(method, config))


def _train_app(cls: type[Any]) -> App:
    """The verb `train` with the options of one method added."""
    from tutelage.train.api import train as run_training

    def train(method: str, /, *, config: Any, options: Any = None, recipe: Path | None = None) -> int:
        del recipe
        return _report_run(run_training(method, config, options))

    train.__doc__ = globals()["train"].__doc__
    train.__annotations__ |= {
        "config": Annotated[TrainConfig, Parameter(name="*")],
        "options": Annotated[cls | None, Parameter(name="*", group=Group(f"Options of {cls.name}", sort_key=1))],
    }
    one = App(
        name="tutelage train", help_format="plaintext", default_parameter=app.default_parameter,
        suppress_keyboard_interrupt=False, version_flags=[],
    )  # fmt: skip
    one.default(train)
    return one


def _report_run(run: Any) -> int:
    if not run.finished:
        return 130
    from tutelage.models.folder import read_origin

    is_reward = read_origin(run.model_path).get("method") == "reward"
    verb = f"score --model {run.name} --data FILE" if is_reward else f"chat {run.name}"
    print(f"run    {run.path}\nmodel  {run.model_path}\ntry it: tutelage {verb}")
    return 0


@app.command
def methods(method: str | None = None, /) -> int:
    """List the training methods; with a name, its formula, options and defaults.

    Parameters
    ----------
    method
        A method's name, or a file ./my_method.py that registers one.
    """
    from tutelage.verbs import list_the_methods, tell_of_method

    return tell_of_method(method) if method else list_the_methods()


@app.command
def score(
    *,
    model: str,
    data: str,
    out: Path | None = None,
    overwrite: bool = False,
    max_tokens: int = 2048,
    bad_records: Literal["error", "drop"] = "error",
    workspace: Path = WORKSPACE,
) -> int:
    """Score answers with a reward model: `tutelage score --model rm --data answers.jsonl --out scores.jsonl`.

    Of comparisons it also says how often the model agrees with them, with an interval.

    Parameters
    ----------
    model
        A reward model or an ensemble: a folder, a hub id or a name in the workspace.
    data
        Data file with comparisons, rated answers or conversations, or a dataset such as labels:PROJECT.
    out
        JSONL file to write the scores to.
    overwrite
        Replace the file if it is there.
    max_tokens
        Longest prompt and answer, in tokens; a longer one is an error.
    bad_records
        What to do with a record that cannot be read: stop, or leave it out and say so.
    workspace
        Folder that holds models/ and runs/.
    """
    from tutelage.score import score_file

    return score_file(
        model, data, out, overwrite=overwrite, max_tokens=max_tokens, bad_records=bad_records, workspace=workspace
    )


@app.command
def check(
    file: str,
    /,
    *,
    model: str | None = None,
    max_tokens: int = 2048,
    workspace: Path = WORKSPACE,
) -> int:
    """Say what is wrong with a data file, by line and field, and what is suspicious.

    Parameters
    ----------
    file
        JSONL, JSON, CSV, TSV or Parquet; a dataset such as curated@3 or labels:PROJECT; or `starter`.
    model
        Count tokens as this model does; without it they are estimated.
    max_tokens
        Longest conversation, in tokens; longer ones are reported.
    workspace
        Folder that holds models/ and runs/.
    """
    from rich.console import Console

    from tutelage.data import check_file, load_prompts
    from tutelage.data.check_table import render_check
    from tutelage.store.sources import readable

    tokenizer = _tokenizer(model, workspace) if model else None
    sealed, file = load_prompts("sealed"), readable(workspace, file)
    report = check_file(file, tokenizer=tokenizer, max_tokens=max_tokens, sealed=sealed)
    Console().print(render_check(report))
    return 0 if report.ok else 2


@app.command
def chat(
    model: str,
    /,
    *,
    prompt: str | None = None,
    system: str | None = None,
    max_new_tokens: int = 512,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    workspace: Path = WORKSPACE,
) -> int:
    """Talk with a model in the terminal; answers appear as they are written.

    Parameters
    ----------
    model
        A starter model, a folder, a hub id or a name in the workspace.
    prompt
        Answer this one question and exit.
    system
        A system message to begin with.
    max_new_tokens
        Longest answer, in tokens.
    temperature
        0 = always the most probable token.
    top_p
        Draw only from the most probable tokens that together have this probability.
    seed
        Seed of the draws.
    workspace
        Folder that holds models/ and runs/.
    """
    from tutelage.chat import Chat
    from tutelage.engine.generate import Sampling

    sampling = Sampling(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    session = Chat(model, workspace, sampling, system)
    if prompt is not None:
        session.ask(prompt)
        return 0
    return session.loop()


@app.command
def generate(
    *,
    model: str,
    prompts: str,
    out: Path,
    num_samples: int = 1,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    top_p: float = 1.0,
    top_k: int = 0,
    min_p: float = 0.0,
    stop: tuple[str, ...] = (),
    ignore_eos: bool = False,
    seed: int = 0,
    batch_size: int = 64,
    sampler: Literal["own", "vllm"] = "own",
    overwrite: bool = False,
    workspace: Path = WORKSPACE,
) -> int:
    """Answer every prompt of a file: `tutelage generate --model mine --prompts sealed --out answers.jsonl`.

    Parameters
    ----------
    model
        A starter model, a folder, a hub id or a name in the workspace.
    prompts
        Data file with prompts, a text file with one a line, `sealed` or `compare`.
    out
        JSONL file to write.
    num_samples
        Answers to each prompt; more than one needs a temperature above 0.
    max_new_tokens
        Longest answer, in tokens.
    temperature
        0 = always the most probable token.
    top_p
        Draw only from the most probable tokens that together have this probability.
    top_k
        Draw only from this many most probable tokens; 0 = all.
    min_p
        Draw only tokens at least this many times as probable as the most probable one; 0 = all.
    stop
        Text that ends an answer and is left out of it; may be given several times.
    ignore_eos
        Go on to --max-new-tokens whatever the model says.
    seed
        Seed of the draws; on the CPU the batch size does not change them.
    batch_size
        Answers sampled at once.
    sampler
        What samples: our own sampler, or vLLM, which `pip install 'tutelage[vllm]'` brings.
    overwrite
        Replace the file if it is there.
    workspace
        Folder that holds models/ and runs/.
    """
    from tutelage.engine.generate import Sampling
    from tutelage.verbs import generate_file

    sampling = Sampling(max_new_tokens, temperature, top_p, top_k, seed, min_p, stop, ignore_eos)
    return generate_file(
        model, prompts, out, sampling, num_samples=num_samples, batch_size=batch_size, overwrite=overwrite,
        workspace=workspace, sampler=sampler,
    )  # fmt: skip


@app.command(name="best-of-n")
def best_of_n(
    *,
    model: str,
    reward: tuple[str, ...],
    prompts: str,
    out: Path,
    num_samples: int = 8,
    max_new_tokens: int = 256,
    temperature: float = 1.0,
    top_p: float = 1.0,
    min_reward: float | None = None,
    ensemble_penalty: float = 0.0,
    all_answers: Path | None = None,
    seed: int = 0,
    batch_size: int = 64,
    overwrite: bool = False,
    workspace: Path = WORKSPACE,
) -> int:
    """Sample N answers to each prompt and keep the best: a file to fine-tune on, and what N buys.

    `tutelage best-of-n --model sft --reward rm --prompts prompts.jsonl --out best.jsonl` writes conversations that
    `tutelage train sft --data best.jsonl` reads. It prints the mean reward of the best of 1, 2, 4 … N, with intervals.

    Parameters
    ----------
    model
        A starter model, a folder, a hub id or a name in the workspace.
    reward
        A reward model, a check by name, a judge or ./reward.py:function; several are a weighted sum.
    prompts
        Data file with prompts, or a text file with one a line.
    out
        JSONL file to write: the best answer to each prompt.
    num_samples
        Answers to each prompt.
    max_new_tokens
        Longest answer, in tokens.
    temperature
        Of sampling; above 0.
    top_p
        Draw only from the most probable tokens that together have this probability.
    min_reward
        Leave out prompts whose best answer has less.
    ensemble_penalty
        Reward of an ensemble: its members' mean, less this times their variance.
    all_answers
        JSONL file for every answer with its rewards.
    seed
        Seed of the draws.
    batch_size
        Answers sampled at once.
    overwrite
        Replace the files if they are there.
    workspace
        Folder that holds models/ and runs/.
    """
    from tutelage.best import best_of_n_file
    from tutelage.engine.generate import Sampling

    return best_of_n_file(
        model, reward, prompts, out, Sampling(max_new_tokens, temperature, top_p, seed=seed), num_samples=num_samples,
        min_reward=min_reward, ensemble_penalty=ensemble_penalty, all_answers=all_answers, batch_size=batch_size,
        overwrite=overwrite, workspace=workspace,
    )  # fmt: skip


@app.command
def report(
    *,
    models: Annotated[list[str], Parameter(consume_multiple=True)],
    prompts: str = "sealed",
    out: Path = Path("report.html"),
    max_new_tokens: int = 256,
    batch_size: int = 64,
    rater: Literal["scripted"] | None = None,
    json: bool = False,
    workspace: Path = WORKSPACE,
) -> int:
    """Compare models before and after: one HTML page with answers side by side and measures with intervals.

    Parameters
    ----------
    models
        One to four models, the one before first.
    prompts
        Data file with prompts, or `sealed` for those that come with Tutelage.
    out
        HTML file to write.
    max_new_tokens
        Longest answer, in tokens.
    batch_size
        Prompts answered at once.
    rater
        Also say which model's answers win: `scripted` is a script with the rules of docs/rater.md, no person.
    json
        Also write the numbers beside the page, in a file that ends in .json.
    workspace
        Folder that holds models/ and runs/.
    """
    from tutelage.verbs import report_file

    return report_file(
        models, prompts, out, max_new_tokens=max_new_tokens, batch_size=batch_size, workspace=workspace, rater=rater,
        json=json,
    )  # fmt: skip


@app.command
def models(*, path: str | None = None, workspace: Path = WORKSPACE) -> int:
    """List the models there are: name, size, where from.

    Parameters
    ----------
    path
        Print the folder of this one model instead.
    workspace
        Folder that holds models/ and runs/.
    """
    from tutelage.verbs import list_the_models, print_model_path

    return print_model_path(path, workspace) if path else list_the_models(workspace)


@app.command
def demo(*, me: bool = False, out: str = "demo", workspace: Path = WORKSPACE) -> int:
    """From a rambling base model to an assistant: pairs, verdicts, a reward model, RLHF, and a report of all three.

    Parameters
    ----------
    me
        Judge 20 pairs of answers yourself, in the terminal; a script judges the others.
    out
        Begins the names of the models: demo-sft, demo-reward, demo-rlhf; those there are kept.
    workspace
        Folder that holds models/ and runs/.
    """
    from tutelage.demo import run_demo

    return run_demo(workspace, out, me)


workspace_verbs.register(app)


def _tokenizer(model: str, workspace: Path) -> Any:
    from tutelage.verbs import load_tokenizer_of

    return load_tokenizer_of(model, workspace)


def _one_line(text: str) -> str:
    """A message as one line; escape codes from a file must not reach the terminal as commands."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))


def _complain(message: str) -> None:
    print(f"tutelage: {_one_line(message)}", file=sys.stderr)


def _replace_what_cannot_be_encoded() -> None:
    """A terminal or pipe that is not UTF-8 gets a question mark for a character it does not know, not a traceback."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _run(tokens: list[str]) -> int:
    verb = app
    if tokens[:1] == ["train"] and len(tokens) > 1 and not tokens[1].startswith("-"):
        verb, tokens = _prepare_train(tokens[1:])
    result = verb(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    sys.stdout.flush()  # a reader that has gone is noticed here, not when the interpreter shuts down
    return result if isinstance(result, int) else 0


def _prepare_train(tokens: list[str]) -> tuple[App, list[str]]:
    """The verb for the method that the tokens name, and the tokens with what a recipe or a resumed run adds."""
    from tutelage.methods.registry import find_method
    from tutelage.recipes import fill_in

    cls = find_method(tokens[0])
    return _train_app(cls), tokens if {"-h", "--help"} & set(tokens) else fill_in(tokens, cls)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `tutelage` command."""
    _replace_what_cannot_be_encoded()
    bound_kernel_cache()
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
    except (TutelageError, CycloptsError) as error:
        _complain(str(error))
        code = getattr(error, "exit_code", 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:  # a full disk or a folder without permission, met where no verb could say more
        _complain(told_of_system(error))
        code = 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        code = 130
    sys.exit(code)
