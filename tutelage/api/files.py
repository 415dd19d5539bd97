"""Files in and out: an import is a file sent as the request's body, an export is streamed back.

Nothing is fetched from an address, no path of the server is named by anybody, and files are read as data only.

Leaves out: what is read and written (`tutelage.store.imports`, `tutelage.store.export_files`).
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AfterValidator
from starlette.responses import FileResponse

from tutelage.api.caller import Record, Reviewer
from tutelage.api.downloads import sent, written
from tutelage.api.uploads import BODY, Received
from tutelage.api.wire import After, IdPath, Limit, Name, Page, Tag, clean
from tutelage.api.wire_files import (
    ForeignFormat,
    ImportListed,
    ImportMade,
    ImportTold,
    KindOfFile,
    LeftOutRecord,
    StateOfPair,
)
from tutelage.store import imports
from tutelage.store.export_files import export_file
from tutelage.store.export_formats import layout_of
from tutelage.store.exports import Filters, find_wanted
from tutelage.store.import_rows import ImportOptions
from tutelage.store.pair_views import State

router = APIRouter(prefix="/api", tags=["files"])
ENDINGS = {"lines": ".jsonl", "array": ".json", "csv": ".csv", "parquet": ".parquet"}
Words = Annotated[str | None, Query(max_length=200), AfterValidator(lambda text: text and clean(text))]
Tags = Annotated[list[Tag] | None, Query(max_length=50)]
What = Annotated[
    str,
    Query(pattern=r"^[A-Za-z0-9:@._-]{1,120}$", description="`pairs`, `prompts`, `labels:PROJECT` or `DATASET@N`."),
]
Format = Annotated[str, Query(pattern="^[a-z-]{1,40}$")]
Since = Annotated[int | None, Query(ge=0, le=2**53)]


@router.post("/imports", status_code=201, openapi_extra=BODY)
def import_upload(
    upload: Received,
    person: Reviewer,
    store: Record,
    kind: KindOfFile | None = None,
    project: Annotated[Name | None, Query()] = None,
    state: StateOfPair | None = None,
    source: Words = None,
    licence: Words = None,
    tag: Tags = None,
    format: ForeignFormat | None = None,
    strict: bool = False,
    dry_run: bool = False,
    match_people: bool | None = None,
) -> ImportMade:
    """Import the file in the body. The same file again adds nothing; what is left out is listed."""
    options = ImportOptions(
        kind, project, state, source, licence, tuple(tag or ()), format, strict, dry_run, match_people
    )
    report = imports.import_file(store, person, upload.path, options, name=upload.name)
    plain = ("import_id", "file", "format", "dry_run", "project", "num_read", "num_added", "num_already")
    return ImportMade(
        **{name: getattr(report, name) for name in plain}, num_left_out=report.num_left_out,
        added=dict(report.added), left_out=[LeftOutRecord(**imports.as_row(each)) for each in report.left_out[:1000]],
    )  # fmt: skip


@router.get("/imports")
def list_imports(person: Reviewer, store: Record, after: After = "", limit: Limit = 50) -> Page[ImportListed]:
    """Imports, the newest first."""
    with store.read() as connection:
        found = imports.listing(connection, person, before=after, limit=limit)
    listed = [ImportListed(**_only(ImportListed, each)) for each in found]
    return Page(records=listed, next=listed[-1].id if len(listed) >= limit else None)


@router.get("/imports/{import_id}")
def get_import(import_id: IdPath, person: Reviewer, store: Record) -> ImportTold:
    """One import with all that it left out."""
    with store.read() as connection:
        return ImportTold(**_only(ImportTold, imports.get(connection, person, import_id)))


def _only(model: type[ImportListed], row: dict[str, Any]) -> dict[str, Any]:
    """The fields of the model; what else a row holds stays here."""
    return {name: row[name] for name in model.model_fields}


@router.get("/exports", response_class=FileResponse)
def export(
    what: What,
    person: Reviewer,
    store: Record,
    format: Format = "tutelage",
    state: Annotated[list[State] | None, Query(max_length=5)] = None,
    tag: Tags = None,
    since_ms: Since = None,
) -> FileResponse:
    """Pairs, prompts, labels or a snapshot as a file."""
    filters = Filters(tuple(state or ()), tuple(tag or ()), since_ms)
    with store.read() as connection:
        kind = find_wanted(connection, person, what, filters).kind
    name = re.sub(r"[^A-Za-z0-9._-]", "-", what) + ENDINGS[layout_of(format, kind).container]
    return sent(written(lambda path: export_file(store, person, what, path, format, filters)), name)
