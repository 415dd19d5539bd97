"""Every error as JSON: {"error": what and what to do, "field"?, "file"?, "line"?}, and never a traceback.

Leaves out: which errors there are (`tutelage.errors`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, IntegrityError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tutelage.data.raw import one_line
from tutelage.errors import (
    ConflictError,
    DataError,
    NotAllowedError,
    NotFoundError,
    SignInError,
    TooManyError,
    TutelageError,
    UnavailableError,
)

log = logging.getLogger("tutelage.api")

STATUS: tuple[tuple[type[TutelageError], int], ...] = (
    (SignInError, 401),
    (NotAllowedError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (DataError, 422),
    (TooManyError, 429),
    (UnavailableError, 503),
    (TutelageError, 400),
)
BUSY = "the database is busy or cannot be reached; try again in a moment"
BROKEN = "something went wrong in the server; its log says what"


def problem(status: int, error: str, **more: Any) -> Response:
    """An error's answer; only ASCII, so that whatever a request held can be told of."""
    body = {"error": error, **{name: value for name, value in more.items() if value is not None}}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    headers |= {"Retry-After": "1"} if status == 503 else {}
    return Response(json.dumps(body), status, headers, "application/json")


def of_tutelage(_: Request, error: Exception) -> Response:
    """A mistake that the asker can mend."""
    status = next(status for kind, status in STATUS if isinstance(error, kind))
    if isinstance(error, UnavailableError):  # its message names the database, which is not everybody's to know
        log.error("%s", error)
        return problem(status, BUSY)
    if isinstance(error, DataError):
        return problem(status, error.problem, field=error.field, file=error.file, line=error.line)
    return problem(status, str(error))


def of_validation(_: Request, error: Exception) -> Response:
    """A request that does not have the right shape; what it held is not repeated."""
    assert isinstance(error, RequestValidationError)
    found = [{"field": place_of(each["loc"]), "error": said_of(each)} for each in error.errors()[:20]]
    return problem(422, found[0]["error"], field=found[0]["field"] or None, problems=found)


PLAIN = {
    "missing": "this is missing", "extra_forbidden": "this is not permitted here", "json_invalid": "this is no JSON",
    "greater_than_equal": "give at least {ge:g}", "greater_than": "give more than {gt:g}",
    "less_than_equal": "give at most {le:g}", "less_than": "give less than {lt:g}",
    "int_parsing": "give a whole number", "int_type": "give a whole number", "int_from_float": "give a whole number",
    "float_parsing": "give a number", "float_type": "give a number", "finite_number": "give a number that ends",
    "bool_parsing": "give true or false", "bool_type": "give true or false", "string_type": "give a text",
    "string_too_short": "give at least {min_length} characters",
    "string_too_long": "give at most {max_length} characters",
    "too_short": "give at least {min_length}", "too_long": "give at most {max_length}",
    "literal_error": "give {expected}", "enum": "give {expected}",
    "list_type": "give a list", "dict_type": "give an object",
}  # fmt: skip
"""What is wrong with a value, by pydantic's name for it."""


def said_of(error: Mapping[str, Any]) -> str:
    """What is wrong and what would be right, in plain words."""
    if "A-Za-z0-9" in str(error.get("ctx", {}).get("pattern")):
        return "use letters, digits and . _ - only, and begin with a letter or a digit"
    words = PLAIN.get(error["type"], str(error["msg"]).removeprefix("Value error, "))
    return words.format_map(error.get("ctx", {})) if error["type"] in PLAIN else words[:500]


def place_of(location: tuple[Any, ...]) -> str:
    """Where in a request something is wrong."""
    return ".".join(str(part) for part in location if part not in ("body", "query", "path", "header"))[:200]


def of_http(request: Request, error: Exception) -> Response:
    """An address that is not there, a method that it does not have, a body that is too large."""
    assert isinstance(error, HTTPException)
    path = one_line(request.url.path, 200)
    told = {
        "Not Found": f"there is nothing at {path}; /docs lists the addresses",
        "Method Not Allowed": f"{path} takes no {request.method}; /docs lists what each address takes",
    }
    answer = problem(error.status_code, told.get(str(error.detail), str(error.detail)))
    answer.headers.update(error.headers or {})
    return answer


def of_database(_: Request, error: Exception) -> Response:
    """Two writers at one moment. Anything else is an error of ours."""
    if isinstance(error, IntegrityError):
        log.warning("a clash in the database: %s", error.orig)
        return problem(409, "it clashes with what was recorded at the same moment; look again, then try again")
    log.error("the database", exc_info=error)
    return problem(500, BROKEN)


def register(app: FastAPI) -> None:
    """Let `app` answer with these."""
    app.add_exception_handler(TutelageError, of_tutelage)
    app.add_exception_handler(RequestValidationError, of_validation)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(DBAPIError, of_database)
