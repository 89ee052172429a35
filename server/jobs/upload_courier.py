"""Uploads the images of jobs.

Knows no wire format. A dialect renders the failure.
"""

from server.delivery.outbox import Delivery
from server.delivery.sender import DeliveryFailed
from server.delivery.uploads import Uploader, upload_failure
from server.jobs.recorder import JobRecorder
from server.jobs.storage.store import JobStore


class UploadCourier:
    """See `server.delivery.dispatcher.Courier`."""

    def __init__(self, uploader: Uploader, store: JobStore, recorder: JobRecorder) -> None:
        self._uploader = uploader
        self._store = store
        self._recorder = recorder

    async def send(self, delivery: Delivery) -> None:
        """Send a file once. A receiver that refuses it is not asked again."""
        job = await self._store.deliveries.job_of(delivery)
        if job is None:
            raise DeliveryFailed("The task has been deleted.", final=True)
        image = next(result.image_uuid for result in job.results if result.index == delivery.position)
        work = job.submission
        await self._uploader.send(delivery, image, owner=work.owner, traceparent=work.traceparent)

    async def end(self, delivery: Delivery, error: str | None) -> bool:
        """Store and announce the image, with `uploadFailed` if it is given up."""
        return await self._recorder.end_upload(delivery, error, None if error is None else upload_failure(error))
