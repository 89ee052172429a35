"""One upload: the bytes of a file by PUT, with their content type. Says which answers are final, and what a failure is.

Knows no task.
"""

import asyncio
from pathlib import Path

from server.delivery.outbox import Delivery, span_attributes
from server.delivery.sender import DeliveryFailed, Sender
from server.errors import Failure
from server.media.store import MediaStore
from server.tracing.tracer import NO_TRACER, Tracer

# Seconds between the tries of an upload, whose client waits: 4 tries within a minute, the shortest time of a client.
DELAYS = (1.0, 2.0, 4.0)
# Status codes below 500 that ask for another try: RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4.
_TRY_AGAIN = frozenset({408, 425, 429})
# The receiver is the client's own, and clients repeat a whole task that is answered with 5xx.
_STATUS = 400


class Uploader:
    """Uploads images of a store. `timeout` is in seconds."""

    def __init__(self, sender: Sender, media: MediaStore, timeout: float, tracer: Tracer = NO_TRACER) -> None:
        self._sender = sender
        self._media = media
        self._timeout = timeout
        self._tracer = tracer

    async def send(self, delivery: Delivery, image_uuid: str, *, owner: str, traceparent: str | None = None) -> None:
        """Send an image once. Raises `DeliveryFailed`."""
        media = await self._media.get(image_uuid, owner=owner)
        if media is None:
            raise DeliveryFailed("The image has expired.", final=True)
        with self._tracer.span("upload", span_attributes(delivery), traceparent):
            await send_file(self._sender, delivery.url, media.path, media.mime, self._timeout)


async def send_file(sender: Sender, url: str, path: Path, mime: str, seconds: float) -> None:
    """Send a file once. Raises `DeliveryFailed`. A receiver that refuses it is not asked again."""
    data = await asyncio.to_thread(path.read_bytes)
    try:
        await sender.send("PUT", url, {"Content-Type": mime}, data, seconds)
    except DeliveryFailed as failure:
        refused = failure.status is not None and failure.status < 500 and failure.status not in _TRY_AGAIN
        raise DeliveryFailed(failure.reason, status=failure.status, final=failure.final or refused) from failure


def upload_failure(reason: str) -> Failure:
    """What the task is told of an upload that is given up."""
    return Failure("uploadFailed", f"The image could not be uploaded. {reason}", _STATUS, "upload")
