"""The before/after report: one HTML file that opens from disk, needs no network and trusts no text in it.

`write_report` gathers measures, curves and answers and fills templates/report.html. The page forbids itself everything
but its own style and script (Content-Security-Policy with their sha256), every value is escaped, and every prompt and
answer is cleaned by `tutelage.evaluate.markdown`. It is written to a temporary file and renamed, so a report is whole
or absent.

Leaves out: making the answers and likelihoods (the caller's work), and any judgement by people or models.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from tutelage.data.words import words
from tutelage.errors import TutelageError
from tutelage.evaluate.charts import RunCurve, draw_curves, draw_intervals
from tutelage.evaluate.contest import Standings
from tutelage.evaluate.markdown import clean_text, render_markdown
from tutelage.evaluate.measures import LOOP_WORDS, measure_answer
from tutelage.evaluate.summary import ModelResult, Row, aligned_answers, summarise
from tutelage.evaluate.terminal import report_table
from tutelage.evaluate.wording import (
    contest_sentence,
    finding,
    format_difference,
    format_range,
    format_value,
    headline,
    moved_sentence,
    overview,
    sample_size_note,
    undecided_labels,
)
from tutelage.rewards.instructions import check_loose, check_strict, describe_check
from tutelage.types import Answer, Prompt

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["ModelResult", "Row", "RunCurve", "report_table", "summarise", "write_report"]

NO_FACTS: Mapping[str, str] = {}

# What else can be wrong with an answer, in the words of its badge; the name is the measure that says so.
_PROBLEMS = {
    "empty": "empty",
    "loops": "loops",
    "text_after_end": "goes on past its end",
    "role_leak": "leaks a role token",
}


def write_report(
    path: Path,
    *,
    title: str,
    models: Sequence[ModelResult],
    curves: Sequence[RunCurve] = (),
    facts: Mapping[str, str] = NO_FACTS,
    first_prompts: Sequence[str] = (),
    standings: Standings | None = None,
) -> None:
    """Write the report of 1 to 4 models on the same prompts; the first model is "before", the last "after".

    `first_prompts` are prompt ids or last user messages to show before the others, in that order; `standings` says who
    won under which rater.
    Raises `ConfigError` or `DataError` as `summarise` does, `TutelageError` when the file cannot be written.
    """
    page = render_report(
        title=title, models=models, curves=curves, facts=facts, first_prompts=first_prompts, standings=standings
    )
    _write_whole(path, page)


def render_report(
    *,
    title: str,
    models: Sequence[ModelResult],
    curves: Sequence[RunCurve],
    facts: Mapping[str, str],
    first_prompts: Sequence[str],
    standings: Standings | None = None,
) -> str:
    """The page as a string."""
    rows = summarise(models)
    cases = _cases(models, first_prompts)
    style, script = _asset("report.css"), _asset("report.js")
    return (
        _environment()
        .get_template("report.html")
        .render(
            title=title,
            models=models,
            rows=rows,
            findings=headline(rows),
            undecided=undecided_labels(rows),
            cases=cases,
            categories=sorted({case.category for case in cases if case.category}),
            filters=_filters(models, cases),
            charts=draw_curves(curves),
            facts=facts,
            standings=standings,
            slots={model.name: slot for slot, model in enumerate(models)},
            overview=overview(rows),
            note=sample_size_note(len(cases)),
            style=Markup(style),
            script=Markup(script),
            style_hash=_csp_hash(style),
            script_hash=_csp_hash(script),
        )
    )


@dataclass(frozen=True)
class Badge:
    """A short remark on an answer; `tone` is good, bad or plain."""

    text: str
    tone: str


@dataclass(frozen=True)
class Reply:
    """One model's answer, ready for the page."""

    slot: int
    html: Markup
    num_words: int
    num_tokens: int
    badges: list[Badge]
    checks: list[tuple[str, str]]
    problems: list[str]


@dataclass(frozen=True)
class Case:
    """One prompt with everybody's answers."""

    number: int
    name: str
    category: str
    turns: list[tuple[str, Markup]]
    reference: Markup | None
    replies: list[Reply]
    flags: str


