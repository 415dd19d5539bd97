"""Models, their files and their evaluations on the wire.

Leaves out: what may be evaluated (`tutelage.runs.evaluations`).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, Field

from tutelage.api.wire import Asked, clean
from tutelage.runs.board import Board, Row
from tutelage.runs.evaluations import MOST_TOKENS, Evaluation, State
from tutelage.runs.shelf import HeldOut, Place, Seen
from tutelage.runs.words import METHODS
from tutelage.stats.intervals import Interval

Named = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(clean)]
ModelName = Annotated[str, Path(min_length=1, max_length=200), AfterValidator(clean)]
"""Of a model's folder, whatever its letters; whether there is such a model is looked up, never joined to a path."""
FileName = Annotated[
    str, Query(min_length=1, max_length=500, description="As the list of files has it."), AfterValidator(clean)
]  # fmt: skip
AfterModel = Annotated[str, Query(max_length=200, description="Only models after it."), AfterValidator(clean)]
OneModel = Annotated[
    str | None, Query(max_length=200, description="Only those of this model."), AfterValidator(lambda v: v and clean(v))
]
Against = Annotated[
    str | None, Query(max_length=200, description="The model that the others are held against; the usual one if none."),
    AfterValidator(lambda value: value and clean(value)),
]  # fmt: skip
EvaluationName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
AfterEvaluation = Annotated[
    str, Query(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$", description="Only those after.")
]


class IntervalTold(BaseModel):
    """An estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float

    @classmethod
    def of(cls, interval: Interval | None) -> IntervalTold | None:
        """The interval as it is told."""
        return None if interval is None else cls(**interval._asdict())


class HeldOutTold(BaseModel):
    """How often a model agreed with verdicts that it did not learn from."""

    accuracy: IntervalTold
    num_comparisons: int
    longer: IntervalTold | None
    """What always preferring the longer answer would have reached."""
    raters_agree: IntervalTold | None

    @classmethod
    def of(cls, found: HeldOut) -> HeldOutTold:
        """What was measured."""
        accuracy = IntervalTold(**found.accuracy._asdict())
        return cls(
            accuracy=accuracy, num_comparisons=found.num_comparisons, longer=IntervalTold.of(found.longer),
            raters_agree=IntervalTold.of(found.raters_agree),
        )  # fmt: skip


class ModelTold(BaseModel):
    """A model: of the workspace, one that only the record remembers (`gone`), or a starter model."""

    name: str
    place: Place
    kind: str
    method: str
    run: str
    base: str
    data: str
    steps: int | None
    tokens: int | None
    size_bytes: int
    num_parameters: int | None
    created_ms: int
    note: str
    plain: str
    """What its method does, in plain words."""
    answers: bool
    """Whether it can be asked something."""
    held_out: HeldOutTold | None

    @classmethod
    def of(cls, seen: Seen) -> ModelTold:
        """What was seen of a model."""
        held_out = None if seen.held_out is None else HeldOutTold.of(seen.held_out)
        told = {name: getattr(seen, name) for name in cls.model_fields if name not in ("held_out", "plain")}
        return cls(**told, plain=METHODS.get(seen.method, ""), held_out=held_out)


class LinkTold(BaseModel):
    """One link of a path: what was used, and as what."""

    role: str
    name: str


class UsedTold(BaseModel):
    """A model that was made with this one, and the shortest way by which it was."""

    model: str
    path: list[LinkTold]


class ModelWhole(BaseModel):
    """A model, what was made with it, and where it stands on the server's disk (for reviewers)."""

    model: ModelTold
    uses: list[UsedTold]
    folder: str


class FileTold(BaseModel):
    """A file of a model."""

    name: str
    size_bytes: int


class FilesTold(BaseModel):
    """All files of a model, and the size of all in one."""

    files: list[FileTold]
    archive: str
    archive_bytes: int


class NewEvaluation(Asked):
    """What to evaluate: one to four models, the one before first, on prompts that are there."""

    models: Annotated[list[Named], Field(min_length=1, max_length=8)]
    prompts: Named = "sealed"
    rated: bool = True
    """Whether the scripted rater says whose answers win."""
    max_new_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] = 256


class PromptsTold(BaseModel):
    """Prompts that may be asked."""

    name: str
    text: str


class EvaluationTold(BaseModel):
    """How an evaluation stands; `numbers` are there once it has finished."""

    name: str
    state: State
    models: list[str]
    prompts: str
    rater: str
    by: str
    at_ms: int
    said: str
    numbers: dict[str, Any]
    anew: list[str]
    """Models in it that were made anew since, so that the numbers are not theirs."""

    @classmethod
    def of(cls, found: Evaluation, anew: list[str], *, whole: bool, insider: bool) -> EvaluationTold:
        """What was seen; the measures only of one that was asked for, names of people and errors only for insiders."""
        told = {name: getattr(found, name) for name in cls.model_fields if name not in ("models", "anew")}
        if not insider:
            told |= {"by": "", "said": ""}
        told["numbers"] = {key: value for key, value in found.numbers.items() if whole or key not in ("measures",)}
        if not insider:
            told["numbers"].pop("facts", None)
        return cls(**told, models=list(found.models), anew=anew)


class RowTold(BaseModel):
    """How a model did against the one that all are held against."""

    model: str
    rate: IntervalTold
    wins: int
    ties: int
    losses: int
    verdict: str
    place: int | None
    like: list[str]
    evaluation: str
    at_ms: int

    @classmethod
    def of(cls, row: Row) -> RowTold:
        """A row as it is told."""
        told = {name: getattr(row, name) for name in cls.model_fields if name not in ("rate", "like")}
        return cls(**told, rate=IntervalTold(**row.rate._asdict()), like=list(row.like))


class TableTold(BaseModel):
    """Models whose win rates may be compared: the same prompts, limit and rater."""

    prompts: str
    num_prompts: int
    max_new_tokens: int
    rater: str
    rows: list[RowTold]


class BoardTold(BaseModel):
    """Everything that is known against one model."""

    base: str
    bases: list[str]
    tables: list[TableTold]
    num_outdated: int

    @classmethod
    def of(cls, board: Board) -> BoardTold:
        """A board as it is told."""
        tables = [
            TableTold(
                prompts=table.terms.prompts, num_prompts=table.terms.num_prompts, rater=table.terms.rater,
                max_new_tokens=table.terms.max_new_tokens, rows=[RowTold.of(row) for row in table.rows],
            ) for table in board.tables
        ]  # fmt: skip
        return cls(base=board.base, bases=list(board.bases), tables=tables, num_outdated=board.num_outdated)
