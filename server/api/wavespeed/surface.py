"""WaveSpeed's API as it is served: `/api/v3/…`, and the same under `/api/v2`, which one of its clients polls."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from server.api.access.client import Client
from server.api.bodies.body import read_body
from server.api.request_route import RequestHandler, add_request_route
from server.api.requests import client_of, read_fields, read_object
from server.api.response_headers import response_headers
from server.api.services import Services
from server.api.urls.base_url import base_url
from server.api.wavespeed import account, openapi, uploads
from server.api.wavespeed.account import Account, WebhookSecrets
from server.api.wavespeed.dialect import DIALECT, WaveSpeedDialect
from server.api.wavespeed.file_form import read_file
from server.api.wavespeed.operations import Predictions
from server.api.wavespeed.predictions import Json, envelope
from server.api.wavespeed.schema import Deletion, HistoryQuery, PriceQuery, UploadTicket
from server.api.wavespeed.uploads import Uploads
from server.api.wavespeed.webhooks import WaveSpeedWebhooks
from server.errors import ApiError

ROOTS = ("/api/v3", "/api/v2")

Operation = Callable[[Request, Client], Awaitable[Json]]


class WaveSpeedSurface:
    """See `server.api.dialect.Surface`."""

    name: ClassVar[str] = DIALECT
    schema: ClassVar[str] = uploads.SCHEMA + account.SCHEMA
    paths: ClassVar[tuple[str, ...]] = tuple(f"{root}/" for root in ROOTS)

    def __init__(self, services: Services) -> None:
        self._services = services
        self._dialect = WaveSpeedDialect(services.loras, services.media)
        self._uploads = Uploads(services)
        self._predictions = Predictions(services, self._dialect, self._uploads)
        webhook_secrets = WebhookSecrets(services.database)
        self._account = Account(services, self._dialect, webhook_secrets)
        self.webhooks = WaveSpeedWebhooks(services.media, webhook_secrets)

    def add_routes(self, app: FastAPI) -> None:
        """Serve the operations. Any other path is that of a model."""
        for path, method, operation in (
            ("/predictions", "POST", self._history),
            ("/predictions/delete", "POST", self._delete),
            ("/predictions/{prediction_id}/result", "GET", self._find),
            ("/predictions/{prediction_id}", "GET", self._find),
            ("/media/uploads", "POST", self._create_upload),
            ("/media/upload/binary", "POST", self._upload_form),
            ("/webhook/secret", "GET", self._secret),
            ("/models", "GET", self._models),
            ("/balance", "GET", self._balance),
            ("/model/price", "POST", self._price),
            ("/model/pricing", "POST", self._price),  # the path of the command line's version 0.2
        ):
            self._serve(app, path, method, self._answering(operation))
        self._serve(app, "/media/uploads/{ticket}", "PUT", self._put_upload)
        self._serve(app, "/media/files/{file}/{name}", "GET", self._file)
        self._serve(app, "/{model:path}", "POST", self._answering(self._submit))

    def describe(self, document: dict[str, Any]) -> None:
        """Add the operations, and a path for each way to use a model."""
        openapi.describe(document)

    def error_response(self, *errors: ApiError) -> Response:
        """An error response in WaveSpeed's format."""
        headers = response_headers(errors[0].status, retry_after=errors[0].retry_after)
        return JSONResponse(self._dialect.error(errors[0]), errors[0].status, headers)

    async def open(self) -> None:
        """There is no background work."""

    async def close(self) -> None:
        """There is no background work."""

    def _serve(self, app: FastAPI, path: str, method: str, handler: RequestHandler) -> None:
        for root in ROOTS:
            add_request_route(app, root + path, handler, method)

    def _answering(self, operation: Operation) -> RequestHandler:
        """The handler of a route that needs a key. The key comes before the body."""

        async def answer(request: Request) -> Response:
            return JSONResponse(await operation(request, client_of(request, self._services)))

        return answer

    async def _submit(self, request: Request, client: Client) -> Json:
        model = request.path_params["model"]
        self._dialect.check_model(model, client)
        body, client = await read_object(request, client, self._services)
        with client.watch(request):
            return await self._predictions.submit(model, body, client, request.query_params.get("webhook"))

    async def _find(self, request: Request, client: Client) -> Json:
        return await self._predictions.find(request.path_params["prediction_id"], client)

    async def _history(self, request: Request, client: Client) -> Json:
        query = await read_fields(HistoryQuery, request, self._services)
        return await self._predictions.page(query, client)

    async def _delete(self, request: Request, client: Client) -> Json:
        wanted = await read_fields(Deletion, request, self._services)
        return await self._predictions.delete(wanted.ids, client)

    async def _create_upload(self, request: Request, client: Client) -> Json:
        wanted = await read_fields(UploadTicket, request, self._services)
        return envelope(await self._uploads.create(wanted, client))

    async def _upload_form(self, request: Request, client: Client) -> Json:
        name, data = await read_file(request.headers, await read_body(request, self._services.max_body))
        return envelope(await self._uploads.add(data, name, client))

    async def _secret(self, request: Request, client: Client) -> Json:
        return envelope(await self._account.secret(client))

    async def _models(self, request: Request, client: Client) -> Json:
        return envelope(self._account.models(client))

    async def _balance(self, request: Request, client: Client) -> Json:
        return envelope(self._account.balance())

    async def _price(self, request: Request, client: Client) -> Json:
        query = await read_fields(PriceQuery, request, self._services)
        return envelope(self._account.price(query, client))

    async def _put_upload(self, request: Request) -> Response:
        redeemed = await self._uploads.redeem(request.path_params["ticket"])
        body = await read_body(request, redeemed.size)
        await self._uploads.fill(redeemed, await asyncio.to_thread(bytes, body))
        return JSONResponse(envelope({}))

    async def _file(self, request: Request) -> Response:
        file = request.path_params["file"]
        return RedirectResponse(await self._uploads.url_of(file, base_url(request, self._services.public_url)))
