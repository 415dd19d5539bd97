"""What `tutelage project …` prints: tables for people, JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tutelage.evaluate.markdown import clean_text

if TYPE_CHECKING:
    from tutelage.feedback.progress import Progress, RaterLine
    from tutelage.stats.agreement import Share
    from tutelage.stats.intervals import Interval

SHOWN_CHARS = 70


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (tuple, set)) else dict(value)


def _named(value: Any) -> Any:
    """Named tuples as objects, at every depth."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _named(each) for name, each in value._asdict().items()}
    if isinstance(value, Mapping):
        return {name: _named(each) for name, each in value.items()}
    return [_named(each) for each in value] if isinstance(value, (tuple, list)) else value


def _table(*columns: str, right: Sequence[int] = ()) -> Table:
    table = Table(*columns, box=None, header_style="bold")
    for number in right:
        table.columns[number].justify = "right"
    return table


def _text(text: str) -> str:
    return escape(clean_text(text))


def _short(text: str) -> str:
    line = " ".join(clean_text(text).split())
    return escape(line if len(line) <= SHOWN_CHARS else f"{line[: SHOWN_CHARS - 1]}…")


def show_projects(found: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """A line a project."""
    if as_json:
        _print_json(found)
        return
    table = _table("project", "kind", "state", "items", "done", "gold", "labels an item", right=(3, 4, 5, 6))
    for each in found:
        number = each["num_items"]
        table.add_row(
            escape(each["name"]), each["kind"], each["state"], f"{number['open'] + number['done']:,}",
            f"{number['done']:,}", f"{number.get('gold', 0):,}", str(each["overlap"]),
        )  # fmt: skip
    Console().print(table if found else "there are no projects yet; `tutelage project create` makes one")


def show_project(found: Mapping[str, Any], as_json: bool) -> None:
    """The facts of one project, and its guidelines."""
    if as_json:
        _print_json(found)
        return
    number = found["num_items"]
    facts = {
        "kind": found["kind"], "question": found["question"], "state": found["state"],
        "items": ", ".join(f"{count:,} {state}" for state, count in number.items()),
        "labels an item": str(found["overlap"]),
        "gold items": f"{found['gold_frac']:.0%} of tasks", "repeats": f"{found['repeat_frac']:.0%} of tasks",
        "lease": f"{found['lease_seconds']} s", "reasons": ", ".join(found["reasons"]),
        "attributes": ", ".join(f"{each['name']} {each['low']}–{each['high']}" for each in found["attributes"]),
        "models": ", ".join(found["models"]),
        "sampling": ", ".join(f"{name} {value}" for name, value in found["sampling"].items()),
    }  # fmt: skip
    table = _table("", "")
    for name, value in facts.items():
        if value:
            table.add_row(f"[bold]{name}[/]", _text(value))
    console = Console()
    console.print(f"[bold]{escape(found['name'])}[/]")
    console.print(table)
    if found["guideline"]:
        console.print(f"\n[bold]guidelines, version {found['guideline']['version']}[/]")
        console.print(_text(found["guideline"]["text"]))


def show_items(found: Sequence[Mapping[str, Any]], limit: int, as_json: bool) -> None:
    """A line an item; where there may be more, how to see them."""
    if as_json:
        _print_json([
            {**each, "messages": [{"role": turn["role"], "content": turn["content"]} for turn in each["messages"]]}
            for each in found
        ])  # fmt: skip
        return
    table = _table("item", "state", "labels", "prompt", "models", right=(2,))
    table.columns[0].overflow, table.columns[0].min_width = "fold", 32  # an id that is cut is of no use
    for each in found:
        state = "gold" if each["gold_value"] is not None and each["state"] != "withdrawn" else each["state"]
        models = ", ".join(dict.fromkeys(model for _, _, model in each["answers"] if model))
        labels = f"{each['num_done']}/{each['num_wanted']}"
        table.add_row(each["id"], state, labels, _short(each["messages"][-1]["content"]), _short(models))
    Console().print(table if found else "there are no such items; --data FILE, or `tutelage project sample`, adds some")
    if len(found) == limit:
        print(f"more: --after {found[-1]['id']}")


def show_progress(found: Progress, as_json: bool) -> None:
    """Totals, agreement, and a line a rater."""
    from dataclasses import asdict

    if as_json:
        plain = asdict(found) | {"agreement": [_named(each) for each in found.agreement]}
        plain |= {name: _named(getattr(found, name)) for name in ("with_self", "gold")}
        plain["raters"] = [_rater(each) for each in found.raters]
        _print_json(plain)
        return
    console = Console()
    number = found.num_items
    console.print(
        f"[bold]{escape(found.project)}[/] is {found.state}: {number['done']:,} of {number['done'] + number['open']:,} "
        f"items done, {found.num_done:,} of {found.num_wanted:,} labels"
    )
    more = {
        "skipped": found.num_skipped,
        "gold items": number.get("gold", 0),
        "decided by reviewers": found.num_adjudicated,
    }
    console.print(
        ", ".join([*(f"{count:,} {what}" for what, count in more.items() if count), _time(found.median_seconds)])
    )
    _show_agreement(found, console)
    table = _table("rater", "labels", "skipped", "seconds", "as others", "as before", "gold", right=(1, 2, 3))
    for each in found.raters:
        table.add_row(
            _text(each.name), f"{each.num_labels:,}", f"{each.num_skipped:,}", _seconds(each.median_seconds),
            _share(each.with_others), _share(each.with_self), _share(each.gold),
        )  # fmt: skip
    console.print()
    console.print(table)
    versions = ", ".join(
        f"{f'version {name}' if name else 'none'}: {count:,}" for name, count in found.by_guideline.items()
    )
    if versions:
        console.print(f"\nlabels by guidelines: {versions}")


def _rater(line: RaterLine) -> dict[str, Any]:
    return {name: _named(getattr(line, name)) for name in line.__slots__}


def _show_agreement(found: Progress, console: Console) -> None:
    table = _table("raters agree on", "same verdict", "Krippendorff's α", "units", right=(3,))
    for each in found.agreement:
        if each.raw is not None:
            value = f"{_number(each.alpha.alpha)} ({each.level})" if each.alpha else "– (all verdicts are equal)"
            table.add_row(_text(each.name), _share(each.raw), value, f"{each.raw.num_units:,}")
    if table.row_count:
        console.print()
        console.print(table)
    for what, share in (("asked again, raters say the same", found.with_self), ("right on gold items", found.gold)):
        if share is not None:
            console.print(f"{what}: {_share(share)}")


def _time(seconds: float | None) -> str:
    return f"median {seconds:.0f} s a label" if seconds is not None else "no times yet"


def _seconds(seconds: float | None) -> str:
    return f"{seconds:.0f}" if seconds is not None else "–"


def _share(share: Share | None) -> str:
    if share is None:
        return "–"
    value, low, high = (f"{100 * each:.0f}" for each in share.share)
    return f"{value} % \\[{low}, {high}] of {share.num_pairs:,}"


def _number(interval: Interval) -> str:
    return f"{interval.estimate:.2f} \\[{interval.low:.2f}, {interval.high:.2f}]"
