"""Verdicts on pairs of answers: by the scripted rater, or by the person at the terminal, one key a verdict.

Either gives lines of a comparison file that `tutelage train reward` reads, with who judged, which answer was shown
first and how long it took. What a person says is on the disk before the next pair is shown. Leaves out the workspace's
queue of several raters.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from tutelage.evaluate.markdown import clean_text
from tutelage.evaluate.rater import Preference, ScriptedRater
from tutelage.train.run_folder import strict_json, write_durably
from tutelage.types import Answer

ME = "me, at the terminal"
KEYS: Mapping[str, Preference | None] = {"a": 1, "b": -1, "=": 0, "s": None}
"""What a person types; None leaves the pair out."""
OPPOSITE: Mapping[Preference, Preference] = {1: -1, -1: 1, 0: 0}


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt."""

    first: Answer
    second: Answer

    @property
    def name(self) -> str:
        """Which pair it is: the same texts under the same prompt have the same name."""
        key = json.dumps([self.first.prompt.id, self.first.text, self.second.text])
        return hashlib.blake2b(key.encode("ascii"), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Verdict:
    """Who found which answer better; 1: the first, -1: the second, 0: neither."""

    pair: Pair
    preference: Preference
    rater: str
    shown_first: int = 0
    """0 where the pair's first answer was shown first, else 1."""
    seconds: float | None = None


def make_pairs(answers: Sequence[Answer]) -> list[Pair]:
    """Neighbours of a list that has two answers to each prompt; two equal texts make no pair."""
    twos = zip(answers[::2], answers[1::2], strict=True)
    return [Pair(first, second) for first, second in twos if first.text != second.text]


def judge_by_script(pairs: Sequence[Pair], rater: ScriptedRater) -> list[Verdict]:
    """The rater's verdicts, errors included; its name says that it is a script."""
    name = f"{rater.name} (noise {rater.noise:g}, seed {rater.seed})"
    return [Verdict(pair, rater.compare(pair.first, pair.second), name) for pair in pairs]


def comparison_line(verdict: Verdict, made_by: Mapping[str, Any]) -> dict[str, Any]:
    """A verdict as a line of a comparison file; `made_by` says with which model and settings the answers were made."""
    pair, order = verdict.pair, (0, 1) if verdict.preference >= 0 else (1, 0)
    answers = (pair.first, pair.second)
    line = {
        "id": pair.first.prompt.id,
        "prompt": [{"role": turn.role, "content": turn.content} for turn in pair.first.prompt.messages],
        "chosen": answers[order[0]].text,
        "rejected": answers[order[1]].text,
        "rater": verdict.rater,
        "shown_first": "chosen" if order[0] == verdict.shown_first else "rejected",
        **made_by,
    }
    if verdict.preference == 0:
        line["tie"] = True
    if verdict.seconds is not None:
        line["seconds"] = round(verdict.seconds, 1)
    return line


def judge_in_terminal(
    pairs: Sequence[Pair], path: Path, number: int, console: Console, ask: Callable[[str], str] = input
) -> list[Verdict] | None:
    """Show pairs until the person has judged `number` of them; None where they stopped before that.

    `path` holds what was said so far, a line a pair, and is written to after each key: another call goes on from there.
    Which answer is shown as A is drawn from the pair's name, so that neither side is favoured and a second look is the
    same.
    """
    said = read_said(path)
    verdicts = _verdicts(pairs, said)
    for pair in pairs:
        if len(verdicts) >= number:
            break
        if pair.name in said:
            continue
        begun, shown_first = time.monotonic(), int(pair.name[-1], 16) % 2
        _show(pair, shown_first, len(verdicts) + 1, number, console)
        try:
            key = _ask_key(ask, console)
        except (EOFError, KeyboardInterrupt):
            console.print(f"\nStopped; your {len(verdicts)} verdicts are kept in {escape(str(path))}.")
            return None
        said[pair.name] = {"key": key, "shown_first": shown_first, "seconds": time.monotonic() - begun}
        lines = (strict_json({"pair": name, **line}) for name, line in said.items())
        write_durably(path, b"".join(lines))
        verdicts = _verdicts(pairs, said)
    return verdicts[:number]


def read_said(path: Path) -> dict[str, dict[str, Any]]:
    """Each pair's newest line by the pair's name; a line that a crash cut short is passed over."""
    said: dict[str, dict[str, Any]] = {}
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
            said[record["pair"]] = record
        except (ValueError, KeyError, TypeError):
            continue
    return said


def _verdicts(pairs: Sequence[Pair], said: Mapping[str, Mapping[str, Any]]) -> list[Verdict]:
    """Those of the pairs on which something was said other than "skip"."""
    found = []
    for pair in pairs:
        line = said.get(pair.name)
        preference = KEYS[line["key"]] if line else None
        if line is None or preference is None:
            continue
        turned = preference if line["shown_first"] == 0 else OPPOSITE[preference]
        found.append(Verdict(pair, turned, ME, line["shown_first"], line["seconds"]))
    return found


def _show(pair: Pair, shown_first: int, number: int, total: int, console: Console) -> None:
    answers = (pair.first, pair.second) if shown_first == 0 else (pair.second, pair.first)
    console.rule(f"[bold]Which answer is better? {number} of {total}")
    console.print(f"\n[bold cyan]{escape(clean_text(pair.first.prompt.messages[-1].content))}[/]\n")
    for letter, answer in zip("AB", answers, strict=True):
        console.print(f"[bold]{letter}[/]")
        cut = "" if answer.stopped else " [dim]… (cut off by the limit)[/]"
        console.print(Padding(escape(clean_text(answer.text)) + cut, (0, 0, 1, 2)))


def _ask_key(ask: Callable[[str], str], console: Console) -> str:
    while True:
        key = ask("a, b, = (equally good or bad), s (skip), Ctrl-D to stop: ").strip().lower()
        if key in KEYS:
            return key
        console.print(f"'{escape(clean_text(key))}' is none of the keys; type a, b, = or s and press Enter")
