"""The demo from its first line to its report: what happens in which order, and what is said about it.

Leaves out how models are trained (`training`) and how finished work is kept (`kept`).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from tutelage.data import load_general_texts, load_prompts
from tutelage.demo.kept import kept, pack_answers, pack_result, sources_of, unpack_answers, unpack_result
from tutelage.demo.record import enter_models, enter_pairs, enter_verdicts
from tutelage.demo.training import ANSWER_TOKENS, BASE, REWARD, RLHF, SFT, train_once
from tutelage.engine.answer import AT_ONCE, answer_prompts
from tutelage.engine.generate import Sampling
from tutelage.evaluate.contest import Moved, hold_contests, how_far_moved
from tutelage.evaluate.markdown import clean_text
from tutelage.evaluate.numbers import numbers_file
from tutelage.evaluate.rater import ScriptedRater
from tutelage.evaluate.run import evaluate_model, load_for_answers
from tutelage.evaluate.summary import ModelResult
from tutelage.stats.intervals import Interval, wilson
from tutelage.train.progress import counting
from tutelage.train.run_folder import strict_json
from tutelage.types import Answer, Message, Prompt
from tutelage.verbs import finish_report, write_file
from tutelage.verdicts import (
    Pair,
    Verdict,
    comparison_line,
    judge_by_script,
    judge_in_terminal,
    make_pairs,
)

PAN = Prompt((Message("user", "How do you clean a dirty pan?"),), id="pan")
SHOWN = ("sealed-facts-01", "sealed-writing-03", "sealed-everyday-02")
"""Sealed prompts shown in the terminal beside the pan; the report has them all."""
SHOWN_LINES = 10
SAMPLING = Sampling(max_new_tokens=128)
PAIR_SAMPLING = Sampling(max_new_tokens=ANSWER_TOKENS, temperature=1.0)
KL_SAMPLING = Sampling(max_new_tokens=ANSWER_TOKENS, temperature=1.0, seed=1)
RATER = ScriptedRater(noise=0.16, seed=0)
PAIRS_FOR_ME = 20
STUDIO_ADDRESS = "http://127.0.0.1:8300"


@dataclass
class Stopwatch:
    """Where the time of a demo goes."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - begun

    def table(self) -> Table:
        """A row for each part, and their sum."""
        table = Table("where the time went", "minutes", box=None, header_style="bold")
        table.columns[1].justify = "right"
        for name, seconds in self.seconds.items():
            table.add_row(name, f"{seconds / 60:.1f}")
        table.add_row("all", f"{sum(self.seconds.values()) / 60:.1f}", style="bold")
        return table


