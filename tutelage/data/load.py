"""The way in: conversations to train on, prompts to answer, general text, from any source by one name.

Raises at the first bad record. Leaves out: collecting all problems of a file (`tutelage.data.check`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.data import starter
from tutelage.data.files import PLAIN_TEXT, READABLE, open_hub, open_path, open_records
from tutelage.data.formats import parse_conversations, parse_prompts
from tutelage.data.raw import Problem, RawFile
from tutelage.errors import DataError
from tutelage.types import Conversation, Prompt

ConversationSource = str | Path | Sequence[Mapping[str, Any]]
PromptSource = str | Path | Sequence[Mapping[str, Any] | str]


def load_conversations(source: ConversationSource) -> list[Conversation]:
    """Conversations that end with the assistant.

    `source` is a file, `starter` (the shipped pairs), `hub:owner/name[:split]`, or a list of dicts.
    Raises `DataError` with file, line and field at the first record that cannot be learned from.
    """
    conversations = []
    for raw_file in open_conversations(source):
        for item in parse_conversations(raw_file):
            if isinstance(item, Problem):
                raise raw_file.error(item)
            conversations.append(item.conversation)
    return conversations


def load_prompts(source: PromptSource) -> list[Prompt]:
    """Prompts that wait for an answer, each with its last answer as reference where the source has one.

    `source` is what `load_conversations` takes, a text file with one prompt a line, `sealed` (the shipped sealed
    prompts), or a list of strings. Raises `DataError` with file, line and field at the first bad record.
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
    raw_files = _open(source)
    for raw_file in raw_files:
        if raw_file.container == PLAIN_TEXT:
            message = f"plain text holds one prompt a line and no answers; save pairs as {READABLE}"
            raise DataError(message, file=raw_file.name)
    return raw_files


def _open(source: PromptSource) -> list[RawFile]:
    if isinstance(source, Sequence) and not isinstance(source, str):
        return [open_records(source)]
    if source == starter.STARTER:
        return starter.open_pairs()
    if source == starter.SEALED:
        return starter.open_sealed()
    if isinstance(source, str) and source.startswith("hub:"):
        return [open_hub(source)]
    return [open_path(source)]
