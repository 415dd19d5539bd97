"""Checks a data file: every error by line and field, and everything suspicious about its records.

Unlike loading, which stops at the first error, a check collects them all.
Leaves out: showing the report (`tutelage.data.check_table`) and the exit code (the command line).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tutelage.data.checks import find_form
from tutelage.data.duplicates import find_repeats, find_sealed
from tutelage.data.formats import Parsed, parse_conversations
from tutelage.data.languages import find_languages
from tutelage.data.lengths import CHARACTERS_PER_TOKEN, find_length_outliers, find_over_long
from tutelage.data.load import ConversationSource, load_prompts, open_conversations
from tutelage.data.personal import find_personal
from tutelage.data.raw import Problem, RawFile
from tutelage.data.report import SEVERITIES, CheckReport, Finding
from tutelage.data.starter import SEALED
from tutelage.types import Prompt


def check_file(
    source: ConversationSource,
    *,
    tokenizer: Any = None,
    max_tokens: int = 2048,
    sealed: Sequence[Prompt] | None = None,
) -> CheckReport:
    """Everything wrong with or suspicious about the conversations of `source`.

    `tokenizer` (a Hugging Face one) makes the token counts exact; `sealed` are the prompts that must not be trained
    on, by default the shipped ones. Raises `DataError` only when the source cannot be opened at all.
    """
    records: list[Parsed] = []
    findings: list[Finding] = []
    raw_files = open_conversations(source)
    for raw_file in raw_files:
        for item in parse_conversations(raw_file):
            if isinstance(item, Problem):
                findings.append(_error(raw_file, item))
            else:
                records.append(item)
    sealed = load_prompts(SEALED) if sealed is None else sealed
    num_records = _num_records(records, findings)
    findings += _quality(records, tokenizer, max_tokens, sealed)
    return CheckReport(
        file=source if isinstance(source, str) else str(source) if isinstance(source, Path) else raw_files[0].name,
        format=_format(raw_files, records),
        num_records=num_records,
        num_turns=sum(len(parsed.conversation.messages) for parsed in records),
        findings=_sorted(findings),
        stats=_stats(records),
    )


def _error(raw_file: RawFile, problem: Problem) -> Finding:
    return Finding("error", problem.code, problem.line, problem.field, problem.message, raw_file.name)


def _num_records(records: Sequence[Parsed], errors: Sequence[Finding]) -> int:
    """Records that were read and records that could not be; a record may have several errors."""
    sources = (parsed.conversation.source for parsed in records)
    places = {(source.file, source.line) for source in sources if source}
    return len(places | {(error.file, error.line) for error in errors if error.line is not None})


def _quality(records: Sequence[Parsed], tokenizer: Any, max_tokens: int, sealed: Sequence[Prompt]) -> Iterator[Finding]:
    control_tokens = {tokenizer.bos_token, tokenizer.eos_token} - {None} if tokenizer else set()
    yield from find_sealed(records, sealed)
    for parsed in records:
        yield from itertools.chain(find_form(parsed, control_tokens), find_personal(parsed))
    yield from find_repeats(records)
    yield from find_over_long(records, max_tokens, tokenizer)
    yield from find_length_outliers(records)
    yield from find_languages(records)


def _format(raw_files: Sequence[RawFile], records: Sequence[Parsed]) -> str:
    shapes = sorted({parsed.shape for parsed in records})
    return ", ".join([raw_files[0].container, *shapes])


def _sorted(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    def key(finding: Finding) -> tuple[int, str, int]:
        return SEVERITIES.index(finding.severity), finding.file, finding.line or 0

    return tuple(sorted(findings, key=key))


def _stats(records: Sequence[Parsed]) -> dict[str, int | float]:
    """Sizes for a table: names carry their units."""
    if not records:
        return {}
    turns = [len(parsed.conversation.messages) for parsed in records]
    prompts = [sum(len(turn.content) for turn in parsed.conversation.messages[:-1]) for parsed in records]
    answers = [len(parsed.conversation.messages[-1].content) for parsed in records]
    return {
        "median_turns": median(turns),
        "max_turns": max(turns),
        "median_prompt_characters": median(prompts),
        "max_prompt_characters": max(prompts),
        "median_answer_characters": median(answers),
        "max_answer_characters": max(answers),
        "estimated_tokens": (sum(prompts) + sum(answers)) // CHARACTERS_PER_TOKEN,
    }
