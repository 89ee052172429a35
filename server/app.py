"""`create_app(settings, …)`: wires the parts together; decides nothing else."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from pipelines.catalog.catalog import Catalog
from pipelines.catalog.profiles import Profiles
from server.api.access.auth import ApiKeys
from server.api.access.client import NoteCaller
from server.api.access.gate import Gate
from server.api.access.web_pages import WebPagePolicy, make_policy
from server.api.bodies.body_pool import BodyPool
from server.api.dialect import Surface
from server.api.evolink.surface import EvoLinkSurface
from server.api.exception_handlers import install_handlers, surface_of
from server.api.generations_route import DIALECT_HEADER, GenerationsRoute
from server.api.openai_images.surface import OpenAISurface
from server.api.openapi import install_docs
from server.api.page import page_route
from server.api.page.static_files import load_static_files
from server.api.response_headers import WARNINGS_HEADER
from server.api.routes import gallery, health, images, metrics, receipts, server_state, task_events, task_log, tasks
from server.api.runpod.surface import RunpodSurface
from server.api.runware.surface import RunwareSurface
from server.api.services import Services
from server.api.watching.event_writer import EventWriter, ItemWriter
from server.api.wavespeed.surface import WaveSpeedSurface
from server.api.webhooks.courier import WebhookCourier
from server.api.webhooks.picture_courier import PictureWebhookCourier
from server.connections.bodies import GuardBodies
from server.connections.body_budget import BodyBudget
from server.database import Database
from server.delivery import outbox as outbox_tables
from server.delivery.dispatcher import Couriers, Dispatcher
from server.delivery.outbox import Outbox
from server.delivery.sender import Sender
from server.delivery.uploads import Uploader
from server.errors import ApiError
from server.extras import DETECTOR, is_installed
from server.jobs.policy.admission import QueueBounds
from server.jobs.queue import JobQueue
from server.jobs.storage import rows as job_tables
from server.jobs.storage import unprepared
from server.jobs.storage.history import JobHistory
from server.jobs.storage.store import JobStore
from server.jobs.timing import step_times
from server.jobs.timing.silence import SilenceLimits
from server.jobs.timing.step_times import StepTimes
from server.jobs.upload_courier import UploadCourier
from server.jobs.workers.backend import Worker
from server.keys import key_table, usage
from server.keys.key_table import DATABASE_NAME, KeyTable
from server.keys.usage import Usage
from server.media import gallery as gallery_tables
from server.media import store as media_tables
from server.media.decoding.decoder_pool import DecoderPool
from server.media.fetching.checked_transport import CheckedTransport
from server.media.fetching.fetch import Fetcher
from server.media.gallery import Gallery
from server.media.inputs import InputImages
from server.media.store import MediaStore
from server.media.thumbnails import Thumbnails
from server.metrics import Metrics
from server.settings import Settings
from server.storage import MILLION
from server.tasks import lora_library as lora_tables
from server.tasks import task_ids
from server.tasks.cancel_scopes import CancelScopes
from server.tasks.endings import deadlines
from server.tasks.endings.deadlines import Deadlines
from server.tasks.lora_library import LoraLibrary
from server.tasks.migrations import MIGRATIONS
from server.tasks.options import SafetyOptions, TaskOptions
from server.tasks.pictures import picture_tasks
from server.tasks.pictures.picture_tasks import PictureTasks
from server.tasks.pictures.picture_uploads import PictureUploads
from server.tasks.submit import TaskService
from server.tasks.task_ids import IdClaims, TaskIds
from server.tasks.watching import TaskWatch
from server.tracing.tracer import NO_TRACER, Tracer

if TYPE_CHECKING:
    from server.tracing.otel_tracer import OtelTracer

log = structlog.get_logger()

VERSION = version("ownware")
SWEEP_SECONDS = 60.0
# How many of the largest bodies may be received at a time. One address may have half of it: more than one body.
BODIES, LEAST_BODY_BUDGET = 2.5, 50 * MILLION

# Every dialect. One of them has the path `/`, and answers the errors of all paths that no other has.
SURFACES = (RunwareSurface, EvoLinkSurface, OpenAISurface, WaveSpeedSurface, RunpodSurface)
TABLES = (
    media_tables.SCHEMA,
    gallery_tables.SCHEMA,
    job_tables.SCHEMA,
    unprepared.SCHEMA,
    lora_tables.SCHEMA,
    task_ids.SCHEMA,
    picture_tasks.SCHEMA,
    key_table.SCHEMA,
    usage.SCHEMA,
    deadlines.SCHEMA,
    step_times.SCHEMA,
    outbox_tables.SCHEMA,
)


def create_app(settings: Settings, catalog: Catalog, workers: Sequence[Worker]) -> FastAPI:
    """The server over these models and workers. Raises `ProfileError`.

    `app.state` has its `queue`, its `keys` and its `body_budget`.
    """
    counters, otel = Metrics(), _open_tracer(settings)
    tracer = NO_TRACER if otel is None else otel
    dispatcher, services = _services(settings, catalog, workers, counters, tracer)
    surfaces = [surface(services) for surface in SURFACES]
    served = [surface for surface in surfaces if settings.serves(surface.name)]

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await services.media.open()
        await services.decoders.open()
        await services.pictures.open()
        await services.loras.open()
        for surface in served:
            await surface.open()
        dispatcher.open(_couriers(settings, services, surfaces, tracer))
        await services.queue.open()
        await services.tasks.open()
        await services.deadlines.open()
        sweeper = asyncio.create_task(_sweep(services))
        try:
            yield
        finally:
            sweeper.cancel()
            await services.deadlines.close()
            await services.tasks.close()
            await services.queue.close()
            await dispatcher.close()
            await services.sender.aclose()
            for surface in served:
                await surface.close()
            services.decoders.close()
            await services.image_fetcher.aclose()
            await services.lora_fetcher.aclose()
            services.body_pool.close()
            services.keys.close()
            services.database.close()
            if otel is not None:
                await asyncio.to_thread(otel.close)

    app = FastAPIOffline(
        title="Ownware",
        version=VERSION,
        redoc_url=None,
        lifespan=lifespan,
        swagger_ui_parameters={"docExpansion": "full", "defaultModelsExpandDepth": 0},
    )
    app.state.queue = services.queue
    app.state.keys = services.keys
    app.state.body_budget = BodyBudget(max(LEAST_BODY_BUDGET, int(BODIES * services.max_body)))
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=[WARNINGS_HEADER, DIALECT_HEADER],
        )

    def refuse(path: str, error: ApiError) -> Response:
        return surface_of(path, surfaces).error_response(error)

    app.add_middleware(Gate, refusal=_web_page_policy(settings, services.keys).refusal, respond=refuse)
    if settings.metrics_port is not None:
        app.add_middleware(Gate, refusal=metrics.MetricsPort(settings.metrics_port).refusal, respond=refuse)
    app.add_middleware(metrics.CountRequests, metrics=counters)
    app.add_middleware(GuardBodies, budget=app.state.body_budget)
    app.add_middleware(NoteCaller)
    if otel is not None:
        from server.tracing.request_spans import TraceRequests

        app.add_middleware(TraceRequests, tracer=otel)
    install_handlers(app, surfaces, served)
    for surface in served:
        surface.add_routes(app)
    GenerationsRoute(services).add(app, [each for each in served if isinstance(each, EvoLinkSurface | OpenAISurface)])
    app.include_router(page_route.router(load_static_files() if settings.page else None))
    app.include_router(images.router(services.media, Thumbnails(services.decoders)))
    app.include_router(receipts.router(services.jobs, services.media))
    app.include_router(gallery.router(services))
    app.include_router(tasks.router(services.tasks, services.keys))
    writers = {surface.name: surface for surface in surfaces if isinstance(surface, ItemWriter)}
    app.include_router(task_events.router(services, EventWriter(writers)))
    app.include_router(server_state.router(services))
    app.include_router(task_log.router(services))
    app.include_router(health.router(services.queue))
    app.include_router(metrics.router(counters, services.queue, services.keys if settings.metrics == "key" else None))
    install_docs(app, served)
    return app


def _open_tracer(settings: Settings) -> "OtelTracer | None":
    """The tracer, if the server is to trace. Its packages are an extra."""
    if not settings.tracing:
        return None
    from server.tracing.otel_tracer import OtelTracer

    return OtelTracer()


def _couriers(settings: Settings, services: Services, surfaces: Sequence[Surface], tracer: Tracer) -> Couriers:
    """What sends each kind. A dialect that is no longer served still renders the webhooks of its tasks."""
    sender, outbox, timeout = services.sender, services.outbox, settings.webhook_timeout
    writers = {surface.name: surface.webhooks for surface in surfaces if surface.webhooks is not None}
    (pictures,) = (surface.webhooks for surface in surfaces if isinstance(surface, RunwareSurface))
    return Couriers(
        jobs={
            "webhook": WebhookCourier(sender, services.jobs, writers, timeout, tracer),
            "upload": UploadCourier(services.uploader, services.jobs, services.queue.recorder),
        },
        tasks={
            "webhook": PictureWebhookCourier(sender, outbox, services.pictures, pictures, timeout, tracer),
            "upload": services.picture_uploads,
        },
    )


def _services(
    settings: Settings, catalog: Catalog, workers: Sequence[Worker], counters: Metrics, tracer: Tracer
) -> tuple[Dispatcher, Services]:
    profiles = Profiles(catalog, settings.profiles)
    profiles.warn_refused(catalog)
    options = TaskOptions(
        profiles=profiles,
        result_ttl=settings.result_ttl,
        ignore_unknown=settings.unknown_parameters == "ignore",
        let_unsupported_pass=settings.unsupported_parameters == "warn",
        face_refinement=settings.face_refinement,
        threshold_direction=settings.threshold_direction,
        cancel_for_gone_clients=settings.gone_clients == "cancel",
        webhook_delays=settings.webhook_delays,
        safety=SafetyOptions(is_installed(DETECTOR), settings.safety_default, settings.safety_action),
    )
    schemas = [*TABLES, *(surface.schema for surface in SURFACES)]
    database = Database(settings.data_dir / DATABASE_NAME, schemas, MIGRATIONS)
    media = MediaStore(
        database, settings.data_dir / "media", job_tables.open_inputs, least_free=settings.min_free_mb * MILLION
    )
    max_body = settings.max_body_mb * MILLION
    image_fetcher = Fetcher(settings.allow_private_urls, settings.fetch_timeout, max_body)
    pixels = settings.max_image_megapixels * MILLION
    decoders = DecoderPool(settings.data_dir / "media" / "drafts")
    inputs = InputImages(media, image_fetcher, decoders, max_pixels=pixels, ttl=settings.result_ttl)
    lora_fetcher = Fetcher(
        settings.allow_private_urls, settings.lora_timeout, settings.max_lora_mb * MILLION, noun="LoRA", accept="*/*"
    )
    claims = IdClaims("job")
    outbox, sender = Outbox(database), Sender(CheckedTransport(settings.allow_private_urls))
    dispatcher = Dispatcher(outbox, counters)
    ids, jobs, scopes = TaskIds(database), JobStore(database, claims, dispatcher.wake), CancelScopes()
    history = JobHistory(database, claims)
    keys = ApiKeys(settings.api_keys, KeyTable(settings.data_dir))
    bounds = QueueBounds(
        settings.max_queue, settings.max_queue_seconds, settings.max_key_queue, settings.max_key_queue_seconds
    )
    queue = JobQueue(
        jobs,
        media,
        workers,
        StepTimes(database),
        bounds=bounds,
        limits=keys.limits,
        most_seconds=settings.max_task_seconds,
        silence=SilenceLimits(settings.hang_seconds, settings.load_timeout),
        observer=counters,
        tracer=tracer,
    )
    pictures = PictureTasks(database, scopes, dispatcher.wake)
    uploader = Uploader(sender, media, settings.upload_timeout, tracer)
    services = Services(
        public_url=settings.public_url,
        max_body=max_body,
        allow_private_urls=settings.allow_private_urls,
        body_pool=BodyPool(),
        keys=keys,
        options=options,
        database=database,
        media=media,
        gallery=Gallery(database, media),
        decoders=decoders,
        inputs=inputs,
        ids=ids,
        jobs=jobs,
        history=history,
        usage=Usage(database),
        deadlines=Deadlines(database, queue, history, media),
        queue=queue,
        tasks=TaskService(ids, queue, inputs, sender, options, scopes, tracer),
        watch=TaskWatch(queue),
        scopes=scopes,
        pictures=pictures,
        picture_uploads=PictureUploads(uploader, pictures, queue),
        loras=LoraLibrary(catalog, database, settings.data_dir / "loras", settings.lora_dir),
        image_fetcher=image_fetcher,
        lora_fetcher=lora_fetcher,
        sender=sender,
        uploader=uploader,
        outbox=outbox,
        webhook_secret=settings.webhook_secret,
    )
    return dispatcher, services


def _web_page_policy(settings: Settings, keys: ApiKeys) -> WebPagePolicy:
    """The policy at the start. Keys that are added later leave it as strict as it is."""
    return make_policy(
        bind_host=settings.host,
        public_url=settings.public_url,
        allowed_hosts=settings.allowed_hosts,
        cors_origins=settings.cors_origins,
        has_keys=keys.required,
    )


async def _sweep(services: Services) -> None:
    while True:
        try:
            await services.media.sweep(time.time())
            await services.ids.sweep(time.time())
            await services.queue.sweep()
            await services.deadlines.sweep()
        except (OSError, sqlite3.Error):  # a disk that is full now may have room next time
            log.exception("expired data cannot be deleted")
        await asyncio.sleep(SWEEP_SECONDS)
