"""Uploads the images of jobs.

Knows no wire format. A dialect renders the failure.
"""

from server.delivery.outbox import Delivery, span_attributes
from server.delivery.sender import DeliveryFailed, Sender
from server.delivery.uploads import send_file, upload_failure
from server.jobs.job import Job
from server.jobs.recorder import JobRecorder
from server.jobs.storage.store import JobStore
from server.media.store import Media, MediaStore
from server.tracing.tracer import NO_TRACER, Tracer


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
        job = await self._store.deliveries.job_of(delivery)
        if job is None:
            raise DeliveryFailed("The task has been deleted.", final=True)
        media = await self._file(job, delivery)
        with self._tracer.span("upload", span_attributes(delivery), job.submission.traceparent):
            await send_file(self._sender, delivery.url, media.path, media.mime, self._timeout)

    async def end(self, delivery: Delivery, error: str | None) -> bool:
        """Store and announce the image, with `uploadFailed` if it is given up."""
        return await self._recorder.end_upload(delivery, error, None if error is None else upload_failure(error))

    async def _file(self, job: Job, delivery: Delivery) -> Media:
        uuid = next(result.image_uuid for result in job.results if result.index == delivery.position)
        media = await self._media.get(uuid, owner=job.submission.owner)
        if media is None:
            raise DeliveryFailed("The image has expired.", final=True)
        return media
