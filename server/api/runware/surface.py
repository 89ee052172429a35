"""Runware's API as it is served: `/v1` over HTTP and WebSocket."""

from typing import Any, ClassVar

from fastapi import FastAPI
from starlette.responses import Response

from server.api.access.client import Client
from server.api.runware import openapi, upload_rows
from server.api.runware.dialect import RunwareDialect
from server.api.runware.dispatch import RunwareApi
from server.api.runware.docs_page import install_fresh_ids
from server.api.runware.handlers.account import Account
from server.api.runware.handlers.cancelling import Cancelling
from server.api.runware.handlers.inference import Inference
from server.api.runware.handlers.library import ModelLibrary
from server.api.runware.handlers.model_upload import ModelUploads
from server.api.runware.handlers.pictures import Pictures
from server.api.runware.handlers.preprocessing import Preprocessing
from server.api.runware.handlers.retrieval import Retrieval
from server.api.runware.http import RunwareHttp, json_response
from server.api.runware.responses import Item, TaskRef, refusal
from server.api.runware.results import image_item
from server.api.runware.sockets.sessions import Sessions
from server.api.runware.sockets.socket_events import SocketEvents
from server.api.runware.sockets.websocket import RunwareSocket
from server.api.runware.translate.spec import DIALECT
from server.api.runware.webhooks import RunwareWebhooks
from server.api.services import Services
from server.delivery.signatures import secret_key
from server.errors import ApiError
from server.jobs.job import Job, Result


class RunwareSurface:
    """See `server.api.dialect.Surface`. Paths of no dialect answer in this one too."""

    name: ClassVar[str] = DIALECT
    schema: ClassVar[str] = upload_rows.SCHEMA
    paths: ClassVar[tuple[str, ...]] = ("/v1", "/v1/", "/")

    def __init__(self, services: Services) -> None:
        dialect = RunwareDialect(services.loras, services.media, services.options)
        self._media = services.media
        secret = services.webhook_secret
        self.webhooks = RunwareWebhooks(services.media, secret_key(secret) if secret else None)
        self._loras = services.loras
        self._uploads = ModelUploads(services)
        self._preprocessing = Preprocessing(services)
        api = RunwareApi(
            Inference(dialect, services.tasks, services.media, services.body_pool),
            self._preprocessing,
            Pictures(services),
            self._uploads,
            Retrieval(services, self._uploads),
            Cancelling(services),
            ModelLibrary(services),
            Account(services),
            services.body_pool,
        )
        self._http = RunwareHttp(api, services)
        events = SocketEvents(services, DIALECT, self)
        self._socket = RunwareSocket(api, services, Sessions(), events)

    def add_routes(self, app: FastAPI) -> None:
        """Serve tasks on each path. The documentation shows one."""
        for path in self.paths:
            app.add_api_route(path, self._http.post, methods=["POST"], include_in_schema=path == "/v1")
            app.add_api_websocket_route(path, self._socket.serve)
        install_fresh_ids(app, openapi.EXAMPLES.values())

    def describe(self, document: dict[str, Any]) -> None:
        """Add the accepted tasks and the answers."""
        openapi.describe(document, self._loras.catalog(""))

    def error_response(self, *errors: ApiError) -> Response:
        """An error response in Runware's format."""
        return json_response([refusal(errors, TaskRef())])

    async def result_item(self, job: Job, result: Result, client: Client) -> Item:
        """One image as `getResponse` returns it. Raises `NotFound` when its file has expired."""
        return await image_item(job, result, self._media, client.base_url, status=True)

    async def open(self) -> None:
        """Resume the uploads of an earlier process."""
        await self._uploads.open()

    async def close(self) -> None:
        """Stop the uploads and the preprocessing."""
        await self._uploads.close()
        self._preprocessing.close()
