"""Runs the server from start to end: devices, models, sockets, signals, and the messages on the terminal.

Knows uvicorn and the terminal. Imports no torch.
"""

import asyncio
import contextlib
import errno
import signal
import socket
import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial

import structlog
import typer
import uvicorn
from uvicorn.config import LOGGING_CONFIG

from accel.cache.profile import ProfileError
from pipelines.catalog.catalog import Catalog
from pipelines.catalog.models_file import CatalogError
from pipelines.models.planning.cards import CPU
from server.api.access.auth import ApiKeys
from server.api.bodies.body import STRANGER_LIMIT
from server.app import create_app
from server.connections.guard import ConnectionGuard, raise_file_limit
from server.connections.guarded_http import GuardedHttp
from server.connections.guarded_socket import GuardedSocket
from server.extras import DETECTOR, TRACING, install_command, is_installed
from server.jobs.queue import JobQueue
from server.jobs.workers.worker_process import WorkerProcess
from server.keys.key_table import KeyTable
from server.machine.capacity import plan_capacity
from server.machine.devices import DeviceError, find_cards, find_devices
from server.process.data_lock import DataFolderInUse, lock_data_folder
from server.process.greeting import greeting, local_url
from server.process.interpreter import tune_interpreter
from server.process.listen import BACKLOG, LOOPBACK, is_loopback, listen
from server.process.log_rate import limit_repeats
from server.process.log_stream import protect_standard_streams
from server.process.logs import configure_logs
from server.served_models import choose_catalog
from server.settings import Settings
from server.storage import MILLION

log = structlog.get_logger()

# Answers under way get this long after Ctrl-C. Workers then get `STOP_GRACE_SECONDS`.
SHUTDOWN_SECONDS = 3
# uvicorn takes them all before anything else runs, and each takes a tenth of a millisecond.
ACCEPTED_AT_ONCE = 64
# A client on the same busy machine may answer a ping late.
WEBSOCKET_PING_TIMEOUT = 60.0


def serve(settings: Settings) -> int:
    """Serve until interrupted. Returns the process's exit status."""
    protect_standard_streams()
    configure_logs(settings.log_options)
    if settings.safety_default and not is_installed(DETECTOR):
        typer.echo(f"ownware: --safety-default needs the content check: {install_command('safety')}", err=True)
        return 2
    if settings.tracing and not is_installed(TRACING):
        typer.echo(f"ownware: --tracing needs OpenTelemetry: {install_command('otel')}", err=True)
        return 2
    if settings.face_refinement and not is_installed(DETECTOR):
        typer.echo(f"ownware: --face-refinement needs the face detector: {install_command('faces')}", err=True)
        return 2
    try:
        devices = find_devices(settings.devices)
        catalog = choose_catalog(settings, devices)
    except DeviceError as error:
        typer.echo(f"ownware: --devices: {error}", err=True)
        return 2
    except CatalogError as error:
        typer.echo(f"ownware: {error}", err=True)
        return 2
    if settings.devices == ("auto",) and devices == ("cpu",) and find_cards():
        log.warning("the GPU is not used: this torch is a build for the CPU only")
    capacity = plan_capacity(catalog.entries[0], devices, settings.plan_options)
    if capacity is not None and not capacity.entry.embedded:
        if capacity.refusal is not None:
            typer.echo(f"ownware: {capacity.problem}", err=True)
            return 2
        for line in capacity.lines() if capacity.card != CPU else ():
            typer.echo(line, err=True)
        if capacity.problem is not None:
            log.warning(capacity.problem)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(lock_data_folder(settings.data_dir))
            required = _keys_required(settings)
        except DataFolderInUse as error:
            typer.echo(
                f"ownware: another server ({error.process}) uses the data folder {settings.data_dir}: "
                "stop it, or give this one its own --data-dir and --port",
                err=True,
            )
            return 2
        except (OSError, sqlite3.Error) as error:
            return _data_folder_unusable(settings, error)
        try:
            settings = settings if required else _without_keys(settings)
        except OSError as error:
            return _cannot_listen(settings.host, settings.port, "--port", error)
        sockets: list[socket.socket] = []
        for flag, port in settings.ports.items():
            try:
                sockets += [held.enter_context(sock) for sock in listen(settings.host, port)]
            except OSError as error:
                return _cannot_listen(settings.host, port, flag, error)
        return _serve(settings, catalog, devices, sockets)


