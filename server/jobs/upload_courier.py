"""Uploads the images of jobs: the bytes of the file, by PUT, with their content type.

Knows no wire format. A dialect renders the failure.
"""

import asyncio

from server.delivery.outbox import Delivery, span_attributes
from server.delivery.sender import DeliveryFailed, Sender
from server.errors import Failure
from server.jobs.job import Job
from server.jobs.recorder import JobRecorder
from server.jobs.store import JobStore
from server.media.store import Media, MediaStore
from server.tracing.tracer import NO_TRACER, Tracer

# Status codes below 500 that ask for another try: RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4.
_TRY_AGAIN = frozenset({408, 425, 429})
# The receiver is the client's own, and clients repeat a whole task that is answered with 5xx.
UPLOAD_STATUS = 400


class UploadCourier:
    """See `server.delivery.dispatcher.Courier`. `timeout` is in seconds."""

    def __init__(
        self,
        sender: Sender,
        store: JobStore,
        media: MediaStore,
        recorder: JobRecorder,
        timeout: float,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._sender = sender
        self._store = store
        self._media = media
        self._recorder = recorder
        self._timeout = timeout
        self._tracer = tracer

    async def send(self, delivery: Delivery) -> None:
        """Send a file once. A receiver that refuses it is not asked again."""
        job = await self._store.of_delivery(delivery)
        if job is None:
            raise DeliveryFailed("The task has been deleted.", final=True)
        media = await self._file(job, delivery)
        data = await asyncio.to_thread(media.path.read_bytes)
        try:
            with self._tracer.span("upload", span_attributes(delivery), job.submission.traceparent):
                await self._sender.send("PUT", delivery.url, {"Content-Type": media.mime}, data, self._timeout)
        except DeliveryFailed as failure:
            refused = failure.status is not None and failure.status < 500 and failure.status not in _TRY_AGAIN
            raise DeliveryFailed(failure.reason, status=failure.status, final=failure.final or refused) from failure

    async def end(self, delivery: Delivery, error: str | None) -> bool:
        """Store and announce the image, with `uploadFailed` if it is given up."""
        if error is None:
            return await self._recorder.end_upload(delivery, None, None)
        failure = Failure("uploadFailed", f"The image could not be uploaded. {error}", UPLOAD_STATUS, "upload")
        return await self._recorder.end_upload(delivery, error, failure)

    async def _file(self, job: Job, delivery: Delivery) -> Media:
        uuid = next(result.image_uuid for result in job.results if result.index == delivery.position)
        media = await self._media.get(uuid, owner=job.submission.owner)
        if media is None:
            raise DeliveryFailed("The image has expired.", final=True)
        return media
