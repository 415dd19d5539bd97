"""The page at `/docs`: every address of the API as plain HTML made here, with no script and nothing from elsewhere.

Leaves out: trying requests out; the OpenAPI document it is made from is at `/api/openapi.json` for tools that do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

router = APIRouter()
_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>The API of Tutelage</title></head><body>'
    '<main><h1>The API of Tutelage {version}</h1><p>The same as <a href="/api/openapi.json">an OpenAPI document</a>.'
    "</p><table><thead><tr><th>Method</th><th>Address</th><th>What it does</th></tr></thead><tbody>{rows}</tbody>"
    "</table></main></body></html>"
)


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    """Every address, its methods, and what they do."""
    document = request.app.openapi()
    rows = "".join(
        f"<tr><td>{method}</td><td><code>{escape(path)}</code></td><td>{escape(help)}</td></tr>"
        for method, path, help in operations(document)
    )
    return HTMLResponse(_PAGE.format(version=escape(document["info"]["version"]), rows=rows))


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(method, address, what it does) of each operation in an OpenAPI document."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation.get("description", operation.get("summary", ""))
