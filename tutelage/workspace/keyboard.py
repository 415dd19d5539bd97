"""Keys of the person at the terminal: one without Enter where that is possible, else the first of each line.

Leaves out: what the keys mean (`tutelage.workspace.labelling`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Protocol

CTRL_D, ESCAPE = b"\x04", b"\x1b"
END = "."
"""A line with this alone ends a text of several lines."""


class Keyboard(Protocol):
    """Where keys and lines come from; EOFError where the person is done."""

    def key(self, prompt: str) -> str: ...

    def line(self, prompt: str) -> str: ...


class Lines:
    """Every answer is a line: for pipes and tests, and terminals that cannot do otherwise."""

    def __init__(self, ask: Callable[[str], str] = input) -> None:
        self._ask = ask

    def key(self, prompt: str) -> str:
        return self._ask(f"{prompt} ").strip()

    def line(self, prompt: str) -> str:
        return self._ask(f"{prompt} ").strip()


class Keys(Lines):
    """Single keys of a terminal, read as they are pressed; keys that are pressed in advance wait their turn."""

    def key(self, prompt: str) -> str:
        import termios
        import tty

        print(f"{prompt} ", end="", flush=True)
        place = sys.stdin.fileno()
        before = termios.tcgetattr(place)
        try:
            tty.setcbreak(place, termios.TCSADRAIN)
            pressed = _one_key(place)
        finally:
            termios.tcsetattr(place, termios.TCSADRAIN, before)
        print(pressed if pressed.isprintable() else "", flush=True)
        return "" if pressed in "\r\n" else pressed


def _one_key(place: int) -> str:
    """One character; an arrow or function key, which sends several, is one key that means nothing here."""
    import select

    first = os.read(place, 1)
    if first in (b"", CTRL_D, b"\0"):  # pressed before we listened, the terminal turns Ctrl-D into 0
        raise EOFError
    if first == ESCAPE:
        while select.select([place], [], [], 0)[0]:
            first += os.read(place, 1)
        return ESCAPE.decode()
    while first[0] >= 0xC0 and len(first) < _length(first[0]):
        first += os.read(place, 1)
    return first.decode("utf-8", "replace")


def _length(first: int) -> int:
    """Bytes of the UTF-8 character that begins with this one."""
    return 2 if first < 0xE0 else 3 if first < 0xF0 else 4


def keyboard() -> Keyboard:
    """Single keys where standard input is a terminal."""
    if not sys.stdin.isatty():
        return Lines()
    try:
        import termios  # not on every system

        termios.tcgetattr(sys.stdin.fileno())
    except (ImportError, OSError):
        return Lines()
    return Keys()


def text(keys: Keyboard, prompt: str) -> str:
    """A text of several lines, ended by a line with a single dot."""
    lines = [keys.line(f"{prompt} (end with a line that is a single dot)\n>")]
    while lines[-1] != END:
        lines.append(keys.line(">"))
    return "\n".join(lines[:-1]).strip()
