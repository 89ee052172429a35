"""RunPod's queue API as it is served: `/v2/{endpoint}/…`."""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.api.access.client import Client
from server.api.request_route import RequestHandler, add_request_route
from server.api.requests import client_of, read_object
from server.api.response_headers import response_headers
from server.api.runpod import openapi
from server.api.runpod.dialect import DIALECT, RunpodDialect
from server.api.runpod.jobs import Json
from server.api.runpod.operations import JobRejected, RunpodOperations
from server.api.runpod.queries import DEFAULT_STREAM_WAIT_MS, ttl_seconds, wait_seconds
from server.api.runpod.webhooks import RunpodWebhooks
from server.api.services import Services
from server.errors import ApiError

ROUTE = "/v2/{endpoint}"

Operation = Callable[[Request, Client], Awaitable[Json]]


class RunpodSurface:
    """See `server.api.dialect.Surface`."""

    name: ClassVar[str] = DIALECT
    schema: ClassVar[str] = ""
    paths: ClassVar[tuple[str, ...]] = ("/v2/",)

    def __init__(self, services: Services) -> None:
        self.webhooks = RunpodWebhooks(services.media)
        self._services = services
        self._dialect = RunpodDialect(services.loras, services.media)
        self._operations = RunpodOperations(services, self._dialect)

    def add_routes(self, app: FastAPI) -> None:
        """Serve the operations. Clients poll with GET or with POST."""
        both, post = ["GET", "POST"], ["POST"]
        for path, methods, operation in (
            ("/run", post, self._run),
            ("/runsync", post, self._run_and_wait),
            ("/status/{job_id}", both, self._status),
            ("/status-sync/{job_id}", both, self._wait),
            ("/stream/{job_id}", both, self._stream),
            ("/cancel/{job_id}", post, self._cancel),
            ("/retry/{job_id}", post, self._retry),
            ("/purge-queue", post, self._purge),
            ("/health", ["GET"], self._health),
        ):
            add_request_route(app, ROUTE + path, self._answering(operation), *methods)

    def describe(self, document: dict[str, Any]) -> None:
        """Add the operations and their bodies."""
        openapi.describe(document)

    def error_response(self, *errors: ApiError) -> Response:
        """An error response in RunPod's format."""
        error = errors[0]
        headers = response_headers(error.status, retry_after=error.retry_after)
        return JSONResponse(self._dialect.error(error), error.status, headers)

    async def open(self) -> None:
        """There is no background work."""

    async def close(self) -> None:
        """There is no background work."""

    def _answering(self, operation: Operation) -> RequestHandler:
        """The handler of a route: the key comes before the body, and a rejected job keeps its id."""

        async def answer(request: Request) -> Response:
            try:
                return JSONResponse(await operation(request, client_of(request, self._services)))
            except JobRejected as rejected:
                body = self._dialect.error(rejected.error, rejected.job_id)
                return JSONResponse(body, rejected.error.status)

        return answer

    async def _run(self, request: Request, client: Client) -> Json:
        body, client = await read_object(request, client, self._services)
        return await self._operations.run(_endpoint(request), body, client)

    async def _run_and_wait(self, request: Request, client: Client) -> Json:
        seconds = wait_seconds(request.query_params)
        body, client = await read_object(request, client, self._services)
        with client.watch(request):
            return await self._operations.run_and_wait(_endpoint(request), body, client, seconds)

    async def _status(self, request: Request, client: Client) -> Json:
        return await self._operations.status(_job_id(request), client, ttl_seconds(request.query_params))

    async def _wait(self, request: Request, client: Client) -> Json:
        seconds = wait_seconds(request.query_params)
        with client.watch(request):
            return await self._operations.wait(_job_id(request), client, seconds)

    async def _stream(self, request: Request, client: Client) -> Json:
        seconds = wait_seconds(request.query_params, DEFAULT_STREAM_WAIT_MS)
        with client.watch(request):
            return await self._operations.stream(_job_id(request), client, seconds)

    async def _cancel(self, request: Request, client: Client) -> Json:
        return await self._operations.cancel(_job_id(request), client)

    async def _retry(self, request: Request, client: Client) -> Json:
        return await self._operations.retry(_job_id(request), client)

    async def _purge(self, request: Request, client: Client) -> Json:
        return await self._operations.purge(_endpoint(request), client)

    async def _health(self, request: Request, client: Client) -> Json:
        return await self._operations.health(_endpoint(request), client)


def _endpoint(request: Request) -> str:
    return request.path_params["endpoint"]


def _job_id(request: Request) -> str:
    return request.path_params["job_id"]
