"""EvoLink's API as it is served: tasks, files, models and credits, and the same under `/evolink`."""

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pipelines.catalog.catalog import REFERENCES
from server.api.access.client import Client
from server.api.evolink import file_table, openapi, progress
from server.api.evolink.callbacks import EvoLinkWebhooks
from server.api.evolink.dialect import NAME, EvoLinkDialect
from server.api.evolink.files import EvoLinkFiles
from server.api.evolink.progress import ToldProgress
from server.api.evolink.tasks import EvoLinkTasks
from server.api.request_route import RequestHandler, add_request_route
from server.api.requests import client_of
from server.api.response_headers import response_headers
from server.api.services import Services
from server.errors import ApiError, TaskRejected

PREFIX = "/evolink"
TASKS, FILES = "/v1/tasks", "/api/v1/files"
CLIENT_HEADER = "x-evo-client"


class EvoLinkSurface:
    """See `server.api.dialect.Surface` and `server.api.generations_route.Generator`.

    `/v1/tasks/<id>` is a path of the server too, so these routes answer their errors themselves.
    """

    name: ClassVar[str] = NAME
    prefix: ClassVar[str] = PREFIX
    schema: ClassVar[str] = file_table.SCHEMA + progress.SCHEMA
    paths: ClassVar[tuple[str, ...]] = (PREFIX, "/v1/tasks/task-unified-", "/v1/tasks/batch", "/v1/credits", FILES)

    def __init__(self, services: Services) -> None:
        self._services = services
        self._dialect = EvoLinkDialect(services.loras)
        told = ToldProgress(services.database, services.queue)
        self.webhooks = EvoLinkWebhooks(self._dialect, told, services.media)
        self._tasks = EvoLinkTasks(services, self._dialect, told)
        self._files = EvoLinkFiles(services)
        self._started = int(time.time())

    def add_routes(self, app: FastAPI) -> None:
        """Serve all but the creation of tasks, whose path is another vendor's too."""
        routes: list[tuple[str, str, RequestHandler]] = [
            ("GET", TASKS, self._tasks.list_tasks),
            ("POST", TASKS + "/batch", self._tasks.batch),
            ("GET", TASKS + "/{task_id}", self._tasks.show),
            ("GET", "/v1/credits", self.credits),
            ("POST", FILES + "/upload/base64", self._files.upload_base64),
            ("POST", FILES + "/upload/stream", self._files.upload_stream),
            ("POST", FILES + "/upload/url", self._files.upload_url),
            ("GET", FILES + "/list", self._files.list_files),
            ("GET", FILES + "/quota", self._files.quota),
            ("DELETE", FILES + "/{file_id}", self._files.delete),
        ]
        for method, path, handler in routes:
            for prefix in ("", PREFIX):
                add_request_route(app, prefix + path, self._answering(handler), method)
        add_request_route(app, PREFIX + "/v1/models", self.list_models, "GET")

    def describe(self, document: dict[str, Any]) -> None:
        """Add the calls, with examples that run."""
        openapi.describe(document)

    def error_response(self, *errors: ApiError) -> Response:
        """An error response in the vendor's format."""
        error = errors[0]
        return JSONResponse(self._dialect.error(error), error.status, response_headers(error.status))

    async def open(self) -> None:
        """Nothing is done beside the calls."""

    async def close(self) -> None:
        """Nothing is done beside the calls."""

    def recognizes(self, headers: Headers, body: Mapping[str, Any]) -> bool:
        """Whether a call has what only this vendor's clients send."""
        return CLIENT_HEADER in headers or "image_urls" in body or "callback_url" in body

    async def generate(self, request: Request, client: Client, body: Mapping[str, Any]) -> Response:
        """Create a task."""
        return await self._tasks.create(request, client, body)

    async def list_models(self, request: Request) -> Response:
        """The models that a task can name: those that take pictures."""
        client = client_of(request, self._services)
        entries = self._services.loras.catalog(client.owner).entries
        names = [entry.slugs[0] if entry.slugs else entry.air for entry in entries if REFERENCES[entry.mode][1]]
        rows = [{"id": name, "object": "model", "created": self._started, "owned_by": "ownware"} for name in names]
        return JSONResponse({"object": "list", "data": rows})

    async def credits(self, request: Request) -> Response:
        """There is nothing to pay."""
        client_of(request, self._services)
        none = {"remaining_credits": 0, "used_credits": 0}
        return JSONResponse({"success": True, "data": {"user": none, "token": {**none, "unlimited_credits": True}}})

    def _answering(self, handler: RequestHandler) -> RequestHandler:
        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except TaskRejected as rejected:
                return self.error_response(*rejected.errors)
            except ApiError as error:
                return self.error_response(error)

        return answer
