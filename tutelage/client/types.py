"""What the client gives back: the record's own dataclasses where there are such, and these for the rest.

`build` makes them from JSON by their annotations, whatever newer fields a newer server sends besides.

Leaves out: asking (the other modules of this room).
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from tutelage.feedback.disagreements import Disputed
from tutelage.feedback.items import Item
from tutelage.feedback.label_pages import ListedLabel
from tutelage.feedback.own import GivenLabel
from tutelage.feedback.projects import Guideline, Project
from tutelage.feedback.queue import Task
from tutelage.feedback.seen import SeenLabel
from tutelage.feedback.work import Work
from tutelage.store.ancestry import Made
from tutelage.store.audit import Entry
from tutelage.store.datasets import Dataset, Snapshot
from tutelage.store.invitations import Invitation
from tutelage.store.pairs import History, Pair
from tutelage.store.people import Person
from tutelage.store.sessions import ApiToken
from tutelage.store.similar import Near, Seen
from tutelage.store.word_diff import Change
from tutelage.types import Message

__all__ = [
    "ApiToken", "Change", "Choice", "Chosen", "Dataset", "Disputed", "Entry", "GivenLabel", "Guideline", "History",
    "Import", "ImportListed", "Interval", "Invitation", "Item", "ItemsAdded", "ListedLabel", "Look", "Made",
    "Measure", "Message", "Model", "Near", "NewItem", "Pair", "Person", "Progress", "Project", "PromptToRead",
    "Rater", "Removed", "Seen", "SeenLabel", "Share", "Snapshot", "Submitted", "Task", "Uses", "Work", "build",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class NewItem:
    """A prompt and the answers to judge, in their canonical order."""

    messages: Sequence[Message]
    answers: Sequence[str]
    models: Sequence[str] = ()
    """Which model wrote each answer, in the same order; empty where nobody says."""
    reference: str | None = None
    meta: Mapping[str, Any] | None = None
    priority: float = 0.0
    gold: Mapping[str, Any] | None = None
    """The verdict a gold item should get; it counts answers in canonical order."""


@dataclass(frozen=True, slots=True)
class ItemsAdded:
    """What became of items that were to be added."""

    ids: tuple[str, ...]
    num_there: int
    num_equal: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """The label that a verdict became, and the next task where one was asked for."""

    label_id: str
    task: Task | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the interval around it."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Share:
    """How often two verdicts on one unit are the same."""

    share: Interval
    num_units: int
    num_pairs: int


@dataclass(frozen=True, slots=True)
class Alpha:
    """Krippendorff's α."""

    alpha: Interval
    num_units: int
    num_values: int


@dataclass(frozen=True, slots=True)
class Measure:
    """How far raters agree in one respect."""

    name: str
    level: str
    alpha: Alpha | None
    raw: Share | None


@dataclass(frozen=True, slots=True)
class Rater:
    """One rater's work in a project."""

    person_id: str
    name: str
    num_labels: int
    num_skipped: int
    num_cannot_judge: int
    median_seconds: float | None
    with_others: Share | None
    with_self: Share | None
    gold: Share | None
    by_guideline: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Progress:
    """A project's state."""

    project: str
    state: str
    num_items: Mapping[str, int]
    num_wanted: int
    num_done: int
    num_labels: int
    num_skipped: int
    num_adjudicated: int
    median_seconds: float | None
    agreement: tuple[Measure, ...]
    with_self: Share | None
    gold: Share | None
    by_guideline: Mapping[str, int]
    raters: tuple[Rater, ...]


@dataclass(frozen=True, slots=True)
class PromptToRead:
    """A prompt and the answers whose features are needed: their texts by id."""

    messages: tuple[Message, ...]
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Look:
    """What has to be known before a choice."""

    items: tuple[str, ...]
    num_open: int
    prompts: tuple[PromptToRead, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """One chosen item."""

    item_id: str
    rule: str
    probability: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, in the order to label in."""

    items: tuple[Chosen, ...]
    num_open: int
    num_looked_at: int
    num_unreadable: int
    num_verdicts: int
    num_waiting: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something of a file that was not taken, and why."""

    code: str
    problem: str
    line: int | None = None
    record: str | int | None = None
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Import:
    """What became of a file: `num_read` = `num_added` + `num_already` + `num_left_out`."""

    import_id: str
    file: str
    format: str
    dry_run: bool
    project: str
    num_read: int
    num_added: int
    num_already: int
    num_left_out: int
    added: Mapping[str, int]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class ImportListed:
    """An import as the list shows it; `left_out` where one was asked for by its id."""

    id: str
    file: str
    kind: str
    format: str
    num_read: int
    num_added: int
    num_already: int
    num_left_out: int
    person_id: str
    at_ms: int
    finished_ms: int | None
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the record knows."""

    name: str
    method: str
    run: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Held:
    """A snapshot that holds some of the records."""

    id: str
    name: str
    num_held: int


@dataclass(frozen=True, slots=True)
class Link:
    """One link of a path: what was used, and as what."""

    role: str
    name: str


@dataclass(frozen=True, slots=True)
class UsedBy:
    """A model, and the shortest way by which it used the records."""

    model: str
    path: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Uses:
    """What a pair or label went into."""

    held: tuple[Held, ...]
    uses: tuple[UsedBy, ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """What was taken out, or would be, and the models to train again."""

    person: str
    num_pairs_written: int
    num_pairs_edited: int
    num_labels_given: int
    num_labels_on_their_words: int
    snapshots: tuple[Held, ...]
    retrain: tuple[UsedBy, ...]


# --- from JSON --------------------------------------------------------------------------------------------------------


def build(kind: Any, value: Any) -> Any:
    """The JSON value as what the annotation `kind` says."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        options = [each for each in get_args(kind) if each is not type(None)]
        return value if value is None or len(options) > 1 else build(options[0], value)
    if origin in (list, tuple, Sequence):
        return _many(origin, get_args(kind), value)
    if origin in (dict, Mapping):
        inner = get_args(kind)[1]
        return {name: build(inner, each) for name, each in value.items()}
    if isinstance(kind, type) and (is_dataclass(kind) or hasattr(kind, "_fields")):
        hints = _hints(kind)
        return kind(**{name: build(hints[name], value[name]) for name in hints if name in value})
    return value


def _many(origin: Any, inner: tuple[Any, ...], value: Sequence[Any]) -> Any:
    if origin is tuple and len(inner) > 1 and inner[1] is not Ellipsis:
        return tuple(build(kind, each) for kind, each in zip(inner, value, strict=True))
    made = [build(inner[0], each) for each in value]
    return made if origin is list else tuple(made)


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    names = kind._fields if hasattr(kind, "_fields") else [field.name for field in fields(kind)]
    hints = get_type_hints(kind)
    return {name: hints[name] for name in names}
