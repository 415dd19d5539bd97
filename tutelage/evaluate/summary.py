"""From answers to rows: each measure for each model, with intervals, and how the last model differs from the first.

Every model answers the same prompts, so differences are paired by prompt. The verdict is "better" or "worse" only when
the 95 % interval of the difference leaves out 0 and there are at least six prompts: with five, even a clean sweep
happens by luck once in sixteen times (two-sided sign test).

Leaves out: the page (`tutelage.evaluate.report`) and the terminal table (`tutelage.evaluate.terminal`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tutelage.errors import ConfigError, DataError
from tutelage.evaluate.measures import MEASURES, Measure, measure_answers
from tutelage.stats.intervals import (
    Interval,
    bootstrap_ratio,
    mean_interval,
    paired_bootstrap,
    paired_bootstrap_ratio,
    paired_proportions,
    wilson,
)
from tutelage.types import Answer, Prompt

MAX_MODELS = 4
MIN_PROMPTS_FOR_VERDICT = 6

Verdict = Literal["better", "worse", "undecided", ""]
Documents = list[tuple[float, int]]


@dataclass(frozen=True)
class ModelResult:
    """What one model said, and how surprised it was by texts it did not write.

    `nll_reference` has an entry a prompt: (sum of −logp over the reference answer's tokens, end of turn included,
    number of those tokens); `nll_general` the same for each general text. Both are None where they were not computed.
    """

    name: str
    origin: str
    answers: list[Answer]
    nll_reference: Documents | None = None
    nll_general: Documents | None = None


@dataclass(frozen=True)
class Row:
    """One measure over all models; `difference` is last − first, paired; None for one model or unlike tokenisers."""

    measure: Measure
    models: tuple[str, ...]
    estimates: tuple[Interval | None, ...]
    num_cases: int
    difference: Interval | None
    verdict: Verdict
    remark: str = ""


def summarise(models: Sequence[ModelResult]) -> list[Row]:
    """The rows of the report, in the order of `MEASURES`; a measure that applies to no prompt has no row.

    Raises `ConfigError` for none or more than four models, `DataError` when they answered different prompts.
    """
    if not 1 <= len(models) <= MAX_MODELS:
        raise ConfigError(f"a report compares 1 to {MAX_MODELS} models, and {len(models)} were given")
    names = tuple(model.name for model in models)
    measured = [measure_answers(answers) for answers in aligned_answers(models)]
    rows = []
    for measure in MEASURES:
        if measure.unit == "nats":
            documents: list[Documents | None] = [getattr(model, measure.name) for model in models]
            rows.append(_likelihood_row(measure, names, documents))
        else:
            rows.append(_answer_row(measure, names, measured))
    return [row for row in rows if row is not None]


def aligned_answers(models: Sequence[ModelResult]) -> list[list[Answer]]:
    """Each model's answers in the order of the first model's prompts. Raises `DataError` where they differ."""
    wanted = _by_prompt(models[0])
    aligned = []
    for model in models:
        answers = _by_prompt(model)
        for missing, owner in ((wanted.keys() - answers.keys(), model), (answers.keys() - wanted.keys(), models[0])):
            if missing:
                name = _prompt_name(min(missing))
                raise DataError(
                    f"model '{owner.name}' has no answer to prompt {name}; "
                    "every model in a report answers the same prompts"
                )
        aligned.append([answers[key] for key in wanted])
    return aligned


PromptKey = tuple[str, tuple[tuple[str, str], ...]]


def _by_prompt(model: ModelResult) -> dict[PromptKey, Answer]:
    found: dict[PromptKey, Answer] = {}
    for answer in model.answers:
        key = _key(answer.prompt)
        if key in found:
            raise DataError(f"model '{model.name}' answers prompt {_prompt_name(key)} twice; keep one answer a prompt")
        found[key] = answer
    if not found:
        raise DataError(f"model '{model.name}' has no answers; a report needs at least one prompt")
    return found


def _key(prompt: Prompt) -> PromptKey:
    return prompt.id, tuple((message.role, message.content) for message in prompt.messages)


def _prompt_name(key: PromptKey) -> str:
    prompt_id, messages = key
    return f"'{prompt_id}'" if prompt_id else f"'{messages[-1][1][:40]}'" if messages else "''"


def _answer_row(
    measure: Measure, names: tuple[str, ...], measured: Sequence[Sequence[Mapping[str, float]]]
) -> Row | None:
    # Whether a measure applies depends on the prompt; a prompt counts only where it applies to every model's answer.
    by_prompt = [values for values in zip(*measured, strict=True) if all(measure.name in value for value in values)]
    if not by_prompt:
        return None
    columns = [[values[i][measure.name] for values in by_prompt] for i in range(len(names))]
    first, last = columns[0], columns[-1]
    difference = None
    if measure.kind == "proportion":
        estimates = tuple(wilson(round(sum(column)), len(column)) for column in columns)
        if len(names) > 1:
            difference = paired_proportions([value > 0 for value in first], [value > 0 for value in last])
    else:
        estimates = tuple(mean_interval(column) for column in columns)
        if len(names) > 1:
            difference = paired_bootstrap(first, last)
    return Row(measure, names, estimates, len(by_prompt), difference, _verdict(measure, difference, len(by_prompt)))


def _likelihood_row(measure: Measure, names: tuple[str, ...], columns: Sequence[Documents | None]) -> Row | None:
    known = [column for column in columns if column]
    if not known:
        return None
    if len({len(column) for column in known}) > 1:
        raise DataError(f"the models have {measure.name} for different numbers of texts; use the same texts for all")
    estimates = tuple(bootstrap_ratio(column) if column else None for column in columns)
    first, last = columns[0], columns[-1]
    difference, remark = None, ""
    if len(names) > 1 and first and last:
        if [num for _, num in first] == [num for _, num in last]:
            difference = paired_bootstrap_ratio(first, last)
        else:
            remark = "not compared: the models cut the texts into different tokens"
    verdict = _verdict(measure, difference, len(known[0]))
    return Row(measure, names, estimates, len(known[0]), difference, verdict, remark)


def _verdict(measure: Measure, difference: Interval | None, num_cases: int) -> Verdict:
    if difference is None:
        return ""
    if difference.contains(0.0) or num_cases < MIN_PROMPTS_FOR_VERDICT:
        return "undecided"
    return "better" if (difference.estimate > 0) == (measure.better == "higher") else "worse"


def half_width_points(num_prompts: int) -> float:
    """Half-width, in percentage points, of the 95 % interval of a proportion of one half: 9.8 for 100 prompts."""
    return 100 * 1.96 * math.sqrt(0.25 / num_prompts)
