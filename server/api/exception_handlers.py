"""Exception handlers: FastAPI's 404, 405, 422 and 500 in the dialect of the path.

Clients never get FastAPI's own bodies. A dialect that is switched off says so in its own words. Knows no dialect.
"""

from collections.abc import Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from server.api.dialect import Surface
from server.errors import (
    ApiError,
    InvalidParameter,
    InvalidRequest,
    MethodNotAllowed,
    MissingParameter,
    NotFound,
    TaskRejected,
    UnknownParameter,
)
from server.storage import unforeseen_error


def install_handlers(app: FastAPI, surfaces: Sequence[Surface], served: Sequence[Surface]) -> None:
    """Answer each error in the dialect of its path. Of all `surfaces`, those that are `served` have routes."""

    async def handle(request: Request, error: Exception) -> Response:
        surface = surface_of(request.url.path, surfaces)
        if isinstance(error, HTTPException) and error.status_code == 404 and surface not in served:
            message = f"Nothing is at {request.url.path}: the dialect '{surface.name}' is switched off. "
            return surface.error_response(NotFound(f"{message}--dialects switches it on."))
        errors = error.errors if isinstance(error, TaskRejected) else (_api_error(request, error),)
        response = surface.error_response(*errors)
        if isinstance(error, HTTPException):
            response.headers.update(error.headers or {})  # such as Allow
        return response

    for kind in (ApiError, TaskRejected, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, handle)


def surface_of(path: str, surfaces: Sequence[Surface]) -> Surface:
    """The surface with the longest prefix of a path. One of them has the prefix `/`."""
    prefixes = {prefix: surface for surface in surfaces for prefix in surface.paths if path.startswith(prefix)}
    return prefixes[max(prefixes, key=len)]


def _api_error(request: Request, error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestValidationError):
        return _query_error(error) or InvalidRequest("The request cannot be read.")
    if not isinstance(error, HTTPException):
        return unforeseen_error(error)
    if error.status_code == 404:
        return NotFound(f"Nothing is at {request.url.path}. The API is described at /docs.")
    if error.status_code == 405:
        return MethodNotAllowed(f"{request.method} does not apply to {request.url.path}. Send tasks with POST.")
    return InvalidRequest("The request cannot be read.")


def _query_error(refused: RequestValidationError) -> ApiError | None:
    """The first error of a query. None when another part of the request is at fault."""
    for found in refused.errors():
        place, *names = found["loc"]
        if place != "query" or not names:
            continue
        name = str(names[0])
        if found["type"] == "extra_forbidden":
            return UnknownParameter(f"The parameter '{name}' does not exist here.", parameter=name)
        if found["type"] == "missing":
            return MissingParameter(name, f"Missing '{name}' parameter.")
        return InvalidParameter(name, f"Invalid value for '{name}' parameter. {found['msg']}.")
    return None