def _serve(settings: Settings, catalog: Catalog, devices: Sequence[str], sockets: list[socket.socket]) -> int:
    options = settings.model_options.shared_by(len(devices))
    logs, sharing = settings.log_options, settings.sharing
    workers = [WorkerProcess(device, catalog, options, logs, sharing=sharing) for device in devices]
    try:
        app = create_app(settings, catalog, workers)
    except ProfileError as error:
        typer.echo(f"ownware: {error}", err=True)
        return 2
    except (OSError, sqlite3.Error) as error:
        return _data_folder_unusable(settings, error)
    guard = ConnectionGuard(raise_file_limit())
    config = uvicorn.Config(
        app,
        log_level="warning",
        log_config=None if settings.log_format == "json" else LOGGING_CONFIG,
        access_log=False,
        http=partial(GuardedHttp, guard=guard),  # type: ignore[arg-type]  a factory, which is all that uvicorn needs
        ws=partial(GuardedSocket, guard=guard, budget=app.state.body_budget, small=STRANGER_LIMIT),  # type: ignore[arg-type]
        backlog=ACCEPTED_AT_ONCE,
        ws_max_size=settings.max_body_mb * MILLION,
        ws_per_message_deflate=False,  # pictures do not shrink, and deflating them holds up everybody else
        ws_ping_timeout=WEBSOCKET_PING_TIMEOUT,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    limit_repeats("uvicorn.error", "asyncio", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
    return asyncio.run(_Server(config, settings, catalog, app.state.queue, app.state.keys).run_to_end(sockets))


def _keys_required(settings: Settings) -> bool:
    keys = ApiKeys(settings.api_keys, KeyTable(settings.data_dir))
    try:
        return keys.required
    finally:
        keys.close()


def _without_keys(settings: Settings) -> Settings:
    """The settings of a server without keys: it stays on this machine, unless it is to be open. The log says so."""
    log.warning("any API key is accepted, and all clients share their tasks; `ownware keys add NAME` restricts them")
    if settings.open or is_loopback(settings.host):
        return settings
    log.warning(
        f"listening on {LOOPBACK} instead of {settings.host}, because there are no API keys: "
        "add one with `ownware keys add NAME` or OWNWARE_API_KEYS and start again, or allow it with --open"
    )
    return settings.model_copy(update={"host": LOOPBACK})


def _cannot_listen(host: str, port: int, flag: str, error: OSError) -> int:
    reason = f"it is in use; choose another one with {flag}" if error.errno == errno.EADDRINUSE else error
    typer.echo(f"ownware: cannot listen on port {port} of {host}: {reason}", err=True)
    return 2


def _data_folder_unusable(settings: Settings, error: Exception) -> int:
    typer.echo(f"ownware: the data folder {settings.data_dir} cannot be used: {error}", err=True)
    return 2


class _Server(uvicorn.Server):
    """uvicorn, with a greeting when the models are loaded, and an orderly end at the first Ctrl-C."""

    def __init__(
        self, config: uvicorn.Config, settings: Settings, catalog: Catalog, queue: JobQueue, keys: ApiKeys
    ) -> None:
        super().__init__(config)
        self._settings = settings
        self._catalog = catalog
        self._queue = queue
        self._keys = keys

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept. Connections that wait for it are as many as before: uvicorn has one number for both."""
        tune_interpreter()
        await super().startup(sockets)
        for sock in sockets or ():
            sock.listen(BACKLOG)

    async def run_to_end(self, sockets: list[socket.socket]) -> int:
        """Serve, greet once a worker is ready, and end when no worker can start. Returns the exit status."""
        greeted = asyncio.create_task(self._greet())
        await self.serve(sockets)
        greeted.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            return await greeted
        return 0 if self.started else 1

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGINT and SIGTERM. Unlike uvicorn's own, the signal is not raised again afterwards."""
        loop = asyncio.get_running_loop()
        handled = (signal.SIGINT, signal.SIGTERM)
        for number in handled:
            loop.add_signal_handler(number, self._interrupt)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def _interrupt(self) -> None:
        """Begin to stop, which takes seconds at most. A second Ctrl-C changes nothing, so that no worker is left."""
        first, self.should_exit = not self.should_exit, True
        self._queue.announce_stop()
        if first:
            typer.echo("\nStopping. Unfinished tasks continue at the next start.", err=True)

    async def _greet(self) -> int:
        await self._queue.workers.started()
        while not self.started:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.01)
        if not self._queue.workers.ready:
            typer.echo(f"ownware: no worker can start: {self._queue.workers.failure}", err=True)
            self.should_exit = True
            return 1
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        url, required = local_url(host, port), self._keys.required
        typer.echo(greeting(url, self._settings, self._catalog, self._queue.workers.devices, keys_required=required))
        return 0
