"""Uploads the pictures of picture tasks, and lets their clients wait for it.

Knows no wire format.
"""

import asyncio

from server.delivery.outbox import Delivery
from server.delivery.sender import DeliveryFailed
from server.delivery.uploads import Uploader, upload_failure
from server.errors import ServiceUnavailable
from server.jobs.queue import JobQueue
from server.tasks.pictures.picture_tasks import PictureTask, PictureTasks


class PictureUploads:
    """See `server.delivery.dispatcher.Courier`. `queue` says when the server stops."""

    def __init__(self, uploader: Uploader, tasks: PictureTasks, queue: JobQueue) -> None:
        self._uploader = uploader
        self._tasks = tasks
        self._queue = queue
        self._ends: dict[tuple[str, str], asyncio.Event] = {}

    async def send(self, delivery: Delivery) -> None:
        """Send a file once. Raises `DeliveryFailed`."""
        task = await self._tasks.find(*delivery.task)
        if task is None or task.picture_uuid is None:
            raise DeliveryFailed("The task has been deleted.", final=True)
        await self._uploader.send(delivery, task.picture_uuid, owner=task.owner)

    async def end(self, delivery: Delivery, error: str | None) -> bool:
        """Store the end of an upload, with `uploadFailed` if it is given up, and wake the client that waits for it."""
        ended = await self._tasks.end_upload(delivery, error, None if error is None else upload_failure(error))
        if (end := self._ends.get(delivery.task)) is not None:
            end.set()
        return ended

    async def wait_for(self, task: PictureTask) -> PictureTask:
        """A finished task once its upload has ended. Raises `ServiceUnavailable` when the server stops before."""
        end = self._ends[task.key] = asyncio.Event()
        with self._queue.watch(task.key) as events:  # a task that is no job has no event but the server's stop
            ended, stopped = asyncio.create_task(end.wait()), asyncio.create_task(events.get())
            try:
                if (found := await self._tasks.find(*task.key)) is not None and found.uploading:
                    await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
                    found = await self._tasks.find(*task.key)
            finally:
                ended.cancel()
                stopped.cancel()
                del self._ends[task.key]
        if found is None or found.uploading:
            raise ServiceUnavailable("The server is stopping. The upload goes on at its next start.")
        return found
