"""What the framework would answer by itself, said in the one shape that clients read.

Its own bodies for 404, 405, 422 and 500 never get out.
"""

from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from server.api.runware.http import json_response
from server.api.runware.responses import TaskRef, refusal
from server.errors import ApiError, InternalServerError, InvalidRequest, MethodNotAllowed, NotFound


def install_handlers(app: FastAPI) -> None:
    """Give the app our error bodies."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _bad_request)
    app.add_exception_handler(Exception, _bug)


async def _api_error(request: Request, error: Exception) -> Response:
    return json_response([refusal([cast("ApiError", error)], TaskRef())])


async def _http_error(request: Request, error: Exception) -> Response:
    status = cast("HTTPException", error).status_code
    if status == 404:
        return await _api_error(request, NotFound(f"Nothing is at {request.url.path}. The API is at /v1."))
    if status == 405:
        message = f"{request.method} does not apply to {request.url.path}. Send tasks with POST."
        return await _api_error(request, MethodNotAllowed(message))
    return await _api_error(request, InvalidRequest("The request cannot be read."))


async def _bad_request(request: Request, error: Exception) -> Response:
    return await _api_error(request, InvalidRequest("The request cannot be read."))


async def _bug(request: Request, error: Exception) -> Response:
    return await _api_error(request, InternalServerError("Internal server error."))
