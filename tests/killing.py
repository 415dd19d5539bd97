"""A function that dies when it is called: what a resumed run is held against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """Stands for a kill: nothing of the loop catches it."""


def killing(call: Callable[..., Any], at: int) -> Callable[..., Any]:
    """The function, which dies at its call number `at`."""
    number = 0

    def wrapped(*args: Any, **options: Any) -> Any:
        nonlocal number
        number += 1
        if number == at:
            raise Killed
        return call(*args, **options)

    return wrapped
