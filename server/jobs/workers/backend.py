"""The interface of a worker: start, render, cancel, stop.

A local process implements it (`worker_process`). Knows no queue, no disk and no wire format.
"""

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from pipelines.batching import BatchGains
from pipelines.models.engaged import Engaged
from server.jobs.workers.messages import RenderJob, Reply
from server.options.sharing import Sharing


class WorkerDied(Exception):
    """The worker ended by itself, for instance killed for memory."""


class WorkerStartFailed(Exception):
    """The worker cannot start. The message says why."""


class Worker(Protocol):
    """Renders jobs on one device. `description` is the device in words, known after the start.

    `engaged` is what its model runs with, as far as it is known. `sharing` says how jobs share the device, and `gains`
    which of them are faster together, as far as that was measured.
    """

    device: str
    sharing: Sharing
    description: str
    engaged: Engaged | None
    gains: BatchGains | None

    async def start(self, on_end: Callable[[], None]) -> None:
        """Start and wait until the first model is loaded.

        Calls `on_end` in the event loop once the worker has ended, busy or idle. Raises `WorkerStartFailed` or
        `WorkerDied`.
        """
        ...

    def render(self, job: RenderJob) -> AsyncIterator[Reply]:
        """Render a job and yield its replies. The last one is `Finished`, `Cancelled` or `Failed`.

        Raises `WorkerDied`.
        """
        ...

    def cancel(self, job_id: int) -> None:
        """Stop a job at its next step. Raises `WorkerDied`."""
        ...

    def watch(self, job_id: int, watched: bool) -> None:
        """Send previews of a job from now on, or no more. Raises `WorkerDied`."""
        ...

    async def answers(self, seconds: float) -> bool:
        """Whether the worker, which has no job, answers within some seconds. Raises `WorkerDied`."""
        ...

    async def stop(self) -> None:
        """End the worker."""
        ...

    async def kill(self) -> None:
        """End the worker at once: it does not answer."""
        ...

    async def last_words(self) -> str:
        """Why the worker ended: how, and the last lines of its standard error. Empty if that is not known."""
        ...
