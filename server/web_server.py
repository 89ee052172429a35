"""The web server over the workers: its bounds, its signals, and what it says on the terminal.

Knows uvicorn. Imports no torch.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator, Sequence
from functools import partial

import typer
import uvicorn
from uvicorn.config import LOGGING_CONFIG

from pipelines.catalog.catalog import Catalog
from server.api.access.auth import ApiKeys
from server.api.bodies.body import STRANGER_LIMIT
from server.app import create_app
from server.connections.guard import ConnectionGuard, raise_file_limit
from server.connections.guarded_http import GuardedHttp
from server.connections.guarded_socket import GuardedSocket
from server.jobs.queue import JobQueue
from server.jobs.workers.process.worker_process import WorkerProcess
from server.process.greeting import greeting, local_url
from server.process.interpreter import tune_interpreter
from server.process.listen import BACKLOG
from server.process.log_rate import limit_repeats
from server.settings import Settings
from server.storage import MILLION

# Answers under way get this long after Ctrl-C. Workers then get `STOP_GRACE_SECONDS`.
SHUTDOWN_SECONDS = 3
# uvicorn takes them all before anything else runs, and each takes a tenth of a millisecond.
ACCEPTED_AT_ONCE = 64
# A client on the same busy machine may answer a ping late.
WEBSOCKET_PING_TIMEOUT = 60.0


def open_web_server(settings: Settings, catalog: Catalog, devices: Sequence[str]) -> "WebServer":
    """The server of these models. Raises `ProfileError`, and `OSError` or `sqlite3.Error` for its data folder."""
    options = settings.model_options.shared_by(len(devices))
    logs, sharing = settings.log_options, settings.sharing
    workers = [WorkerProcess(device, catalog, options, logs, sharing=sharing) for device in devices]
    app = create_app(settings, catalog, workers)
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
    return WebServer(config, settings, catalog, app.state.queue, app.state.keys)


class WebServer(uvicorn.Server):
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
