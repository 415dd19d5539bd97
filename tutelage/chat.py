"""A conversation with a model in the terminal.

Leaves out history between sessions and several models at once.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tutelage.engine.answer import stream_answer
from tutelage.engine.generate import Sampling
from tutelage.evaluate.run import load_for_answers
from tutelage.types import Message

HELP = (
    "/new starts over · /system TEXT starts over with a system message · /quit or Ctrl-D ends · Ctrl-C stops an answer"
)


class Chat:
    """A loaded model and the turns so far."""

    def __init__(self, model: str, workspace: Path, sampling: Sampling, system: str | None = None) -> None:
        self.loaded = load_for_answers(model, workspace)
        self.sampling = sampling
        self.start_over(system)

    def start_over(self, system: str | None = None) -> None:
        """Forget all turns."""
        self.turns = [Message("system", _whole(system))] if system else []

    def ask(self, text: str) -> None:
        """Answer one message, printed as it is written, and remember both."""
        turns = [*self.turns, Message("user", _whole(text))]
        answer = stream_answer(self.loaded.model, self.loaded.tokenizer, turns, self.sampling, _emit)
        print("" if answer.stopped else " [cut off at the token limit]", flush=True)
        self.turns = [*turns, Message("assistant", answer.text)]

    def loop(self) -> int:
        """Read messages until the end of input."""
        interactive = sys.stdin.isatty()
        if interactive:
            print(f"{self.loaded.name}. {HELP}", file=sys.stderr)
        while True:
            try:
                text = input("\n> " if interactive else "").strip()
            except EOFError:
                return 0
            if text in ("/quit", "/exit"):
                return 0
            if text == "/new":
                self.start_over()
            elif text.startswith("/system"):
                self.start_over(text.removeprefix("/system").strip() or None)
            elif text in ("/help", "/?"):
                print(HELP)
            elif text:
                self._ask_or_stop(text)

    def _ask_or_stop(self, text: str) -> None:
        try:
            self.ask(text)
        except KeyboardInterrupt:
            print("\n[stopped; this turn is forgotten]")


def _whole(text: str) -> str:
    """The text with a question mark for each byte of a command line that is no UTF-8, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode()


def _emit(piece: str) -> None:
    # Control characters of a model must not reach the terminal as commands.
    print("".join(c for c in piece if c in "\n\t" or c.isprintable()), end="", flush=True)
