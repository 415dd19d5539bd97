"""The queue at the terminal: a task on the screen, one key a verdict, and nothing lost whenever one stops.

Every verdict is in the record before the next task is shown; reasons, critique and rewrite are kept as the task's draft
as soon as they are entered. Leaves out: reading keys (`tutelage.workspace.keyboard`) and the rules of the queue
(`tutelage.feedback.queue`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from sqlalchemy import Connection

from tutelage.errors import TutelageError
from tutelage.evaluate.markdown import clean_text
from tutelage.feedback import projects, queue, submit
from tutelage.feedback.projects import Project
from tutelage.feedback.queue import Task
from tutelage.feedback.work import work_of
from tutelage.store.database import Store
from tutelage.store.ids import new_id
from tutelage.store.labels import STRENGTHS
from tutelage.store.people import Person
from tutelage.workspace.keyboard import Keyboard, text

LETTERS = "ABCDEFGHI"
COMPARED: Mapping[str, Mapping[str, Any]] = {
    **{str(5 - grade): {"winner": 0, "strength": grade} for grade in STRENGTHS},
    **{str(4 + grade): {"winner": 1, "strength": grade} for grade in STRENGTHS},
    "a": {"winner": 0, "strength": 3},
    "b": {"winner": 1, "strength": 3},
    "=": {"outcome": "tie"},
    "x": {"outcome": "both_bad"},
    "?": {"outcome": "cannot_judge"},
}
"""One key a verdict: the digits are a slider from A, much better, to B, much better."""
THUMBS: Mapping[str, Mapping[str, Any]] = {
    "1": {"good": True}, "+": {"good": True}, "0": {"good": False}, "-": {"good": False},
}  # fmt: skip
VERDICT_HELP = {
    "comparison": (
        "1 2 3 4  A is much better, better, slightly better, hardly better\n"
        "5 6 7 8  B is hardly better, slightly better, better, much better\n"
        "a b      A is better, B is better\n"
        "=  a tie      x  both are bad      ?  cannot judge"
    ),
    "ranking": "o  the order: letters, the best first, equals joined by =, as in  B A=C D\n?  cannot judge",
    "thumbs": "1 +  good        0 -  bad",
    "rating": "o  the scores, in this order: ",
}
OTHER_HELP = (
    "r  reasons    c  critique    w  rewrite    u  undo: change the last verdict\n"
    "s  skip       g  guidelines  h  these keys  q  stop (Ctrl-D too)"
)


WHY_NOTHING = {
    "empty": "it has no items yet; `tutelage project items {0} --data FILE` or `project sample {0}` adds some.",
    "done": "each item has the labels that are wanted.",
    "held": "others are at work on what is left; look again later.",
    "yours": "you have judged or skipped what is left.",
    "written": "what is left has words of your own in it.",
}


class Stop(Exception):
    """The person is done for now."""


@dataclass
class Desk:
    """One person at work on one project."""

    store: Store
    person: Person
    project: Project
    console: Console
    keys: Keyboard
    clock: Callable[[], float] = time.monotonic
    num_said: int = 0
    last: tuple[str, Task, dict[str, Any]] | None = field(default=None)
    """The last label, its task, and what went with it."""

    def work(self) -> int:
        """Show tasks until there are none or the person stops; gives how many verdicts were given."""
        self.console.print(self._help())
        try:
            while (task := self._run(self._next)) is not None:
                self._ask(task)
            self.console.print(f"\n{self._run(self._nothing_left)}")
        except (Stop, EOFError, KeyboardInterrupt):
            self.console.print("\nStopped; the same command goes on from here.")
        self.console.print(f"{self.num_said} verdict{'s' * (self.num_said != 1)} given, all of them in the record.")
        return self.num_said

    def _run(self, work: Callable[[Connection], Any]) -> Any:
        return self.store.run(work)

    def _next(self, connection: Connection) -> Task | None:
        self.project = projects.get(connection, self.project.id)
        return queue.next_item(connection, self.person, self.project)

    def _nothing_left(self, connection: Connection) -> str:
        name = escape(self.project.name)
        if self.project.state != "open":
            return f"Project {name} is {self.project.state}."
        why = WHY_NOTHING.get(work_of(connection, self.person, self.project).why_nothing, "look again later.")
        return f"Nothing is left for you in {name} now: {why.format(name)}"

    # --- one task ---------------------------------------------------------------------------------------------------

    def _ask(self, task: Task) -> None:
        """Show a task until there is a verdict on it or it is skipped."""
        said = _said(task.draft)
        self._show(task, said)
        begun = self.clock()
        while True:
            key = self.keys.key(self._prompt(task)).lower()
            self._renew(task)
            if key == "s":
                if self._skip(task):
                    return
            elif key == "u":
                self._change_last()
                self._show(task, said)
            elif not self._common(task, key, said):
                verdict = self._verdict(task, key)
                if verdict is not None and self._submit(task, verdict, said, self.clock() - begun):
                    return

    def _common(self, task: Task, key: str, said: dict[str, Any]) -> bool:
        """What a key does that is neither a verdict nor about the queue; False where it does nothing such."""
        if key == "q":
            raise Stop
        if key == "h":
            self.console.print(self._help())
        elif key == "g":
            self.console.print(escape(clean_text(task.guideline)) or "This project has no guidelines.")
        elif key in {"r", "c", "w"}:
            {"r": self._reasons, "c": self._critique, "w": self._rewrite}[key](task, said)
            self._keep_draft(task, said)
        else:
            return False
        return True

    def _renew(self, task: Task) -> None:
        """Somebody is there; where others have the places by now, what is submitted is kept all the same."""
        try:
            self._run(lambda connection: queue.renew(connection, self.person, task.assignment_id))
        except TutelageError:
            return

    def _keep_draft(self, task: Task, said: Mapping[str, Any]) -> None:
        if self.last is None or self.last[1] is not task:
            self._run(
                lambda connection: queue.save_draft(connection, self.person, task.assignment_id, {"said": dict(said)})
            )

    def _submit(self, task: Task, verdict: Mapping[str, Any], said: Mapping[str, Any], seconds: float) -> bool:
        label_id = self._try(
            lambda connection: submit.submit(
                connection, self.person, task.assignment_id, f"terminal {task.assignment_id}", verdict, **said,
                seconds=seconds,
            )
        )  # fmt: skip
        if label_id is None:
            return False
        self.num_said += 1
        self.last = (label_id, task, dict(said))
        self.console.print(f"[green]kept:[/] {escape(in_words(task, verdict))}")
        return True

    def _try(self, work: Callable[[Connection], str]) -> str | None:
        """What `work` gives; where what was entered cannot be, say so and give None."""
        try:
            return str(self._run(work))
        except TutelageError as error:
            self.console.print(f"[red]{escape(clean_text(str(error)))}[/]")
            return None

    def _skip(self, task: Task) -> bool:
        reason = self.keys.line("why do you skip it? (empty: do not)")
        if not reason:
            return False
        self._run(lambda connection: queue.skip(connection, self.person, task.assignment_id, reason))
        return True

    def _change_last(self) -> None:
        """The last verdict asked for again; another key than one of a verdict leaves it as it is."""
        if self.last is None:
            self.console.print("There is nothing to change yet.")
            return
        label_id, task, said = self.last
        self.console.print("[bold]The last one again; any other key leaves it as it was[/]")
        self._show(task, said)
        key = self.keys.key(self._prompt(task)).lower()
        while self._common(task, key, said):
            key = self.keys.key(self._prompt(task)).lower()
        verdict = self._verdict(task, key)
        if verdict is None:
            return
        newer = self._try(
            lambda connection: submit.correct(
                connection, self.person, label_id, f"terminal {new_id()}", verdict, **said
            )
        )  # fmt: skip
        if newer is not None:
            self.last = (newer, task, said)
            self.console.print(f"[green]changed to:[/] {escape(in_words(task, verdict))}\n")

    # --- what is entered ----------------------------------------------------------------------------------------------

    def _verdict(self, task: Task, key: str) -> Mapping[str, Any] | None:
        """The verdict that a key stands for, asking for more where it needs more."""
        known = {"comparison": COMPARED, "thumbs": THUMBS}.get(task.kind, {})
        if key in known:
            return known[key]
        if task.kind == "ranking" and key == "?":
            return {"cannot_judge": True}
        if task.kind in ("ranking", "rating") and key == "o":
            return self._order(task) if task.kind == "ranking" else self._scores(task)
        shown = escape(clean_text(key)) if key.isprintable() and key else "that"
        self.console.print(f"'{shown}' is none of the keys; h shows them")
        return None

    def _order(self, task: Task) -> Mapping[str, Any] | None:
        letters = LETTERS[: len(task.answers)]
        entered = self.keys.line(f"the order of {' '.join(letters)}, the best first:").upper()
        order = order_of(entered)
        if sorted(place for together in order for place in together) != list(range(len(letters))):
            self.console.print(f"name each of {' '.join(letters)} once, for example  B A=C D")
            return None
        return {"order": order}

    def _scores(self, task: Task) -> Mapping[str, Any] | None:
        scores: dict[str, float] = {}
        for each in task.attributes:
            explained = f" ({each['help']})" if each.get("help") else ""
            entered = self.keys.line(clean_text(f"{each['name']}{explained}, {each['low']} to {each['high']}:"))
            try:
                number = float(entered)
            except ValueError:
                self.console.print("that is no number; the verdict was not taken")
                return None
            scores[each["name"]] = int(number) if number.is_integer() else number
        return {"scores": scores}

    def _reasons(self, task: Task, said: dict[str, Any]) -> None:
        if not task.reasons:
            self.console.print("This project offers no reasons; c takes a critique in words.")
            return
        for number, each in enumerate(task.reasons, start=1):
            ticked = "x" if each in said["reasons"] else " "
            self.console.print(escape(f"[{ticked}] {number} {clean_text(each)}"))
        chosen = self.keys.line("numbers of the reasons that hold:").replace(",", " ").split()
        if all(each.isdecimal() and 1 <= int(each) <= len(task.reasons) for each in chosen):
            said["reasons"] = [task.reasons[int(each) - 1] for each in chosen]
        else:
            self.console.print(f"give numbers from 1 to {len(task.reasons)}")

    def _critique(self, task: Task, said: dict[str, Any]) -> None:
        said["critique"] = text(self.keys, "what is good or bad, in your words")

    def _rewrite(self, task: Task, said: dict[str, Any]) -> None:
        said["rewrite"] = text(self.keys, "the answer as it should be")

    # --- what is shown ------------------------------------------------------------------------------------------------

    def _show(self, task: Task, said: Mapping[str, Any]) -> None:
        self.console.rule(f"[bold]{escape(clean_text(task.question))}")
        for message in task.messages:
            who = "" if message.role == "user" else f"[dim]{message.role}:[/] "
            self.console.print(f"\n{who}[bold cyan]{escape(clean_text(message.content))}[/]")
        for letter, (_, answer) in zip(LETTERS, task.answers, strict=False):
            self.console.print(f"\n[bold]{letter}[/]" if len(task.answers) > 1 else "")
            self.console.print(Padding(escape(clean_text(answer)), (0, 0, 0, 2)))
        for name, value in said.items():
            if value:
                shown = ", ".join(value) if isinstance(value, list) else value
                self.console.print(f"\n[dim]your {name}: {escape(clean_text(shown))}[/]")
        self.console.print()

    def _prompt(self, task: Task) -> str:
        keys = {"comparison": "1–8, a b, =, x, ?", "ranking": "o, ?", "thumbs": "1 good, 0 bad", "rating": "o"}
        return f"{keys[task.kind]} · r c w s u g h q:"

    def _help(self) -> str:
        verdict = VERDICT_HELP[self.project.kind]
        if self.project.kind == "rating":
            verdict += ", ".join(each["name"] for each in self.project.attributes)
        return escape(f"{verdict}\n{OTHER_HELP}")


def _said(draft: Any) -> dict[str, Any]:
    """What goes with a verdict, from a draft that this module kept; another's draft is not read."""
    kept = draft.get("said") if isinstance(draft, dict) else None
    said: dict[str, Any] = {"reasons": [], "critique": "", "rewrite": ""}
    return said | {name: kept[name] for name in said if name in kept} if isinstance(kept, dict) else said


