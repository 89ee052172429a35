"""OpenAI's Images API as it is served: images, models, and the same under `/openai`."""

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.api.access.client import Client
from server.api.generations_route import ROUTE as GENERATIONS
from server.api.openai_images import openapi
from server.api.openai_images.calls import ImageCalls, error_answer
from server.api.openai_images.dialect import NAME, OpenAIDialect
from server.api.request_route import RequestHandler, add_request_route
from server.api.requests import client_of
from server.api.services import Services
from server.errors import ApiError, NotFound

PREFIX = "/openai"
MODELS, EDITS = "/v1/models", "/v1/images/edits"
VARIATIONS = "/v1/images/variations"  # nothing is there, and its clients read that in their own words
OWNER = "ownware"


class OpenAISurface:
    """See `server.api.dialect.Surface` and `server.api.generations_route.Generator`."""

    name: ClassVar[str] = NAME
    prefix: ClassVar[str] = PREFIX
    schema: ClassVar[str] = ""
    paths: ClassVar[tuple[str, ...]] = (GENERATIONS, EDITS, VARIATIONS, MODELS, PREFIX)

    def __init__(self, services: Services) -> None:
        self._services = services
        self._dialect = OpenAIDialect(services.loras, services.media)
        self._calls = ImageCalls(services, self._dialect)
        self._started = int(time.time())
        self.webhooks = None  # a client waits for its images

    def add_routes(self, app: FastAPI) -> None:
        """Serve edits and the list of models. Generations share their path with another vendor."""
        routes: dict[str, tuple[str, RequestHandler]] = {
            EDITS: ("POST", self._calls.edit),
            MODELS: ("GET", self.list_models),
            MODELS + "/{name:path}": ("GET", self.show_model),
        }
        for path, (method, handler) in routes.items():
            for prefix in ("", PREFIX):
                add_request_route(app, prefix + path, handler, method)

    def describe(self, document: dict[str, Any]) -> None:
        """Add the two calls, with examples that run."""
        openapi.describe(document)

    def error_response(self, *errors: ApiError) -> Response:
        """An error response in the vendor's format."""
        return error_answer(self._dialect, errors[0])

    async def open(self) -> None:
        """Nothing is done beside the calls."""

    async def close(self) -> None:
        """Nothing is done beside the calls."""

    def recognizes(self, headers: Headers, body: Mapping[str, Any]) -> bool:
        """Every call that no other vendor's client sends."""
        return True

    async def generate(self, request: Request, client: Client, body: Mapping[str, Any]) -> Response:
        """Answer a generation."""
        return await self._calls.generate(request, client, body)

    async def list_models(self, request: Request) -> Response:
        """Every name that a call may have."""
        client_of(request, self._services)
        return JSONResponse({"object": "list", "data": [self._model(name) for name in self._names()]})

    async def show_model(self, request: Request) -> Response:
        """One of them."""
        client_of(request, self._services)
        name = request.path_params["name"]
        if name.lower() not in map(str.lower, self._names()):
            raise NotFound(f"The model '{name}' does not exist.", code="model_not_found", parameter="model")
        return JSONResponse(self._model(name))

    def _names(self) -> list[str]:
        """The slugs of each model first, then what the vendor's clients call it. No name twice."""
        entries = self._services.loras.catalog("").entries
        names = [name for entry in entries for name in (*entry.slugs, entry.air)]
        return list(dict.fromkeys([*names, *(name for entry in entries for name in entry.names.get(NAME, ()))]))

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._started, "owned_by": OWNER}
