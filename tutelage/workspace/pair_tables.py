"""Pairs, their history and their changes on a terminal; every text of theirs is treated as hostile.

Leaves out: the verbs (`tutelage.workspace.pairs`, `tutelage.workspace.datasets`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from tutelage.data.raw import one_line
from tutelage.evaluate.markdown import clean_text

if TYPE_CHECKING:
    from tutelage.store.dataset_diff import DatasetDiff
    from tutelage.store.datasets import Dataset, Snapshot
    from tutelage.store.pair_views import History, Pair
    from tutelage.store.similar import Near
    from tutelage.store.training_lines import Line
    from tutelage.store.word_diff import Change
    from tutelage.types import Message

STYLES = {"equal": "", "insert": "green underline", "delete": "red strike"}


def plain(text: str, limit: int = 0) -> str:
    """A text that rich and the terminal take as words alone; on one line where it has a limit."""
    return escape(clean_text(one_line(text, limit) if limit else text))


def moment(ms: int) -> str:
    """A time of the record, as the clock on the wall has it."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(ms / 1000))


def pair_table(pairs: Sequence[Pair]) -> Table:
    """A page of pairs."""
    table = Table(_id_column(), "state", "rev", "author", "tags", "question", box=None, header_style="bold")
    for each in pairs:
        asked = next((turn.content for turn in each.messages if turn.role == "user"), "")
        table.add_row(
            each.id, each.state, str(each.revision), plain(each.author, 20), plain(", ".join(each.tags), 30),
            plain(asked, 70),
        )  # fmt: skip
    return table


def _id_column() -> Column:
    """Ids are copied from the screen, so they are whole however narrow it is."""
    return Column("id", no_wrap=True, min_width=32)


def pair_page(pair: Pair) -> Group:
    """One pair with its turns."""
    facts = [f"{pair.state}, revision {pair.revision} by {pair.editor}", f"author {pair.author}", pair.source]
    facts += [pair.licence] if pair.licence else []
    facts += [f"tags: {', '.join(pair.tags)}"] if pair.tags else []
    facts += [f"withdrawn {moment(pair.withdrawn_ms)}"] if pair.withdrawn_ms else []
    return Group(f"[bold]{pair.id}[/] {plain(' · '.join(facts))}\n", *_turns(pair.messages))


def _turns(messages: Sequence[Message]) -> list[RenderableType]:
    shown: list[RenderableType] = []
    for turn in messages:
        shown += [f"[bold cyan]{turn.role}[/]", Padding(plain(turn.content), (0, 0, 1, 2))]
    return shown


def history_table(history: History) -> Table:
    """All that was done to a pair."""
    notes = {each.number: each.note for each in history.revisions}
    table = Table("when", "who", "what", "rev", "comment", box=None, header_style="bold")
    for each in history.events:
        said = each.comment or (notes.get(each.revision, "") if each.action == "edited" else "")
        table.add_row(moment(each.at_ms), plain(each.person), each.action, str(each.revision), plain(said))
    return table


def changes_page(changes: Sequence[Change]) -> Group:
    """Changes of a conversation: what came is green and underlined, what went is red and struck through."""
    shown: list[RenderableType] = []
    turns: list[tuple[tuple[str, int], Text]] = []
    for each in changes:
        key = (each.role, each.turn)
        if not turns or turns[-1][0] != key:
            turns.append((key, Text()))
        turns[-1][1].append(_marked(each), STYLES[each.op])
    for (role, _), text in turns:
        shown += [f"[bold cyan]{role}[/]", Padding(text, (0, 0, 1, 2))]
    return Group(*shown)


def _marked(change: Change) -> str:
    """The text; without colours its marks would be lost, so they are in the words too."""
    marks = {"equal": ("", ""), "insert": ("{+", "+}"), "delete": ("[-", "-]")}[change.op]
    return marks[0] + clean_text(change.text) + marks[1]


