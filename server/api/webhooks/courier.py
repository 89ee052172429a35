"""Sends the webhooks of jobs, as the dialect of each job renders them.

Knows no vendor.
"""

import time
from collections.abc import Mapping

import structlog

from server.api.dialect import Notice, WebhookWriter
from server.delivery.outbox import Delivery, span_attributes
from server.delivery.sender import DeliveryFailed, Sender
from server.jobs.storage.store import JobStore
from server.tracing.tracer import NO_TRACER, Tracer

log = structlog.get_logger()


class WebhookCourier:
    """See `server.delivery.dispatcher.Courier`. `writers` are by the names of dialects. `timeout` is in seconds."""

    def __init__(
        self,
        sender: Sender,
        store: JobStore,
        writers: Mapping[str, WebhookWriter],
        timeout: float,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._sender = sender
        self._store = store
        self._writers = writers
        self._timeout = timeout
        self._tracer = tracer

    async def send(self, delivery: Delivery) -> None:
        """Render and send one notice once."""
        job = await self._store.deliveries.job_of(delivery)
        if job is None or job.submission.webhook is None:
            raise DeliveryFailed("The task has been deleted.", final=True)
        writer = self._writers.get(job.submission.dialect)
        if writer is None:
            raise DeliveryFailed(f"The dialect '{job.submission.dialect}' has no webhooks.", final=True)
        result = None
        if delivery.position is not None:
            result = next(one for one in job.results if one.index == delivery.position)
        notice = Notice(delivery.message_id, int(time.time()), job.submission.webhook, job, result)
        with self._tracer.span("webhook", span_attributes(delivery), job.submission.traceparent):
            post = await writer.write(notice)
            await self._sender.send("POST", delivery.url, post.headers, post.body, self._timeout)

    async def end(self, delivery: Delivery, error: str | None) -> bool:
        """Store the end of a notice. It changes nothing else of the job.

        The log tells of the last notice of a job that has ended: the line about the job's end came too early.
        """
        stored, last = await self._store.deliveries.end_webhook(delivery, error)
        if last is not None:
            late = round(max(0.0, time.time() - last.finished), 2)
            log.info("webhooks ended", task=last.task_uuid, **last.states, seconds=late)
        return stored
