"""Self-Instruct's records: one instruction with several instances of input and output, each a record of its own.

Leaves out: the shape that each of them has then, which is Alpaca's (`tutelage.data.shapes`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tutelage.data.raw import Problem, RawRecord


def unfolded(items: Iterable[RawRecord | Problem]) -> Iterator[RawRecord | Problem]:
    """The items, with each instance of an instruction in the place of the record that held them."""
    for item in items:
        instances = [] if isinstance(item, Problem) else _instances(item.value)
        if isinstance(item, Problem) or not instances:
            yield item
            continue
        shared = {key: value for key, value in item.value.items() if str(key).strip().lower() != "instances"}
        yield from (RawRecord(item.line, {**shared, **each}) for each in instances)


def _instances(value: Any) -> list[Mapping[str, Any]]:
    """The instances of a record that has its answers there and nowhere else."""
    if not isinstance(value, Mapping):
        return []
    named = {str(key).strip().lower(): each for key, each in value.items()}
    found = named.get("instances")
    if "instruction" not in named or "output" in named or not isinstance(found, list):
        return []
    return found if all(isinstance(each, Mapping) and "output" in each for each in found) else []
