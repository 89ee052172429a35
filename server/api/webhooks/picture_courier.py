"""Sends the webhooks of picture tasks, as their dialect renders them.

Knows no vendor.
"""

import time

from server.api.dialect import PictureWriter
from server.delivery.outbox import Delivery, Outbox, span_attributes
from server.delivery.sender import DeliveryFailed, Sender
from server.tasks.pictures.picture_tasks import PictureTasks
from server.tracing.tracer import NO_TRACER, Tracer


class PictureWebhookCourier:
    """See `server.delivery.dispatcher.Courier`. `timeout` is in seconds."""

    def __init__(
        self,
        sender: Sender,
        outbox: Outbox,
        tasks: PictureTasks,
        writer: PictureWriter,
        timeout: float,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._sender = sender
        self._outbox = outbox
        self._tasks = tasks
        self._writer = writer
        self._timeout = timeout
        self._tracer = tracer

    async def send(self, delivery: Delivery) -> None:
        """Render and send one notice once."""
        task = await self._tasks.find(*delivery.task)
        if task is None:
            raise DeliveryFailed("The task has been deleted.", final=True)
        with self._tracer.span("webhook", span_attributes(delivery)):
            post = await self._writer.write_picture(delivery.message_id, int(time.time()), task)
            await self._sender.send("POST", delivery.url, post.headers, post.body, self._timeout)

    async def end(self, delivery: Delivery, error: str | None) -> bool:
        """Store the end of a notice. It changes nothing else of the task."""
        return await self._outbox.end(delivery, error)
