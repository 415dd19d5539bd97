"""The whole loop in one command: ask a base model, teach it with the starter pairs, ask again, write the report.

Every part is the one the other verbs use. Leaves out choices: for those there is `tutelage train`.
"""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from tutelage.data import load_conversations, load_prompts
from tutelage.engine.answer import answer_prompts
from tutelage.engine.generate import Sampling
from tutelage.evaluate.run import load_for_answers
from tutelage.train.api import Run, train
from tutelage.train.config import build_config
from tutelage.types import Answer, Message, Prompt
from tutelage.verbs import evaluate_models, finish_report

BASE = "starter-base"
PAN = "How do you clean a dirty pan?"
SHOWN = ("sealed-facts-01", "sealed-writing-01", "sealed-everyday-01")
"""Sealed prompts shown in the terminal beside the pan; the report has them all."""
SHOWN_LINES = 14
SAMPLING = Sampling(max_new_tokens=160)
LEARNING_RATE = 3e-5

console = Console(highlight=False)


def _shown_prompts() -> list[Prompt]:
    sealed = {prompt.id: prompt for prompt in load_prompts("sealed")}
    return [Prompt((Message("user", PAN),), id="pan"), *(sealed[name] for name in SHOWN)]


def _ask(model: str, workspace: Path) -> list[Answer]:
    loaded = load_for_answers(model, workspace)
    return answer_prompts(loaded.model, loaded.tokenizer, _shown_prompts(), SAMPLING, name=model)


def _show(title: str, answers: list[Answer]) -> None:
    console.rule(f"[bold]{escape(title)}")
    for answer in answers:
        trained = " [dim](in the starter pairs)[/]" if answer.prompt.id == "pan" else " [dim](never trained on)[/]"
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
        "model": BASE, "data": "starter", "out": out, "workspace": workspace, "epochs": epochs, "batch_size": 16,
        "learning_rate": LEARNING_RATE, "num_samples": 0, "save_every": 30, "keep_last": 1, "resume": resumable,
    }  # fmt: skip
    return train("sft", build_config(options))


def run_demo(workspace: Path, epochs: int, out: str) -> int:
    """Run the demo; 130 when it was interrupted, and the next call goes on from there."""
    begun = time.monotonic()
    workspace.mkdir(parents=True, exist_ok=True)
    num_pairs = len(load_conversations("starter"))
    console.print(
        f"[bold]1[/] A base model, {BASE}, is asked four questions. [bold]2[/] It learns from {num_pairs} question/"
        "answer pairs. [bold]3[/] It is asked again. [bold]4[/] A report compares both on all sealed prompts.\n"
    )
    before = _ask(BASE, workspace)
    _show("1 · Before: a base model goes on with text, it does not answer", before)
    console.rule(f"[bold]2 · Training on {num_pairs} pairs, {epochs} epochs")
    run = _train(workspace, epochs, out)
    if run is not None and not run.finished:
        console.print("Interrupted. The same command goes on from here.")
        return 130
    _show("3 · After", _ask(out, workspace))
    console.rule("[bold]4 · Report")
    results = evaluate_models([BASE, out], "sealed", SAMPLING, batch_size=16, workspace=workspace)
    facts = {"Trained on": f"{num_pairs} starter pairs, {epochs} epochs"}
    finish_report(
        results, [BASE, out], "sealed", SAMPLING, workspace / "report.html", workspace,
        title="From a base model to an assistant", facts=facts, first_prompts=SHOWN,
    )  # fmt: skip
    console.print(f"\n{_minutes(time.monotonic() - begun)}. Talk with it: [bold]tutelage chat {escape(out)}[/]")
    return 0


def _minutes(seconds: float) -> str:
    return f"The demo took {seconds / 60:.1f} minutes"


