"""Answers to judge, made in one line; not a test."""

from __future__ import annotations

from typing import Any

from tutelage.types import Answer, Message, Prompt, Source


def answer_to(
    text: str, *, asks: str = "What is 6 times 7?", num_tokens: int = 5, line: int = 1, **prompt: Any
) -> Answer:
    """An answer to a prompt on a line of p.jsonl; further options are the prompt's own."""
    source = Source("p.jsonl", line)
    return Answer(Prompt((Message("user", asks),), source=source, **prompt), text, num_tokens, stopped=True)