def _cases(models: Sequence[ModelResult], first_prompts: Sequence[str]) -> list[Case]:
    by_prompt = list(zip(*aligned_answers(models), strict=True))
    order = {wanted: position for position, wanted in enumerate(first_prompts)}

    def place(answers: tuple[Answer, ...]) -> int:
        prompt = answers[0].prompt
        names = (prompt.id, prompt.messages[-1].content if prompt.messages else "")
        return min((order[name] for name in names if name in order), default=len(order))

    return [_case(number, answers) for number, answers in enumerate(sorted(by_prompt, key=place), start=1)]


def _case(number: int, answers: Sequence[Answer]) -> Case:
    prompt: Prompt = answers[0].prompt
    replies = [_reply(slot, answer) for slot, answer in enumerate(answers)]
    return Case(
        number=number,
        name=prompt.id or f"prompt {number}",
        category=str(prompt.meta.get("category", "")),
        turns=[(message.role, render_markdown(message.content)) for message in prompt.messages],
        reference=None if prompt.reference is None else render_markdown(prompt.reference),
        replies=replies,
        flags="|".join(f"{reply.slot}:{problem}" for reply in replies for problem in reply.problems),
    )


def _reply(slot: int, answer: Answer) -> Reply:
    values = measure_answer(answer)
    found = [name for name in _PROBLEMS if values.get(name)]
    cut_off = "cut off mid-sentence" if values["truncated"] else "cut off"
    badges = [Badge("stopped", "good") if answer.stopped else Badge(cut_off, "bad")]
    badges += [Badge(_badge_text(name, values), "bad") for name in found]
    problems = [*([] if answer.stopped else ["cut off"]), *(_PROBLEMS[name] for name in found)]
    checks = [_check_result(check, answer.text) for check in answer.prompt.checks]
    if any(result != "followed" for result, _ in checks):
        problems.append("misses an instruction")
    num_words = len(words(answer.text))
    return Reply(slot, render_markdown(answer.text), num_words, answer.num_tokens, badges, checks, problems)


def _badge_text(name: str, values: Mapping[str, float]) -> str:
    return f"loops ({values['longest_loop']:.0f} words)" if name == "loops" else _PROBLEMS[name]


def _check_result(check: Mapping[str, Any], text: str) -> tuple[str, str]:
    result = "followed" if check_strict(check, text) else "followed loosely" if check_loose(check, text) else "missed"
    return result, describe_check(check)


def _filters(models: Sequence[ModelResult], cases: Sequence[Case]) -> list[tuple[str, list[tuple[str, str, int]]]]:
    """For each model, the problems its answers have: (flag, words, number of prompts)."""
    groups = []
    for slot, model in enumerate(models):
        problems = [problem for case in cases for problem in case.replies[slot].problems]
        kinds = list(dict.fromkeys(problems))
        groups.append((model.name, [(f"{slot}:{kind}", kind, problems.count(kind)) for kind in kinds]))
    return [(name, options) for name, options in groups if options]


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tutelage.evaluate"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: clean_text(value) if type(value) is str else value,
    )
    environment.filters.update(
        finding=finding,
        contest=contest_sentence,
        moved=moved_sentence,
        share=lambda contest, slot: draw_intervals([contest.rate.score], full_scale=True, first_slot=slot, mark=0.5),
        value=lambda estimate, measure: format_value(measure, estimate.estimate),
        range=lambda interval, measure, signed=False: format_range(measure, interval, signed=signed),
        difference=lambda interval, measure: format_difference(measure, interval),
        intervals=lambda row: draw_intervals(row.estimates, full_scale=row.measure.unit == "%"),
    )
    environment.globals["loop_words"] = LOOP_WORDS
    return environment


def _asset(name: str) -> str:
    text = resources.files("tutelage.evaluate").joinpath("templates", name).read_text(encoding="utf-8")
    return "\n" + text.replace("\r\n", "\n")


def _csp_hash(text: str) -> str:
    """The hash source by which a Content-Security-Policy allows exactly this inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _write_whole(path: Path, page: str) -> None:
    """Write beside the target, sync, rename: a reader sees the old report or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise TutelageError(
            f"cannot write the report {path}: {reason}; choose another place or free some space"
        ) from error