def order_of(entered: str) -> list[list[int]]:
    """The places of the answers in an order like `B A=C D`; letters that name no answer are left in as −1."""
    plain = entered.replace(",", " ").replace(">", " ").replace(" =", "=").replace("= ", "=")
    order: list[list[int]] = []
    joined = False
    for letter in plain:
        if letter == "=":
            joined = True
        elif not letter.isspace():
            place = LETTERS.find(letter)
            if joined and order:
                order[-1].append(place)
            else:
                order.append([place])
            joined = False
    return order


def in_words(task: Task, verdict: Mapping[str, Any]) -> str:
    """A verdict as a person would say it, with the letters on the screen."""
    if task.kind == "comparison":
        words = {"tie": "a tie", "both_bad": "both are bad", "cannot_judge": "cannot judge"}
        if "winner" in verdict:
            return f"{LETTERS[verdict['winner']]} is {STRENGTHS[verdict['strength']]}"
        return words[verdict["outcome"]]
    if task.kind == "thumbs":
        return "good" if verdict["good"] else "bad"
    if task.kind == "rating":
        return ", ".join(f"{name} {score}" for name, score in verdict["scores"].items())
    if "order" not in verdict:
        return "cannot judge"
    return " > ".join(" = ".join(LETTERS[place] for place in together) for together in verdict["order"])
