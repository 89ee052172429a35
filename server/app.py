"""`create_app(settings, …)`: wires the parts together; decides nothing else."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version

import structlog
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import RedirectResponse, Response

from pipelines.catalog.catalog import Catalog
from pipelines.catalog.profiles import Profiles
from server.api import health, images, metrics, receipts
from server.api.auth import ApiKeys
from server.api.docs_page import install_fresh_ids
from server.api.exception_handlers import install_handlers
from server.api.openapi import EXAMPLES, install_docs
from server.api.runware import upload_rows as upload_tables
from server.api.runware.dispatch import RunwareApi
from server.api.runware.handlers.account import Account
from server.api.runware.handlers.inference import Inference
from server.api.runware.handlers.library import ModelLibrary
from server.api.runware.handlers.model_upload import ModelUploads
from server.api.runware.handlers.pictures import Pictures
from server.api.runware.handlers.preprocessing import Preprocessing
from server.api.runware.handlers.retrieval import Retrieval
from server.api.runware.http import WARNINGS_HEADER, RunwareHttp
from server.api.runware.sessions import Sessions
from server.api.runware.upload_rows import UploadRows
from server.api.runware.websocket import RunwareSocket
from server.database import Database
from server.jobs import rows as job_tables
from server.jobs.backend import Worker
from server.jobs.queue import JobQueue
from server.jobs.store import JobStore
from server.media import store as media_tables
from server.media.fetch import Fetcher
from server.media.inputs import InputImages
from server.media.store import MediaStore
from server.metrics import Metrics
from server.settings import Settings
from server.tasks import lora_library as lora_tables
from server.tasks import picture_tasks, task_ids
from server.tasks.lora_library import LoraLibrary
from server.tasks.migrations import MIGRATIONS
from server.tasks.picture_tasks import PictureTasks
from server.tasks.task_ids import IdClaims, TaskIds

log = structlog.get_logger()

SWEEP_SECONDS = 60.0
RUNWARE_PATHS = ("/v1", "/v1/", "/")
MILLION = 1_000_000


def create_app(settings: Settings, catalog: Catalog, workers: Sequence[Worker]) -> FastAPI:
    """The server over these models and workers. Its queue is `app.state.queue`. Raises `ProfileError`."""
    profiles = Profiles(catalog, settings.profiles)
    profiles.warn_refused(catalog)
    tables = (media_tables, job_tables, lora_tables, upload_tables, task_ids, picture_tasks)
    database = Database(settings.data_dir / "ownware.sqlite", [table.SCHEMA for table in tables], MIGRATIONS)
    media = MediaStore(database, settings.data_dir / "media")
    ids = TaskIds(database)
    jobs = JobStore(database, IdClaims("job"))
    counters = Metrics()
    queue = JobQueue(jobs, media, workers, limit=settings.max_queue, observer=counters)
    fetcher = Fetcher(settings.allow_private_urls, settings.fetch_timeout, settings.max_body_mb * MILLION)
    pixels = settings.max_image_megapixels * MILLION
    inputs = InputImages(media, fetcher, max_pixels=pixels, ttl=settings.result_ttl)
    pictures = PictureTasks(database)
    ignore_unknown = settings.unknown_parameters == "ignore"
    lora_library = LoraLibrary(catalog, database, settings.data_dir / "loras", settings.lora_dir)
    lora_fetcher = Fetcher(
        settings.allow_private_urls, settings.lora_timeout, settings.max_lora_mb * MILLION, noun="LoRA", accept="*/*"
    )
    uploads = ModelUploads(lora_library, ids, UploadRows(database), lora_fetcher, ignore_unknown=ignore_unknown)

    api = RunwareApi(
        Inference(
            lora_library,
            ids,
            queue,
            media,
            inputs,
            result_ttl=settings.result_ttl,
            ignore_unknown=ignore_unknown,
            let_unsupported_pass=settings.unsupported_parameters == "warn",
            face_refinement=settings.face_refinement,
            threshold_direction=settings.threshold_direction,
            profiles=profiles,
        ),
        Preprocessing(
            pictures,
            media,
            inputs,
            result_ttl=settings.result_ttl,
            ignore_unknown=ignore_unknown,
            let_unsupported_pass=settings.unsupported_parameters == "warn",
        ),
        Pictures(pictures, media, inputs, ignore_unknown=ignore_unknown),
        uploads,
        Retrieval(ids, queue, media, pictures, uploads, ignore_unknown=ignore_unknown),
        ModelLibrary(lora_library, ignore_unknown=ignore_unknown),
        Account(jobs, ignore_unknown=ignore_unknown),
    )
    keys = ApiKeys(settings.api_keys)
    http = RunwareHttp(
        api,
        keys,
        public_url=settings.public_url,
        max_body=settings.max_body_mb * MILLION,
        give_up=settings.gone_clients == "cancel",
    )
    socket = RunwareSocket(api, keys, Sessions(), public_url=settings.public_url)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await pictures.open()
        await lora_library.open()
        await uploads.open()
        await queue.open()
        sweeper = asyncio.create_task(_sweep(queue, media, ids))
        try:
            yield
        finally:
            sweeper.cancel()
            await queue.close()
            await uploads.close()
            await fetcher.aclose()
            await lora_fetcher.aclose()
            database.close()

    app = FastAPIOffline(
        title="Ownware",
        version=version("ownware"),
        redoc_url=None,
        lifespan=lifespan,
        swagger_ui_parameters={"docExpansion": "full", "defaultModelsExpandDepth": 0},
    )
    app.state.queue = queue
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=[WARNINGS_HEADER],
    )
    app.add_middleware(metrics.CountRequests, metrics=counters)
    install_handlers(app)
    for path in RUNWARE_PATHS:
        app.add_api_route(path, http.post, methods=["POST"], include_in_schema=path == "/v1")
        app.add_api_websocket_route(path, socket.serve)
    app.add_api_route("/", _to_docs, methods=["GET"], include_in_schema=False)
    app.include_router(images.router(media))
    app.include_router(receipts.router(jobs, media))
    app.include_router(health.router(queue))
    app.include_router(metrics.router(counters, queue.waiting))
    install_docs(app)
    install_fresh_ids(app, EXAMPLES.values())
    return app


async def _to_docs() -> Response:
    return RedirectResponse("/docs")


async def _sweep(queue: JobQueue, media: MediaStore, ids: TaskIds) -> None:
    while True:
        try:
            await media.sweep(time.time())
            await ids.sweep(time.time())
            await queue.sweep()
        except (OSError, sqlite3.Error):  # a disk that is full now may have room next time
            log.exception("what has expired cannot be deleted")
        await asyncio.sleep(SWEEP_SECONDS)
