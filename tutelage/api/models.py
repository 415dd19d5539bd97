"""The models of the workspace: what each is, its files to download, and evaluations of some against others.

Raters see which models there are and how they did; who asked for what, files and whole reports are for reviewers.

Leaves out: where models came from (`tutelage.api.lineage`) and training them (`tutelage.api.runs`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.responses import FileResponse, StreamingResponse

from tutelage.api.caller import Rater, Record, Reviewer
from tutelage.api.wire import Done, Limit, Page
from tutelage.api.wire_models import (
    AfterEvaluation,
    AfterModel,
    Against,
    BoardTold,
    EvaluationName,
    EvaluationTold,
    FileName,
    FilesTold,
    FileTold,
    LinkTold,
    ModelName,
    ModelTold,
    ModelWhole,
    NewEvaluation,
    OneModel,
    PromptsTold,
    UsedTold,
)
from tutelage.errors import NotFoundError
from tutelage.models.archive import members_of, tar_of, tar_size
from tutelage.runs import board, evaluations, shelf
from tutelage.runs.evaluations import Evaluation, Wanted
from tutelage.store import lineage
from tutelage.store.people import Person

router = APIRouter(prefix="/api", tags=["models"])
WithStarters = Annotated[bool, Query(description="Whether to tell of the starter models too.")]
AS_IT_IS = {"Content-Encoding": "identity"}
"""Weights are not worth compressing, and whoever downloads them should see how much is left."""


@router.get("/models")
def list_models(
    person: Rater, store: Record, after: AfterModel = "", limit: Limit = 100, starters: WithStarters = False
) -> Page[ModelTold]:
    """The models of the workspace, the newest first, and at the end those that only the record remembers."""
    del person
    with store.read() as connection:
        found = shelf.models(connection, store.workspace, starters=starters)
    names = [seen.name for seen in found]
    start = names.index(after) + 1 if after in names else 0
    chosen = found[start : start + limit]
    more = start + limit < len(found)
    return Page(records=[ModelTold.of(seen) for seen in chosen], next=chosen[-1].name if more else None)


@router.get("/models/{model}")
def get_model(model: ModelName, person: Rater, store: Record) -> ModelWhole:
    """One model, and the models that were made with it."""
    shelf.catch_up(store)
    with store.read() as connection:
        seen = shelf.model(connection, store.workspace, model)
        uses = lineage.uses_of_model(connection, model)
    told = [UsedTold(model=use.model, path=[LinkTold(**step._asdict()) for step in use.path]) for use in uses]
    folder = shelf.find_folder(store.workspace, model) if person.role != "rater" else None
    return ModelWhole(model=ModelTold.of(seen), uses=told, folder=str(folder.absolute()) if folder else "")


@router.get("/models/{model}/files")
def list_files_of_model(model: ModelName, person: Reviewer, store: Record) -> FilesTold:
    """The files of a model with their sizes, and that of all in one."""
    del person
    members = members_of(shelf.folder_of(store.workspace, model))
    files = [FileTold(name=member.name, size_bytes=member.size_bytes) for member in members]
    return FilesTold(files=files, archive=f"{model}.tar", archive_bytes=tar_size(model, members))


@router.get("/models/{model}/download", response_class=StreamingResponse)
def download_model(model: ModelName, person: Reviewer, store: Record) -> StreamingResponse:
    """All files of a model as an uncompressed tar, streamed."""
    del person
    folder = shelf.folder_of(store.workspace, model)
    members = members_of(folder)
    headers = AS_IT_IS | {
        "Content-Length": str(tar_size(model, members)),
        "Content-Disposition": f"attachment; filename*=utf-8''{quote(model, safe='')}.tar",
    }
    return StreamingResponse(tar_of(folder, model, members), headers=headers, media_type="application/x-tar")


@router.get("/models/{model}/file", response_class=FileResponse)
def download_file_of_model(model: ModelName, name: FileName, person: Reviewer, store: Record) -> FileResponse:
    """One file of a model."""
    del person
    folder = shelf.folder_of(store.workspace, model)
    if name not in {member.name for member in members_of(folder)}:  # never joined to a path before it was found
        raise NotFoundError(f"'{model}' has no file '{name[:200]}'; its list of files has their names")
    last = name.rpartition("/")[2]
    return FileResponse(folder / name, filename=last, media_type="application/octet-stream", headers=AS_IT_IS)


# Evaluations ---------------------------------------------------------------------------------------------------------


@router.get("/leaderboard")
def get_leaderboard(person: Rater, store: Record, base: Against = None) -> BoardTold:
    """How models did against one of them, by their newest evaluations, with 95 % intervals."""
    del person
    return BoardTold.of(board.board(store.workspace, base))


@router.get("/evaluations")
def list_evaluations(
    person: Rater, store: Record, model: OneModel = None, after: AfterEvaluation = "", limit: Limit = 50
) -> Page[EvaluationTold]:
    """Evaluations, the newest first, without their measures."""
    found = evaluations.see_all(store.workspace, model)
    names = [each.name for each in found]
    start = names.index(after) + 1 if after in names else 0
    chosen = found[start : start + limit]
    told = [_told(store, each, person) for each in chosen]
    return Page(records=told, next=chosen[-1].name if start + limit < len(found) else None)


@router.post("/evaluations", status_code=201)
def start_evaluation(body: NewEvaluation, person: Reviewer, store: Record) -> EvaluationTold:
    """Ask models the same prompts and compare their answers, as a process of its own."""
    wanted = Wanted(tuple(body.models), body.prompts, body.rated, body.max_new_tokens)
    name = evaluations.start(store, person, wanted)
    return _told(store, evaluations.see(store.workspace, name), person)


@router.get("/evaluation-prompts")
def list_evaluation_prompts(person: Reviewer, store: Record) -> list[PromptsTold]:
    """The prompts that an evaluation may ask: those that come with Tutelage, and files in the folder `prompts/`."""
    del person
    shipped = [PromptsTold(name=name, text=text) for name, text in evaluations.SHIPPED.items()]
    own = evaluations.prompt_files(store.workspace)
    return shipped + [PromptsTold(name=name, text="a file in prompts/") for name in own]


@router.get("/evaluations/{evaluation}")
def get_evaluation(evaluation: EvaluationName, person: Rater, store: Record) -> EvaluationTold:
    """One evaluation with all its numbers."""
    return _told(store, evaluations.see(store.workspace, evaluation), person, whole=True)


@router.post("/evaluations/{evaluation}/stop")
def stop_evaluation(evaluation: EvaluationName, person: Reviewer, store: Record) -> Done:
    """End an evaluation; nothing of it is kept."""
    evaluations.stop(store, person, evaluation)
    return Done()


def _told(store: Record, found: Evaluation, person: Person, *, whole: bool = False) -> EvaluationTold:
    models: Iterable[object] = found.numbers.get("models") or ()
    anew = [
        str(each["name"]) for each in models if isinstance(each, dict) and board.is_anew(store.workspace, each)
    ]  # fmt: skip
    return EvaluationTold.of(found, anew, whole=whole, insider=person.role != "rater")
