"""The whole loop in one command: ask a base model, teach it with the starter pairs, ask again, write the report.

Every part is the one the other verbs use. Leaves out choices: for those there is `tutelage train`.
"""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from tutelage.data import load_conversations, load_general_texts, load_prompts
from tutelage.engine.answer import answer_prompts
from tutelage.engine.generate import Sampling
from tutelage.evaluate.run import evaluate_model, load_for_answers
from tutelage.evaluate.summary import ModelResult
from tutelage.train.api import Run, train
from tutelage.train.config import build_config
from tutelage.train.progress import counting
from tutelage.types import Answer, Message, Prompt
from tutelage.verbs import finish_report

BASE = "starter-base"
PAN = Prompt((Message("user", "How do you clean a dirty pan?"),), id="pan")
SHOWN = ("sealed-facts-01", "sealed-writing-03", "sealed-everyday-02")
"""Sealed prompts shown in the terminal beside the pan; the report has them all."""
SHOWN_LINES = 10
SAMPLING = Sampling(max_new_tokens=128)
BATCH_SIZE = 32

console = Console(highlight=False)


def _ask(model: str, workspace: Path) -> tuple[ModelResult, list[Answer]]:
    """The model's results on all sealed prompts, and the four answers to show."""
    prompts = load_prompts("sealed")
    loaded = load_for_answers(model, workspace)
    pan = answer_prompts(loaded.model, loaded.tokenizer, [PAN], SAMPLING, name=model)
    with counting(f"{model} answers {len(prompts)} prompts", len(prompts)) as progress:
        result = evaluate_model(loaded, prompts, load_general_texts(), SAMPLING, progress=progress)
    shown = {answer.prompt.id: answer for answer in result.answers}
    return result, [*pan, *(shown[name] for name in SHOWN)]


def _show(title: str, answers: list[Answer]) -> None:
    console.rule(f"[bold]{escape(title)}")
    for answer in answers:
        trained = " [dim](in the starter pairs)[/]" if answer.prompt is PAN else " [dim](never trained on)[/]"
        console.print(f"\n[bold cyan]{escape(answer.prompt.messages[-1].content)}[/]{trained}")
        cut = "" if answer.stopped else " [dim]… cut off, it would have gone on[/]"
        console.print(Padding(escape(_shortened(answer.text)) + cut, (0, 0, 0, 2)))
    console.print()


def _shortened(text: str) -> str:
    """Rambling fills screens; the report has it whole."""
    lines = text.splitlines()
    return "\n".join(lines[:SHOWN_LINES]) + (" …" if len(lines) > SHOWN_LINES else "")


def _train(workspace: Path, epochs: int, out: str) -> Run | None:
    """Train, go on with an interrupted run, or keep the model that is there already."""
    if (workspace / "models" / out).is_dir():
        console.print(f"{workspace / 'models' / out} is there already and is kept; remove it to train again.\n")
        return None
    resumable = (workspace / "runs" / out / "config.json").is_file()
    options = {
        "model": BASE, "data": "starter", "out": out, "workspace": workspace, "epochs": epochs, "batch_size": 8,
        "learning_rate": 1e-5, "num_samples": 0, "save_every": 60, "keep_last": 1, "resume": resumable,
    }  # fmt: skip
    return train("sft", build_config(options))


def run_demo(workspace: Path, epochs: int, out: str) -> int:
    """Run the demo; 130 when it was interrupted, and the next call goes on from there."""
    begun = time.monotonic()
    workspace.mkdir(parents=True, exist_ok=True)
    num_pairs = len(load_conversations("starter"))
    console.print(
        f"\n[bold]1[/] The base model {BASE} is asked some questions.\n"
        f"[bold]2[/] It learns from {num_pairs} question/answer pairs.\n"
        "[bold]3[/] It is asked again.\n[bold]4[/] A report compares both on prompts it never saw.\n"
    )
    before, shown = _ask(BASE, workspace)
    _show("1 · Before: a base model goes on with text, it does not answer", shown)
    console.rule(f"[bold]2 · Training on {num_pairs} pairs, {epochs} epochs")
    run = _train(workspace, epochs, out)
    if run is not None and not run.finished:
        console.print("Interrupted. The same command goes on from here.")
        return 130
    after, shown = _ask(out, workspace)
    _show("3 · After", shown)
    console.rule("[bold]4 · Report")
    facts = {"Trained on": f"{num_pairs} starter pairs, {epochs} epochs"}
    finish_report(
        [before, after], [BASE, out], "sealed", SAMPLING, workspace / "report.html", workspace,
        title="From a base model to an assistant", facts=facts, first_prompts=SHOWN,
    )  # fmt: skip
    console.print(f"\nThe demo took {(time.monotonic() - begun) / 60:.1f} minutes.")
    console.print(f"Talk with the model: [bold]{_chat_command(workspace, out)}[/]\n")
    return 0


def _chat_command(workspace: Path, out: str) -> str:
    elsewhere = "" if workspace == Path("workspace") else f" --workspace {workspace}"
    return escape(f"tutelage chat {out}{elsewhere}")
