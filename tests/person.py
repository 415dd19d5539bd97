"""Somebody at the keyboard, for tests of what asks for keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator


def typed(*keys: str) -> Callable[[str], str]:
    """Somebody who types these and then closes the input."""
    waiting: Iterator[str] = iter(keys)

    def ask(_: str) -> str:
        try:
            return next(waiting)
        except StopIteration:
            raise EOFError from None

    return ask
