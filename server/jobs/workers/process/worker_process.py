"""A worker process as the API process sees it: start it, give it jobs, stop it.

Imports no torch: the process does that. A thread reads the connection, so that the event loop never waits for it.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

import structlog

from pipelines.catalog.catalog import Catalog
from pipelines.models.residency.options import ModelOptions
from server.jobs.workers.backend import WorkerDied, WorkerStartFailed
from server.jobs.workers.messages import (
    Cancel,
    ImageWritten,
    Outcome,
    Ping,
    Ready,
    RenderJob,
    Reply,
    StartFailed,
    Stop,
    Watch,
)
from server.jobs.workers.process import fork_server, worker
from server.options.log_options import LogOptions
from server.options.sharing import ALONE, Sharing
from server.process.stderr_tail import StderrTail

if TYPE_CHECKING:
    from pipelines.batching import BatchGains
    from pipelines.models.engaged import Engaged

log = structlog.get_logger()

# A step of the 20B model at 2048² takes about this long on a small GPU; what takes longer is killed.
STOP_GRACE_SECONDS = 5.0
# Then the system gets this long to end the process.
TERMINATION_SECONDS = 2.0

# The last output of a process that has ended may still be on its way.
_LAST_OUTPUT_SECONDS = 1.0

WorkerMain = Callable[[Connection, str, Catalog, ModelOptions, LogOptions, Sharing], None]


class WorkerProcess:
    """One worker on one device, as a process that runs `main`. Implements `backend.Worker`."""

    def __init__(
        self,
        device: str,
        catalog: Catalog,
        options: ModelOptions,
        logs: LogOptions,
        main: WorkerMain = worker.main,
        *,
        sharing: Sharing = ALONE,
    ) -> None:
        self.device = device
        self.sharing = sharing
        self.description = device
        self.engaged: Engaged | None = None
        self.gains: BatchGains | None = None
        self._main = main
        self._arguments = (device, catalog, options, logs, sharing)
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._replies = _Replies()
        self._errors = StderrTail()
        self._loaded = False

    @property
    def pid(self) -> int | None:
        """The id of the running process."""
        return self._process.pid if self._process else None

    async def start(self, on_end: Callable[[], None] = lambda: None) -> None:
        """Start the process and wait until its first model is loaded.

        Calls `on_end` in the event loop when the process has ended, busy or idle. Raises `WorkerStartFailed` when
        the process reports that it cannot start, and `WorkerDied` when it ends without a report.
        """
        ours, theirs = multiprocessing.Pipe()
        self._errors, self._loaded = StderrTail(), False
        process = await self._start_process(theirs)
        theirs.close()
        self._errors.forward()
        replies = _Replies()
        self._process, self._connection, self._replies = process, ours, replies

        def receive(reply: Reply | None) -> None:
            replies.put(reply)
            if reply is None and self._connection is ours:
                on_end()

        threading.Thread(target=_read, args=(ours, receive, asyncio.get_running_loop()), daemon=True).start()
        reply = await replies.next(None)
        if isinstance(reply, StartFailed):
            raise WorkerStartFailed(reply.message)
        if isinstance(reply, Ready):
            self.description, self.engaged, self.gains = reply.device, reply.engaged, reply.gains
            self._loaded = True
            log.info("worker ready", device=reply.device, seconds=round(reply.seconds, 1))

    async def render(self, job: RenderJob) -> AsyncIterator[Reply]:
        """Send a job and yield its replies. The last one is `Finished`, `Cancelled` or `Failed`.

        Raises `WorkerDied` when the process ends before that.
        """
        replies = self._replies
        with replies.expected(job.job_id):
            self._send(job)
            while True:
                reply = await replies.next(job.job_id)
                if isinstance(reply, ImageWritten):
                    self.engaged = reply.engaged
                yield reply
                if isinstance(reply, Outcome):
                    return

    def cancel(self, job_id: int) -> None:
        """Ask the process to stop a job at its next step."""
        self._send(Cancel(job_id))

    def watch(self, job_id: int, watched: bool) -> None:
        """Ask the process for previews of a job, or for no more."""
        self._send(Watch(job_id, watched))

    async def answers(self, seconds: float) -> bool:
        """Whether the process, which has no job, answers within some seconds. Raises `WorkerDied`."""
        self._send(Ping())
        try:
            async with asyncio.timeout(seconds):
                await self._replies.next(None)
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """End the process: at its next step if that comes within `STOP_GRACE_SECONDS`, else at once."""
        process, connection = self._process, self._connection
        if process is None or connection is None:
            return
        self._process = None
        # While it loads it reads no message.
        await asyncio.to_thread(_end, process, connection, STOP_GRACE_SECONDS if self._loaded else 0.0)

    async def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.join, TERMINATION_SECONDS)

    async def last_words(self) -> str:
        """How the process ended, and the last lines of its standard error."""
        process = self._process
        if process is None:
            return ""
        await asyncio.to_thread(process.join, _LAST_OUTPUT_SECONDS)
        lines = await asyncio.to_thread(self._errors.last_lines, _LAST_OUTPUT_SECONDS)
        return "; ".join((describe_exit(process.exitcode), *lines))

    async def _start_process(self, connection: Connection) -> BaseProcess:
        context = fork_server.context_of(self.device)
        try:
            return await asyncio.to_thread(self._start_in, context, connection)
        except asyncio.CancelledError:
            if context.get_start_method() == "forkserver":
                fork_server.end()  # the thread waits for its imports, and the end of the server for the thread
            raise
        except (EOFError, ConnectionError):
            log.warning("the process that workers are forked from has ended: this one is spawned", device=self.device)
            return await asyncio.to_thread(self._start_in, multiprocessing.get_context("spawn"), connection)

    def _start_in(self, context: BaseContext, connection: Connection) -> BaseProcess:
        process = context.Process(  # pyright: ignore[reportAttributeAccessIssue]  each context has one
            target=_main_with_stderr,
            args=(self._errors.writer, self._main, connection, *self._arguments),
            name=f"ownware-worker-{self.device}",
            daemon=True,
        )
        process.start()
        return process

    def _send(self, message: RenderJob | Cancel | Watch | Ping) -> None:
        if self._connection is None:
            raise WorkerDied
        try:
            self._connection.send(message)
        except OSError as error:
            raise WorkerDied from error


class _Replies:
    """The replies of one process, by job; those before the first job are of the key None."""

    def __init__(self) -> None:
        self._queues: dict[int | None, asyncio.Queue[Reply | None]] = {None: asyncio.Queue()}

    def put(self, reply: Reply | None) -> None:
        """Add a reply; None at the end of the process. One that nobody expects any more is dropped."""
        if reply is None:
            for queue in self._queues.values():
                queue.put_nowait(None)
        elif queue := self._queues.get(getattr(reply, "job_id", None)):
            queue.put_nowait(reply)

    @contextlib.contextmanager
    def expected(self, job_id: int) -> Iterator[None]:
        """Keep the replies to a job inside the `with`."""
        self._queues[job_id] = asyncio.Queue()
        try:
            yield
        finally:
            del self._queues[job_id]

    async def next(self, job_id: int | None) -> Reply:
        """The next reply to a job. Raises `WorkerDied`."""
        reply = await self._queues[job_id].get()
        if reply is None:
            raise WorkerDied
        return reply


def describe_exit(status: int | None) -> str:
    """The exit status of a process in words. It is negative for a signal, and None while the process runs."""
    if status is None:
        return "still running"
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    return f"ended by {name}" + (", as the system does when memory runs out" if name == "SIGKILL" else "")


def _main_with_stderr(errors: Connection | None, main: WorkerMain, connection: Connection, *arguments: Any) -> None:
    """Run the main function of a worker with its standard error in a pipe."""
    if errors is not None:
        os.dup2(errors.fileno(), 2)
        errors.close()
    main(connection, *arguments)


def _read(connection: Connection, receive: Callable[[Reply | None], None], loop: asyncio.AbstractEventLoop) -> None:
    reply: Reply | None
    while True:
        try:
            reply = connection.recv()
        except (EOFError, OSError):
            reply = None
        try:
            loop.call_soon_threadsafe(receive, reply)
        except RuntimeError:  # the loop has closed, and nobody listens
            return
        if reply is None:
            return


def _end(process: BaseProcess, connection: Connection, grace: float) -> None:
    # Closing our end would not end the process: the reader thread is inside a read, which keeps the end open.
    with contextlib.suppress(OSError):
        connection.send(Stop())
        process.join(grace)
    if process.is_alive():  # it puts off a SIGTERM
        process.kill()
        process.join(TERMINATION_SECONDS)
    connection.close()
