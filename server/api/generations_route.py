"""`POST /v1/images/generations`: one path that two vendors own, with different answers.

Each dialect says which calls it recognizes as its own. The last one takes the rest. A header of every answer names the
dialect that answered. Each dialect also has a path of its own, where nothing is guessed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from server.api.access.client import Client
from server.api.request_route import add_request_route
from server.api.requests import client_of, read_object
from server.api.services import Services
from server.errors import ApiError, TaskRejected

ROUTE = "/v1/images/generations"
DIALECT_HEADER = "Ownware-Dialect"

Json = Mapping[str, Any]


class Generator(Protocol):
    """A dialect that answers the path. `name` is what `--dialects` calls it, `prefix` begins its own path."""

    name: ClassVar[str]
    prefix: ClassVar[str]

    def recognizes(self, headers: Headers, body: Json) -> bool:
        """Whether a call is one of this vendor's clients."""
        ...

    async def generate(self, request: Request, client: Client, body: Json) -> Response:
        """Answer a call. Raises `ApiError` or `TaskRejected`."""
        ...

    def error_response(self, *errors: ApiError) -> Response:
        """The answer to a call that is refused."""
        ...


class GenerationsRoute:
    """The path, for the dialects that are switched on."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def add(self, app: FastAPI, generators: Sequence[Generator]) -> None:
        """Serve each of the dialects under its own prefix, and all of them at the shared path."""
        for generator in generators:
            self._add(app, generator.prefix + ROUTE, [generator])
        if generators:
            self._add(app, ROUTE, generators)

    def _add(self, app: FastAPI, path: str, generators: Sequence[Generator]) -> None:
        async def generate(request: Request) -> Response:
            return await self._answer(request, generators)

        add_request_route(app, path, generate, "POST")

    async def _answer(self, request: Request, generators: Sequence[Generator]) -> Response:
        chosen = _chosen(generators, request.headers, {})
        try:
            client = client_of(request, self._services)
            parsed, client = await read_object(request, client, self._services)
            chosen = _chosen(generators, request.headers, parsed)
            response = await chosen.generate(request, client, parsed)
        except TaskRejected as rejected:
            response = chosen.error_response(*rejected.errors)
        except ApiError as error:
            response = chosen.error_response(error)
        response.headers[DIALECT_HEADER] = chosen.name
        return response


def _chosen(generators: Sequence[Generator], headers: Headers, body: Json) -> Generator:
    return next((each for each in generators if each.recognizes(headers, body)), generators[-1])