def near_lines(near: Sequence[Near], num_hidden: int) -> str:
    """Pairs that ask nearly the same, a line each."""
    lines = [f"{each.similarity:.0%} like {each.pair_id}: {plain(each.text, 70)}" for each in near]
    if num_hidden:
        lines.append(f"and like {number_of(num_hidden, 'pairs')} that you may not read")
    return "\n".join(lines)


# Datasets -------------------------------------------------------------------------------------------------------------


def dataset_table(datasets: Sequence[Dataset]) -> Table:
    """Datasets with their newest snapshots."""
    table = Table("dataset", "holds", "newest", "records", "taken", "by", "why", box=None, header_style="bold")
    for each in datasets:
        newest = each.newest
        table.add_row(
            plain(each.name), each.kind, f"@{newest.number}", f"{newest.num_records:,}", moment(newest.created_ms),
            plain(newest.created_by or "training"), plain(newest.why, 50),
        )  # fmt: skip
    return table


def snapshot_table(snapshots: Sequence[Snapshot]) -> Table:
    """The snapshots of one dataset."""
    table = Table("snapshot", "records", "taken", "by", "chosen by", "sha256", "why", box=None, header_style="bold")
    for each in snapshots:
        table.add_row(
            plain(each.label), f"{each.num_records:,}", moment(each.created_ms), plain(each.created_by or "training"),
            plain(chosen_by(each), 60), each.content_hash[:12], plain(each.why, 50),
        )  # fmt: skip
    return table


def chosen_by(snapshot: Snapshot) -> str:
    """What was asked for, in words."""
    asked = snapshot.chosen_by
    parts = [" or ".join(asked.get("states", ()))]
    parts += [f"tagged {tag}" for tag in asked.get("tags", ())]
    parts += [f"from {source}" for source in asked.get("sources", ())]
    parts += [f"with {name}" for name in ("gold", "repeats") if asked.get(name)]
    return ", ".join(part for part in parts if part)


def left_out_lines(snapshot: Snapshot) -> list[str]:
    """What was asked for and is not in the snapshot, a line a reason."""
    return [f"left out {count:,}: {reason}" for reason, count in snapshot.chosen_by.get("left_out", {}).items()]


def show_diff(found: DatasetDiff, console: Console) -> None:
    """How two snapshots differ."""
    console.print(
        f"[bold]{plain(found.old.label)} → {plain(found.new.label)}[/]: {found.num_added:,} added, "
        f"{found.num_removed:,} removed, {found.num_changed:,} changed, {found.num_same:,} the same"
    )
    for title, number, lines in (
        ("added", found.num_added, found.added), ("removed", found.num_removed, found.removed)
    ):  # fmt: skip
        if lines:
            table = Table(_id_column(), title, box=None, header_style="bold")
            for line in lines:
                table.add_row(line["id"], plain(_gist(line), 100))
            console.print(table)
            _more(number - len(lines), console)
    for each in found.changed:
        console.print(f"\n[bold]{each.new['id']}[/] {plain(_other_facts(each.old, each.new))}")
        if any(change.op != "equal" for change in each.changes):
            console.print(changes_page(each.changes))
    _more(found.num_changed - len(found.changed), console)


def _more(number: int, console: Console) -> None:
    if number > 0:
        console.print(f"… and {number:,} more; --limit shows more of them")


def _gist(line: Line) -> str:
    """What a record says, on a line."""
    if "messages" in line:
        return " → ".join(turn["content"] for turn in line["messages"][-2:])
    verdict = {name: line[name] for name in ("chosen", "tie", "ranks", "label", "rating") if name in line}
    return f"{line['prompt'][-1]['content']} → {verdict}"


def _other_facts(old: Line, new: Line) -> str:
    """What differs besides the words."""
    names = [name for name in new if name not in ("id", "messages", "prompt", "meta") and old.get(name) != new[name]]
    return "; ".join(f"{name}: {_told(old.get(name))} → {_told(new[name])}" for name in names)


def _told(value: object) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def number_of(count: int, what: str) -> str:
    """`1 pair`, `1,200 pairs`."""
    return f"{count:,} {what.removesuffix('s') if count == 1 else what}"
