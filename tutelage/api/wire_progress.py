"""The wire models of a project's progress: what tuples are in the statistics are objects with names here.

Leaves out: what the numbers mean (`tutelage.feedback.progress`, `tutelage.stats.agreement`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel


class IntervalTold(BaseModel):
    """An estimate and the interval around it."""

    estimate: float
    low: float
    high: float


class ShareTold(BaseModel):
    """How often two verdicts on one unit are the same."""

    share: IntervalTold
    num_units: int
    num_pairs: int


class AlphaTold(BaseModel):
    """Krippendorff's α: 1 = perfect agreement, 0 = what chance would give."""

    alpha: IntervalTold
    num_units: int
    num_values: int


class MeasureTold(BaseModel):
    """How far raters agree in one respect."""

    name: str
    level: str
    alpha: AlphaTold | None
    raw: ShareTold | None


class RaterTold(BaseModel):
    """One rater's work in a project."""

    person_id: str
    name: str
    num_labels: int
    num_skipped: int
    num_cannot_judge: int
    median_seconds: float | None
    with_others: ShareTold | None
    with_self: ShareTold | None
    gold: ShareTold | None
    by_guideline: dict[str, int]


class ProgressTold(BaseModel):
    """A project's state; `raters` are all of them for reviewers, oneself for a rater."""

    project: str
    state: str
    num_items: dict[str, int]
    num_wanted: int
    num_done: int
    num_labels: int
    num_skipped: int
    num_adjudicated: int
    median_seconds: float | None
    agreement: list[MeasureTold]
    with_self: ShareTold | None
    gold: ShareTold | None
    by_guideline: dict[str, int]
    raters: list[RaterTold]


def plain(value: Any) -> Any:
    """Dataclasses and named tuples as dictionaries, all the way down."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if hasattr(value, "_asdict"):
        return {name: plain(each) for name, each in value._asdict().items()}
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value
