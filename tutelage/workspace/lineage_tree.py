"""Drawing lineage in the terminal: a model's tree, and tables of who used what by which way.

Leaves out: finding it out (`tutelage.store.lineage`).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from tutelage.evaluate.markdown import clean_text
from tutelage.store.ancestry import Made, Source
from tutelage.store.snapshot_facts import Facts
from tutelage.store.uses import Held, Use

SHOWN_NAMES = 8
ROLE_TEXT = {"base": "from", "answers": "answers of", "ptx": "ptx data"}


def tree_of(made: Made) -> Tree:
    """A model, its options that differ from the defaults, and below it everything it was made from."""
    tree = Tree(_model_line(made), guide_style="dim")
    _grow(tree, made)
    return tree


def _grow(tree: Tree, made: Made) -> None:
    if made.options:
        tree.add(f"[dim]options[/dim] {_options(made.options)}")
    for source in made.inputs:
        _add(tree, source)


def _add(tree: Tree, source: Source) -> None:
    role = f"[dim]{escape(ROLE_TEXT.get(source.role, source.role))}[/dim] "
    if source.facts is None and source.models:
        for made in source.models:
            _grow(tree.add(role + _model_line(made)), made)
        return
    branch = tree.add(role + _source_line(source))
    if source.facts is not None:
        for line in _fact_lines(source.facts):
            branch.add(line)
    for made in source.models:
        _grow(branch.add(f"[dim]answers of[/dim] {_model_line(made)}"), made)


def _model_line(made: Made) -> str:
    what = [made.method] if made.method else []
    if made.is_repeated:
        return f"{_bold(made.name)}  {_joined(*what, 'told of above')}"
    what += [number_of(made.steps, "step")] if isinstance(made.steps, int) else []
    what += [number_of(made.tokens, "token")] if isinstance(made.tokens, int) else []
    return f"{_bold(made.name)}  {_joined(*what, date(made.made_ms))}"


def _source_line(source: Source) -> str:
    facts = source.facts
    if facts is not None:
        by = [f"by {facts.by}"] if facts.by else []
        return (
            f"{_bold(source.name)}  {_joined(number_of(facts.num_records, facts.kind[:-1]), date(facts.made_ms), *by)}"
        )
    return _text(source.name) + (
        f"  [dim]sha256 {_text(source.content_hash[:16])}…[/dim]" if source.content_hash else ""
    )


def _fact_lines(facts: Facts) -> list[str]:
    lines = [f"[dim]{name}[/dim] {_counts(counts)}" for name, counts in facts.counts.items() if counts]
    if facts.why:
        lines.append(f"[dim]why[/dim] {_text(facts.why)}")
    if facts.num_withdrawn:
        lines.append(f"[yellow]{facts.num_withdrawn:,} withdrawn since; training on it is refused[/yellow]")
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    shown = [f"{_text(name)} {number:,}" for name, number in list(counts.items())[:SHOWN_NAMES]]
    more = len(counts) - SHOWN_NAMES
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{_text(name)} {_text(_value(value))}" for name, value in options.items())


def _value(value: Any) -> str:
    if isinstance(value, list):
        return " + ".join(map(str, value))
    return "yes" if value is True else "no" if value is False else str(value)


def _joined(*what: str) -> str:
    return f"[dim]{' · '.join(map(_text, what))}[/dim]"


def _bold(text: str) -> str:
    return f"[bold]{_text(text)}[/bold]"


def _text(text: str) -> str:
    return escape(clean_text(text))


def number_of(number: int, what: str) -> str:
    """`1 step`, `1,200 steps`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def date(at_ms: int) -> str:
    """The day, by this machine's clock."""
    return datetime.datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%Y-%m-%d")


def snapshot_lines(title: str, held: Sequence[Held], *, counts: bool = True) -> RenderableType:
    """The snapshots under a title, with how much of it each holds."""
    tree = Tree(title, guide_style="dim")
    for one in held:
        tree.add(_bold(one.name) + (f"  [dim]{number_of(one.num_held, 'record')}[/dim]" if counts else ""))
    return tree


def uses_table(uses: Sequence[Use], title: str = "model") -> RenderableType:
    """A row a model, with the way by which it used the work."""
    table = Table(title, "by way of", box=None, header_style="bold")
    for use in uses:
        table.add_row(_bold(use.model), way_of(use))
    return table


def way_of(use: Use) -> str:
    """`curated@3 (data) → sft (base)`: what the model took in last stands last."""
    return " → ".join(f"{_text(step.name)} [dim]({_text(step.role)})[/dim]" for step in use.path)
