"""The way in: conversations, people's verdicts, prompts and general text, from any source by one name.

Raises at the first bad record, unless told to leave it out. Leaves out: collecting all problems of a file
(`tutelage.data.check`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from tutelage.data import starter
from tutelage.data.files import PLAIN_TEXT, READABLE, open_hub, open_path, open_records
from tutelage.data.formats import parse_conversations, parse_prompts
from tutelage.data.raw import Problem, RawFile, RawRecord
from tutelage.data.report import Kind
from tutelage.data.verdicts import Verdict, as_comparisons, as_ratings, kind_of, parse_verdicts
from tutelage.errors import DataError
from tutelage.types import Comparison, Conversation, Prompt, Rating

ConversationSource = str | Path | Sequence[Mapping[str, Any]]
VerdictSource = ConversationSource
OnBad = Literal["error", "drop"]
Record = TypeVar("Record")
PromptSource = str | Path | Sequence[Mapping[str, Any] | str]


def load_conversations(
    source: ConversationSource, *, on_bad: OnBad = "error", dropped: list[DataError] | None = None
) -> list[Conversation]:
    """Conversations that end with the assistant.

    `source` is a file, `starter` (the shipped pairs), `hub:owner/name[:split]`, or a list of dicts. With
    `on_bad="drop"` a bad record is left out and its error is added to `dropped`. Raises `DataError` with file, line and
    field at the first record that cannot be learned from otherwise, and whenever none is left.
    """
    conversations: list[Conversation] = []
    for raw_file in open_conversations(source):
        conversations += [each.conversation for each in _good(raw_file, parse_conversations, on_bad, dropped)]
    return conversations


def load_answers(
    source: ConversationSource, *, on_bad: OnBad = "error", dropped: list[DataError] | None = None
) -> list[Conversation | Comparison | Rating]:
    """Whatever holds answers, told apart by the first record as `tutelage check` does."""
    raw_files, kind = told_apart(open_conversations(source))
    found: list[Conversation | Comparison | Rating] = []
    for raw_file in raw_files:
        if kind == "conversations":
            found += [each.conversation for each in _good(raw_file, parse_conversations, on_bad, dropped)]
        else:
            found += [each.verdict for each in _good(raw_file, parse_verdicts, on_bad, dropped)]
    return found


def load_comparisons(
    source: VerdictSource, *, on_bad: OnBad = "error", dropped: list[DataError] | None = None
) -> list[Comparison]:
    """Answers that someone put in order, from comparisons of any shape or from several ratings of one prompt.

    `source` is a file, `hub:owner/name[:split]`, or a list of dicts. With `on_bad="drop"` a bad record is left out and
    its error is added to `dropped`. Raises `DataError` with file, line and field at the first bad record otherwise,
    and whenever nothing is left to compare.
    """
    verdicts, name = _load_verdicts(source, on_bad, dropped)
    comparisons = [each for each in verdicts if isinstance(each, Comparison)]
    comparisons += as_comparisons(each for each in verdicts if isinstance(each, Rating))
    if not comparisons:
        message = f"no two of the rated answers ({len(verdicts):,}) share a prompt, so none can be compared"
        raise DataError(f"{message}; rate two answers to each prompt", file=name)
    return comparisons


def load_ratings(
    source: VerdictSource, *, on_bad: OnBad = "error", dropped: list[DataError] | None = None
) -> list[Rating]:
    """Verdicts on single answers, from ratings or from comparisons: the best answer is good, the others are bad.

    Takes and raises what `load_comparisons` does. A tie says neither, so it is left out.
    """
    verdicts, name = _load_verdicts(source, on_bad, dropped)
    ratings = [each for each in verdicts if isinstance(each, Rating)]
    ratings += as_ratings(each for each in verdicts if isinstance(each, Comparison))
    if not ratings:
        message = f"every comparison ({len(verdicts):,}) is a tie, so no answer is good or bad"
        raise DataError(f"{message}; add comparisons with a winner", file=name)
    return ratings


def _load_verdicts(source: VerdictSource, on_bad: OnBad, dropped: list[DataError] | None) -> tuple[list[Verdict], str]:
    """The verdicts of a source and its name."""
    raw_file = open_verdicts(source)
    return [each.verdict for each in _good(raw_file, parse_verdicts, on_bad, dropped)], raw_file.name


def _good(
    raw_file: RawFile, parse: Callable[[RawFile], Iterable[Record | Problem]], on_bad: OnBad,
    dropped: list[DataError] | None,
) -> list[Record]:  # fmt: skip
    """The records of a file that can be learned from; raises at the first bad one unless it may be dropped."""
    good: list[Record] = []
    errors: dict[int, DataError] = {}
    for item in parse(raw_file):
        if not isinstance(item, Problem):
            good.append(item)
        elif on_bad == "error" or item.whole_file or item.line is None:
            raise raw_file.error(item)
        else:
            errors.setdefault(item.line, raw_file.error(item))
    if dropped is not None:
        dropped += errors.values()
    if not good:
        first = next(iter(errors.values()))
        raise DataError(f"every record ({len(errors):,}) is bad; the first: {first}", file=raw_file.name)
    return good


def load_prompts(source: PromptSource) -> list[Prompt]:
    """Prompts that wait for an answer, each with its last answer as reference where the source has one.

    `source` is what `load_conversations` takes, a text file with one prompt a line, `sealed` (the shipped sealed
    prompts), `compare` (the shipped comparison prompts), or a list of strings. Raises `DataError` with file, line and
    field at the first bad record.
    """
    prompts = []
    for raw_file in _open(source):
        for item in parse_prompts(raw_file):
            if isinstance(item, Problem):
                raise raw_file.error(item)
            prompts.append(item)
    return prompts


def load_general_texts() -> list[str]:
    """The shipped general text: original prose that no pair teaches."""
    texts = []
    for raw_file in starter.open_general():
        for item in raw_file:
            if isinstance(item, Problem):
                raise raw_file.error(item)
            texts.append(str(item.value["text"]))
    return texts


def open_conversations(source: ConversationSource) -> list[RawFile]:
    """The opened files of a source to train on; refuses sources that hold only prompts."""
    if isinstance(source, str) and source == starter.SEALED:
        raise DataError("'sealed' names the sealed prompts, which are never trained on; 'starter' names the pairs")
    if isinstance(source, str) and source == starter.COMPARE:
        raise DataError("'compare' names prompts that nobody has answered; 'starter' names the pairs to learn from")
    raw_files = _open(source)
    for raw_file in raw_files:
        _refuse_plain_text(raw_file, "pairs")
    return raw_files


def open_verdicts(source: VerdictSource) -> RawFile:
    """The opened file of a source of verdicts; refuses sources that hold none."""
    if isinstance(source, str) and source in (starter.STARTER, starter.SEALED, starter.COMPARE):
        kept = "pairs" if source == starter.STARTER else "prompts"
        raise DataError(
            f"'{source}' names shipped {kept}, which hold no verdicts; name a file of comparisons or ratings"
        )
    (raw_file,) = _open(source)
    _refuse_plain_text(raw_file, "verdicts")
    return raw_file


def _refuse_plain_text(raw_file: RawFile, wanted: str) -> None:
    if raw_file.container == PLAIN_TEXT:
        message = f"plain text holds one prompt a line and no answers; save {wanted} as {READABLE}"
        raise DataError(message, file=raw_file.name)


def told_apart(raw_files: Sequence[RawFile]) -> tuple[list[RawFile], Kind]:
    """The files, none of their items lost, and what the first record of the first one holds."""
    first, *others = raw_files
    items, head = iter(first), list[RawRecord | Problem]()
    for item in items:
        head.append(item)
        if isinstance(item, RawRecord):
            break
    kind = kind_of(head[-1].value) if head and isinstance(head[-1], RawRecord) else "conversations"
    return [replace(first, items=itertools.chain(head, items)), *others], kind


def _open(source: PromptSource) -> list[RawFile]:
    if isinstance(source, Sequence) and not isinstance(source, str):
        return [open_records(source)]
    if source == starter.STARTER:
        return starter.open_pairs()
    if source == starter.SEALED:
        return starter.open_sealed()
    if source == starter.COMPARE:
        return starter.open_compare()
    if isinstance(source, str) and source.startswith("hub:"):
        return [open_hub(source)]
    return [open_path(source)]