@dataclass
class Demo:
    """A demo in a workspace; `out` begins the names of its models."""

    workspace: Path
    out: str = "demo"
    me: bool = False
    console: Console = field(default_factory=lambda: Console(highlight=False))
    ask_person: Callable[[str], str] = input
    watch: Stopwatch = field(default_factory=Stopwatch)

    def __post_init__(self) -> None:
        self.sft, self.reward, self.rlhf = (f"{self.out}-{part}" for part in ("sft", "reward", "rlhf"))
        self.folder = self.workspace / self.out

    def run(self) -> int:
        """The whole demo; 130 where it was interrupted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        pairs = enter_pairs(self.workspace)
        num_pairs = pairs.num_records
        self._plan(num_pairs)
        results = [self._ask(BASE, "1 · Before: a base model goes on with text, it does not answer")]
        self.console.rule(f"[bold]2 · Fine-tuning on {num_pairs} question/answer pairs")
        with self.watch("fine-tuning on pairs"):
            if not train_once("sft", {**SFT, "data": pairs.label}, self.workspace, self.sft, self.console):
                return 130
        results.append(self._ask(self.sft, "2 · After fine-tuning: it answers"))
        if not (self._collect_verdicts() and self._learn_from_verdicts()):
            return 130
        results.append(self._ask(self.rlhf, "5 · After RLHF"))
        self._report(results, num_pairs)
        return 0

    def _plan(self, num_pairs: int) -> None:
        who = f"[bold]you[/] judge {PAIRS_FOR_ME} pairs, the script the others" if self.me else "a script judges them"
        self.console.print(
            f"\n[bold]1[/] The base model {BASE} is asked some questions.\n"
            f"[bold]2[/] It learns from {num_pairs} question/answer pairs, and is asked again.\n"
            f"[bold]3[/] It gives two answers to each of {len(load_prompts('compare'))} other prompts; {who}.\n"
            "[bold]4[/] A reward model learns from these verdicts, and the assistant from the reward model (PPO).\n"
            "[bold]5[/] A report compares all three on prompts none of them ever saw.\n"
        )

    def _ask(self, model: str, title: str) -> ModelResult:
        """The model's results on all sealed prompts; shows its answers to four questions."""
        prompts = load_prompts("sealed")
        asked = [PAN, *prompts]

        def evaluate() -> dict[str, Any]:
            loaded = load_for_answers(model, self.workspace)
            pan = answer_prompts(loaded.model, loaded.tokenizer, [PAN], SAMPLING, name=model)
            with counting(f"{model} answers {len(prompts)} prompts", len(prompts), at_once=AT_ONCE) as progress:
                result = evaluate_model(loaded, prompts, load_general_texts(), SAMPLING, progress=progress)
            return pack_result(result) | {"pan": pack_answers(pan)}

        with self.watch("asking the three models"):
            made_from = sources_of([model], self.workspace, asked, SAMPLING)
            packed = kept(self.folder / f"answers-{model}.json", made_from, evaluate)
        result = unpack_result(packed, prompts, model)
        by_id = {answer.prompt.id: answer for answer in result.answers}
        self._show(title, [*unpack_answers(packed["pan"], [PAN], model), *(by_id[name] for name in SHOWN)])
        return result

    def _show(self, title: str, answers: Sequence[Answer]) -> None:
        self.console.rule(f"[bold]{escape(title)}")
        for answer in answers:
            trained = " [dim](in the starter pairs)[/]" if answer.prompt is PAN else " [dim](never trained on)[/]"
            self.console.print(f"\n[bold cyan]{escape(answer.prompt.messages[-1].content)}[/]{trained}")
            self._show_answer(answer)
        self.console.print()

    def _show_answer(self, answer: Answer) -> None:
        """Rambling fills screens; the report has it whole."""
        lines = clean_text(answer.text).splitlines()
        text = "\n".join(lines[:SHOWN_LINES]) + (" …" if len(lines) > SHOWN_LINES else "")
        cut = "" if answer.stopped else " [dim]… cut off, it would have gone on[/]"
        self.console.print(Padding(escape(text) + cut, (0, 0, 0, 2)))

    def _collect_verdicts(self) -> bool:
        """Two answers to each comparison prompt, judged, in a file; False where the person stopped."""
        self.console.rule("[bold]3 · Verdicts: which of two answers is better?")
        with self.watch("two answers to each comparison prompt"):
            pairs = make_pairs(self._two_answers())
        verdicts: list[Verdict] = []
        if self.me:
            mine = judge_in_terminal(
                pairs, self.folder / "said.jsonl", PAIRS_FOR_ME, self.console, self.ask_person
            )  # fmt: skip
            if mine is None:
                self.console.print("The same command goes on from here.")
                return False
            verdicts += mine
            self._compare_with_script(mine)
        by_me = {verdict.pair.name for verdict in verdicts}
        verdicts += judge_by_script([pair for pair in pairs if pair.name not in by_me], RATER)
        made_by = {"model": self.sft, "temperature": PAIR_SAMPLING.temperature, "max_new_tokens": ANSWER_TOKENS}
        write_file(self._verdicts, b"".join(strict_json(comparison_line(one, made_by)) for one in verdicts))
        self._tell_verdicts(pairs, verdicts)
        return True

    @property
    def _verdicts(self) -> Path:
        return self.folder / "verdicts.jsonl"

    def _two_answers(self) -> list[Answer]:
        prompts = load_prompts("compare")

        def sample() -> list[dict[str, Any]]:
            loaded = load_for_answers(self.sft, self.workspace)
            label = f"{self.sft} answers each of {len(prompts)} prompts twice"
            with counting(label, 2 * len(prompts), at_once=AT_ONCE) as progress:
                answers = answer_prompts(
                    loaded.model, loaded.tokenizer, prompts, PAIR_SAMPLING, name=self.sft, num_samples=2,
                    progress=progress,
                )  # fmt: skip
            return pack_answers(answers)

        made_from = sources_of([self.sft], self.workspace, prompts, PAIR_SAMPLING)
        packed = kept(self.folder / "pairs.json", made_from, sample)
        return unpack_answers(packed, [prompt for prompt in prompts for _ in range(2)], self.sft)

    def _compare_with_script(self, mine: Sequence[Verdict]) -> None:
        decided = [one for one in mine if one.preference]
        if decided:
            agreed = sum(one.preference == RATER.prefers(one.pair.first, one.pair.second) for one in decided)
            self.console.print(f"You and the script, noise aside, agree on {_share(wilson(agreed, len(decided)))}.")

    def _tell_verdicts(self, pairs: Sequence[Pair], verdicts: Sequence[Verdict]) -> None:
        scripted = sum(one.rater.startswith(RATER.name) for one in verdicts)
        turned = sum(
            one.preference == -RATER.prefers(one.pair.first, one.pair.second) != 0
            for one in verdicts if one.rater.startswith(RATER.name)
        )  # fmt: skip
        self.console.print(
            f"{len(pairs)} pairs. {scripted} were judged by the [bold]scripted rater[/]: a script with fixed rules "
            f"(docs/rater.md), no person. It errs on purpose, here on {turned} of them "
            f"(noise {RATER.noise:.0%}). The verdicts: {escape(str(self._verdicts))}, and in the workspace's record"
        )
        shown = max(verdicts, key=lambda one: abs(RATER.quality(one.pair.first) - RATER.quality(one.pair.second)))
        self.console.print(f"\nOne of them:\n\n[bold cyan]{escape(shown.pair.first.prompt.messages[-1].content)}[/]")
        order = (shown.pair.first, shown.pair.second)[:: 1 if shown.preference >= 0 else -1]
        for word, answer in zip(("better", "worse"), order, strict=True):
            self.console.print(f"[bold]{word}[/] [dim](quality {RATER.quality(answer):.2f})[/]")
            self._show_answer(answer)
        self.console.print()

    def _learn_from_verdicts(self) -> bool:
        self.console.rule("[bold]4 · RLHF: a reward model, then PPO")
        verdicts = enter_verdicts(self.workspace, self.out, self._verdicts)
        reward = {**REWARD, "model": self.sft, "data": verdicts.label}
        with self.watch("reward model"):
            if not train_once("reward", reward, self.workspace, self.reward, self.console):
                return False
        rlhf = {**RLHF, "model": self.sft, "reward": (self.reward,)}
        with self.watch("PPO"):
            return train_once("ppo", rlhf, self.workspace, self.rlhf, self.console)

    def _moved(self) -> Moved:
        """KL of the last model from the fine-tuned one."""
        prompts = load_prompts("sealed")

        def measure() -> dict[str, Any]:
            policy, origin = (load_for_answers(name, self.workspace) for name in (self.rlhf, self.sft))
            with counting("how far RLHF moved the model", len(prompts), at_once=AT_ONCE) as progress:
                return {"kl": list(how_far_moved(policy, origin, prompts, KL_SAMPLING, progress).kl)}

        made_from = sources_of([self.rlhf, self.sft], self.workspace, prompts, KL_SAMPLING)
        found = kept(self.folder / "kl.json", made_from, measure)
        return Moved(self.rlhf, self.sft, Interval(*found["kl"]), len(prompts))

    def _report(self, results: Sequence[ModelResult], num_pairs: int) -> None:
        self.console.rule("[bold]5 · Report")
        with self.watch("report"):
            standings = hold_contests(results, RATER, [self._moved()])
            judged = f"{PAIRS_FOR_ME} by you, the others by a script" if self.me else "by a script, 16 % noise"
            facts = {
                "Fine-tuned on": f"{num_pairs} starter pairs",
                "Verdicts": f"two answers each to {len(load_prompts('compare'))} prompts, judged {judged}",
            }
            page, kept_page = self.workspace / "report.html", self.workspace / "reports" / f"{self.out}.html"
            kept_page.parent.mkdir(exist_ok=True)
            finish_report(
                results, [BASE, self.sft, self.rlhf, self.reward], "sealed", SAMPLING, page, self.workspace,
                title="From a base model to an assistant", facts=facts, first_prompts=SHOWN, standings=standings,
                numbers=numbers_file(kept_page),
            )  # fmt: skip
            shutil.copyfile(page, kept_page)  # where the studio looks
        self.console.print(self.watch.table())
        enter_models(self.workspace)
        self.console.print(f"\nTalk with the model: [bold]{self._command(f'chat {self.rlhf}')}[/]")
        self.console.print(f"Open the studio: [bold]{self._command('studio')}[/], at {STUDIO_ADDRESS}\n")

    def _command(self, words: str) -> str:
        elsewhere = "" if self.workspace == Path("workspace") else f" --workspace {self.workspace}"
        return escape(f"tutelage {words}{elsewhere}")


def _share(interval: Interval) -> str:
    share, low, high = (f"{100 * value:.0f}" for value in interval)
    return f"{share} % [{low}, {high}] of your verdicts"


def run_demo(workspace: Path, out: str = "demo", me: bool = False) -> int:
    """Run the demo; 130 when it was interrupted, and the next call goes on from there."""
    return Demo(workspace, out, me).run()
