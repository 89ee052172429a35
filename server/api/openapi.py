"""`GET /docs` and `/openapi.json`: the requests of each dialect.

The page's scripts are served by this server, so that it works offline. Knows no dialect.
"""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from server.api.dialect import Surface

DESCRIPTION = """
Send an **array of tasks** to `POST /v1`, or the same arrays as text frames over a WebSocket at `/v1`.
Authenticate with `Authorization: Bearer <key>` or an `authentication` task; without configured keys any key will do.

Every answer is an object with `data`, `errors`, or both. An error has a stable `code`, a `message` and the `parameter`
at fault.
"""


def install_docs(app: FastAPI, surfaces: Sequence[Surface]) -> None:
    """Let each dialect describe its own paths."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
            for surface in surfaces:
                surface.describe(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
