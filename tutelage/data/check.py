"""Checks a data file: every error by line and field, and everything suspicious about its records.

Unlike loading, which stops at the first error, a check collects them all.
Leaves out: showing the report (`tutelage.data.check_table`) and the exit code (the command line).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tutelage.data.check_verdicts import find_verdicts, verdict_stats
from tutelage.data.checks import find_form
from tutelage.data.duplicates import find_repeats, find_sealed
from tutelage.data.formats import Parsed, parse_conversations
from tutelage.data.languages import find_languages
from tutelage.data.lengths import CHARACTERS_PER_TOKEN, find_length_outliers, find_over_long
from tutelage.data.load import ConversationSource, load_prompts, open_conversations, told_apart
from tutelage.data.personal import find_personal
from tutelage.data.raw import Problem, RawFile
from tutelage.data.report import SEVERITIES, CheckReport, Finding, Kind
from tutelage.data.starter import SEALED
from tutelage.data.verdicts import Judged, parse_verdicts
from tutelage.types import Prompt, Source


def check_file(
    source: ConversationSource,
    *,
    kind: Kind | None = None,
    tokenizer: Any = None,
    max_tokens: int = 2048,
    sealed: Sequence[Prompt] | None = None,
) -> CheckReport:
    """Everything wrong with or suspicious about the conversations, comparisons or ratings of `source`.

    `kind` says which of them to expect; without it the first record does. `tokenizer` (a Hugging Face one) makes the
    token counts exact; `sealed` are the prompts that must not be trained on, by default the shipped ones. Raises
    `DataError` only when the source cannot be opened at all.
    """
    raw_files, told = told_apart(open_conversations(source))
    kind = kind or told
    parse: Callable[[RawFile], Iterable[Parsed | Judged | Problem]]
    parse = parse_conversations if kind == "conversations" else parse_verdicts
    items = [(raw_file, item) for raw_file in raw_files for item in parse(raw_file)]
    findings = [_error(raw_file, item) for raw_file, item in items if isinstance(item, Problem)]
    records = [item for _, item in items if isinstance(item, Parsed)]
    verdicts = [item for _, item in items if isinstance(item, Judged)]
    num_records = _num_records([*map(_source, records), *map(_source, verdicts)], findings)
    sides = [*records, *itertools.chain.from_iterable(judged.sides() for judged in verdicts)]
    findings += _quality(sides, tokenizer, max_tokens, load_prompts(SEALED) if sealed is None else sealed)
    findings += find_repeats(records) if records else find_verdicts(verdicts)
    return CheckReport(
        file=source if isinstance(source, str) else str(source) if isinstance(source, Path) else raw_files[0].name,
        format=", ".join([raw_files[0].container, *sorted({side.shape for side in sides})]),
        num_records=num_records,
        num_turns=sum(len(side.conversation.messages) - side.num_seen for side in sides),
        findings=_sorted(findings),
        stats=verdict_stats(verdicts) if verdicts else _stats(records),
        kind=kind,
    )


def _error(raw_file: RawFile, problem: Problem) -> Finding:
    return Finding("error", problem.code, problem.line, problem.field, problem.message, raw_file.name)


def _source(record: Parsed | Judged) -> Source | None:
    return record.conversation.source if isinstance(record, Parsed) else record.verdict.source


def _num_records(sources: Sequence[Source | None], errors: Sequence[Finding]) -> int:
    """Records that were read and records that could not be; a record may have several errors."""
    places = {(source.file, source.line) for source in sources if source}
    return len(places | {(error.file, error.line) for error in errors if error.line is not None})


def _quality(records: Sequence[Parsed], tokenizer: Any, max_tokens: int, sealed: Sequence[Prompt]) -> Iterator[Finding]:
    """What can be said of any text: a conversation, or a prompt with one of its judged answers."""
    control_tokens = {tokenizer.bos_token, tokenizer.eos_token} - {None} if tokenizer else set()
    yield from find_sealed(records, sealed)
    for parsed in records:
        yield from itertools.chain(find_form(parsed, control_tokens), find_personal(parsed))
    yield from find_over_long(records, max_tokens, tokenizer)
    yield from find_length_outliers(records)
    yield from find_languages(records)


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
